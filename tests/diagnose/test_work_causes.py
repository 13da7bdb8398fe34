"""Near misses of load, plans, vacuum and neighbours, and what nobody can say without a watch."""

from __future__ import annotations

from dataclasses import replace

import pytest

import evidences as w
from cases_locks import figures
from cases_work import (
    CASES,
    DEAD,
    DROPPED,
    HELD,
    LEADING,
    MORE_BUSY,
    READ_WHOLE,
    STALE,
    calls,
    courses,
    slowdown,
)
from stanch.diagnose.evidence import Evidence
from stanch.diagnose.rank import STANDS_FROM, diagnose
from stanch.model.diagnosis import CauseFinding, Missing, Verdict

NOBODY = Missing(what="history", reason="nobody watched")
UNSEEN = Missing(what="changes", reason="nobody watched")


def standing(evidence: Evidence) -> list[str]:
    return [c.id for c in diagnose(evidence).causes if c.probability >= STANDS_FROM]


def story(evidence: Evidence) -> dict[str, str | None]:
    found = diagnose(evidence).causes
    return {c.id: c.follows for c in found if c.probability >= STANDS_FROM}


def first(evidence: Evidence) -> CauseFinding:
    found = diagnose(evidence).first
    assert found is not None
    return found


NEAR_MISSES: dict[str, tuple[str, Evidence]] = {
    "more commits with no more sessions at work": (
        "load_spike",
        w.healthy(history=courses(w.course("commits_total", 100, 320))),
    ),
    "more commits than usual, but no more than at the last peak": (
        "load_spike",
        replace(
            CASES["load_spike"],
            history=courses(
                replace(w.course("commits_total", 100, 320), high=400.0),
                replace(MORE_BUSY, high=40.0),
            ),
        ),
    ),
    "fewer commits with more sessions at work": (
        "load_spike",
        w.healthy(history=courses(MORE_BUSY, w.course("commits_total", 100, 60))),
    ),
    "an index that was dropped and nobody missed": (
        "missing_index",
        w.healthy(changes=w.changes(DROPPED)),
    ),
    "an index that could not be dropped": (
        "missing_index",
        replace(
            CASES["missing_index"],
            changes=w.changes(
                replace(DROPPED, told="ran DROP INDEX orders_customer; which the server refused")
            ),
            figures=figures(),
        ),
    ),
    "an invalid index that was left behind by a build": (
        "missing_index",
        w.healthy(figures=figures(w.figure("index_invalid", 1.0, "public.i", "orders"))),
    ),
    "an index that is being built": (
        "missing_index",
        replace(
            CASES["missing_index"],
            changes=w.changes(),
            figures=figures(
                w.figure("index_invalid", 1.0, "public.i", "orders"),
                w.figure("progress", 1.0, "create index", "building index"),
            ),
        ),
    ),
    "a report that reads whole tables as it always does": (
        "missing_index",
        w.healthy(activity=w.activity(LEADING), figures=figures(READ_WHOLE)),
    ),
    "statistics that are old and trouble nobody": (
        "plan_flip",
        w.healthy(figures=figures(STALE), history=courses(slowdown("7", 1.0))),
    ),
    "old statistics beside a statement that leads, where nobody recorded how long it takes": (
        "plan_flip",
        w.healthy(figures=figures(STALE), activity=w.activity(LEADING), history=NOBODY),
    ),
    "a statement that was always the one that leads": (
        "bad_query",
        w.healthy(activity=w.activity(LEADING), history=courses(MORE_BUSY, calls("7", 80, 200))),
    ),
    "a new statement that hardly anybody runs": (
        "bad_query",
        w.healthy(
            activity=w.activity(w.doing(2, query_id="9"), w.doing(3, query_id="1")),
            history=courses(calls("1", 80, 80)),
        ),
    ),
    "a statement nobody knows to be new, because none was recorded": (
        "bad_query",
        w.healthy(activity=w.activity(LEADING), history=courses(MORE_BUSY)),
    ),
    "statements without ids": (
        "bad_query",
        w.healthy(
            activity=w.activity(replace(LEADING, query_id="")),
            history=courses(MORE_BUSY, calls("1", 80, 80)),
        ),
    ),
    "generic plans that are forced and slow nobody down": (
        "generic_plan",
        w.healthy(
            figures=figures(plan_cache_mode="force_generic_plan"),
            history=courses(slowdown("7", 1.0)),
        ),
    ),
    "a statement that became slow while plans are chosen freely": (
        "generic_plan",
        w.healthy(
            figures=figures(plan_cache_mode="auto"), history=courses(MORE_BUSY, slowdown("7", 9.0))
        ),
    ),
    "dead rows as autovacuum leaves them": (
        "table_bloat",
        w.healthy(
            figures=figures(
                w.figure("table_dead_rows", 150_000.0, "public.orders", "1000000 live; last")
            )
        ),
    ),
    "a small table that is all dead rows": (
        "table_bloat",
        w.healthy(
            figures=figures(w.figure("table_dead_rows", 90_000.0, "public.jobs", "10 live; last"))
        ),
    ),
    "a dump that holds vacuum back for an hour": (
        "vacuum_held_back",
        w.healthy(figures=figures(w.figure("horizon_age_xids", 3e6, "session:pg_dump"))),
    ),
    "autovacuum that is off where no rows die": (
        "autovacuum_starved",
        w.healthy(figures=figures(autovacuum="off")),
    ),
    "autovacuum workers that are all at work and keep up": (
        "autovacuum_starved",
        w.healthy(figures=figures(w.figure("autovacuum_workers", 3.0), autovacuum_max_workers="3")),
    ),
    "dead rows that somebody holds on to, with autovacuum at work": (
        "autovacuum_starved",
        w.healthy(
            figures=figures(
                DEAD, HELD, w.figure("autovacuum_workers", 3.0), autovacuum_max_workers="3"
            )
        ),
    ),
    "an age at which autovacuum freezes as it should": (
        "xid_wraparound",
        w.healthy(figures=figures(w.figure("xid_age_of_database", 4e8, "app"))),
    ),
    "multixacts that are old are no old transaction ids": (
        "xid_wraparound",
        CASES["multixact_wraparound"],
    ),
    "transaction ids that are old are no old multixacts": (
        "multixact_wraparound",
        CASES["xid_wraparound"],
    ),
    "a machine whose host always takes as much": (
        "noisy_neighbour",
        w.healthy(history=courses(w.course("cpu_steal_pct", 14, 16))),
    ),
    "a machine that is loaded by the server itself": (
        "noisy_neighbour",
        CASES["load_spike"],
    ),
    "a backup that slows nobody down": (
        "maintenance_overload",
        replace(CASES["maintenance_overload"], history=courses(), activity=w.activity(w.doing(2))),
    ),
    "a backup of which nobody knows whether it slows others down": (
        "maintenance_overload",
        replace(CASES["maintenance_overload"], history=NOBODY, activity=w.activity(w.doing(2))),
    ),
}


@pytest.mark.parametrize("what", sorted(NEAR_MISSES))
def test_what_only_looks_like_a_cause_is_not_named_as_it(what: str) -> None:
    cause_id, evidence = NEAR_MISSES[what]
    assert cause_id not in standing(evidence)


RESTS_ON_HISTORY = ("load_spike", "plan_flip", "bad_query", "generic_plan", "noisy_neighbour")


@pytest.mark.parametrize("cause_id", [*RESTS_ON_HISTORY, "maintenance_overload"])
def test_what_is_usual_is_not_guessed_where_nobody_recorded_it(cause_id: str) -> None:
    evidence = replace(CASES[cause_id], history=NOBODY, changes=UNSEEN)
    assert cause_id not in standing(evidence)
    assert "nobody watched" in [f.text for f in diagnose(evidence).absent]


def test_a_candidate_says_what_it_would_have_to_know() -> None:
    # Candidates are shown where something is wrong that nothing explains.
    evidence = replace(CASES["plan_flip"], history=NOBODY, lock_file=w.NO_LOCK)
    [candidate] = [c for c in diagnose(evidence).causes if c.id == "plan_flip"]
    assert {"statement_slower", "piled_up"} <= {f.evidence for f in candidate.missing}


def test_the_work_of_one_moment_has_one_cause() -> None:
    family = {"load_spike", "missing_index", "plan_flip", "bad_query", "generic_plan"}
    for cause_id in sorted(family):
        assert family & set(standing(CASES[cause_id])) == {cause_id}


def test_a_statement_that_leads_is_named_with_who_runs_it() -> None:
    found = first(CASES["bad_query"])
    assert (found.fact("query_id"), found.fact("application_name")) == ("7", "shop")
    assert "26 of 26" in found.summary
    assert found.after_change is not None


def test_the_index_that_is_gone_is_named_with_when_it_went() -> None:
    found = first(CASES["missing_index"])
    assert found.since == DROPPED.at
    assert "app.public.orders_customer" in found.summary
    assert found.fact("table") == "public.orders"


def test_an_index_that_an_inventory_misses_counts_as_dropped() -> None:
    gone = replace(DROPPED, told="is gone; it was: index of app, columns 1234")
    assert first(replace(CASES["missing_index"], changes=w.changes(gone))).id == "missing_index"
    table = replace(DROPPED, told="is gone; it was: table of app, columns 1234")
    quiet = replace(CASES["missing_index"], changes=w.changes(table), figures=figures())
    assert "missing_index" not in standing(quiet)


def test_a_table_is_found_in_a_statement_too_long_to_be_shown_whole() -> None:
    columns = ", ".join(f"column_{n}" for n in range(15))
    long = replace(LEADING, query=f"SELECT {columns} FROM orders WHERE customer = …")
    found = first(replace(CASES["missing_index"], activity=w.activity(long)))
    assert found.fact("table") == "public.orders"
    assert len(found.summary) < 400


def test_the_name_of_a_table_inside_another_name_is_not_that_table() -> None:
    other = replace(LEADING, query="SELECT … FROM orders_archive")
    evidence = replace(CASES["missing_index"], activity=w.activity(other), changes=w.changes())
    assert "missing_index" not in standing(evidence)


@pytest.mark.parametrize(
    ("holder", "words"),
    [
        (HELD, 'Replication slot "reports"'),
        (
            w.figure("horizon_age_xids", 3e7, "prepared:pay-1", "app"),
            'Prepared transaction "pay-1"',
        ),
        (w.figure("horizon_age_xids", 3e7, "standby:node2"), 'The standby\'s feedback "node2"'),
        (w.figure("horizon_age_xids", 3e7, "session:cron", "pid 7"), 'Session "cron" (pid 7)'),
    ],
)
def test_whoever_holds_vacuum_back_is_named(holder: object, words: str) -> None:
    evidence = w.healthy(figures=figures(holder))  # type: ignore[arg-type]
    assert first(evidence).id == "vacuum_held_back"
    assert first(evidence).summary.startswith(words)


def test_dead_rows_and_ids_follow_from_whoever_holds_vacuum_back() -> None:
    evidence = w.healthy(figures=figures(DEAD, HELD, w.figure("xid_age_of_database", 1.9e9, "app")))
    told = story(evidence)
    assert told == {
        "vacuum_held_back": None,
        "table_bloat": "vacuum_held_back",
        "xid_wraparound": "vacuum_held_back",
    }


def test_an_idle_transaction_that_holds_vacuum_back_is_the_root_of_it() -> None:
    idle = replace(w.chain(0, 0.0, "idle in transaction"), root_in_state_s=9000.0)
    evidence = w.healthy(
        chains=w.chains(old_idle=(idle,)),
        figures=figures(DEAD, w.figure("horizon_age_xids", 3e7, "session:cron", "pid 4242")),
    )
    assert first(evidence).id == "idle_in_transaction"
    told = story(evidence)
    assert told["vacuum_held_back"] == "idle_in_transaction"


def test_autovacuum_that_is_off_for_the_table_with_the_dead_rows_is_named() -> None:
    off = w.figure("table_autovacuum_off", 1.0, "public.orders")
    found = first(w.healthy(figures=figures(DEAD, off)))
    assert found.id == "autovacuum_starved"
    assert "switched off for public.orders" in found.summary
    elsewhere = w.figure("table_autovacuum_off", 1.0, "public.other")
    assert "autovacuum_starved" not in standing(w.healthy(figures=figures(DEAD, elsewhere)))


def test_how_long_ids_last_is_told_from_how_fast_they_are_used() -> None:
    found = first(CASES["xid_wraparound"])
    assert found.impact_in_s == pytest.approx((2**31 - 3_000_000 - 1.9e9) / 100)
    assert first(replace(CASES["xid_wraparound"], history=NOBODY)).impact_in_s is None


def test_members_of_multixacts_run_out_with_few_ids_in_use() -> None:
    line = w.line("multixact_wraparound", 20, 'multixact "members" limit exceeded')
    assert standing(w.healthy(log=w.log(line))) == ["multixact_wraparound"]


def test_a_neighbour_is_told_from_the_load_also_where_nothing_is_stolen() -> None:
    evidence = w.healthy(
        history=courses(w.course("load_per_cpu", 0.4, 5.0), w.course("commits_total", 100, 55))
    )
    assert standing(evidence) == ["noisy_neighbour"]


def test_a_server_that_is_slower_in_nothing_is_healthy() -> None:
    assert diagnose(w.healthy(history=courses(slowdown("7", 1.1)))).verdict is Verdict.HEALTHY


@pytest.mark.parametrize(("runs_s", "pid"), [(90.0, 100), (2.0, None)])
def test_a_statement_is_named_exactly_enough_to_be_cancelled_once_it_runs_for_long(
    runs_s: float, pid: int | None
) -> None:
    evidence = CASES["bad_query"]
    assert not isinstance(evidence.activity, Missing)
    [*others, lead] = sorted(evidence.activity.value.doings, key=lambda one: one.sessions)
    long = replace(
        lead,
        oldest_query_s=runs_s,
        oldest_backend_start=w.ago(4000),
        oldest_query_start=w.ago(runs_s),
    )
    finding = diagnose(replace(evidence, activity=w.activity(*others, long))).first
    assert finding is not None
    assert finding.fact("statement_pid") == pid
    began = w.ago(runs_s).isoformat() if pid else None
    assert finding.fact("statement_query_start") == began
