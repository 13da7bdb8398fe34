"""Analyzing and vacuuming: that one table, while it needs it, and where it achieves something."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

import cases_work as c
import evidences as w
from acting_worlds import AT, TARGET, always, bare_world, permits, run, step, world_of
from stanch.adapters.postgres.acting_visits import ActingVisits
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.diagnose.clues.tending import table_facts
from stanch.diagnose.evidence import Evidence
from stanch.diagnose.rank import diagnose
from stanch.facts.maintained import MaintainedTable, parse_maintained, vacuum_statement
from stanch.facts.workings import TABLES_SQL, parse_figures
from stanch.model.diagnosis import Missing
from stanch.model.errors import ActionFailed, ProbeFailed
from stanch.model.events import PlanWithheld
from stanch.model.ids import IncidentId
from stanch.model.plans import Mode, Plan, PlannedStep, Refusal, StepOutcome
from stanch.model.ports.server import LOCK_WAIT_S, Acted, SqlParams
from stanch.respond.actions.analyze_table.guards import may_analyze
from stanch.respond.actions.analyze_table.run import ANALYZE_TABLE
from stanch.respond.actions.catalogue import CATALOGUE
from stanch.respond.actions.vacuum_table.guards import BYTES_S, GUARDS, may_vacuum
from stanch.respond.actions.vacuum_table.run import VACUUM_TABLE
from stanch.respond.library import shipped_runbooks
from stanch.respond.planner import plan_for
from stanch.steps.never import forbidden_in
from stanch.steps.world import World

IDENTITY: dict[str, Any] = {
    "database": "app",
    "table_oid": 16400,
    "table_schema": "public",
    "table_name": "orders",
}
ANALYZE = step("analyze_table", **IDENTITY, analyzed_at=AT.isoformat())
VACUUM = step("vacuum_table", **IDENTITY, vacuumed_at=AT.isoformat())
FREEZE = replace(VACUUM, params=(*VACUUM.params, ("to_freeze", True)))
TABLE = MaintainedTable(
    oid=16400,
    schema="public",
    table="orders",
    quoted="public.orders",
    ordinary=True,
    in_recovery=False,
    may_maintain=True,
    role="stanch_act",
    version_num=180000,
    bytes=1 << 20,
    xid_age=1_900_000_000,
    analyzed=AT,
    vacuumed=AT,
    dead_rows=9,
    locked="",
    holder="reports (pid 7, idle in transaction)",
    holder_xids=999_999,
    holder_s=599.0,
)
LATER = AT + timedelta(seconds=1)
AGAINST = [
    pytest.param(None, "same_table", id="gone"),
    pytest.param(Missing(what="x", reason="no answer"), "same_table", id="not read"),
    pytest.param(replace(TABLE, table="orders_old"), "same_table", id="renamed"),
    pytest.param(replace(TABLE, schema="archive"), "same_table", id="moved"),
    pytest.param(replace(TABLE, ordinary=False), "same_table", id="a view"),
    pytest.param(replace(TABLE, in_recovery=True), "on_primary", id="a standby"),
    pytest.param(replace(TABLE, may_maintain=False), "may_maintain", id="no right"),
    pytest.param(replace(TABLE, analyzed=LATER, vacuumed=LATER), "still_needed", id="done since"),
    pytest.param(replace(TABLE, analyzed=None, vacuumed=None), "still_needed", id="reset"),
    pytest.param(replace(TABLE, locked="AccessExclusiveLock of 7"), "lock_free", id="locked"),
]


def test_the_table_that_was_diagnosed_may_be_seen_to() -> None:
    assert may_analyze(ANALYZE, TABLE) is TABLE
    assert may_vacuum(VACUUM, TABLE, free_bytes=None) is TABLE
    never = replace(ANALYZE, params=tuple(IDENTITY.items()))
    untouched = replace(TABLE, analyzed=None)
    assert may_analyze(never, untouched) is untouched


@pytest.mark.parametrize(("seen", "guard"), AGAINST)
def test_whatever_speaks_against_it_is_a_no(
    seen: MaintainedTable | Missing | None, guard: str
) -> None:
    for answer in (may_analyze(ANALYZE, seen), may_vacuum(VACUUM, seen, free_bytes=None)):
        assert isinstance(answer, Refusal)
        assert answer.guard == guard
        assert guard in {one.name for one in GUARDS}


def test_what_would_lift_a_missing_right_depends_on_the_version() -> None:
    barred = replace(TABLE, may_maintain=False)
    newer, older = (
        may_analyze(ANALYZE, barred),
        may_analyze(ANALYZE, replace(barred, version_num=160000)),
    )
    assert isinstance(newer, Refusal)
    assert isinstance(older, Refusal)
    assert newer.lifts == "GRANT MAINTAIN ON public.orders TO stanch_act;"
    assert "owner's role" in older.lifts


FAR = 950_000_000
HELD = [
    pytest.param(VACUUM, replace(TABLE, holder_xids=1_000_000), True, id="by many transactions"),
    pytest.param(VACUUM, replace(TABLE, holder_s=600.0), True, id="for long"),
    pytest.param(VACUUM, replace(TABLE, holder_s=None), False, id="a slot that is young"),
    pytest.param(VACUUM, replace(TABLE, holder=""), False, id="nobody"),
    pytest.param(FREEZE, replace(TABLE, holder_xids=FAR), True, id="half of the age"),
    pytest.param(FREEZE, replace(TABLE, holder_xids=FAR - 1, holder_s=9e9), False, id="less"),
]


@pytest.mark.parametrize(("one", "seen", "held"), HELD)
def test_where_somebody_holds_it_back_it_is_not_begun_and_he_is_named(
    one: PlannedStep, seen: MaintainedTable, held: bool
) -> None:
    answer = may_vacuum(one, seen, free_bytes=None)
    assert isinstance(answer, Refusal) is held
    if isinstance(answer, Refusal):
        assert answer.guard == "not_held_back"
        assert "reports (pid 7" in answer.reason


def test_a_table_that_is_too_large_for_the_deadline_or_the_room_is_left_to_a_person() -> None:
    largest = replace(TABLE, bytes=int(BYTES_S * VACUUM.deadline_s))
    assert may_vacuum(VACUUM, largest, free_bytes=None) is largest
    assert may_vacuum(VACUUM, largest, free_bytes=largest.bytes) is largest
    larger = may_vacuum(VACUUM, replace(largest, bytes=largest.bytes + 1), free_bytes=None)
    tight = may_vacuum(VACUUM, largest, free_bytes=largest.bytes - 1)
    assert isinstance(larger, Refusal)
    assert isinstance(tight, Refusal)
    assert (larger.guard, tight.guard) == ("ends_in_time", "room")


def test_no_statement_of_it_rewrites_a_table() -> None:
    for to_freeze in (True, False):
        assert forbidden_in(vacuum_statement(TABLE, to_freeze=to_freeze)) == ()
    assert "INDEX_CLEANUP off" in vacuum_statement(TABLE, to_freeze=True)
    assert "INDEX_CLEANUP" not in vacuum_statement(TABLE, to_freeze=False)


@pytest.mark.parametrize("answer", ["[]", "null", '{"oid": "x"}', "{"])
def test_an_answer_that_is_none_is_no_table(answer: str) -> None:
    with pytest.raises(ProbeFailed):
        parse_maintained(answer)


@pytest.mark.parametrize("action", [ANALYZE_TABLE, VACUUM_TABLE], ids=lambda a: a.name)
async def test_without_an_acting_role_nothing_is_begun(action: object) -> None:
    refusal = await CATALOGUE[getattr(action, "name", "")].check(ANALYZE, bare_world())
    assert refusal is not None
    assert refusal.guard == "acting_session"


# --- from the diagnosis to the plan -------------------------------------------------------------

STAMP = "2026-02-27T01:00:00.5+00:00"
TOLD = (
    w.figure("tables", 3, "app"),
    w.figure("table_identity", None, "public.orders", f"16400 {STAMP} - public"),
)
OLDEST = w.figure("table_xid_age", 1.8e9, "od.d.a b", f"16500 - {STAMP} od.d")


def planned(evidence: Evidence) -> Plan | PlanWithheld:
    return plan_for(
        diagnose(evidence),
        TARGET,
        shipped_runbooks(),
        actions=CATALOGUE,
        at=AT,
        incident_id=IncidentId("20260314-001"),
        halted=False,
    )


def with_more(cause: str, *more: object) -> Evidence:
    case = c.CASES[cause]
    assert not isinstance(case.figures, Missing)
    items = (*case.figures.value.items, *more)
    figures = replace(case.figures, value=replace(case.figures.value, items=items))
    return replace(case, figures=figures)


PLANNED = [
    ("plan_flip", TOLD, "analyze_table", Mode.ACT, "3000000 rows changed unseen"),
    ("table_bloat", TOLD, "vacuum_table", Mode.ADVISE, "with 9000000 dead rows"),
    ("autovacuum_starved", TOLD, "vacuum_table", Mode.ADVISE, "with 9000000 dead rows"),
    (
        "xid_wraparound",
        (TOLD[0], OLDEST),
        "vacuum_table",
        Mode.ADVISE,
        "INDEX_CLEANUP off) od.d.a b in database app, the oldest of it of age 1800000000",
    ),
]


@pytest.mark.parametrize(("cause", "more", "action", "mode", "words"), PLANNED)
def test_a_table_that_needs_it_becomes_a_plan_bound_to_that_table(
    cause: str, more: tuple[object, ...], action: str, mode: Mode, words: str
) -> None:
    plan = planned(with_more(cause, *more))
    assert isinstance(plan, Plan), plan
    one = plan.steps[-1]
    assert (plan.cause, one.action, plan.mode) == (cause, action, mode)
    assert {fact.name for fact in one.binding} >= {"table_oid", "table_schema", "table_name"}
    assert words in one.preview
    assert "ShareUpdateExclusive" in one.preview
    # Also where a runbook of one's own forgets to say so.
    asked = CATALOGUE[action].planning.loses_work(diagnose(c.CASES[cause]).causes[0])
    assert asked is (action == "vacuum_table")


TWICE = w.figure("table_identity", None, "public.orders", f"16401 {STAMP} - public")
UNBOUND = [
    ("plan_flip", ()),
    ("plan_flip", TOLD[1:]),
    ("plan_flip", (*TOLD, TWICE)),
    ("plan_flip", (*TOLD, w.figure("tables", 3, "other"))),
    ("plan_flip", (TOLD[0], replace(TOLD[1], detail="16400 - - another"))),
    ("table_bloat", (TOLD[0], replace(TOLD[1], detail="orders"))),
    ("xid_wraparound", (w.figure("tables", 3, "another"), OLDEST)),
    ("xid_wraparound", TOLD),
]


@pytest.mark.parametrize(("cause", "more"), UNBOUND)
def test_a_table_that_cannot_be_told_from_another_becomes_no_plan(
    cause: str, more: tuple[object, ...]
) -> None:
    assert isinstance(planned(with_more(cause, *more)), PlanWithheld)


# --- real servers -------------------------------------------------------------------------------

NAME = 'or"ders; --\nü'


class Ended(ActingVisits):
    """The server ends whatever is sent for its length."""

    async def execute(
        self,
        database: str,
        sql: str,
        params: SqlParams | None = None,
        *,
        deadline_s: float,
        lock_wait_s: float = LOCK_WAIT_S,
    ) -> Acted:
        return Acted(outcome="in_doubt", sqlstate="57014", detail="canceling statement")


def made(server: ScratchServer) -> tuple[psycopg.Connection[tuple[object, ...]], int]:
    """A table of a hostile name that belongs to the application, and a session that may hold it."""
    quoted = '"' + NAME.replace('"', '""') + '"'
    server.query(f"CREATE TABLE public.{quoted} AS SELECT 1 AS id", dbname="app", user="app")
    [(oid,)] = server.query(
        "SELECT oid::bigint FROM pg_class WHERE relname = %s", [NAME], dbname="app"
    )
    return server.connect("app", "app"), int(str(oid))


def identified(server: ScratchServer, name: str) -> dict[str, object]:
    """What a diagnosis of that server knows of the table, as parameters."""
    [(told,)] = server.query(TABLES_SQL, dbname="app")
    found = dict(table_facts(w.healthy(figures=w.figures(*parse_figures(str(told)))), name))
    return {
        "database": found["table_database"],
        **{part: found[part] for part in ("table_oid", "table_schema", "table_name")},
        "analyzed_at": found["table_analyzed_at"],
    }


async def test_a_table_is_analyzed_and_vacuumed_once_and_only_while_nobody_is_in_the_way(
    server: ScratchServer, tmp_path: Path
) -> None:
    world: World = replace(world_of(server, tmp_path), host=None)
    holder, oid = made(server)
    facts: dict[str, Any] = {**IDENTITY, "table_oid": oid, "table_name": NAME}
    analyze = step("analyze_table", deadline_s=15.0, **facts)
    vacuum = step("vacuum_table", deadline_s=15.0, **facts)

    refused = await ANALYZE_TABLE.check(analyze, world)
    assert refused is not None
    assert refused.guard == "may_maintain"
    server.query("GRANT app TO stanch_act")

    with holder, holder.transaction():
        holder.execute("LOCK TABLE public." + '"' + NAME.replace('"', '""') + '"')
        refused = await VACUUM_TABLE.check(vacuum, world)
        assert refused is not None
        assert refused.guard == "lock_free"
    assert identified(server, f"public.{NAME}") == {**facts, "analyzed_at": None}
    for action, one in ((ANALYZE_TABLE, analyze), (VACUUM_TABLE, vacuum)):
        halted = await action.act(one, world, permits(0))
        assert isinstance(halted, Refusal)
        assert halted.guard == "halt"
    assert not (await ANALYZE_TABLE.verify(analyze, world)).ok

    for action, one in ((ANALYZE_TABLE, analyze), (VACUUM_TABLE, vacuum)):
        done, log = await run(action, one, world)
        assert done.outcome is StepOutcome.DONE, (done.refusal, log.ended())
        assert log.verified().ok, log.verified()
        assert "\n" not in log.ended().before
        again = await action.check(one, world)
        assert again is not None
        assert again.guard == "still_needed"

    late = replace(world, visits=Ended(server.dsn("stanch_act"), cluster=""))
    [(at,)] = server.query(
        "SELECT last_vacuum FROM pg_stat_user_tables WHERE relid = %s", [oid], dbname="app"
    )
    now = step("vacuum_table", **facts, vacuumed_at=at.isoformat())
    with pytest.raises(ActionFailed, match="cut short, and what it did so far stays: canceling"):
        await VACUUM_TABLE.act(now, late, always)
