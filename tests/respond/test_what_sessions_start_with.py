"""Timeouts of a role, and a database that begins read-only: only where safe, and back exactly."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from typing import Any

import psycopg
import pytest

from acting_worlds import TARGET, always, bare_world, cause, permits, run, step
from stanch.adapters.postgres.acting import ActingSession
from stanch.adapters.postgres.acting_visits import ActingVisits
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.facts.starting_with import ReadOnly, RoleTimeout, parse_read_only, parse_role_timeout
from stanch.model.diagnosis import Missing
from stanch.model.errors import ActionFailed, ProbeFailed
from stanch.model.plans import PlannedStep, Refusal, StepOutcome
from stanch.model.ports.server import Acted, Row, SqlParams
from stanch.respond.actions.make_read_only.guards import GUARDS as BRAKE_GUARDS
from stanch.respond.actions.make_read_only.guards import may_brake
from stanch.respond.actions.make_read_only.planning import PLANNING as BRAKE
from stanch.respond.actions.make_read_only.run import MAKE_READ_ONLY
from stanch.respond.actions.set_role_timeout.guards import GUARDS, may_set
from stanch.respond.actions.set_role_timeout.planning import preview, withheld
from stanch.respond.actions.set_role_timeout.run import SET_ROLE_TIMEOUT
from stanch.service.readiness.granting import Acting
from stanch.service.readiness.rights import give
from stanch.steps.world import World

LIMIT = step("set_role_timeout", role="app", setting="statement_timeout", seconds=60)
APP = RoleTimeout(
    cluster="7",
    in_recovery=False,
    role="app",
    database="",
    superuser=False,
    replication=False,
    login=True,
    ours=False,
    own=None,
    others=("0",),
    applications=("shop", ""),
    statement="DO '…'",
    undo="ALTER ROLE app RESET statement_timeout",
)
OPEN = ReadOnly(
    cluster="7",
    in_recovery=False,
    database="shop",
    template=False,
    maintenance=False,
    own=None,
    statement="DO '…'",
    undo="ALTER DATABASE shop RESET default_transaction_read_only",
)


def judged(seen: RoleTimeout | Missing | None, one: PlannedStep = LIMIT) -> Refusal | RoleTimeout:
    target = replace(TARGET, protected_applications=("Reports",))
    return may_set(one, seen, target=target, cluster="7")


@pytest.mark.parametrize(
    "seen",
    [
        APP,
        replace(APP, others=()),
        replace(APP, others=("5min", "1h")),
        replace(APP, own="61s", others=("30s",)),
        replace(APP, own="0", others=("30s",)),
        replace(APP, role="restanch"),
    ],
)
def test_a_timeout_that_is_shorter_than_what_holds_may_be_set(seen: RoleTimeout) -> None:
    assert judged(seen) is seen


@pytest.mark.parametrize(
    ("seen", "guard"),
    [
        pytest.param(Missing(what="x", reason="no right"), "still_so", id="not read"),
        pytest.param(None, "ordinary_role", id="no such role"),
        pytest.param(replace(APP, cluster="8"), "same_server", id="another cluster"),
        pytest.param(replace(APP, in_recovery=True), "same_server", id="a standby"),
        pytest.param(replace(APP, superuser=True), "ordinary_role", id="a superuser"),
        pytest.param(replace(APP, replication=True), "ordinary_role", id="a standby's role"),
        pytest.param(replace(APP, role="pg_monitor"), "ordinary_role", id="the server's own"),
        pytest.param(replace(APP, login=False), "ordinary_role", id="a group"),
        pytest.param(replace(APP, ours=True), "not_protected", id="the acting role"),
        pytest.param(replace(APP, role="stanch_watch"), "not_protected", id="the watching role"),
        pytest.param(replace(APP, applications=("pg_dump",)), "not_protected", id="a backup"),
        pytest.param(replace(APP, applications=("reports",)), "not_protected", id="by policy"),
        pytest.param(replace(APP, applications=("stanch acting",)), "not_protected", id="Stanch"),
        pytest.param(replace(APP, own="60s"), "only_down", id="the same"),
        pytest.param(replace(APP, own="30s"), "only_down", id="shorter already"),
        pytest.param(replace(APP, others=("0", "30000")), "only_down", id="shorter for all"),
        pytest.param(replace(APP, own="soon"), "only_down", id="not to be compared"),
        pytest.param(replace(APP, undo="ALTER ROLE a\nb"), "plain_names", id="a line in a name"),
        pytest.param(replace(APP, statement="a\x1b"), "plain_names", id="in the other name"),
    ],
)
def test_a_role_for_which_it_could_do_harm_is_left_alone(
    seen: RoleTimeout | Missing | None, guard: str
) -> None:
    answer = judged(seen)
    assert isinstance(answer, Refusal)
    assert answer.guard == guard
    assert guard in {one.name for one in GUARDS}


@pytest.mark.parametrize(
    ("setting", "seconds"),
    [
        ("statement_timeout", 1),
        ("statement_timeout", 0),
        ("statement_timeout", 100_000),
        ("lock_timeout", 0.5),
        ("work_mem", 60),
        ("lock_timeout", "soon"),
    ],
)
def test_no_other_setting_and_none_too_short_for_work(setting: str, seconds: float | str) -> None:
    one = step("set_role_timeout", role="app", setting=setting, seconds=seconds)
    answer = judged(APP, one)
    assert isinstance(answer, Refusal)
    assert answer.guard == "allowed"
    assert withheld(one, cause("x"), TARGET)
    assert withheld(LIMIT, cause("x"), TARGET) is None


@pytest.mark.parametrize(
    ("seen", "guard"),
    [
        pytest.param(Missing(what="x", reason="no answer"), "still_so", id="not read"),
        pytest.param(None, "ordinary_database", id="no such database"),
        pytest.param(replace(OPEN, cluster="8"), "same_server", id="another cluster"),
        pytest.param(replace(OPEN, in_recovery=True), "same_server", id="a standby"),
        pytest.param(replace(OPEN, template=True), "ordinary_database", id="a template"),
        pytest.param(replace(OPEN, maintenance=True), "ordinary_database", id="postgres"),
        pytest.param(replace(OPEN, own="on"), "still_so", id="read-only already"),
        pytest.param(replace(OPEN, own="TRUE"), "still_so", id="in other words"),
        pytest.param(replace(OPEN, undo="a\nb"), "plain_names", id="a line in a name"),
    ],
)
def test_a_database_that_is_not_the_applications_is_not_made_read_only(
    seen: ReadOnly | Missing | None, guard: str
) -> None:
    answer = may_brake(seen, cluster="7")
    assert isinstance(answer, Refusal)
    assert answer.guard == guard
    assert guard in {one.name for one in BRAKE_GUARDS}
    assert may_brake(replace(OPEN, own="off"), cluster="7") == replace(OPEN, own="off")


def test_what_holds_only_for_new_sessions_is_said_so() -> None:
    assert "Sessions that are open keep" in preview(dict(LIMIT.params), cause("x"))
    said = BRAKE.preview({"database": "shop\x1b"}, cause("x"))
    assert "no lock" in said
    assert "\x1b" not in said
    assert BRAKE.loses_work(cause("x")), "a person decides"


@pytest.mark.parametrize("parse", [parse_role_timeout, parse_read_only])
@pytest.mark.parametrize("answer", ["[]", "null", '{"cluster": 1}', "{"])
def test_an_answer_that_is_none_is_no_fact(parse: Callable[[object], Any], answer: str) -> None:
    with pytest.raises(ProbeFailed):
        parse(answer)


async def test_without_an_acting_session_nothing_is_set() -> None:
    for action, one in ((SET_ROLE_TIMEOUT, LIMIT), (MAKE_READ_ONLY, brake("shop"))):
        refusal = await action.check(one, bare_world())
        assert refusal is not None
        assert refusal.guard == "acting_session"


# --- real servers -------------------------------------------------------------------------------

ROLE, DATABASE = 'r; DROP ROLE "app" --$$\'', "s'h\"op"
SET_FOR = "SELECT setrole, setdatabase, setconfig::text FROM pg_db_role_setting ORDER BY 1, 2"
RIGHTS = ("change what a role starts with", "make a database read-only")


def brake(database: str) -> PlannedStep:
    return step("make_read_only", database=database)


@pytest.fixture
async def world(server: ScratchServer, pg_major: int) -> AsyncIterator[World]:
    """A role and a database with hostile names, and the rights that are printed for them."""
    server.query('CREATE ROLE "r; DROP ROLE ""app"" --$$\'" LOGIN')
    server.query('CREATE DATABASE "s\'h""op" OWNER app')
    server.query('ALTER DATABASE "s\'h""op" SET work_mem = \'5MB\'')
    acting = Acting(role="stanch_act", major=pg_major, app_role=ROLE)
    lines = [one for one in give(RIGHTS[:1], acting).splitlines() if not one.startswith("--")]
    for statement in [*lines, "GRANT app TO stanch_act"]:
        server.query(statement)
    if pg_major < 16:
        server.query("ALTER ROLE stanch_act CREATEROLE")
    session = ActingSession(server.dsn("stanch_act"))
    assert (await session.connect(deadline_s=5.0)).answers
    [(cluster,)] = server.query("SELECT system_identifier::text FROM pg_control_system()")
    visits = ActingVisits(server.dsn("stanch_act"), cluster=str(cluster))
    yield replace(bare_world(), actor=session, visits=visits, cluster=str(cluster))
    session.close()


def way_back(server: ScratchServer, told: str) -> None:
    server.query(told.split("way back: ")[1].removesuffix(";"))


@pytest.mark.parametrize("database", ["", DATABASE], ids=["everywhere", "in one database"])
async def test_new_sessions_of_a_role_start_with_it_and_the_way_back_is_exact(
    server: ScratchServer, world: World, database: str
) -> None:
    before = server.query(SET_FOR)
    one = step("set_role_timeout", role=ROLE, database=database, setting="lock_timeout", seconds=3)
    done, log = await run(SET_ROLE_TIMEOUT, one, world)
    assert done.outcome is StepOutcome.DONE, done
    assert log.verified().ok
    with server.connect(ROLE, database or "app") as session:
        assert session.execute("SHOW lock_timeout").fetchone() == ("3s",)

    again, _ = await run(SET_ROLE_TIMEOUT, one, world)
    assert again.refusal is not None
    assert again.refusal.guard == "only_down"
    way_back(server, log.ended().before)
    assert server.query(SET_FOR) == before


async def test_a_database_begins_read_only_and_the_way_back_is_exact(
    server: ScratchServer, world: World
) -> None:
    before = server.query(SET_FOR)
    done, log = await run(MAKE_READ_ONLY, brake(DATABASE), world)
    assert done.outcome is StepOutcome.DONE, done
    assert log.verified().ok
    with (
        server.connect("app", DATABASE) as session,
        pytest.raises(psycopg.errors.ReadOnlySqlTransaction),
    ):
        session.execute("CREATE TABLE t (id int)")
    way_back(server, log.ended().before)
    assert server.query(SET_FOR) == before


class Meanwhile:
    """Real visits; something else happens before the statement, or instead of it."""

    def __init__(self, real: ActingVisits, happens: Callable[[], object]) -> None:
        self.real, self.happens = real, happens

    async def fetch_rows(
        self, database: str, sql: str, params: SqlParams | None = None, *, timeout_s: float
    ) -> tuple[Row, ...]:
        return await self.real.fetch_rows(database, sql, params, timeout_s=timeout_s)

    async def execute(
        self, database: str, sql: str, params: SqlParams | None = None, *, deadline_s: float
    ) -> Acted:
        instead = self.happens()
        if isinstance(instead, Acted):
            return instead
        return await self.real.execute(database, sql, params, deadline_s=deadline_s)


async def test_what_changed_between_look_and_act_is_not_touched(
    server: ScratchServer, world: World
) -> None:
    assert isinstance(world.visits, ActingVisits)
    timeout = step("set_role_timeout", role=ROLE, setting="lock_timeout", seconds=3)
    quoted = '"r; DROP ROLE ""app"" --$$\'"'
    changes = [
        (SET_ROLE_TIMEOUT, timeout, f"ALTER ROLE {quoted} SET work_mem = '6MB'"),
        (SET_ROLE_TIMEOUT, timeout, f"ALTER ROLE {quoted} RENAME TO other"),
        (MAKE_READ_ONLY, brake(DATABASE), 'ALTER DATABASE "s\'h""op" SET work_mem = \'6MB\''),
        (MAKE_READ_ONLY, brake(DATABASE), 'ALTER DATABASE "s\'h""op" RENAME TO other'),
    ]
    for action, one, changed in changes:
        between = Meanwhile(world.visits, partial(server.query, changed))
        report = await action.act(one, replace(world, visits=between), always)
        assert isinstance(report, Refusal), changed
        assert report.guard == "still_so"
    assert not [row for row in server.query(SET_FOR) if "read_only" in row[2]]


@pytest.mark.parametrize("pg_major", [15], indirect=True)
async def test_a_halt_a_doubt_and_a_missing_right_are_told_for_what_they_are(
    server: ScratchServer, world: World
) -> None:
    assert isinstance(world.visits, ActingVisits)
    halted = await MAKE_READ_ONLY.act(brake(DATABASE), world, permits(0))
    assert isinstance(halted, Refusal)
    lost = Meanwhile(world.visits, lambda: Acted(outcome="in_doubt", detail="no answer"))
    doubt = await MAKE_READ_ONLY.act(brake(DATABASE), replace(world, visits=lost), always)
    assert not isinstance(doubt, Refusal)
    assert (doubt.outcome, "way back" in doubt.before) == (StepOutcome.IN_DOUBT, True)
    assert not (await MAKE_READ_ONLY.verify(brake(DATABASE), world)).ok
    server.query("REVOKE app FROM stanch_act")
    with pytest.raises(ActionFailed, match="must be owner"):
        await MAKE_READ_ONLY.act(brake(DATABASE), world, always)
