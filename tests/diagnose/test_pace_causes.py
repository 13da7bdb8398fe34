"""What a stranger sees in two looks at a server, and what only looks like it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import evidences as w
import paces as p
from cases_data import error, told
from cases_locks import figures
from stanch.diagnose.clues.twice import asks_for_all
from stanch.diagnose.evidence import Evidence, Reading
from stanch.diagnose.rank import STANDS_FROM, diagnose
from stanch.facts.workings import Doing, Ended
from stanch.model.diagnosis import CauseFinding, Missing, Verdict
from stanch.model.host import ProcessorUse, ProgramUse
from stanch.model.ids import TargetName
from stanch.model.symptoms import Symptom, SymptomKind

NOBODY = Missing(what="history", reason="nobody watches this server")

BY_CUSTOMER = "SELECT id, state FROM orders WHERE customer_id = ? ORDER BY made_at DESC LIMIT ?"
BY_KEY = "SELECT id, state FROM orders WHERE id = ?"
NEWEST = "SELECT id, state FROM orders ORDER BY made_at DESC LIMIT ?"
PREPARED = "SELECT id, state FROM orders WHERE customer_id = $1 ORDER BY made_at DESC LIMIT $2"
EVERY_PAGE = "SELECT id, count(*) OVER () AS total FROM orders ORDER BY made_at OFFSET ? LIMIT ?"
EVERY_STATE = "SELECT state, count(*) FROM orders GROUP BY state"


def stranger(*doings: Doing | Ended, **differs: Any) -> Evidence:
    """Of a server that nobody has watched; it does what it does every day, and this."""
    evidence = w.healthy(
        history=NOBODY,
        changes=Missing(what="changes", reason="nobody watches this server"),
        onset=None,
        pace=p.pace(),
        activity=w.activity(*(doings or (w.doing(2),))),
    )
    return replace(evidence, **differs)


def searching(sessions: int = 4, query: str = BY_CUSTOMER, **more: Any) -> Doing:
    return w.doing(sessions, query=query, query_id="7", **{"oldest_query_s": 0.1, **more})


def standing(evidence: Evidence) -> list[str]:
    return [c.id for c in diagnose(evidence).causes if c.probability >= STANDS_FROM]


def first(evidence: Evidence) -> CauseFinding:
    found = diagnose(evidence).first
    assert found is not None
    return found


INDEXED = replace(p.READ_WHOLE, indexed=("customer_id", "id", "made_at"))
NO_INDEX_SCANS = figures(
    w.figure("role_settings", None, "app@", "work_mem=8MB, enable_indexscan=off")
)
STALE = w.figure("table_unanalyzed_rows", 8000.0, "public.orders", "13000 live; last analyze never")
LOADED = figures(STALE)
UNKNOWN = figures(w.figure("table_columns_unknown", 1.0, "public.orders", "note, customer_id"))
OTHERS_UNKNOWN = figures(w.figure("table_columns_unknown", 1.0, "public.orders", "note"))
GENERIC = figures(w.figure("role_settings", None, "app@", "plan_cache_mode=force_generic_plan"))
HEAVY = p.table(index_scans=p.grown(80e6, 12), index_rows=p.grown(160e6, 2.6e6))
FOR_SECONDS = searching(query=PREPARED, oldest_query_s=6.0)
SLOWER = p.statement("7", calls=p.grown(3.5e6, 4), ms=p.grown(14e6, 9000.0))
CROWDED = figures(w.figure("active_without_wait", 40.0), w.figure("client_backends", 60.0))
CAMPAIGN = p.pace(commits=p.grown(86.4e6, 1900))
STORM = p.pace(sessions=p.grown(864e3, 180), commits=p.grown(86.4e6, 290))
OTHER_TABLE = searching(query="SELECT id FROM orders_archive WHERE customer_id = ?")


def invalid(leads: str, **more: Any) -> Evidence:
    """An index whose making was called off, on a table that has been read whole ever since."""
    index = "public.orders_by_customer"
    found = (
        w.figure("index_invalid", 1, index, "orders"),
        w.figure("index_invalid_leads", None, index, leads),
    )
    return stranger(searching(1), figures=figures(*found), pace=p.pace(AS_ALWAYS), **more)


JOINED = "SELECT a.state, sum(b.amount) FROM orders a JOIN orders b ON a.made_at < b.made_at"
DUMPING = w.doing(
    2, "Client:ClientWrite", query="COPY public.orders (id) TO stdout", application_name="pg_dump"
)
REPORTS = searching(3, query=JOINED, oldest_query_s=18.0)
KNOWN = p.pace(statements=(p.statement("4", calls=p.grown(3e6, 90), ms=p.grown(9e6, 300)),))
OLD_REPORT = p.pace(statements=(p.statement("7", calls=p.grown(900, 0), ms=p.grown(18e6, 0)),))
SPARSE = figures(w.figure("table_sparse_pages", 9000.0, "public.orders", "400 live"))
LOOKED_AT = p.pace(p.table(rows=400, whole_scans=p.grown(9e6, 5), whole_rows=p.grown(4e9, 2e3)))


def busy(idle: float = 0.0, waited: float = 0.8, **differs: Any) -> Reading[ProcessorUse]:
    """Four processors."""
    usual: dict[str, Any] = {
        "seconds": 1.0,
        "processors": 4,
        "idle": idle,
        "server": 3.6,
        "looking": 0.1,
        "server_waited_share": waited,
        "programs": (),
    }
    return w.read(ProcessorUse(**(usual | differs)))


NO_TIME = Missing(what="pace", reason="no time was left for a second look")
DUMPS = (
    ProgramUse(pid=71, name="pg_dump", used=0.7),
    ProgramUse(pid=72, name="pg_dump", used=0.6),
)
EVERY_DAY = p.table(whole_scans=p.grown(20e6, 25), whole_rows=p.grown(8e12, 10e6))
AS_ALWAYS = replace(p.READ_WHOLE, whole_rows=p.grown(1e12, p.READ_WHOLE.whole_rows.by))
SEEN: dict[str, tuple[str, Evidence]] = {
    "a table that is read whole, and an invalid index for just that": (
        "missing_index",
        invalid("customer_id"),
    ),
    "a large table that is read whole again and again since a moment ago, by a column without an "
    "index": ("missing_index", stranger(searching(), pace=p.pace(p.READ_WHOLE))),
    "pages that count all rows of a table each time they show fifty of them": (
        "bad_query",
        stranger(searching(query=EVERY_PAGE), pace=p.pace(p.READ_WHOLE)),
    ),
    "the same beside more sessions that look by the key, for which there is an index": (
        "missing_index",
        stranger(searching(1), searching(3, query=BY_KEY), pace=p.pace(p.READ_WHOLE)),
    ),
    "the newest rows that are sorted anew each time, and no index on their time": (
        "missing_index",
        stranger(searching(query=NEWEST), pace=p.pace(p.READ_WHOLE)),
    ),
    "the same where few are seen at it": (
        "missing_index",
        stranger(searching(1), w.doing(1), pace=p.pace(p.READ_WHOLE)),
    ),
    "the same where all who look for rows are between two statements": (
        "missing_index",
        stranger(w.ended(4, BY_CUSTOMER), pace=p.pace(p.READ_WHOLE)),
    ),
    "a table that is read whole though its index begins with the column, where a role may not use "
    "indexes": (
        "plan_flip",
        stranger(searching(), pace=p.pace(INDEXED), figures=NO_INDEX_SCANS),
    ),
    "the newest rows that are sorted anew each time though there is an index on their time": (
        "plan_flip",
        stranger(searching(query=NEWEST), pace=p.pace(INDEXED), figures=NO_INDEX_SCANS),
    ),
    "a page that costs a thousand times as much by chance, for one database": (
        "plan_flip",
        stranger(
            searching(),
            pace=p.pace(INDEXED),
            figures=figures(w.figure("role_settings", None, "@app", "random_page_cost=1000")),
        ),
    ),
    "several sessions that join for seconds what was loaded and not analyzed": (
        "plan_flip",
        stranger(searching(3, oldest_query_s=6.0), figures=LOADED),
    ),
    "index scans that fetch a hundred thousand times the rows, for a column without statistics": (
        "plan_flip",
        stranger(searching(), pace=p.pace(HEAVY), figures=UNKNOWN),
    ),
    "a report that has never ended before, of which three keep all processors busy": (
        "bad_query",
        stranger(REPORTS, pace=KNOWN, machine=busy()),
    ),
    "a report of which three keep all processors so busy that nobody can look twice": (
        "bad_query",
        stranger(REPORTS, pace=NO_TIME, machine=busy()),
    ),
    "a large table that every request reads whole as it always did, and no processor is left": (
        "missing_index",
        stranger(searching(), pace=p.pace(EVERY_DAY), machine=busy()),
    ),
    "three times the usual commits, and nobody gets a processor at once": (
        "load_spike",
        stranger(pace=CAMPAIGN, machine=busy()),
    ),
    "two dumps at noon that take a third of the processors": (
        "maintenance_overload",
        stranger(DUMPING, machine=busy(programs=DUMPS)),
    ),
    "a queue with far fewer rows than pages, all of which every look reads": (
        "table_bloat",
        stranger(searching(1), pace=LOOKED_AT, figures=SPARSE),
    ),
    "an old statement that takes many times its own mean, on statistics that are old": (
        "plan_flip",
        stranger(
            searching(3, oldest_query_s=6.0), figures=LOADED, pace=p.pace(statements=(SLOWER,))
        ),
    ),
    "generic plans that are forced, and index scans that fetch a hundred thousand times the rows": (
        "generic_plan",
        stranger(searching(query=PREPARED), figures=GENERIC, pace=p.pace(HEAVY)),
    ),
    "a statement with parameters that takes many times its own mean, on good statistics": (
        "generic_plan",
        stranger(FOR_SECONDS, pace=p.pace(statements=(SLOWER,))),
    ),
    "ten times as many commits as ever, from a crowd that is all at work": (
        "load_spike",
        stranger(w.doing(40), figures=CROWDED, pace=CAMPAIGN),
    ),
    "a hundred and eighty logins a second where one is usual": (
        "connection_storm",
        stranger(pace=STORM),
    ),
}


@pytest.mark.parametrize("what", sorted(SEEN))
def test_a_stranger_names_it(what: str) -> None:
    cause_id, evidence = SEEN[what]
    found = diagnose(evidence)
    assert found.causes, found.summary
    assert (found.causes[0].id, found.verdict) == (cause_id, Verdict.CAUSE), found.summary
    assert len(found.summary) < 600


def test_an_invalid_index_for_what_is_looked_for_says_more_than_one_for_something_else() -> None:
    fits, other = (diagnose(invalid(leads)).causes[0] for leads in ("customer_id", "made_on"))
    assert (fits.id, other.id) == ("missing_index", "missing_index")
    assert fits.probability > other.probability


QUIET: dict[str, Evidence] = {
    "a server at work as ever": stranger(),
    "a small table that every request reads whole, as it always did": stranger(
        searching(), pace=p.pace(p.ALWAYS_WHOLE)
    ),
    "a large table that every request reads whole, as it always did": stranger(
        searching(),
        pace=p.pace(EVERY_DAY),
    ),
    "a report that reads a large table whole once": stranger(
        searching(1, query=EVERY_STATE),
        pace=p.pace(p.table(whole_scans=p.grown(240, 3), whole_rows=p.grown(96e6, 400_000))),
    ),
    "a dump that reads one table after the other": stranger(
        w.doing(1, query="COPY public.orders (id, state) TO stdout", application_name="pg_dump"),
        pace=p.pace(p.READ_WHOLE),
    ),
    "a statement on another table with a longer name": stranger(
        OTHER_TABLE, pace=p.pace(p.READ_WHOLE)
    ),
    "a role that may not use indexes and reads nothing whole": stranger(
        searching(), figures=NO_INDEX_SCANS
    ),
    "a page that costs a little more or less by chance": stranger(
        figures=figures(w.figure("role_settings", None, "app@", "random_page_cost=1.1"))
    ),
    "a column without statistics on a table that is read as ever": stranger(
        searching(), figures=UNKNOWN
    ),
    "heavier index scans of a table, and no statistics of a column that nobody looks by": stranger(
        searching(), pace=p.pace(HEAVY), figures=OTHERS_UNKNOWN
    ),
    "a report that has never ended before, on a machine with processors to spare": stranger(
        REPORTS, pace=KNOWN, machine=busy(idle=1.0)
    ),
    "a large table that every request reads whole as it always did, with processors to spare": (
        stranger(searching(), pace=p.pace(EVERY_DAY), machine=busy(idle=1.0))
    ),
    "three times the usual commits that all get a processor at once": stranger(
        pace=CAMPAIGN, machine=busy(waited=0.1)
    ),
    "a dump at noon that hardly needs a processor": stranger(
        DUMPING, machine=busy(programs=(replace(DUMPS[0], used=0.2),))
    ),
    "one report that has never ended before": stranger(
        searching(1, query=JOINED, oldest_query_s=18.0), pace=KNOWN, machine=busy(idle=0.9)
    ),
    "a table with far fewer rows than pages that nobody reads whole": stranger(figures=SPARSE),
    "one long report on a table that was loaded a moment ago": stranger(
        searching(1, oldest_query_s=6.0), figures=LOADED
    ),
    "several long reports on tables that were analyzed": stranger(
        searching(3, oldest_query_s=6.0), figures=figures(replace(STALE, value=200.0))
    ),
    "a job that loads a table for seconds": stranger(
        searching(2, query="INSERT INTO orders SELECT ? FROM old WHERE id > ?", oldest_query_s=9.0),
        figures=LOADED,
    ),
    "sessions that wait for a lock for seconds on a table that was loaded": stranger(
        w.doing(3, "Lock:transactionid", query=BY_CUSTOMER, oldest_query_s=9.0), figures=LOADED
    ),
    "generic plans that are forced, and index scans as ever": stranger(
        searching(query=PREPARED), figures=GENERIC
    ),
    "several long statements with parameters of which nobody knows what is usual": stranger(
        FOR_SECONDS
    ),
    "a statement that always takes seconds": stranger(
        FOR_SECONDS,
        pace=p.pace(
            statements=(p.statement("7", calls=p.grown(3.5e6, 4), ms=p.grown(21e9, 24e3)),)
        ),
    ),
    "a statement that was called ten times before": stranger(
        FOR_SECONDS,
        pace=p.pace(statements=(p.statement("7", calls=p.grown(10, 4), ms=p.grown(40, 9000.0)),)),
    ),
    "statements that all wait for their turn because each is called many times as often": stranger(
        searching(query=PREPARED),
        pace=p.pace(
            statements=(p.statement("7", calls=p.grown(3.5e6, 400), ms=p.grown(14e6, 16e3)),)
        ),
    ),
    "a busy hour that the server carries with ease": stranger(
        pace=p.pace(commits=p.grown(86.4e6, 320))
    ),
    "a crowd at work that gets done what it always does": stranger(w.doing(40), figures=CROWDED),
    "an application without a pool, as it always was": stranger(
        pace=p.pace(sessions=p.grown(103e6, 130), commits=p.grown(103e6, 140))
    ),
    "twenty jobs that log in at the full minute": stranger(
        pace=p.pace(sessions=p.grown(864e3, 22), commits=p.grown(86.4e6, 130))
    ),
    "a pool that opens forty sessions beside much work": stranger(
        pace=p.pace(sessions=p.grown(864e3, 40), commits=p.grown(86.4e6, 400))
    ),
    "a server that counts no logins": stranger(pace=p.pace(sessions=None)),
}


@pytest.mark.parametrize("what", sorted(QUIET))
def test_a_stranger_calls_it_healthy(what: str) -> None:
    found = diagnose(QUIET[what])
    assert (found.verdict, found.summary) == (
        Verdict.HEALTHY,
        "The server answers and nothing looked at is wrong.",
    )


def test_the_table_and_its_pace_are_told() -> None:
    found = first(SEEN["the same where few are seen at it"][1])
    assert found.fact("table") == "public.orders"
    assert "(400000 rows) was read whole 25 times in 1.0 s" in found.summary


def test_the_setting_that_forbids_indexes_is_told_with_whom_it_holds_for() -> None:
    evidence = stranger(searching(), pace=p.pace(INDEXED), figures=NO_INDEX_SCANS)
    assert "enable_indexscan=off for app@" in first(evidence).summary
    assert "has an index on customer_id" in first(evidence).summary


def test_a_setting_for_all_counts_like_one_for_a_role() -> None:
    for off in (figures(enable_bitmapscan="off"), figures(random_page_cost="500")):
        evidence = stranger(searching(), pace=p.pace(INDEXED), figures=off)
        assert standing(evidence) == ["plan_flip"]


def test_of_an_older_recording_and_the_servers_own_count_the_slower_one_is_told() -> None:
    evidence = stranger(
        FOR_SECONDS,
        pace=p.pace(statements=(SLOWER,)),
        history=w.history(*w.HEALTHY_COURSES, w.course("statement_slowdown_times", 1.0, 1.1, "7")),
    )
    assert "statement 7 takes" in first(evidence).summary


# --- those who watched, but were told late ------------------------------------------------------


REPORTED = Symptom(
    kind=SymptomKind.REPORTED, target=TargetName("orders"), since=w.ago(2), detail="slow"
)


def watched(**differs: Any) -> Evidence:
    """The fault was there for a while before somebody said so: the highest before is of it."""
    more = replace(w.course("commits_total", 100, 800), high=900.0)
    busy = replace(w.course("active_sessions", 4, 40), high=45.0)
    rest = [c for c in w.HEALTHY_COURSES if c.name not in ("commits_total", "active_sessions")]
    evidence = w.healthy(
        figures=CROWDED, history=w.history(more, busy, *rest), symptoms=(REPORTED,)
    )
    return replace(evidence, **differs)


def test_a_spike_that_people_told_of_after_it_began_is_named() -> None:
    assert first(watched()).id == "load_spike"


def test_a_peak_that_the_watch_itself_noticed_is_held_against_the_last_one() -> None:
    noticed = replace(REPORTED, kind=SymptomKind.LATENCY_UNUSUAL)
    calm = w.history(
        replace(w.course("commits_total", 100, 240), high=400.0),
        replace(w.course("active_sessions", 4, 12), high=40.0),
    )
    evidence = w.healthy(history=calm, symptoms=(noticed,))
    assert "load_spike" not in standing(evidence)


# --- tables that never were ---------------------------------------------------------------------


def misses(pid: int, times: int = 20) -> tuple[Any, ...]:
    """One session that misses the same table every two seconds until now."""
    text = 'relation "coupons" does not exist at character 15'
    return tuple(
        error("no_such_table", 2.0 * n + 1, text, who="app@app", pid=pid)
        for n in reversed(range(times))
    )


def age(pid: int, seconds: float) -> Any:
    return w.figure("session_age_s", seconds, str(pid), "shop")


def test_a_table_that_only_new_sessions_ask_for_never_was() -> None:
    evidence = w.healthy(log=w.log(*misses(77)), figures=told(age(77, 40.0), age(11, 9000.0)))
    assert standing(evidence) == ["schema_mismatch"]


def test_a_table_that_old_sessions_miss_was_there() -> None:
    asked = told(age(77, 900.0), age(11, 9000.0))
    evidence = w.healthy(log=w.log(*misses(77)), figures=asked)
    assert "schema_mismatch" not in standing(evidence)
    assert standing(replace(evidence, changes=Missing(what="changes", reason=""))) == [
        "table_dropped"
    ]


def test_sessions_that_have_left_decide_nothing() -> None:
    left = w.healthy(log=w.log(*misses(77)), figures=told(age(78, 40.0)))
    assert standing(left) == []


def test_a_log_that_shows_every_drop_and_shows_none_speaks_for_a_version_too_early() -> None:
    asked = told(age(77, 40.0), log_statement="ddl")
    found = first(w.healthy(log=w.log(*misses(77)), figures=asked))
    assert found.id == "schema_mismatch"
    assert "drops_logged" in {f.evidence for f in found.evidence_for}
    drop = w.line("object_dropped", 70, "statement: DROP TABLE coupons;", who="ops@app")
    dropped = w.healthy(log=w.log(drop, *misses(77)), figures=asked)
    assert standing(dropped) == ["table_dropped"]


# --- tables that leave --------------------------------------------------------------------------


def copies(query: str, program: str = "psql", *, rows: float = 9e5) -> Evidence:
    return w.healthy(
        activity=w.activity(
            w.doing(1, "Client:ClientWrite", query=query, usename="ann", application_name=program)
        ),
        figures=told(
            w.figure("copying_out", 9e7, "ann", f"{program}, from 10.0.0.4, pid 100"),
            w.figure("table_live_rows", rows, "public.customers"),
        ),
    )


@pytest.mark.parametrize(
    "query",
    [
        "COPY customers TO STDOUT",
        "copy public.customers to stdout with (format csv, header)",
        "COPY \"customers\" (id, name) TO STDOUT (DELIMITER '…')",
    ],
)
def test_a_whole_table_that_a_person_copies_out_is_named(query: str) -> None:
    found = first(copies(query))
    assert found.id == "data_copied_out"
    assert "customers" in found.summary


@pytest.mark.parametrize(
    "evidence",
    [
        copies("COPY (SELECT id FROM customers WHERE id < ?) TO STDOUT"),
        copies("COPY customers TO STDOUT", "etl-export"),
        copies("COPY customers TO STDOUT", "pg_dump"),
        copies("COPY customers TO STDOUT", rows=300.0),
    ],
    ids=["what a query chose", "a service", "a dump", "a small table"],
)
def test_rows_that_leave_as_every_day_are_not(evidence: Evidence) -> None:
    assert "data_copied_out" not in standing(evidence)


def begins_with(kind: str, text: str) -> Any:
    """A log whose first line is the first complaint."""
    lines = tuple(
        error(kind, 2.0 * n + 1, text, who="app@app", pid=77) for n in reversed(range(20))
    )
    found = w.log(*lines, started=False)
    return replace(found, value=replace(found.value, begins_at=w.ago(39)))


COLUMN = ("no_such_column", 'column "locale" of relation "orders" does not exist')
TABLE = ("no_such_table", 'relation "coupons" does not exist at character 15')


@pytest.mark.parametrize(("kind", "text"), [COLUMN, TABLE])
def test_a_log_that_begins_with_the_complaints_counts_where_the_sessions_do_too(
    kind: str, text: str
) -> None:
    log = begins_with(kind, text)
    assert standing(w.healthy(log=log, figures=told(age(77, 40.0)))) == ["schema_mismatch"]
    assert standing(w.healthy(log=log, figures=told(age(77, 900.0)))) == []
    assert standing(w.healthy(log=log, figures=told(age(78, 40.0)))) == []


def test_a_log_that_begins_with_the_drop_shows_what_was_taken() -> None:
    log = begins_with(*TABLE)
    drop = w.line("object_dropped", 40, "statement: DROP TABLE coupons", who="ops@app")
    seen = replace(log, value=replace(log.value, events=(drop, *log.value.events)))
    assert standing(w.healthy(log=seen)) == ["table_dropped"]


@pytest.mark.parametrize(("before", "named"), [(1e5, ["schema_mismatch"]), (40e6, [])])
def test_more_that_fails_than_ever_is_new_and_what_always_fails_is_not(
    before: float, named: list[str]
) -> None:
    failing = p.pace(rollbacks=p.grown(before, 40))
    assert standing(w.healthy(log=begins_with(*COLUMN), pace=failing)) == named


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        (EVERY_PAGE, True),
        (EVERY_STATE, True),
        ("SELECT id FROM orders ORDER BY made_at", True),
        (NEWEST, False),
        (BY_CUSTOMER, False),
        ("SELECT max(made_at) FROM orders ORDER BY ?", False),
        ("SELECT o.id FROM orders o JOIN customers c ON c.id = o.customer_id ORDER BY ?", False),
        ("SELECT id FROM orders WHERE state = '…' ORDER BY count(*) OVER ()", False),
        ("SELECT id, body FROM orders ORDER BY …", False),
    ],
)
def test_a_statement_without_a_condition_wants_every_row_unless_a_part_is_enough(
    query: str, wanted: bool
) -> None:
    assert asks_for_all(query) is wanted


def test_pages_that_count_all_rows_as_they_always_did_are_no_cause() -> None:
    usual = replace(p.READ_WHOLE, whole_rows=p.grown(8e12, 10e6))
    evidence = stranger(searching(query=EVERY_PAGE), pace=p.pace(usual))
    assert "bad_query" not in standing(evidence)


def test_where_a_report_takes_as_long_as_ever_and_all_processors_nobody_is_called_healthy() -> None:
    found = diagnose(stranger(REPORTS, pace=OLD_REPORT, machine=busy()))
    assert found.verdict is Verdict.UNKNOWN
    assert "wait 80% of it for a processor" in found.summary
    assert JOINED in found.summary


def test_a_machine_without_a_processor_left_is_healthy_where_nobody_is_at_it_for_long() -> None:
    assert diagnose(stranger(machine=busy())).verdict is Verdict.HEALTHY
    alone = searching(1, query=JOINED, oldest_query_s=18.0)
    assert diagnose(stranger(alone, pace=KNOWN, machine=busy())).verdict is Verdict.HEALTHY
