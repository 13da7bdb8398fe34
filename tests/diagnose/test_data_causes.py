"""Damage, loss and ends of numbers: what is named, and what only looks like it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import evidences as w
from cases_data import (
    BAD_CATALOG,
    BAD_PAGE,
    CASES,
    DROPPED,
    MISSED,
    NO_ORDERS,
    again,
    error,
    of_table,
    told,
)
from stanch.diagnose.evidence import Evidence, Reading
from stanch.diagnose.figures import Figures
from stanch.diagnose.outside import LogEvent
from stanch.diagnose.rank import STANDS_FROM, diagnose
from stanch.model.diagnosis import CauseFinding, Verdict
from stanch.model.ids import TargetName
from stanch.model.symptoms import Symptom, SymptomKind


def standing(evidence: Evidence) -> list[str]:
    return [c.id for c in diagnose(evidence).causes if c.probability >= STANDS_FROM]


def found(evidence: Evidence, cause_id: str) -> CauseFinding:
    return next(c for c in diagnose(evidence).causes if c.id == cause_id)


def seen(kind: SymptomKind, subject: str = "") -> Symptom:
    return Symptom(kind=kind, target=TargetName("orders"), since=w.ago(300), subject=subject)


# --- damage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("cause_id", [c for c in CASES if c.endswith(("corruption", "drift"))])
def test_damage_is_never_answered_with_a_start_or_by_deleting_old_logs(cause_id: str) -> None:
    finding = found(CASES[cause_id], cause_id)
    assert {"start_server", "set_aside_lock_file", "free_space"} <= set(finding.forbids)
    assert finding.runbook == ""


def test_a_damaged_page_is_told_with_its_file_and_block_and_with_failing_storage() -> None:
    courses = w.history(w.course("kernel_messages_total", 0.0, 0.2, "io_error"))
    finding = found(replace(CASES["page_corruption"], history=courses), "page_corruption")
    assert finding.summary == (
        "Data pages are damaged: block 3 of base/16384/16401; the kernel tells of io_error."
    )
    assert (finding.fact("file"), finding.fact("block")) == ("base/16384/16401", 3)
    assert finding.fact("storage_failing") is True
    assert finding.since == w.ago(7)


def test_a_page_that_fails_its_checksum_is_named_where_no_log_can_be_read() -> None:
    failed = w.figure("checksum_failure_age_s", 40.0, "app", "2 in all")
    assert standing(w.far(figures=told(failed))) == ["page_corruption"]


def test_a_checksum_that_failed_weeks_ago_is_no_damage_of_today() -> None:
    failed = w.figure("checksum_failure_age_s", 20 * 86400.0, "app", "2 in all")
    counted = w.figure("checksum_failures_total", 2)
    assert diagnose(w.healthy(figures=told(failed, counted))).verdict is Verdict.HEALTHY


def test_what_the_watch_saw_of_damage_counts_when_the_log_has_moved_on() -> None:
    symptoms = (
        seen(SymptomKind.CHECKSUM_FAILURES),
        seen(SymptomKind.LOG_CORRUPTION, "invalid_page"),
    )
    evidence = w.far(symptoms=symptoms)
    assert standing(evidence) == ["page_corruption"]
    assert found(evidence, "page_corruption").since == w.ago(300)


def test_errors_of_storage_alone_are_no_damaged_page() -> None:
    courses = w.history(w.course("kernel_messages_total", 0.0, 0.2, "io_error"))
    assert "page_corruption" not in standing(w.healthy(history=courses))


def test_a_damaged_page_of_a_catalog_is_one_story_with_the_page_as_its_root() -> None:
    bad = 'invalid page in block 3 of relation "base/16384/1249"'
    evidence = w.healthy(log=w.log(*again("invalid_page", bad, 4)))
    assert standing(evidence) == ["page_corruption", "catalog_corruption"]
    assert found(evidence, "catalog_corruption").follows == "page_corruption"


def test_a_catalog_line_that_comes_once_is_a_race_and_no_damage() -> None:
    once = w.healthy(log=w.log(error("catalog_damaged", 30, BAD_CATALOG)))
    assert diagnose(once).verdict is Verdict.HEALTHY


def test_a_type_that_was_dropped_right_before_explains_what_sessions_still_ask_for() -> None:
    gone = w.change(25, "object", "mood", "ran DROP TYPE mood; by app@app (psql)")
    evidence = replace(CASES["catalog_corruption"], changes=w.changes(gone))
    assert "catalog_corruption" not in standing(evidence)


def test_a_damaged_index_on_text_follows_from_the_collation_that_changed() -> None:
    drift = CASES["collation_drift"]
    evidence = replace(CASES["index_corruption"], figures=drift.figures)
    assert standing(evidence) == ["collation_drift", "index_corruption"]
    finding = found(evidence, "index_corruption")
    assert finding.follows == "collation_drift"
    assert finding.fact("index") == "orders_pkey"
    assert "made with 2.31, now 2.36" in finding.summary


@pytest.mark.parametrize("detail", ["made with 2.36, now ", "made with , now 2.36"])
def test_a_collation_version_that_nobody_knows_is_no_drift(detail: str) -> None:
    unknown = w.figure("collation_of_database", 1, "app", detail)
    evidence = w.healthy(figures=told(unknown, w.figure("version_num", 160004)))
    assert diagnose(evidence).verdict is Verdict.HEALTHY


def test_a_collation_that_only_the_watch_has_counted_is_named() -> None:
    courses = w.history(w.course("collation_mismatches", 2, 2, "shop"))
    evidence = w.healthy(history=courses)
    assert standing(evidence) == ["collation_drift"]
    assert "in shop" in found(evidence, "collation_drift").summary


def test_old_lines_of_damage_are_not_of_now() -> None:
    old = w.healthy(log=w.log(error("invalid_page", 7200, BAD_PAGE)))
    assert diagnose(old).verdict is Verdict.HEALTHY


# --- gone -----------------------------------------------------------------------------------------


def test_a_dropped_table_is_told_with_who_dropped_it_and_when() -> None:
    drop = w.line("object_dropped", 70, "statement: DROP TABLE IF EXISTS orders;", who="ops@app")
    evidence = w.healthy(log=w.log(drop, *MISSED))
    assert standing(evidence) == ["table_dropped"]
    finding = found(evidence, "table_dropped")
    assert finding.fact("dropped_by") == "ops@app"
    assert finding.fact("dropped_at") == w.ago(70).isoformat()
    assert finding.since == w.ago(39)


def test_a_schema_that_was_dropped_takes_its_tables_along() -> None:
    drop = w.line("object_dropped", 70, "statement: DROP SCHEMA shop CASCADE", who="ops@app")
    assert standing(w.healthy(log=w.log(drop, *MISSED))) == ["table_dropped"]


def test_a_table_that_was_dropped_with_a_hundred_others_is_known_from_the_crowd() -> None:
    crowd = w.change(50, "relation", "app.public", "is gone; it was: 40 gone: items, orders, x, …")
    evidence = w.healthy(log=w.log(*MISSED), changes=w.changes(crowd))
    assert standing(evidence) == ["table_dropped"]


def test_a_missing_table_of_which_nothing_else_is_known_is_told_and_not_decided() -> None:
    diagnosis = diagnose(w.healthy(log=w.log(*MISSED)))
    assert [c.id for c in diagnosis.causes] == []
    unclear = w.healthy(log=w.log(*MISSED), chains=w.chains(w.chain(4, 12.0)))
    shown = {str(c.id): c.probability for c in diagnose(unclear).causes}
    assert shown["table_dropped"] < STANDS_FROM
    assert shown["schema_mismatch"] < STANDS_FROM


def test_a_table_that_is_there_in_another_schema_was_not_dropped() -> None:
    figures = told(w.figure("tables", 7, "app"))
    evidence = w.healthy(log=w.log(*MISSED), figures=figures)
    assert standing(evidence) == ["schema_mismatch"]


def test_a_search_path_that_was_changed_hides_tables() -> None:
    path = w.change(45, "role", "app", "ran ALTER ROLE app SET search_path TO '…'; by ops@app")
    evidence = w.healthy(log=w.log(*MISSED), changes=w.changes(path))
    assert standing(evidence) == ["schema_mismatch"]
    assert "search_path" in found(evidence, "schema_mismatch").summary


def test_a_drop_of_another_table_is_not_what_is_missed() -> None:
    other = w.change(70, "relation", "app.public.orders_old", DROPPED.told)
    evidence = w.healthy(log=w.log(*MISSED), changes=w.changes(other))
    assert "table_dropped" not in standing(evidence)


def test_a_table_that_has_been_asked_for_in_vain_ever_since_is_nobodys_loss() -> None:
    evidence = w.healthy(log=w.log(*again("no_such_table", NO_ORDERS, 1700)))
    assert diagnose(evidence).verdict is Verdict.HEALTHY


def test_a_slip_of_one_person_is_nobodys_loss() -> None:
    evidence = w.healthy(
        log=w.log(*again("no_such_table", NO_ORDERS, 3)), changes=w.changes(DROPPED)
    )
    assert diagnose(evidence).verdict is Verdict.HEALTHY


def test_a_table_that_is_emptied_every_night_was_not_lost() -> None:
    cut = [w.line("table_truncated", s, "statement: TRUNCATE orders") for s in (3500, 1700, 80)]
    evidence = replace(CASES["table_truncated"], log=w.log(*cut))
    assert diagnose(evidence).verdict is Verdict.HEALTHY


def test_a_table_that_a_suite_of_tests_truncates_again_and_again_is_lost() -> None:
    cut = [w.line("table_truncated", s, "statement: TRUNCATE orders") for s in (84, 82, 80)]
    evidence = replace(CASES["table_truncated"], log=w.log(*cut))
    assert standing(evidence) == ["table_truncated"]


def test_a_truncated_table_that_was_filled_again_was_not_lost() -> None:
    filled = told(w.figure("tables", 7, "app"))
    assert diagnose(replace(CASES["table_truncated"], figures=filled)).verdict is Verdict.HEALTHY


def test_a_large_table_that_lost_its_size_was_truncated() -> None:
    courses = w.history(
        w.course("table_size_bytes", 5e9, None, "app.public.orders"),
        w.course("table_size_bytes", 1e9, 1e9, "app.public.items"),
    )
    noted = w.change(80, "relation", "app.public.orders", "ran TRUNCATE orders; by ops@app")
    evidence = w.healthy(history=courses, changes=w.changes(noted))
    assert "4768 MiB" in diagnose(evidence).summary
    assert standing(evidence) == ["table_truncated"]


def test_the_watchs_own_database_that_was_there_before_is_gone() -> None:
    detail = 'FATAL 3D000: database "shop" does not exist'
    evidence = w.healthy(
        reach=w.reach("no_such_database", detail),
        sessions=w.NOT_SERVED,
        chains=w.NOT_SERVED,
        figures=w.NOT_SERVED,
        well_at=w.ago(30),
    )
    assert standing(evidence) == ["database_dropped"]
    assert found(evidence, "database_dropped").fact("database") == "shop"


def test_a_database_whose_folder_is_missing_was_not_dropped() -> None:
    detail = (
        'FATAL 3D000: database "shop" does not exist '
        '(The database subdirectory "base/16384" is missing.)'
    )
    evidence = w.healthy(
        reach=w.reach("no_such_database", detail),
        sessions=w.NOT_SERVED,
        chains=w.NOT_SERVED,
        figures=w.NOT_SERVED,
        log=w.log(*again("no_such_database", 'database "shop" does not exist')),
        well_at=w.ago(30),
    )
    assert standing(evidence) == ["data_files_removed"]
    assert "base/16384, the folder of a database, is not there" in diagnose(evidence).summary


NO_CUSTOMERS = again("no_such_database", 'database "customers" does not exist')
ENDED = "terminating connection due to administrator command"


def asked_in_vain(*lines: LogEvent, **more: Any) -> Evidence:
    figures = told(w.figure("xid_age_of_database", 1e6, "postgres"))
    return w.healthy(log=w.log(*lines, *NO_CUSTOMERS), figures=figures, **more)


def test_a_database_whose_sessions_were_ended_before_it_is_missed_was_dropped() -> None:
    ended = w.line("session_ended", 41, ENDED, severity="FATAL", who="web@customers (shop)")
    assert standing(asked_in_vain(ended)) == ["database_dropped"]


def test_a_database_of_which_the_size_was_seen_was_dropped() -> None:
    courses = w.history(w.course("database_size_bytes", 8e6, None, "customers"))
    assert standing(asked_in_vain(history=courses)) == ["database_dropped"]


def test_a_database_that_is_missed_right_after_a_forced_checkpoint_was_dropped() -> None:
    """Also where the log begins with it."""
    forced = w.line("checkpoint_forced", 40.5, "checkpoint starting: immediate force wait")
    assert standing(asked_in_vain(forced)) == ["database_dropped"]


@pytest.mark.parametrize(
    "line",
    [
        w.line("checkpoint_forced", 90, "checkpoint starting: immediate force wait"),
        w.line("session_ended", 41, ENDED, severity="FATAL", who="web@app (shop)"),
        w.line(
            "auth_failed",
            41,
            "password authentication failed",
            severity="FATAL",
            who="web@customers",
        ),
    ],
    ids=["a backup before", "sessions of another database", "a login that never came in"],
)
def test_a_database_in_which_nobody_was_seen_is_a_wrong_name(line: LogEvent) -> None:
    courses = w.history(w.course("database_size_bytes", 8e6, 8e6, "app"))
    for evidence in (asked_in_vain(line), asked_in_vain(line, history=courses)):
        assert "database_dropped" not in standing(evidence)


def test_a_database_that_is_listed_was_not_dropped() -> None:
    figures = told(w.figure("xid_age_of_database", 1e6, "shop"))
    evidence = replace(CASES["database_dropped"], figures=figures)
    assert "database_dropped" not in standing(evidence)


# --- rows -----------------------------------------------------------------------------------------

DELETED = of_table("public.orders", before=1e6, live=1e3, dead=999e3, deleted=999e3)


def test_rows_that_are_gone_by_the_statistics_alone_are_named() -> None:
    evidence = w.far(figures=told(*DELETED))
    assert standing(evidence)[0] == "mass_delete"
    finding = found(evidence, "mass_delete")
    assert finding.summary.startswith("999000 of 1000000 rows of public.orders were deleted")
    assert finding.fact("rows_dead") == 999e3


def test_a_delete_that_still_runs_is_told_with_the_session_to_cancel() -> None:
    running = w.doing(1, query="DELETE FROM orders", oldest_pid=4711, usename="ops")
    evidence = w.healthy(activity=w.activity(running), figures=told(*DELETED))
    finding = found(evidence, "mass_delete")
    assert finding.fact("pid") == 4711
    assert "4711" in finding.summary


@pytest.mark.parametrize(
    "figures",
    [
        of_table("public.queue", before=5e4, live=0, dead=5e4, deleted=9e7),
        of_table("public.orders", before=1e6, live=8e5, dead=2e5, deleted=2e5),
        of_table("public.tiny", before=200, live=0, dead=200, deleted=200),
    ],
    ids=["a queue that was worked off", "a purge of the oldest", "a table of a few rows"],
)
def test_rows_that_are_deleted_as_usual_are_no_loss(figures: tuple[w.Figure, ...]) -> None:
    assert "mass_delete" not in standing(w.healthy(figures=told(*figures)))


def test_a_staging_table_that_is_emptied_by_a_statement_is_no_loss() -> None:
    emptied = w.line("whole_table_deleted", 50, "statement: DELETE FROM staging")
    evidence = w.healthy(log=w.log(emptied), figures=told(w.figure("tables", 7, "app")))
    assert diagnose(evidence).verdict is Verdict.HEALTHY


@pytest.mark.parametrize(("changes", "named"), [(1e6, True), (0.0, False)])
def test_an_update_that_was_rolled_back_changed_nothing(changes: float, named: bool) -> None:
    """What it leaves behind are dead rows."""
    table = of_table("public.orders", before=1e6, live=1e6, dead=1e6, updated=1e6)
    counted = w.figure("table_changes_since_analyze", changes, "public.orders")
    evidence = w.far(figures=told(*table, counted))
    assert ("mass_update" in standing(evidence)) is named
    assert "table_bloat" in standing(evidence)


def at_once(rows: float, ever: float) -> Evidence:
    """Forty rows a second are updated; in one second it were many more, and vacuum has come."""
    jump = replace(w.course("rows_updated_total", 40, 45), peak=rows)
    known = (
        w.figure("tables", 7, "app"),
        w.figure("table_live_rows", 151_583.0, "public.orders"),
        w.figure("table_updated_rows_total", ever, "public.orders"),
    )
    return w.healthy(figures=told(*known), history=w.history(jump))


def test_an_update_of_all_rows_is_seen_by_a_watch_though_vacuum_was_quicker() -> None:
    found = diagnose(at_once(151_426, 151_426)).first
    assert found is not None
    assert (found.id, found.subject) == ("mass_update", "public.orders")


def test_an_update_of_all_rows_right_before_somebody_reported_it_is_seen_as_well() -> None:
    seen = at_once(151_426, 151_426)
    jump = replace(w.course("rows_updated_total", 40, 45), lead=151_426)
    assert "mass_update" in standing(replace(seen, history=w.history(jump)))


def deleted(rows: float, ever: float, left: float, dead: float = 0.0) -> Evidence:
    """Twenty rows a second are deleted; in one second it were many more, and vacuum has come."""
    jump = replace(w.course("rows_deleted_total", 20, 22), peak=rows)
    known = (
        w.figure("tables", 7, "app"),
        w.figure("table_live_rows", left, "public.memberships"),
        w.figure("table_deleted_rows_total", ever, "public.memberships"),
        w.figure("table_dead_rows", dead, "public.memberships"),
    )
    return w.healthy(figures=told(*known), history=w.history(jump))


@pytest.mark.parametrize("rows", [16_800, 40_000])
def test_a_delete_of_all_rows_is_seen_by_a_watch_though_vacuum_was_quicker(rows: float) -> None:
    found = diagnose(deleted(rows, 16_894, 103)).first
    assert found is not None
    assert (found.id, found.subject) == ("mass_delete", "public.memberships")


def test_what_is_deleted_every_night_or_leaves_the_most_is_no_accident() -> None:
    assert "mass_delete" not in standing(deleted(16_800, 500_000, 103))
    assert "mass_delete" not in standing(deleted(16_800, 16_894, 12_000))


def test_a_queue_whose_dead_rows_pile_up_was_not_emptied_by_mistake() -> None:
    assert "mass_delete" not in standing(deleted(16_800, 16_894, 103, dead=16_000))


def test_a_large_job_is_no_update_of_all_rows() -> None:
    assert "mass_update" not in standing(at_once(30_000, 151_426))
    assert "mass_update" not in standing(at_once(151_426, 9e6))


def test_a_table_that_is_much_updated_was_not_written_over() -> None:
    busy = of_table("public.stock", before=1e6, live=1e6, dead=9e5, updated=4e8)
    assert "mass_update" not in standing(w.healthy(figures=told(*busy)))


def test_a_table_all_of_whose_rows_small_updates_have_come_to_was_not_written_over() -> None:
    worked_on = of_table("public.builds", before=4e3, live=4e3, dead=1e4, updated=1e4)
    assert "mass_update" not in standing(w.healthy(figures=told(*worked_on)))
    by_and_by = of_table("public.builds", before=4e3, live=4e3, dead=5e3, updated=5e3)
    steady = w.history(w.course("rows_updated_total", 40, 45))
    assert "mass_update" not in standing(w.healthy(figures=told(*by_and_by), history=steady))


def test_a_condition_that_compares_a_column_with_itself_is_none() -> None:
    running = w.doing(1, query="UPDATE orders SET n = n * ? WHERE o.owner = o.owner;")
    table = of_table("public.orders", before=1e6, live=1e6, dead=1e6, updated=1e6)
    evidence = w.healthy(activity=w.activity(running), figures=told(*table))
    assert standing(evidence)[0] == "mass_update"


def test_a_statement_with_a_condition_writes_no_whole_table() -> None:
    other = "UPDATE orders SET n = ? WHERE owner = buyer"
    for query in (
        other,
        "UPDATE orders SET n = ? WHERE id = ?",
        "DELETE FROM orders WHERE id = ?",
    ):
        running = w.activity(w.doing(3, query=query))
        assert diagnose(w.healthy(activity=running)).verdict is Verdict.HEALTHY


def test_far_more_deleted_rows_than_usual_speak_for_it() -> None:
    leap = w.history(w.course("rows_deleted_total", 5, 90_000))
    calm = w.history(w.course("rows_deleted_total", 90_000, 90_000))
    base = w.far(figures=told(*DELETED))
    more, less = (found(replace(base, history=h), "mass_delete").probability for h in (leap, calm))
    assert more > found(base, "mass_delete").probability > less


# --- ends of numbers ------------------------------------------------------------------------------


def test_an_exhausted_sequence_is_told_by_name_and_last_number() -> None:
    finding = found(CASES["sequence_exhausted"], "sequence_exhausted")
    assert finding.fact("sequence") == "orders_id_seq"
    assert finding.fact("last_value") == 2147483647
    assert any("CYCLE" in warning for warning in finding.never)


def test_a_sequence_at_its_last_number_is_known_without_a_log() -> None:
    courses = w.history(w.course("sequence_used_pct", 100.0, 100.0, "app.public.orders_id_seq"))
    assert standing(w.far(history=courses)) == ["sequence_exhausted"]


@pytest.mark.parametrize(
    ("name", "subject", "cause_id"),
    [
        ("sequence_used_pct", "app.public.orders_id_seq", "sequence_exhausted"),
        ("int4_key_used_pct", "app.public.lines.id", "int4_overflow"),
    ],
)
@pytest.mark.parametrize("asked", [True, False])
def test_numbers_near_their_end_hurt_later(
    asked: bool, name: str, subject: str, cause_id: str
) -> None:
    near = (
        w.healthy(figures=w.figures(w.figure(name, 97.0, subject)))
        if asked
        else w.healthy(history=w.history(w.course(name, 96.9, 97.0, subject)))
    )
    finding = found(near, cause_id)
    assert finding.hurts_later
    assert finding.summary.endswith("inserts fail soon.")
    assert subject in finding.summary
    assert "97.0 %" in finding.summary


@pytest.mark.parametrize("name", ["sequence_used_pct", "int4_key_used_pct"])
def test_numbers_far_from_their_end_are_healthy(name: str) -> None:
    far = w.healthy(figures=w.figures(w.figure(name, 89.0, "app.public.orders_id_seq")))
    assert diagnose(far).verdict is Verdict.HEALTHY


def test_of_a_sequence_that_ends_with_its_column_the_column_is_told() -> None:
    both = w.figures(
        w.figure("sequence_used_pct", 97.0, "app.public.lines_id_seq"),
        w.figure("int4_key_used_pct", 97.0, "app.public.lines.id"),
    )
    assert standing(w.healthy(figures=both)) == ["int4_overflow"]


def test_a_key_that_has_outgrown_its_column_is_told_with_the_column() -> None:
    used = w.history(w.course("int4_key_used_pct", 100.0, 100.0, "app.public.lines.order_id"))
    evidence = replace(CASES["int4_overflow"], history=used)
    finding = found(evidence, "int4_overflow")
    assert finding.fact("column") == "app.public.lines.order_id"
    assert finding.fact("table") == "lines"
    assert finding.probability > found(CASES["int4_overflow"], "int4_overflow").probability


def test_sums_that_do_not_fit_an_integer_are_no_key() -> None:
    reads = again("integer_out_of_range", "integer out of range", statement="SELECT a * b FROM t")
    assert diagnose(w.healthy(log=w.log(*reads))).verdict is Verdict.HEALTHY


def test_keys_that_are_known_to_be_far_from_the_end_do_not_overflow() -> None:
    used = w.history(w.course("int4_key_used_pct", 40.0, 40.0, "app.public.lines.id"))
    evidence = replace(CASES["int4_overflow"], history=used)
    assert "int4_overflow" not in standing(evidence)


# --- strangers' words -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["\x1b[2J", "<b>", "x' OR 1=1 --", "a" * 5000, ""])
def test_hostile_names_neither_break_nor_swell_the_answer(name: str) -> None:
    lines = (
        *again("no_such_table", f'relation "{name}" does not exist'),
        *again("no_such_database", f'database "{name}" does not exist'),
        w.line("table_truncated", 9, f"statement: TRUNCATE {name}"),
        w.line("object_dropped", 9, f"statement: DROP TABLE {name}"),
        w.line("whole_table_deleted", 9, f"statement: DELETE FROM {name}"),
    )
    diagnosis = diagnose(w.healthy(log=w.log(*lines)))
    assert all(len(c.summary) <= 600 for c in diagnosis.causes)


# --- whose pages are damaged ----------------------------------------------------------------------

BAD_INDEX_PAGE = "invalid page in block 1 of relation base/16384/16402"


def files(*found: tuple[str, str, bool]) -> Reading[Figures]:
    """Number, relation, and whether it is an index."""
    return told(*(w.figure("damaged_file", float(i), number, name) for number, name, i in found))


def test_damaged_pages_of_an_index_alone_are_a_damaged_index() -> None:
    evidence = w.healthy(
        log=w.log(*again("invalid_page", BAD_INDEX_PAGE, 4)),
        figures=files(("16402", "public.orders_pkey", True)),
    )
    assert standing(evidence) == ["index_corruption"]
    assert "public.orders_pkey" in diagnose(evidence).summary


@pytest.mark.parametrize(
    "figures",
    [
        pytest.param(
            files(("16401", "public.orders", False), ("16402", "public.orders_pkey", True)),
            id="of a table, too",
        ),
        pytest.param(files(("16402", "public.orders_pkey", True)), id="one is not known"),
        pytest.param(told(), id="none is known"),
    ],
)
def test_damaged_pages_of_anything_else_are_damaged_pages(figures: Reading[Figures]) -> None:
    lines = (*again("invalid_page", BAD_PAGE, 4), *again("invalid_page", BAD_INDEX_PAGE, 4))
    named = standing(w.healthy(log=w.log(*lines), figures=figures))
    assert named[0] == "page_corruption"


COLUMN_MOVED = 'collation "en-x-icu" has version mismatch'
UNKNOWN_NOW = 'database "app" has no actual collation version, but a version was recorded'


def warned(text: str, seconds_ago: float) -> Evidence:
    line = w.line("collation_mismatch", seconds_ago, text, severity="WARNING")
    return w.healthy(log=w.log(line), history=w.history(w.course("collation_mismatches", 0, 0)))


def test_a_collation_of_one_column_is_told_by_the_warning_alone() -> None:
    assert standing(warned(COLUMN_MOVED, 40)) == ["collation_drift"]


@pytest.mark.parametrize(("text", "seconds_ago"), [(COLUMN_MOVED, 1800), (UNKNOWN_NOW, 40)])
def test_a_warning_of_long_ago_or_of_a_version_nobody_knows_is_no_drift(
    text: str, seconds_ago: float
) -> None:
    assert standing(warned(text, seconds_ago)) == []
