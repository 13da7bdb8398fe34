"""The root before what follows from it: who keeps dead rows, what was emptied or written over,
which backup is not whole. Each with what looks like it on any day."""

from __future__ import annotations

from dataclasses import replace

import pytest

import cases_disk as d
import evidences as w
from cases_data import of_table, told
from stanch.diagnose.evidence import Evidence
from stanch.diagnose.rank import STANDS_FROM, diagnose
from stanch.model.diagnosis import CauseFinding, Verdict
from stanch.model.symptoms import SymptomKind


def standing(evidence: Evidence) -> list[str]:
    return [c.id for c in diagnose(evidence).causes if c.probability >= STANDS_FROM]


def found(evidence: Evidence, cause_id: str) -> CauseFinding:
    return next(c for c in diagnose(evidence).causes if c.id == cause_id)


# --- dead rows that vacuum leaves -----------------------------------------------------------------

SESSION = ("session:psql", "pid 4242, batch, idle in transaction")
STANDBY = ("standby:db2", "pid 77, replicator, active")


def left(
    holder: tuple[str, str],
    held_s: float | None,
    *,
    rows: float = 90_000,
    dead: float = 110_000,
    vacuum_age_s: float = 2,
) -> tuple[w.Figure, ...]:
    """A table of 2,400 rows, to which vacuum came lately, and whose view is the oldest."""
    subject, detail = holder
    return (
        w.figure("tables", 7, "app"),
        w.figure("horizon_age_xids", 3000, subject, detail),
        w.figure("horizon_held_s", held_s, subject, detail),
        w.figure("table_dead_rows", dead, "public.events", "2400 live; last vacuum now"),
        w.figure("table_dead_rows_left", rows, "public.events", "2400 live"),
        w.figure("table_vacuum_age_s", vacuum_age_s, "public.events"),
    )


IDLE = replace(w.chain(0, 19.0, "idle in transaction"), root_application="psql", oldest_wait_s=0.0)
FORGOTTEN = w.healthy(figures=told(*left(SESSION, 20)), chains=w.chains(old_idle=(IDLE,)))


def test_an_idle_transaction_is_the_root_of_dead_rows_that_vacuum_had_to_leave() -> None:
    assert standing(FORGOTTEN) == ["idle_in_transaction", "vacuum_held_back", "table_bloat"]
    assert found(FORGOTTEN, "vacuum_held_back").follows == "idle_in_transaction"
    assert found(FORGOTTEN, "table_bloat").follows == "vacuum_held_back"
    finding = found(FORGOTTEN, "idle_in_transaction")
    assert finding.fact("root_pid") == 4242
    assert "holding vacuum back" in finding.summary
    assert finding.fact("others_wait") is False


def test_of_several_with_the_same_oldest_id_the_one_that_began_first_keeps_it() -> None:
    later = [
        w.figure(name, value, subject, f"pid 9, app, {state}")
        for subject, state, held_s in (("session:z", "active", 0.1), ("standby:z", "active", 60))
        for name, value in (("horizon_age_xids", 3000), ("horizon_held_s", held_s))
    ]
    evidence = replace(FORGOTTEN, figures=told(*left(SESSION, 20), *later))
    assert standing(evidence)[0] == "idle_in_transaction"


def test_a_report_on_a_standby_is_told_as_the_one_who_keeps_rows() -> None:
    evidence = w.healthy(figures=told(*left(STANDBY, 40, dead=70_000, rows=60_000)))
    assert standing(evidence) == ["vacuum_held_back"]
    assert diagnose(evidence).summary == (
        'The standby\'s feedback "db2" (pid 77, replicator, active) keeps 60000 dead rows of '
        "public.events from being removed."
    )


@pytest.mark.parametrize(
    "figures",
    [
        pytest.param(left(SESSION, 20, rows=0), id="they died since the last vacuum"),
        pytest.param(left(SESSION, 20, rows=900, dead=1_000), id="they are few"),
        pytest.param(left(SESSION, 20, vacuum_age_s=60), id="vacuum came before it began"),
        pytest.param(left(SESSION, 3, vacuum_age_s=1), id="it began a moment ago"),
        pytest.param(left(STANDBY, 9, vacuum_age_s=1), id="a standby says so every ten seconds"),
        pytest.param(left(SESSION, None), id="nobody knows since when"),
    ],
)
def test_nobody_is_blamed_for_dead_rows_that_others_would_have_had_as_well(
    figures: tuple[w.Figure, ...],
) -> None:
    evidence = w.healthy(figures=told(*figures), chains=w.chains(old_idle=(IDLE,)))
    assert not {"idle_in_transaction", "vacuum_held_back"} & {*standing(evidence)}


def test_a_long_transaction_at_work_is_no_idle_one() -> None:
    busy = ("session:report", "pid 51, app, active")
    evidence = w.healthy(figures=told(*left(busy, 900)), chains=w.chains(old_idle=(IDLE,)))
    assert standing(evidence) == ["vacuum_held_back", "table_bloat"]


def test_autovacuum_that_comes_and_may_not_remove_is_not_starved() -> None:
    busy = told(*left(SESSION, 20), w.figure("autovacuum_workers", 3), autovacuum_max_workers="3")
    evidence = replace(FORGOTTEN, figures=busy)
    assert "autovacuum_starved" not in standing(evidence)


# --- rows written over, and queues ----------------------------------------------------------------

RAN_LAST = "app@app (psql)"


def last(seconds_ago: float, statement: str) -> w.Figure:
    return w.figure("last_statement", seconds_ago, RAN_LAST, statement)


def test_rows_that_were_all_written_anew_once_are_the_root_of_the_dead_ones() -> None:
    figures = told(*of_table("public.orders", before=1.2e5, live=1.2e5, dead=1.2e5, updated=1.2e5))
    for evidence in (w.far(figures=figures), w.healthy(figures=figures)):
        assert standing(evidence) == ["mass_update", "table_bloat"]
        assert found(evidence, "table_bloat").follows == "mass_update"


def test_what_a_session_ran_last_tells_of_rows_that_the_statistics_have_not_yet() -> None:
    figures = told(
        w.figure("tables", 7, "app"),
        w.figure("table_live_rows", 1e5, "public.orders"),
        last(4, "UPDATE orders SET state = '…'"),
    )
    evidence = w.healthy(figures=figures)
    assert standing(evidence) == ["mass_update"]
    finding = found(evidence, "mass_update")
    assert (finding.fact("by"), finding.since) == (RAN_LAST, w.ago(4))


@pytest.mark.parametrize(
    "figures",
    [
        pytest.param(
            (w.figure("table_live_rows", 3, "public.beat"), last(1, "UPDATE beat SET at = now()")),
            id="a sign of life in a table of three rows",
        ),
        pytest.param(
            (
                w.figure("table_live_rows", 5e4, "public.ranks"),
                w.figure("table_updated_rows_total", 9e6, "public.ranks"),
                last(1, "UPDATE ranks SET score = ?"),
            ),
            id="scores that are reckoned anew every hour",
        ),
        pytest.param(
            (
                w.figure("table_live_rows", 1e5, "public.orders"),
                last(60, "UPDATE orders SET n = ?"),
            ),
            id="of a minute ago, and the statistics tell of none",
        ),
        pytest.param((last(1, "UPDATE elsewhere SET n = ?"),), id="a table that nobody knows"),
    ],
)
def test_whole_tables_that_are_written_every_day_are_no_accident(
    figures: tuple[w.Figure, ...],
) -> None:
    evidence = w.healthy(figures=told(w.figure("tables", 7, "app"), *figures))
    assert diagnose(evidence).verdict is Verdict.HEALTHY


def test_a_queue_whose_rows_are_taken_and_then_deleted_is_bloat_and_no_loss() -> None:
    queue = of_table("public.jobs", before=4e5, live=2e3, dead=8.3e5, deleted=3.98e5, updated=4e5)
    assert standing(w.healthy(figures=told(*queue))) == ["table_bloat"]


# --- emptied --------------------------------------------------------------------------------------


def vanished(age_s: float | None, *, sessions: float | None = 2) -> tuple[w.Figure, ...]:
    return (
        w.figure("tables", 7, "app"),
        w.figure("table_rows_vanished", 5e4, "public.orders", "12 scans, 80 by index"),
        w.figure("table_changed_age_s", age_s, "public.orders"),
        w.figure("table_sessions", sessions, "public.orders"),
    )


def test_a_table_in_use_that_was_emptied_a_moment_ago_is_named_without_a_log() -> None:
    evidence = w.far(figures=told(*vanished(30)))
    assert standing(evidence) == ["table_truncated"]
    finding = found(evidence, "table_truncated")
    assert (finding.fact("table"), finding.since) == ("orders", w.ago(30))


NEW_FILE = (
    w.figure("tables", 7, "app"),
    w.figure("table_rows_in_new_file", 5e4, "public.orders"),
    w.figure("table_sessions", 2, "public.orders"),
)


def in_new_file(detail: str, age_s: float = 30.0) -> tuple[w.Figure, ...]:
    return (
        w.figure("tables", 7, "app"),
        w.figure("table_rows_in_new_file", 5e4, "public.orders", detail),
        w.figure("table_changed_age_s", age_s, "public.orders"),
        w.figure("table_sessions", 2, "public.orders"),
    )


def test_a_table_that_was_emptied_and_filled_again_by_one_session_is_named_by_its_file() -> None:
    """The statistics then count the rows that were in it; its children, which nobody asks for, are
    empty by the statistics as well."""
    child = (
        w.figure("table_rows_vanished", 9e4, "public.lines", "6 scans, 0 by index"),
        w.figure("table_changed_age_s", 30.0, "public.lines"),
        w.figure("table_sessions", 0, "public.lines"),
    )
    evidence = w.far(figures=told(*in_new_file("no rewrite"), *child))
    assert standing(evidence) == ["table_truncated"]
    assert found(evidence, "table_truncated").fact("table") == "orders"


def test_what_a_session_truncated_last_is_named_before_the_statistics_have_it() -> None:
    evidence = w.healthy(figures=told(*NEW_FILE, last(4, "TRUNCATE TABLE orders")))
    assert standing(evidence) == ["table_truncated"]
    assert "by app@app (psql)" in " ".join(
        f.text for f in found(evidence, "table_truncated").evidence_for
    )


@pytest.mark.parametrize(
    "figures",
    [
        pytest.param(vanished(40_000), id="last night"),
        pytest.param(vanished(None), id="nobody knows when"),
        pytest.param(vanished(30, sessions=0), id="nobody asks for its rows"),
        pytest.param(NEW_FILE, id="rewritten by a migration"),
        pytest.param(in_new_file(""), id="rewritten, and without an index"),
        pytest.param(in_new_file("no rewrite", 40_000), id="emptied last night"),
        pytest.param(
            (*vanished(30, sessions=0), last(30, "TRUNCATE orders")),
            id="loaded, read through and emptied by a job",
        ),
        pytest.param((last(4, "TRUNCATE scratch"),), id="of which nothing is known"),
    ],
)
def test_tables_that_are_empty_as_they_should_be_were_not_lost(
    figures: tuple[w.Figure, ...],
) -> None:
    assert diagnose(w.healthy(figures=told(*figures))).verdict is Verdict.HEALTHY


# --- settings and rights --------------------------------------------------------------------------


def test_what_the_log_says_of_a_setting_that_waits_does_not_hide_that_it_waits() -> None:
    waits = told(w.figure("settings_pending_restart", 1, "", "max_connections"))
    evidence = w.healthy(figures=waits, symptoms=(d.stands(SymptomKind.LOG_CONFIG_ERROR, 5),))
    assert standing(evidence) == ["restart_pending"]
    assert diagnose(evidence).verdict is Verdict.CAUSE


MEMBER = w.figure("dangerous_member_age_s", 40, "bo", "pg_execute_server_program")


def test_a_role_that_became_a_member_of_a_dangerous_one_is_named() -> None:
    evidence = w.healthy(figures=told(w.figure("dangerous_roles", 2), MEMBER))
    assert standing(evidence) == ["dangerous_rights_gained"]
    finding = found(evidence, "dangerous_rights_gained")
    assert finding.summary.startswith('Role "bo" was made a member of pg_execute_server_program')
    assert finding.fact("role") == "bo"


def test_more_dangerous_roles_than_the_watch_had_counted_are_told_at_once() -> None:
    counted = told(w.figure("dangerous_roles", 3, "", "ann, postgres, stanch"))
    before = w.history(w.course("dangerous_roles", None, 2))
    assert standing(w.healthy(figures=counted, history=before)) == ["dangerous_rights_gained"]


@pytest.mark.parametrize("age_s", [86_400.0, None])
def test_a_membership_of_long_ago_was_not_gained(age_s: float | None) -> None:
    figures = told(w.figure("dangerous_roles", 2), replace(MEMBER, value=age_s))
    history = w.history(w.course("dangerous_roles", None, 2))
    assert diagnose(w.healthy(figures=figures, history=history)).verdict is Verdict.HEALTHY


# --- backups --------------------------------------------------------------------------------------

FAILED = w.course("backup_failed", 1, 1, "/dumps")
UNUSABLE = w.course("backup_unusable_s", 3e4, 3e4, "/dumps")
TOO_OLD = w.course("backup_age_s", 1e5, 1e5, "/dumps")


def test_a_newest_backup_that_is_not_whole_is_the_root_of_there_being_none_young_enough() -> None:
    symptom = d.stands(SymptomKind.BACKUP_FAILED, 5, "/dumps", "app-2026-03-01.sql: is empty")
    evidence = w.healthy(
        history=d.courses(FAILED, UNUSABLE, TOO_OLD), symptoms=(symptom,), backup_old_s=86_400.0
    )
    assert standing(evidence) == ["backup_unrestorable", "backup_failed"]
    assert found(evidence, "backup_failed").follows == "backup_unrestorable"
    assert "app-2026-03-01.sql: is empty" in diagnose(evidence).summary


def test_a_run_that_left_nothing_behind_is_a_backup_that_failed() -> None:
    whole = w.course("backup_unusable_s", 0, 0, "/dumps")
    failed = w.healthy(history=d.courses(FAILED, whole))
    assert standing(failed) == ["backup_failed"]


def test_a_backup_that_is_older_than_policy_allows_is_told_before_the_rule_wakes_anybody() -> None:
    good = w.course("backup_failed", 0, 0, "/dumps"), TOO_OLD
    evidence = w.healthy(history=d.courses(*good), backup_old_s=86_400.0)
    assert standing(evidence) == ["backup_failed"]
    weekly = replace(evidence, backup_old_s=8 * 86_400.0)
    assert diagnose(weekly).verdict is Verdict.HEALTHY


def test_files_that_one_walk_missed_inside_the_archive_are_told_to_who_asks() -> None:
    walked = d.courses(
        w.course("archive_holes", 0, 0, "/wal"),
        w.course("archive_gap_segments", 0, 0, "/wal"),
        w.course("archive_missed_bytes", 32 * w.MIB, 32 * w.MIB, "/wal"),
    )
    evidence = w.healthy(history=walked)
    assert standing(evidence) == ["archive_gap"]
    assert diagnose(evidence).summary.startswith("WAL files are missing inside the archive")


def test_an_archive_that_ended_too_early_before_anything_else_was_wrong_has_a_gap() -> None:
    ended = w.course("archive_gap_segments", 2, 2, "/wal")
    assert standing(w.healthy(history=d.courses(ended))) == ["archive_gap"]
    on_its_way = replace(ended, low=0.0)
    assert diagnose(w.healthy(history=d.courses(on_its_way))).verdict is Verdict.HEALTHY
