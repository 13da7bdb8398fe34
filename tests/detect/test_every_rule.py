"""Each declared rule fires at its number, and stays quiet on what looks like it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from samplings import T0, Watched, seen, target, told, vitals, volume
from stanch.model.readings import Reading
from stanch.model.samples import Sample
from stanch.model.vitals import ArchiverVitals, ConnectionLimit, SenderVitals, SlotVitals
from stanch.policy.rules import declared_rules

Series = Sequence[tuple[float, Sample]]
GB, MB = 10**9, 10**6
WEEK_S = 7 * 86_400.0


@dataclass(frozen=True)
class Case:
    """Two series: one that has to be told, one that must not be."""

    fires: Series
    quiet: Series
    subject: str = ""


def steady(sample: Sample, *, lasts_s: float, every_s: float = 10.0) -> Series:
    steps = int(lasts_s / every_s) + 1
    return [(n * every_s, sample) for n in range(steps)]


def by_value(name: str, bad: float, near: float, *, lasts_s: float, subject: str = "") -> Case:
    """A reading of another source that is bad, or nearly, for so long."""
    return Case(
        steady(told(name, bad, subject), lasts_s=lasts_s),
        steady(told(name, near, subject), lasts_s=3 * lasts_s + 60),
        subject,
    )


def by_vitals(bad: Any, near: Any, *, lasts_s: float, subject: str = "") -> Case:
    return Case(
        steady(seen(vitals=vitals(**bad)), lasts_s=lasts_s, every_s=1.0),
        steady(seen(vitals=vitals(**near)), lasts_s=3 * lasts_s + 60, every_s=1.0),
        subject,
    )


def by_counter(make: Callable[[float], Sample], fires: float, quiet: float) -> Case:
    """A counter that grows by so much a second, for ten minutes."""

    def growing(per_s: float) -> Series:
        return [(t, make(1000 + per_s * t)) for t in range(0, 600, 2)]

    return Case(growing(fires), growing(quiet))


def by_change(name: str, before: float, after: float, subject: str = "") -> Case:
    """A value that changes at 30 s; the near miss changes the other way."""

    def series(first: float, second: float) -> Series:
        values = [first] * 3 + [second] * 3
        return [(10.0 * n, told(name, value, subject)) for n, value in enumerate(values)]

    return Case(series(before, after), series(after, before), subject)


def by_usual(name: str, factor: float, subject: str = "") -> Case:
    """Three weeks at 10 in this hour, then `factor` times as much; near: the same after two."""

    def weeks(count: int, then: float) -> Iterator[tuple[float, Sample]]:
        for week in range(count):
            for minute in range(70):
                yield week * WEEK_S + 60 * minute, told(name, 10 + minute % 2, subject)
        for minute in range(10):
            yield count * WEEK_S + 60 * minute, told(name, then, subject)

    return Case(list(weeks(3, 11 * factor)), list(weeks(2, 11 * factor)), subject)


def slower(times: float, mean_ms: float) -> Sample:
    """A statement so many times as slow as usual, and how long it takes now."""
    names = {"statement_slowdown_times": times, "statement_mean_ms": mean_ms}
    return seen(
        readings=tuple(Reading(name=n, value=value, subject="42") for n, value in names.items())
    )


def sessions(**counts: Any) -> dict[str, Any]:
    return {"sessions": counts}


def slot(retained: int | None = 0, *, active: bool = True, status: str = "reserved") -> Any:
    one = SlotVitals(
        name="s", slot_type="physical", active=active, wal_status=status, retained_bytes=retained
    )
    return {"slots": (one,), "wal_position_bytes": 10**12}


def lagging(replay: int | None) -> dict[str, Any]:
    sender = SenderVitals(pid=1, application_name="db2", replay_lag_bytes=replay)
    return {"senders": (sender,)}


WITH_ONE, WITHOUT = seen(vitals=vitals(**lagging(0))), seen(vitals=vitals())
"""A server with one standby connected, and with none."""


def archived(count: int, *, written: int, **more: Any) -> Sample:
    told = ArchiverVitals(archived_count=count, failed_count=0, **more)
    return seen(vitals=vitals(archiver=told, wal_position_bytes=10 * GB + written))


def archiver(failed_s: float, archived_s: float) -> dict[str, Any]:
    return {
        "archiver": ArchiverVitals(
            archived_count=1,
            failed_count=1,
            last_failed_at=T0 + timedelta(seconds=failed_s),
            last_archived_at=T0 + timedelta(seconds=archived_s),
        )
    }


def moving_slot(moves: bool) -> Series:
    """A consumer that is connected; WAL is written at 1 MB a second."""
    found: list[tuple[float, Sample]] = []
    for t in range(0, 2400, 10):
        retained = 20 * MB if moves else 20 * MB + t * MB
        more = slot(retained) | {"wal_position_bytes": 10**12 + t * MB}
        found.append((t, seen(vitals=vitals(**more))))
    return found


def filling(per_s: float) -> Series:
    """Four gigabytes free, and so many bytes a second fewer."""
    return [
        (t, seen(volumes=(volume(free_mib=(4e9 - per_s * t) / 2**20, total_mib=20_000),)))
        for t in range(0, 900, 10)
    ]


def failing(rates: Sequence[tuple[float, float]]) -> Series:
    """Error rates as (how long, percent)."""
    found: list[tuple[float, Sample]] = []
    t = 0.0
    for lasts_s, pct in rates:
        for _ in range(int(lasts_s / 15)):
            found.append((t, told("error_rate_pct", pct)))
            t += 15
    return found


SILENT = [(float(t), told("request_rate", 5.0, "shop")) for t in range(0, 60, 10)]

CASES: dict[str, Case] = {
    # --- volumes
    "disk_full": Case(
        [(0, seen(volumes=(volume(free_mib=32),)))],
        steady(seen(volumes=(volume(free_mib=33),)), lasts_s=60),
        "/data",
    ),
    "disk_low": Case(
        steady(seen(volumes=(volume(free_mib=100),)), lasts_s=10),
        steady(seen(volumes=(volume(free_mib=101),)), lasts_s=60),
        "/data",
    ),
    "disk_short": Case(
        steady(seen(volumes=(volume(free_mib=9_500, total_mib=50_000),)), lasts_s=60),
        steady(seen(volumes=(volume(free_mib=9_500, total_mib=30_000),)), lasts_s=600),
        "/data",
    ),
    "disk_filling": Case(filling(2e6), filling(0.5e6), "/data"),
    "inodes_low": Case(
        steady(seen(volumes=(volume(free_mib=900, inodes_free=5),)), lasts_s=60),
        steady(seen(volumes=(volume(free_mib=900, inodes_free=None),)), lasts_s=300),
        "/data",
    ),
    # --- sessions
    "connections_exhausted": by_vitals({"used": 90}, {"used": 89}, lasts_s=3),
    "connections_high": by_vitals({"used": 80}, {"used": 79}, lasts_s=3),
    "sessions_blocked": by_vitals(
        {"waiting": 3, "oldest_wait_s": 10.0}, {"waiting": 2, "oldest_wait_s": 500.0}, lasts_s=0
    ),
    "connection_limit_near": by_vitals(
        sessions(limits=(ConnectionLimit(scope="role", name="app", used=9, allowed=10),)),
        sessions(limits=(ConnectionLimit(scope="role", name="app", used=8, allowed=10),)),
        lasts_s=10,
        subject="role app",
    ),
    "long_transaction": by_vitals(
        sessions(oldest_work_xact_age_s=60.0),
        sessions(oldest_xact_age_s=9e4, oldest_dump_xact_age_s=7200.0),
        lasts_s=3,
    ),
    "long_dump": by_vitals(
        sessions(oldest_dump_xact_age_s=21_600.0),
        sessions(oldest_dump_xact_age_s=7200.0),
        lasts_s=3,
    ),
    "idle_in_transaction": by_vitals(
        sessions(oldest_idle_in_transaction_s=300.0),
        sessions(oldest_idle_in_transaction_s=299.0, by_state=(("idle", 50),)),
        lasts_s=3,
    ),
    "slow_query": Case(
        [(t, seen(vitals=vitals(sessions={"oldest_query_age_s": 5.0 + t}))) for t in range(31)],
        [(t, seen(vitals=vitals(sessions={"oldest_query_age_s": t % 25}))) for t in range(200)],
    ),
    "deadlocks": by_counter(
        lambda n: seen(vitals=vitals(work={"deadlocks": int(n)})), 5.5 / 60, 4.0 / 60
    ),
    "temp_files_flood": by_counter(
        lambda n: seen(vitals=vitals(work={"temp_bytes": int(n)})), 210e6, 150e6
    ),
    "prepared_transaction_old": by_vitals(
        {"prepared_xacts": 1, "oldest_prepared_xact_age_s": 600.0},
        {"prepared_xacts": 1, "oldest_prepared_xact_age_s": 20.0},
        lasts_s=3,
    ),
    # --- WAL and replication
    "archive_failing": Case(
        steady(seen(vitals=vitals(**archiver(0, -3600))), lasts_s=310),
        steady(seen(vitals=vitals(**archiver(0, 1))), lasts_s=900),
    ),
    "archive_stalled": Case(
        [(n, archived(0, written=n * 10 * MB)) for n in range(310)],
        [(n, archived(n // 200, written=n * 10 * MB)) for n in range(900)],
    ),
    "slot_retains_wal": by_vitals(slot(10 * GB), slot(9 * GB), lasts_s=60, subject="s"),
    "slot_inactive": Case(
        steady(seen(vitals=vitals(**slot(5, active=False))), lasts_s=1800),
        steady(seen(vitals=vitals(**slot(None, active=False))), lasts_s=3600),
        "s",
    ),
    "slot_stuck": Case(moving_slot(False), moving_slot(True), "s"),
    "slot_lost": by_vitals(
        slot(None, status="lost"), slot(9, status="unreserved"), lasts_s=0, subject="s"
    ),
    "replication_lag": by_vitals(lagging(256 * MB), lagging(None), lasts_s=30, subject="db2"),
    "replication_delay": by_value("replay_lag_s", 30, 29, lasts_s=30),
    "standby_gone": Case(
        [(0, WITH_ONE), (1, WITHOUT), (31, WITHOUT)],
        [(0, WITHOUT), (1, WITH_ONE), (2, WITHOUT), (31, WITH_ONE), (40, WITH_ONE)],
    ),
    "xid_wraparound": by_vitals({"xid_age_max": 10**9}, {"xid_age_max": 2 * 10**8}, lasts_s=60),
    "mxid_wraparound": by_vitals({"mxid_age_max": 10**9}, {"mxid_age_max": 4 * 10**8}, lasts_s=60),
    "checksum_failures": Case(
        [(n, seen(vitals=vitals(work={"checksum_failures": n}))) for n in range(2)],
        [(n, seen(vitals=vitals(work={"checksum_failures": 7 - n}))) for n in range(8)],
    ),
    "pending_restart": by_value("settings_pending_restart", 1, 0, lasts_s=3600),
    # --- what fails without a sound
    "sequence_near_end": by_value("sequence_used_pct", 85, 84, lasts_s=0, subject="db.public.s"),
    "int4_key_near_end": by_value("int4_key_used_pct", 80, 79, lasts_s=0, subject="db.public.t.id"),
    "collation_changed": by_value("collation_mismatches", 1, 0, lasts_s=0, subject="db"),
    "index_invalid": by_value("invalid_indexes", 1, 0, lasts_s=3600, subject="db"),
    "table_bloated": by_value("table_bloat_pct", 70, 69, lasts_s=0, subject="db.public.t"),
    "new_dangerous_role": by_change("dangerous_roles", 1, 2),
    "hba_errors": by_value("hba_errors", 1, 0, lasts_s=60),
    "settings_errors": by_value("settings_errors", 1, 0, lasts_s=60),
    "slow_look_overdue": by_value("slow_look_late_s", 3600, 3599, lasts_s=600),
    "statement_slower": Case(
        steady(slower(3, 5), lasts_s=300), steady(slower(2.9, 99), lasts_s=900), "42"
    ),
    # --- machines
    "memory_low": by_value("memory_available_pct", 5, 6, lasts_s=60),
    "cpu_stolen": by_value("cpu_steal_pct", 10, 9, lasts_s=300),
    "load_high": by_value("load_per_cpu", 4, 3.9, lasts_s=600),
    "clock_off": by_value("clock_offset_s", 2, 1.9, lasts_s=60),
    "oom_kill": by_change("oom_kills_total", 3, 4),
    "container_restarting": by_change("container_restarts_total", 0, 1),
    "service_stopped": by_value("service_running", 0, 1, lasts_s=10, subject="postgresql"),
    "other_cluster": by_value("other_cluster", 1, 0, lasts_s=1),
    "volume_read_only": by_value("volume_read_only", 1, 0, lasts_s=10, subject="/data"),
    "storage_errors": Case(
        by_change("kernel_messages_total", 0, 1, "io_error").fires,
        by_change("kernel_messages_total", 0, 1, "hung_task").fires,
        "io_error",
    ),
    "storage_stalled": Case(
        by_change("kernel_messages_total", 0, 1, "hung_task").fires,
        by_change("kernel_messages_total", 0, 1, "hung_task").quiet,
        "hung_task",
    ),
    # --- pools
    "pool_exhausted": by_value("pool_usage_pct", 90, 89, lasts_s=10, subject="shop"),
    "pool_high": by_value("pool_usage_pct", 80, 79, lasts_s=30, subject="shop"),
    "pool_waiting": by_value("pool_waiting", 1, 0, lasts_s=10, subject="shop"),
    "pool_wait_long": by_value("pool_max_wait_s", 15, 14, lasts_s=0, subject="shop"),
    # --- applications
    "error_rate_high": by_value("error_rate_pct", 5, 4.9, lasts_s=60),
    "error_rate_raised": by_value("error_rate_pct", 1, 0.9, lasts_s=300),
    "error_budget_burn": Case(failing([(3600, 1.5)]), failing([(3600, 1.5), (0, 0)])[:100]),
    "latency_unusual": by_usual("latency_s", 3),
    "requests_silent": Case(
        [*SILENT, (200, seen()), (360, seen())], [*SILENT, (200, seen())], "shop"
    ),
    "log_errors": by_counter(lambda n: told("log_errors_total", n), 65 / 60, 50 / 60),
    "health_check_failing": by_value("health_check_ok", 0, 1, lasts_s=10, subject="shop"),
    "health_check_slow": by_usual("health_check_ms", 5, "shop"),
    # --- backups
    "backup_old": by_value("backup_age_s", 86_400, 86_000, lasts_s=60),
    "backup_failed": by_value("backup_failed", 1, 0, lasts_s=0),
    "backup_verification_failed": by_value("backup_verification_failed", 1, 0, lasts_s=0),
    "backup_small": by_value("backup_size_ratio", 0.5, 0.51, lasts_s=0),
    "backup_retention_short": by_value(
        "backup_retention_short_days", 1.5, 1, lasts_s=0, subject="local"
    ),
    "backup_latest_wrong": by_value("backup_latest_wrong", 1, 0, lasts_s=1800, subject="local"),
    "backup_uploads_left": by_value("backup_uploads_left", 1, 0, lasts_s=0, subject="s3 offsite"),
    "backup_unseen": by_value("backup_unseen_s", 3600, 600, lasts_s=0, subject="s3 offsite"),
    "archive_holes": by_value("archive_holes", 1, 0, lasts_s=0, subject="local"),
    "archive_gap": by_value("archive_gap_segments", 1, 0, lasts_s=300),
    # --- logs and network
    "log_corruption": by_change("log_class_total", 0, 1, "invalid_page"),
    "log_config_error": by_change("log_class_total", 0, 1, "config_error"),
    "log_out_of_memory": Case(
        by_change("log_class_total", 0, 1, "out_of_memory").fires,
        by_change("log_class_total", 0, 1, "no_space_data").fires,
        "out_of_memory",
    ),
    "process_crashed": Case(
        by_change("log_class_total", 0, 1, "crash_child_signal").fires,
        by_change("log_class_total", 0, 1, "shutdown_request_fast").fires,
        "crash_child_signal",
    ),
    "log_unread": Case(
        by_change("log_gaps_total", 0, 1, "server").fires,
        steady(told("log_gaps_total", 3, "server"), lasts_s=600),
        "server",
    ),
    "addresses_banned": by_counter(lambda n: told("bans_total", n), 2.1 / 60, 1.8 / 60),
    "login_failures": by_counter(lambda n: told("auth_failures_total", n), 21 / 60, 19 / 60),
    "certificate_expiring": by_value("tls_days_left", 14, 15, lasts_s=60),
    "certificate_untrusted": by_value("tls_chain_ok", 0, 1, lasts_s=60, subject="shop"),
    "layer_slow": by_usual("layer_ms", 5, "tls"),
    # --- writes
    "writes_failing": by_value("canary_ok", 0, 1, lasts_s=10),
    "canary_unusable": by_value("canary_usable", 0, 1, lasts_s=60),
}

SWITCHED_OFF = {k.value: {"off": False} for k, rule in declared_rules().items() if rule.off}


def watching() -> Watched:
    """With every rule on, those as well that are shipped switched off."""
    return Watched(target(**SWITCHED_OFF))


def test_every_declared_rule_has_a_case() -> None:
    assert set(CASES) == {k.value for k, rule in declared_rules().items() if rule.declared}


@pytest.mark.parametrize("kind", CASES)
def test_the_rule_fires(kind: str) -> None:
    case = CASES[kind]
    watched = watching().all(case.fires)
    assert (f"{kind}:{case.subject}" if case.subject else kind) in watched.raised
    symptom = next(s for s in watched.symptoms if s.kind == kind)
    assert symptom.detail
    assert "{" not in symptom.detail
    assert symptom.since <= T0 + timedelta(seconds=case.fires[-1][0])


@pytest.mark.parametrize("kind", SWITCHED_OFF)
def test_a_rule_that_is_shipped_switched_off_stays_quiet_until_a_policy_wants_it(kind: str) -> None:
    assert Watched().all(CASES[kind].fires).raised == []


@pytest.mark.parametrize("kind", CASES)
def test_its_near_miss_stays_quiet(kind: str) -> None:
    watched = watching().all(CASES[kind].quiet)
    assert [key for key in watched.raised if key.partition(":")[0] == kind] == []


@pytest.mark.parametrize("kind", CASES)
def test_a_reading_that_cannot_be_had_raises_nothing_and_clears_nothing(kind: str) -> None:
    """Missing is never zero and never good, whatever the rule."""
    rule = declared_rules()[next(k for k in declared_rules() if k == kind)]
    watched = watching().all(CASES[kind].fires)
    standing = set(watched.raised) - set(watched.cleared)
    before = len(watched.raised)
    last_s, subject = CASES[kind].fires[-1][0], CASES[kind].subject
    missing = Reading(name=rule.reading, value=None, subject=subject)
    for n in range(1, 30):
        watched.look(last_s + n, seen(readings=(missing,)))
        watched.look(last_s + n + 0.5, seen())
    assert [key for key in watched.cleared if key in standing and key.startswith(kind)] == []
    assert watched.raised[before:] == []


FROM_SESSIONS = (
    "sessions_blocked",
    "connection_limit_near",
    "long_transaction",
    "long_dump",
    "idle_in_transaction",
    "slow_query",
    "archive_failing",
    "replication_lag",
    "standby_gone",
    "xid_wraparound",
    "mxid_wraparound",
)


@pytest.mark.parametrize("kind", FROM_SESSIONS)
def test_vitals_without_the_right_to_see_it_clear_nothing(kind: str) -> None:
    blind = vitals(sessions=None, sees_sessions=False, archiver=None)
    watched = watching().all(CASES[kind].fires)
    standing = [key for key in watched.raised if key.startswith(kind)]
    last_s = CASES[kind].fires[-1][0]
    for n in range(1, 60):
        watched.look(last_s + n, seen(vitals=replace(blind, sessions=None)))
    assert standing
    assert [key for key in watched.cleared if key.startswith(kind)] == []
