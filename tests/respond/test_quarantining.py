"""A quarantine takes rights to write away, keeps those to read, and comes back byte for byte."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import psycopg
import pytest

from acting_worlds import always, bare_world, cause, permits, run, step
from stanch.adapters.postgres.acting import ActingSession
from stanch.adapters.postgres.acting_visits import ActingVisits
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.facts.quarantine import Granted, Quarantine, parse_quarantine
from stanch.model.diagnosis import Missing
from stanch.model.errors import ActionFailed, ProbeFailed
from stanch.model.plans import PlannedStep, Refusal, StepOutcome
from stanch.respond.actions.quarantine_table.guards import GUARDS, TABLES_MAX, may_quarantine
from stanch.respond.actions.quarantine_table.planning import PLANNING
from stanch.respond.actions.quarantine_table.run import QUARANTINE_TABLE
from stanch.steps.world import World

ONE = step("quarantine_table", database="app", kind="table", name="public.orders", oid=7)
ORDERS = Granted(oid=7, name="public.orders", schema="public", owner="shop", acl="{}", columns="")
WRITTEN = Quarantine(
    cluster="7",
    in_recovery=False,
    tables=(ORDERS,),
    granted_by_others=False,
    unnamed=False,
    writers=("app",),
    statement="DO '…'",
    undo="BEGIN; GRANT …; COMMIT",
)


def test_a_table_to_which_others_than_the_owner_write_may_be_quarantined() -> None:
    assert may_quarantine(ONE, WRITTEN, cluster="7") is WRITTEN


@pytest.mark.parametrize(
    ("seen", "guard"),
    [
        pytest.param(Missing(what="x", reason="no answer"), "still_so", id="not read"),
        pytest.param(replace(WRITTEN, cluster="8"), "same_server", id="another cluster"),
        pytest.param(replace(WRITTEN, in_recovery=True), "same_server", id="a standby"),
        pytest.param(replace(WRITTEN, tables=()), "same_table", id="gone or renamed"),
        pytest.param(replace(WRITTEN, tables=(ORDERS, ORDERS)), "same_table", id="two of a name"),
        pytest.param(
            replace(WRITTEN, tables=(replace(ORDERS, oid=8),)), "same_table", id="made anew"
        ),
        pytest.param(
            replace(WRITTEN, tables=(replace(ORDERS, schema="pg_catalog"),)),
            "ordinary_table",
            id="the server's",
        ),
        pytest.param(
            replace(WRITTEN, tables=(replace(ORDERS, schema="stanch"),)),
            "ordinary_table",
            id="the canary's",
        ),
        pytest.param(replace(WRITTEN, granted_by_others=True), "given_by_owner", id="of others"),
        pytest.param(replace(WRITTEN, unnamed=True), "given_by_owner", id="a role is gone"),
        pytest.param(replace(WRITTEN, writers=()), "others_write", id="only the owner writes"),
        pytest.param(replace(WRITTEN, undo="a\nb"), "plain_names", id="a line in a name"),
        pytest.param(replace(WRITTEN, statement="a\x07"), "plain_names", id="a bell in a name"),
    ],
)
def test_what_would_not_come_back_exactly_is_left_alone(
    seen: Quarantine | Missing, guard: str
) -> None:
    answer = may_quarantine(ONE, seen, cluster="7")
    assert isinstance(answer, Refusal)
    assert answer.guard == guard
    assert guard in {one.name for one in GUARDS}


@pytest.mark.parametrize("tables", [(), (ORDERS, ORDERS)], ids=["none", "two"])
def test_a_name_that_is_not_one_table_is_left_alone_without_an_oid_too(
    tables: tuple[Granted, ...],
) -> None:
    one = step("quarantine_table", database="app", kind="table", name="public.orders")
    answer = may_quarantine(one, replace(WRITTEN, tables=tables), cluster="7")
    assert isinstance(answer, Refusal)
    assert answer.guard == "same_table"
    assert may_quarantine(one, WRITTEN, cluster="7") is WRITTEN


def test_a_schema_may_have_many_tables_but_not_any_number() -> None:
    schema = step("quarantine_table", database="app", kind="schema", name="public")
    many = replace(WRITTEN, tables=(ORDERS,) * TABLES_MAX)
    assert may_quarantine(schema, many, cluster="7") is many
    answer = may_quarantine(schema, replace(many, tables=(*many.tables, ORDERS)), cluster="7")
    assert isinstance(answer, Refusal)
    assert answer.guard == "ordinary_table"
    other = step("quarantine_table", database="app", kind="database", name="public")
    assert isinstance(may_quarantine(other, WRITTEN, cluster="7"), Refusal)


def test_who_is_asked_is_told_that_owners_still_write() -> None:
    assert "The owner and superusers still write" in PLANNING.preview(dict(ONE.params), cause("x"))
    assert PLANNING.loses_work(cause("x")), "a person decides"


@pytest.mark.parametrize("answer", ["[]", "null", '{"cluster": 1}', "{}", "{"])
def test_an_answer_that_is_none_takes_nothing_away(answer: str) -> None:
    with pytest.raises(ProbeFailed):
        parse_quarantine(answer)


# --- real servers -------------------------------------------------------------------------------

MADE = """
CREATE ROLE shop;
CREATE ROLE "wr'i""ter; --$$";
CREATE ROLE reader;
CREATE ROLE only_writes;
CREATE SCHEMA "Or;ders";
GRANT USAGE ON SCHEMA "Or;ders" TO app, shop, "wr'i""ter; --$$";
CREATE TABLE "Or;ders"."t""a'b" (id int, "c""o'l" int, n int);
CREATE TABLE "Or;ders".by_columns (id int, n int);
CREATE TABLE "Or;ders".untouched (id int);
ALTER TABLE "Or;ders"."t""a'b" OWNER TO shop;
ALTER TABLE "Or;ders".by_columns OWNER TO shop;
ALTER TABLE "Or;ders".untouched OWNER TO shop;
GRANT SELECT ON "Or;ders"."t""a'b" TO reader;
GRANT INSERT ON "Or;ders"."t""a'b" TO only_writes;
GRANT INSERT ON "Or;ders"."t""a'b" TO PUBLIC;
GRANT ALL ON "Or;ders"."t""a'b" TO app;
GRANT SELECT, UPDATE ON "Or;ders"."t""a'b" TO "wr'i""ter; --$$" WITH GRANT OPTION;
GRANT UPDATE ("c""o'l") ON "Or;ders"."t""a'b" TO only_writes;
GRANT SELECT (n), INSERT (n) ON "Or;ders"."t""a'b" TO reader;
GRANT SELECT (n) ON "Or;ders"."t""a'b" TO app;
GRANT UPDATE (n) ON "Or;ders".by_columns TO app;
GRANT SELECT (n) ON "Or;ders".by_columns TO reader;
GRANT SELECT ON "Or;ders".untouched TO app;
GRANT shop TO stanch_act
"""
ACLS = """
SELECT c.relname, a.attname, c.relacl::text, a.attacl::text
FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
WHERE c.relnamespace = '"Or;ders"'::regnamespace AND a.attnum > 0 ORDER BY 1, 2
"""
NAME = "Or;ders.t\"a'b"


def table(name: str = NAME) -> PlannedStep:
    return step("quarantine_table", database="app", kind="table", name=name)


@pytest.fixture
async def world(server: ScratchServer) -> AsyncIterator[World]:
    for statement in MADE.strip().split(";\n"):
        server.query(statement, dbname="app")
    session = ActingSession(server.dsn("stanch_act"))
    assert (await session.connect(deadline_s=5.0)).answers
    [(cluster,)] = server.query("SELECT system_identifier::text FROM pg_control_system()")
    visits = ActingVisits(server.dsn("stanch_act"), cluster=str(cluster))
    yield replace(bare_world(), actor=session, visits=visits, cluster=str(cluster))
    session.close()


@pytest.mark.parametrize("kind", ["table", "schema"])
async def test_writers_only_read_and_every_right_comes_back_in_its_place(
    server: ScratchServer, world: World, kind: str
) -> None:
    before = server.query(ACLS, dbname="app")
    one = step(
        "quarantine_table",
        database="app",
        kind=kind,
        name=NAME if kind == "table" else "Or;ders",
    )
    halted = await QUARANTINE_TABLE.act(one, world, permits(0))
    assert isinstance(halted, Refusal)
    assert server.query(ACLS, dbname="app") == before

    done, log = await run(QUARANTINE_TABLE, one, world)
    assert done.outcome is StepOutcome.DONE, log.ended().detail[:300]
    assert log.verified().ok
    with server.connect("app", "app") as session:
        assert session.execute('SELECT count(*) FROM "Or;ders"."t""a\'b"').fetchone() == (0,)
        for write in ('INSERT INTO "Or;ders"."t""a\'b" VALUES (1)', 'TRUNCATE "Or;ders"."t""a\'b"'):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(write.encode())
    again, _ = await run(QUARANTINE_TABLE, one, world)
    assert again.refusal is not None
    assert again.refusal.guard == "others_write"

    way_back = log.ended().before.split("way back: ")[1]
    with server.connect("postgres", "app") as session:
        session.execute(way_back.encode())
    assert server.query(ACLS, dbname="app") == before


async def test_rights_that_changed_between_look_and_act_are_not_touched(
    server: ScratchServer, world: World
) -> None:
    changes = (
        'GRANT UPDATE (id) ON "Or;ders"."t""a\'b" TO reader',
        'GRANT DELETE ON "Or;ders"."t""a\'b" TO reader',
        'ALTER TABLE "Or;ders"."t""a\'b" OWNER TO app',
        'ALTER TABLE "Or;ders"."t""a\'b" RENAME TO other',
    )
    for changed in changes:

        def meanwhile(sql: str = changed) -> None:
            server.query(sql, dbname="app")

        report = await QUARANTINE_TABLE.act(table(), world, meanwhile)
        assert isinstance(report, Refusal), changed
        assert report.guard == "still_so", changed
    gone = await QUARANTINE_TABLE.check(table(), world)
    assert gone is not None
    assert gone.guard == "same_table"


@pytest.mark.parametrize("pg_major", [15], indirect=True)
async def test_rights_that_somebody_else_gave_are_left_to_a_person(
    server: ScratchServer, world: World
) -> None:
    with server.connect("postgres", "app") as session:
        session.execute('SET ROLE "wr\'i""ter; --$$"')
        session.execute('GRANT USAGE ON SCHEMA "Or;ders" TO CURRENT_USER')
        session.execute('GRANT SELECT ON "Or;ders"."t""a\'b" TO only_writes')
    refusal = await QUARANTINE_TABLE.check(table(), world)
    assert refusal is not None
    assert refusal.guard == "given_by_owner"
    server.query("REVOKE shop FROM stanch_act")
    with pytest.raises(ActionFailed, match=r"must be owner|permission denied"):
        await QUARANTINE_TABLE.act(table("Or;ders.by_columns"), world, always)
