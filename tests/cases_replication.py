"""Evidence of standbys that are behind or gone, of two primaries, and of logical replication."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import evidences as w
from stanch.diagnose.cluster import ClusterSeen, Member
from stanch.diagnose.evidence import Evidence, Reading
from stanch.diagnose.figures import Figures
from stanch.facts.workings import Doing
from stanch.model.patroni import PatroniMember, PatroniSeen
from stanch.model.readings import Reading as Figure

MIB = w.MIB


def sender(
    name: str = "two", *, sent: float = 0.0, flush: float = 0.0, replay: float = 0.0, **more: Any
) -> tuple[Figure, ...]:
    """One receiver in the primary's own words; bytes are behind the current position."""
    return (
        w.figure("sender", 500.0, name, more.get("detail", "streaming async")),
        w.figure("sent_lag_bytes", sent, name),
        w.figure("write_lag_bytes", max(sent, flush), name),
        w.figure("flush_lag_bytes", max(sent, flush), name),
        w.figure("replay_lag_bytes", max(sent, flush, replay), name),
        w.figure("replay_lag_s", more.get("late_s", 0.2), name),
    )


def primary(*more: Figure, standbys: int = 1, **settings: str) -> Reading[Figures]:
    kept = [f for f in w.HEALTHY_FIGURES if f.name != "standbys"]
    told = {**w.SETTINGS, **settings}
    return w.figures(*kept, w.figure("standbys", standbys), *more, **told)


def standby(*, waiting: float = 0.0, late_s: float = 0.3, **more: Any) -> Reading[Figures]:
    """What a standby says of itself; `waiting` bytes are received and not replayed."""
    kept = [f for f in w.HEALTHY_FIGURES if f.name != "in_recovery"]
    return w.figures(
        *kept,
        w.figure("in_recovery", 1.0),
        w.figure("receiver_streaming", more.get("streams", 1.0), detail="streaming"),
        w.figure("received_bytes_to_replay", waiting),
        w.figure("last_replayed_xact_age_s", late_s),
        w.figure("replay_paused", more.get("paused", 0.0)),
        w.figure("wal_bytes_total", more.get("position", 1e9)),
        **w.SETTINGS,
    )


def server(wait: str, backend_type: str = "startup", **more: Any) -> Doing:
    """A process of the server's own."""
    usual: dict[str, Any] = {
        "datname": "",
        "usename": "",
        "application_name": "",
        "state": "",
        "query": "",
        "oldest_query_s": None,
        "oldest_xact_s": None,
    }
    return w.doing(1, wait, backend_type=backend_type, **(usual | more))


def member(target: str, **more: Any) -> Member:
    usual: dict[str, Any] = {
        "seen_at": w.ago(1),
        "primary": False,
        "system_identifier": "7",
        "timeline": 1,
        "position_bytes": 10**9,
        "running_since": w.AT - timedelta(days=9),
    }
    return Member(target=target, **(usual | more))


def cluster(*members: Member) -> Reading[ClusterSeen]:
    return w.read(ClusterSeen(members=members, declared=True))


READER = w.doing(1, "Client:ClientRead", application_name="report", oldest_xact_s=900.0)
COMMITS = w.doing(7, "IPC:SyncRep", query="COMMIT", oldest_query_s=40.0)
ENDED = 'background worker "logical replication apply worker" (PID 812) exited with exit code 1'
DUPLICATE = 'duplicate key value violates unique constraint "orders_pkey"'


def loop(ends: int = 12, error: str = "unique_violation") -> tuple[w.LogEvent, ...]:
    """An apply worker that fails every five seconds."""
    found: list[w.LogEvent] = []
    for n in range(ends, 0, -1):
        found.append(w.line(error, 5 * n, DUPLICATE, severity="ERROR", sqlstate="23505"))
        found.append(w.line("apply_worker_ended", 5 * n, ENDED, severity="LOG"))
    return tuple(found)


SPILLED = (
    w.figure("decoding_spilled_bytes_total", 900.0 * MIB, "warehouse"),
    w.figure("slot_active", 1.0, "warehouse", "logical"),
    w.figure("slot_retained_bytes", 2000.0 * MIB, "warehouse", "extended"),
    w.figure("slot_unconfirmed_bytes", 1500.0 * MIB, "warehouse"),
)
PROMOTED = w.line("promoted", 600, "received promote request", severity="LOG")
OLD_PRIMARY = member("orders-1", primary=True)
SELF_PRIMARY = member("orders", primary=True, timeline=2)


def patroni(*members: PatroniMember, late_s: float = 5.0, **more: Any) -> Reading[PatroniSeen]:
    """What Patroni says; `late_s` is how long ago it reached its store."""
    usual: dict[str, Any] = {
        "name": "shop",
        "state": "running",
        "role": "replica",
        "unlocked": not any(m.leads for m in members),
        "paused": False,
        "dcs_seen_at": w.ago(late_s),
        "members": members,
    }
    return w.read(PatroniSeen(**(usual | more)))


def node(name: str, role: str = "replica", state: str = "running") -> PatroniMember:
    return PatroniMember(name=name, role=role, state=state, timeline=1)


CASES: dict[str, Evidence] = {
    "cluster_leaderless": w.healthy(
        figures=standby(streams=0.0), patroni=patroni(node("one"), node("two"), late_s=90.0)
    ),
    "split_brain": w.healthy(
        cluster=cluster(SELF_PRIMARY, member("orders-1", primary=True, running_since=w.ago(300))),
    ),
    "standby_promoted": w.healthy(
        cluster=cluster(
            member("orders", primary=True, timeline=2, promoted_at=w.ago(600)), OLD_PRIMARY
        ),
        log=w.log(PROMOTED),
    ),
    "timeline_diverged": w.healthy(
        figures=standby(streams=0.0),
        log=w.log(
            w.line(
                "timeline_diverged",
                4,
                "new timeline 2 forked off current database system timeline 1 before current "
                "recovery point 0/C8EF50",
                severity="LOG",
            )
        ),
        cluster=cluster(member("orders"), member("orders-1", primary=True, timeline=2)),
    ),
    "lag_sending": w.healthy(
        figures=primary(*sender(sent=900.0 * MIB, replay=910.0 * MIB, late_s=80.0)),
        activity=w.activity(
            w.doing(2), server("Activity:WalSenderMain", "walsender", application_name="two")
        ),
    ),
    "replay_conflict": w.healthy(
        figures=standby(waiting=200.0 * MIB, late_s=240.0),
        activity=w.activity(server("IPC:RecoveryConflictSnapshot"), READER),
    ),
    "replay_paused": w.healthy(
        figures=standby(waiting=40.0 * MIB, late_s=240.0, paused=1.0),
        activity=w.activity(server("IPC:RecoveryPause"), w.doing(2)),
    ),
    "replay_saturated": w.healthy(
        figures=standby(waiting=600.0 * MIB, late_s=90.0),
        activity=w.activity(server(""), w.doing(2)),
        history=w.history(w.course("wal_bytes_total", 2e7, 9e7)),
    ),
    "wal_removed": w.healthy(
        figures=standby(streams=0.0),
        log=w.log(
            w.line(
                "wal_removed",
                3,
                "could not receive data from WAL stream: ERROR:  requested WAL segment "
                "000000010000000000000043 has already been removed",
                severity="FATAL",
            )
        ),
    ),
    "sync_standby_gone": w.healthy(
        figures=primary(standbys=0, synchronous_standby_names="FIRST 1 (two)"),
        activity=w.activity(COMMITS, w.doing(2)),
        sessions=w.sessions(w.group("active", 7), w.group("idle", 8)),
    ),
    "apply_worker_loop": w.healthy(
        figures=primary(
            w.figure("apply_errors_total", 12.0, "orders_copy"),
            w.figure("subscription_worker", 0.0, "orders_copy"),
            standbys=0,
        ),
        log=w.log(*loop()),
    ),
    "decoding_spill": w.healthy(
        figures=primary(*SPILLED),
        activity=w.activity(w.doing(2), server("IO:ReorderBufferWrite", "walsender")),
    ),
}
