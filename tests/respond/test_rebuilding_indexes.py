"""Building an index anew: that one, while it is invalid, and where nobody is waited for."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

import cases_work as c
import evidences as w
from acting_worlds import AT, TARGET, always, bare_world, permits, run, step, world_of
from stanch.adapters.postgres.acting_visits import ActingVisits
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.diagnose.clues.tending import index_facts
from stanch.diagnose.evidence import Evidence
from stanch.diagnose.rank import diagnose
from stanch.facts.rebuilt import RebuiltIndex, parse_rebuilt
from stanch.facts.workings import TABLES_SQL, parse_figures
from stanch.model.diagnosis import Missing
from stanch.model.errors import ProbeFailed
from stanch.model.events import PlanWithheld
from stanch.model.ids import IncidentId
from stanch.model.plans import Mode, Plan, Refusal, StepOutcome
from stanch.model.ports.server import LOCK_WAIT_S, Acted, Row, SqlParams
from stanch.model.readings import Reading
from stanch.respond.actions.catalogue import CATALOGUE
from stanch.respond.actions.rebuild_index.guards import BYTES_S, GUARDS, OLD_S, may_rebuild
from stanch.respond.actions.rebuild_index.run import REBUILD_INDEX
from stanch.respond.library import shipped_runbooks
from stanch.respond.planner import plan_for

FACTS: dict[str, Any] = {
    "database": "app",
    "index_oid": 16500,
    "index_schema": "public",
    "index_name": "orders_customer",
    "table_oid": 16400,
}
ONE = step("rebuild_index", **FACTS)
INDEX = RebuiltIndex(
    oid=16500,
    schema="public",
    name="orders_customer",
    quoted="public.orders_customer",
    table="public.orders",
    valid=False,
    unique=False,
    rebuildable=True,
    in_recovery=False,
    may_rebuild=True,
    role="stanch_act",
    version_num=180000,
    table_bytes=int(BYTES_S * ONE.deadline_s),
    definition="CREATE INDEX orders_customer ON public.orders USING btree (customer)",
    locked="",
    left_behind="",
    oldest="reports (pid 7, active)",
    oldest_s=OLD_S - 0.1,
)
AGAINST = [
    pytest.param(None, "same_index", id="gone"),
    pytest.param(Missing(what="x", reason="no answer"), "same_index", id="not read"),
    pytest.param(replace(INDEX, oid=16501), "same_index", id="another of that name"),
    pytest.param(replace(INDEX, in_recovery=True), "on_primary", id="a standby"),
    pytest.param(replace(INDEX, valid=True), "still_invalid", id="built since"),
    pytest.param(replace(INDEX, rebuildable=False), "can_be_rebuilt", id="an exclusion constraint"),
    pytest.param(replace(INDEX, may_rebuild=False), "may_rebuild", id="no right"),
    pytest.param(replace(INDEX, locked="ShareLock of pid 9"), "no_other_build", id="locked"),
    pytest.param(replace(INDEX, oldest_s=OLD_S), "no_long_transaction", id="a long report"),
    pytest.param(replace(INDEX, oldest_s=None), "no_long_transaction", id="for how long is hidden"),
    pytest.param(replace(INDEX, left_behind="a_ccnew"), "nothing_left_behind", id="cut short"),
    pytest.param(replace(INDEX, table_bytes=INDEX.table_bytes + 1), "ends_in_time", id="too large"),
]


def test_the_index_that_was_diagnosed_may_be_built_anew() -> None:
    assert may_rebuild(ONE, INDEX, free_bytes=None) is INDEX
    assert may_rebuild(ONE, INDEX, free_bytes=2 * INDEX.table_bytes) is INDEX
    alone = replace(INDEX, oldest="", oldest_s=None)
    assert may_rebuild(ONE, alone, free_bytes=None) is alone


@pytest.mark.parametrize(("seen", "guard"), AGAINST)
def test_whatever_speaks_against_a_build_is_a_no(
    seen: RebuiltIndex | Missing | None, guard: str
) -> None:
    answer = may_rebuild(ONE, seen, free_bytes=None)
    assert isinstance(answer, Refusal)
    assert answer.guard == guard
    assert guard in {one.name for one in GUARDS}


def test_a_build_that_would_not_find_room_is_not_begun() -> None:
    answer = may_rebuild(ONE, INDEX, free_bytes=2 * INDEX.table_bytes - 1)
    assert isinstance(answer, Refusal)
    assert answer.guard == "room"


@pytest.mark.parametrize("answer", ["[]", "null", '{"oid": "x"}', "{"])
def test_an_answer_that_is_none_is_no_index(answer: str) -> None:
    with pytest.raises(ProbeFailed):
        parse_rebuilt(answer)


async def test_without_an_acting_role_no_index_is_built() -> None:
    refusal = await REBUILD_INDEX.check(ONE, bare_world())
    assert refusal is not None
    assert refusal.guard == "acting_session"


# --- from the diagnosis to the plan -------------------------------------------------------------

TOLD = (
    w.figure("tables", 3, "app"),
    w.figure("index_invalid", 1, "public.orders_customer", "orders"),
    w.figure("index_identity", None, "public.orders_customer", "16500 16400 public"),
)


def planned(*more: Reading) -> Plan | PlanWithheld:
    case = c.CASES["missing_index"]
    assert not isinstance(case.figures, Missing)
    items = (*case.figures.value.items, *more)
    figures = replace(case.figures, value=replace(case.figures.value, items=items))
    return plan_for(
        diagnose(replace(case, figures=figures)),
        TARGET,
        shipped_runbooks(),
        actions=CATALOGUE,
        at=AT,
        incident_id=IncidentId("20260314-001"),
        halted=False,
    )


def test_an_invalid_index_of_a_table_that_is_read_whole_is_put_to_a_person() -> None:
    plan = planned(*TOLD)
    assert isinstance(plan, Plan), plan
    assert (plan.cause, plan.mode) == ("missing_index", Mode.ADVISE)
    [one] = plan.steps
    assert dict(one.params) == FACTS
    # Also where a runbook of one's own forgets to say so.
    assert REBUILD_INDEX.planning.loses_work(diagnose(c.CASES["missing_index"]).causes[0])
    assert "REINDEX INDEX CONCURRENTLY public.orders_customer in database app" in one.preview
    assert "ShareUpdateExclusive" in one.preview


SECOND = (
    w.figure("index_invalid", 1, "public.orders_day", "orders"),
    w.figure("index_identity", None, "public.orders_day", "16501 16400 public"),
)


@pytest.mark.parametrize(
    "more",
    [
        pytest.param((), id="none is invalid"),
        pytest.param((*TOLD, *SECOND), id="two are"),
        pytest.param((TOLD[0], replace(TOLD[1], detail="customers"), TOLD[2]), id="of another"),
        pytest.param(TOLD[1:], id="of a database not known"),
        pytest.param((*TOLD[:2], replace(TOLD[2], detail="16500 16400 other")), id="misread"),
        pytest.param((*TOLD[:2], replace(TOLD[2], detail="16500 public")), id="cut"),
    ],
)
def test_an_index_that_is_not_told_from_another_is_no_plan(more: tuple[Reading, ...]) -> None:
    assert isinstance(planned(*more), PlanWithheld)


# --- real servers -------------------------------------------------------------------------------

NAME = 'or"ders; --\nü'
QUOTED = '"' + NAME.replace('"', '""') + '"'


def evidence_of(server: ScratchServer) -> Evidence:
    [(told,)] = server.query(TABLES_SQL, dbname="app")
    return w.healthy(figures=w.figures(*parse_figures(str(told))))


class Waits(ActingVisits):
    """Tells how long it may wait for a lock, and does nothing."""

    async def fetch_rows(
        self, database: str, sql: str, params: SqlParams | None = None, *, timeout_s: float
    ) -> tuple[Row, ...]:
        return ({"answer": json.dumps(asdict(INDEX))},)

    async def execute(
        self,
        database: str,
        sql: str,
        params: SqlParams | None = None,
        *,
        deadline_s: float,
        lock_wait_s: float = LOCK_WAIT_S,
    ) -> Acted:
        outcome = "in_doubt" if lock_wait_s == deadline_s else "failed"
        return Acted(outcome=outcome, detail=sql)


async def test_a_build_waits_for_transactions_as_long_as_it_may_take_at_all() -> None:
    visits = Waits("service=orders-act", cluster="")
    one = step("rebuild_index", deadline_s=5.0, **FACTS)
    report = await REBUILD_INDEX.act(one, replace(bare_world(), visits=visits), always)
    assert not isinstance(report, Refusal)
    assert report.outcome is StepOutcome.IN_DOUBT
    assert report.detail == "REINDEX INDEX CONCURRENTLY public.orders_customer"


async def test_an_index_that_was_cut_short_is_built_and_what_is_left_behind_is_named(
    server: ScratchServer, tmp_path: Path
) -> None:
    world = replace(world_of(server, tmp_path), host=None)
    server.query(
        "CREATE TABLE public.orders AS SELECT 1 AS id FROM generate_series(1, 2)", dbname="app"
    )
    with pytest.raises(psycopg.Error):
        server.query(
            f"CREATE UNIQUE INDEX CONCURRENTLY {QUOTED} ON public.orders (id)", dbname="app"
        )
    found = dict(index_facts(evidence_of(server), "public.orders"))
    facts: dict[str, Any] = {
        "database": found["index_database"],
        "table_oid": found["index_table_oid"],
        **{part: found[part] for part in ("index_oid", "index_schema", "index_name")},
    }
    one = step("rebuild_index", deadline_s=20.0, **facts)
    assert one.param("index_name") == NAME

    server.query("GRANT app TO stanch_act")
    server.query("ALTER TABLE public.orders OWNER TO app", dbname="app")
    halted = await REBUILD_INDEX.act(one, world, permits(0))
    assert isinstance(halted, Refusal)
    failed, log = await run(REBUILD_INDEX, one, world)
    assert failed.outcome is StepOutcome.FAILED, failed.refusal
    assert "DROP INDEX CONCURRENTLY" in log.ended().detail
    assert "_ccnew" in log.ended().detail
    seen = await REBUILD_INDEX.verify(one, world)
    assert not seen.ok
    assert "_ccnew" in seen.detail
    refused = await REBUILD_INDEX.check(one, world)
    assert refused is not None
    assert refused.guard == "nothing_left_behind"

    server.query("DELETE FROM public.orders WHERE ctid = '(0,1)'", dbname="app")
    [(left,)] = server.query(
        "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid AND indexrelid <> %s",
        [one.param("index_oid")],
        dbname="app",
    )
    server.query(f"DROP INDEX {left}", dbname="app")
    done, log = await run(REBUILD_INDEX, one, world)
    assert done.outcome is StepOutcome.DONE, (done.refusal, log.ended())
    assert log.verified().ok
    assert "CREATE UNIQUE INDEX" in log.ended().before
    again = await REBUILD_INDEX.check(one, world)
    assert again is not None
    assert again.guard == "same_index", "a rebuild gives it another oid"
