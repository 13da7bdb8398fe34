"""A cluster in which nobody may lead, as Patroni tells it."""

from __future__ import annotations

from datetime import datetime

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import Facts
from stanch.diagnose.causes.ids import (
    CLUSTER_LEADERLESS,
    NETWORK_UNREACHABLE,
    READ_ONLY_SETTING,
    STANDBY_WRITTEN_TO,
)
from stanch.diagnose.clues import leading as p
from stanch.diagnose.evidence import Evidence, value_of
from stanch.model.shown import span
from stanch.model.symptoms import SymptomKind


def _tell(evidence: Evidence) -> str:
    seen = value_of(evidence.patroni)
    if seen is None:
        return "Nobody leads the cluster, so no server of it takes writes."
    late = None if seen.dcs_seen_at is None else (evidence.at - seen.dcs_seen_at).total_seconds()
    why = (
        f", and Patroni has not reached the store with the leader's key for {span(late)}"
        if late is not None and late >= p.DCS_LATE_S
        else ""
    )
    paused = "; Patroni is paused and promotes nobody" if seen.paused else ""
    return f'Nobody leads cluster "{seen.name}"{why}{paused}: no server of it takes writes.'


def _facts(evidence: Evidence) -> Facts:
    seen = value_of(evidence.patroni)
    return (
        ("server_running", True),
        ("cluster", seen.name if seen else None),
        ("members", len(seen.members) if seen else None),
        ("paused", seen.paused if seen else None),
    )


def _began(evidence: Evidence) -> datetime | None:
    seen = value_of(evidence.patroni)
    return seen.dcs_seen_at if seen else None


cluster_leaderless = Cause(
    id=CLUSTER_LEADERLESS,
    section=Section.REPLICATION,
    sentence="Patroni's cluster has no leader: its store (etcd, Consul, ZooKeeper) cannot be "
    "reached, or no server may take the lead; the servers run, and all of them are read-only.",
    onset=Onset.AT_ONCE,
    impact="At once for everything that writes; reads go on.",
    prior=-3.5,
    weighs=(
        Weigh(clue=p.leaderless, yes=6.5, no=-6.0, now=True),
        Weigh(clue=p.dcs_lost, yes=3.0, no=-0.5, now=True),
        Weigh(clue=p.is_replica, yes=0.5, no=-1.0, now=True),
        Weigh(clue=p.paused, yes=0.5, no=0.0, now=True),
    ),
    shown_by=((p.leaderless, True),),
    tell=_tell,
    facts=_facts,
    began=_began,
    symptoms=(
        SymptomKind.SERVER_DOWN,
        SymptomKind.STANDBY_GONE,
        SymptomKind.LOG_ERRORS,
        SymptomKind.HEALTH_CHECK_FAILING,
        SymptomKind.ERROR_RATE_HIGH,
        SymptomKind.ERROR_RATE_RAISED,
    ),
    brings_about=(STANDBY_WRITTEN_TO,),
    apart={
        STANDBY_WRITTEN_TO: "Does `patronictl list` show a leader on another server?",
        READ_ONLY_SETTING: "Does pg_is_in_recovery() say true?",
        NETWORK_UNREACHABLE: "Does the store answer from the server's own machine "
        "(etcdctl endpoint health)?",
    },
    safe_first="Look at the store first (etcdctl endpoint health, its members' logs and disks): "
    "once a majority of it answers, Patroni elects a leader by itself.",
    never=(
        "Do not promote a server by hand while Patroni runs: when the store is back, two lead.",
        "Do not delete Patroni's keys from the store: its history and its promises go with them.",
        "Do not restart PostgreSQL past Patroni.",
    ),
    forbids=(
        "start_server",
        "set_aside_lock_file",
        "end_idle_sessions",
        "end_blocking_session",
    ),
    runbook="",
    source="https://patroni.readthedocs.io/en/latest/dcs_failsafe_mode.html",
)
