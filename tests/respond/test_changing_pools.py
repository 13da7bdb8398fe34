"""When a pool may be changed: every guard with its near miss, and what is left in doubt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from acting_worlds import AT, TARGET, always, bare_world, step
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.facts.pooler import (
    POOL_SESSIONS_SQL,
    PooledDatabase,
    Pooler,
    PoolLine,
    PoolSession,
    ServerLink,
    ServerRoom,
    command,
    parse_databases,
    parse_links,
    parse_room,
    parse_settings,
    parse_version,
    session_parameters,
    set_command,
)
from stanch.model.diagnosis import Missing, Scalar
from stanch.model.errors import ActionFailed, ProbeFailed
from stanch.model.plans import PlannedStep, Refusal, StepOutcome
from stanch.model.ports.pooler import Shown
from stanch.model.ports.server import Acted, Row
from stanch.respond.actions.pause_pool.guards import may_pause
from stanch.respond.actions.pause_pool.run import PAUSE_POOL
from stanch.respond.actions.reset_pool.guards import may_reset
from stanch.respond.actions.reset_pool.run import RESET_POOL
from stanch.respond.actions.resize_pool.guards import Wanted, may_resize
from stanch.respond.actions.resize_pool.run import RESIZE_POOL
from stanch.respond.actions.resume_pool.guards import may_resume
from stanch.respond.actions.resume_pool.run import RESUME_POOL
from stanch.respond.pooling.guards import leads_here, may_change
from stanch.steps.world import World


def pool_step(action: str, **params: Scalar) -> PlannedStep:
    return step(action, deadline_s=30.0, pooler="bouncer", database="app", **params)


RESUME, PAUSE = pool_step("resume_pool"), pool_step("pause_pool")
RESET = pool_step("reset_pool", backend_pid=11, backend_start=AT.isoformat())
DATABASE = PooledDatabase(
    name="app",
    host="127.0.0.1",
    pool_size=20,
    max_connections=0,
    reserve_pool=0,
    paused=False,
    disabled=False,
)
POOLER = Pooler(
    product="PgBouncer",
    version=(1, 18, 0),
    databases=(DATABASE, replace(DATABASE, name="other")),
    pools=(PoolLine(database="app", user="web", waiting=5, in_use=20, open=20),),
    links=(ServerLink(database="app", pid=11, port=40_001),),
    settings={"default_pool_size": "20", "query_wait_timeout": "120", "max_db_connections": "0"},
    is_watched_one=True,
)
SESSION = PoolSession(pid=11, client_port=40_001, backend_start=AT, state="active", wait_type="")
ROOM = ServerRoom(sessions=(SESSION,), usable=97, taken=40, limits_left=None)
SILENT = Missing(what="the server", reason="no answer")


def guard_of(answer: object) -> str:
    assert isinstance(answer, Refusal), answer
    assert answer.reason
    return answer.guard


# --- whose it is --------------------------------------------------------------------------------


def test_the_pooler_that_is_watched_may_be_changed() -> None:
    assert may_change(RESUME, POOLER) is DATABASE


@pytest.mark.parametrize(
    ("seen", "guard"),
    [
        pytest.param(SILENT, "pooler", id="silent"),
        pytest.param(replace(POOLER, product="Odyssey"), "same_pooler", id="Odyssey"),
        pytest.param(replace(POOLER, product=""), "same_pooler", id="unknown"),
        pytest.param(replace(POOLER, version=(1, 17, 0)), "same_pooler", id="old"),
        pytest.param(replace(POOLER, is_watched_one=False), "same_pooler", id="another process"),
        pytest.param(replace(POOLER, databases=()), "known_database", id="no such database"),
        pytest.param(
            replace(POOLER, databases=(replace(DATABASE, disabled=True),)),
            "known_database",
            id="disabled",
        ),
        pytest.param(
            replace(POOLER, databases=(replace(DATABASE, disabled=None),)),
            "known_database",
            id="perhaps disabled",
        ),
    ],
)
def test_whatever_is_not_that_pooler_is_left_alone(seen: Pooler | Missing, guard: str) -> None:
    assert guard_of(may_change(RESUME, seen)) == guard


@pytest.mark.parametrize("name", ['a"b', "a;b", "a\nb", "a b", "ä", "", "x" * 64, "app'"])
def test_a_name_that_consoles_may_read_in_two_ways_is_for_a_person(name: str) -> None:
    seen = replace(POOLER, databases=(replace(DATABASE, name=name),))
    one = step("resume_pool", pooler="bouncer", database=name)
    assert guard_of(may_change(one, seen)) == "known_database"
    with pytest.raises(ValueError, match="plain"):
        command("RESUME", name)


def test_commands_are_written_with_their_names_in_quotes() -> None:
    assert command("PAUSE", "my-db.1") == 'PAUSE "my-db.1"'
    assert set_command("default_pool_size", 30) == "SET default_pool_size = '30'"
    for setting, value in (("a; b", 1), ("default_pool_size", -1), ("default_pool_size", 10**6)):
        with pytest.raises(ValueError, match="plain"):
            set_command(setting, value)


@pytest.mark.parametrize(
    ("room", "database"),
    [
        pytest.param(SILENT, DATABASE, id="the server does not answer"),
        pytest.param(replace(ROOM, sessions=()), DATABASE, id="no such backend"),
        pytest.param(
            replace(ROOM, sessions=(replace(SESSION, client_port=40_002),)),
            DATABASE,
            id="the pid of somebody else",
        ),
        pytest.param(
            replace(ROOM, sessions=(replace(SESSION, client_port=None),)), DATABASE, id="hidden"
        ),
        pytest.param(ROOM, replace(DATABASE, host="10.0.0.1,10.0.0.2"), id="several hosts"),
    ],
)
def test_a_pool_that_is_not_proven_to_lead_here_is_left_alone(
    room: ServerRoom | Missing, database: PooledDatabase
) -> None:
    assert leads_here(DATABASE, POOLER, ROOM) is None
    assert guard_of(leads_here(database, POOLER, room)) == "leads_here"
    assert guard_of(may_pause(database, POOLER, room, deadline_s=30)) == "leads_here"
    assert guard_of(may_reset(RESET, database, POOLER, room)) == "leads_here"


# --- resume, pause, reset -----------------------------------------------------------------------


def test_only_a_paused_pool_is_resumed() -> None:
    assert may_resume(replace(DATABASE, paused=True)) is None
    assert guard_of(may_resume(DATABASE)) == "is_paused"
    unknown = may_resume(replace(DATABASE, paused=None))
    assert guard_of(unknown) == "is_paused"
    assert "unknown means no" in str(unknown)


@pytest.mark.parametrize(
    ("paused", "wait", "guard"),
    [
        (True, "120", "not_paused"),
        (None, "120", "not_paused"),
        (False, "59", "clients_wait_longer"),
        (False, "", "clients_wait_longer"),
    ],
)
def test_a_pool_is_paused_only_while_its_clients_have_the_patience(
    paused: bool | None, wait: str, guard: str
) -> None:
    for patient in ("60", "0"):
        seen = replace(POOLER, settings={"query_wait_timeout": patient})
        assert may_pause(DATABASE, seen, ROOM, deadline_s=30) is None
    seen = replace(POOLER, settings={"query_wait_timeout": wait})
    database = replace(DATABASE, paused=paused)
    assert guard_of(may_pause(database, seen, ROOM, deadline_s=30)) == guard


@pytest.mark.parametrize(
    ("database", "room", "guard"),
    [
        (replace(DATABASE, paused=True), ROOM, "not_paused"),
        (replace(DATABASE, paused=None), ROOM, "not_paused"),
        (DATABASE, replace(ROOM, taken=97), "server_has_room"),
        (DATABASE, replace(ROOM, limits_left=0), "server_has_room"),
        (
            DATABASE,
            replace(ROOM, sessions=(replace(SESSION, backend_start=AT + timedelta(seconds=1)),)),
            "its_connection",
        ),
        (
            DATABASE,
            replace(ROOM, sessions=(replace(SESSION, backend_start=None),)),
            "its_connection",
        ),
    ],
)
def test_connections_are_renewed_only_for_the_backend_that_was_named(
    database: PooledDatabase, room: ServerRoom, guard: str
) -> None:
    assert may_reset(RESET, DATABASE, POOLER, ROOM) is None
    assert guard_of(may_reset(RESET, database, POOLER, room)) == guard


def test_a_backend_of_another_pool_is_not_this_pools() -> None:
    links = (ServerLink(database="other", pid=11, port=40_001), *POOLER.links[1:])
    mine = ServerLink(database="app", pid=12, port=40_002)
    room = replace(ROOM, sessions=(SESSION, replace(SESSION, pid=12, client_port=40_002)))
    seen = replace(POOLER, links=(*links, mine))
    assert guard_of(may_reset(RESET, DATABASE, seen, room)) == "its_connection"


# --- resize -------------------------------------------------------------------------------------


def larger(setting: str = "default_pool_size", before: int = 20, after: int = 30) -> PlannedStep:
    return pool_step("resize_pool", setting=setting, from_size=before, size=after)


def resized(
    one: PlannedStep | None = None,
    *,
    room: ServerRoom | Missing = ROOM,
    settings: Mapping[str, str] = POOLER.settings,
    pools: tuple[PoolLine, ...] = POOLER.pools,
    **database: Any,
) -> Refusal | Wanted:
    seen = replace(POOLER, settings=settings, pools=pools)
    return may_resize(one or larger(), replace(DATABASE, **database), seen, room)


def test_a_full_pool_at_work_may_grow_by_half() -> None:
    assert resized() == Wanted(setting="default_pool_size", from_size=20, size=30)
    assert isinstance(resized(larger(after=40), room=replace(ROOM, taken=60)), Wanted)


LINE = POOLER.pools[0]
WITH_CLIENTS = replace(POOLER, settings={"max_client_conn": "20"})


@pytest.mark.parametrize(
    ("answer", "guard"),
    [
        pytest.param(
            may_resize(larger("max_client_conn"), DATABASE, WITH_CLIENTS, ROOM),
            "setting",
            id="another setting",
        ),
        pytest.param(resized(larger(after=41)), "bounded", id="more than twice"),
        pytest.param(resized(larger(after=20)), "bounded", id="no growth"),
        pytest.param(resized(larger(after=10)), "bounded", id="smaller"),
        pytest.param(resized(larger(before=0, after=1)), "bounded", id="from nothing"),
        pytest.param(resized(settings={}), "setting", id="not told or not changeable"),
        pytest.param(
            resized(settings={"default_pool_size": "25"}), "unchanged", id="changed meanwhile"
        ),
        pytest.param(resized(pool_size=25), "setting", id="a size of its own"),
        pytest.param(resized(pools=(replace(LINE, waiting=0),)), "is_the_limit", id="nobody waits"),
        pytest.param(resized(pools=(replace(LINE, open=19),)), "is_the_limit", id="not full"),
        pytest.param(resized(max_connections=20), "is_the_limit", id="at another limit"),
        pytest.param(resized(room=SILENT), "server_has_room", id="the server is silent"),
        pytest.param(
            resized(room=replace(ROOM, taken=78)), "server_has_room", id="the server is full"
        ),
        pytest.param(
            resized(room=replace(ROOM, limits_left=19)), "server_has_room", id="a role's limit"
        ),
        pytest.param(
            resized(pools=(LINE, *[replace(LINE, user=f"u{n}", waiting=0) for n in range(4)])),
            "server_has_room",
            id="too many pools grow by it",
        ),
        pytest.param(
            resized(room=replace(ROOM, sessions=(replace(SESSION, state="idle in transaction"),))),
            "at_work",
            id="idle in a transaction",
        ),
        pytest.param(
            resized(room=replace(ROOM, sessions=(replace(SESSION, wait_type="Lock"),))),
            "at_work",
            id="waiting for a lock",
        ),
        pytest.param(
            resized(room=replace(ROOM, sessions=(replace(SESSION, state=""),))),
            "at_work",
            id="hidden",
        ),
        pytest.param(resized(room=replace(ROOM, sessions=())), "leads_here", id="another server"),
    ],
)
def test_a_pool_does_not_grow(answer: Refusal | Wanted, guard: str) -> None:
    assert guard_of(answer) == guard


def test_room_is_counted_to_the_last_connection() -> None:
    # 97 usable, of which 10 are kept; ten more are wanted.
    assert isinstance(resized(room=replace(ROOM, taken=77)), Wanted)
    assert isinstance(resized(room=replace(ROOM, limits_left=20)), Wanted)


def test_the_limit_of_a_database_grows_where_its_pools_wait_at_that() -> None:
    settings = {"max_db_connections": "20"}
    at_limit = {"settings": settings, "max_connections": 20, "room": replace(ROOM, usable=200)}
    assert isinstance(resized(larger("max_db_connections"), **at_limit), Wanted)
    calm = (replace(LINE, waiting=0),)
    assert guard_of(resized(larger("max_db_connections"), pools=calm, **at_limit)) == "is_the_limit"
    fewer = (replace(LINE, open=19),)
    assert (
        guard_of(resized(larger("max_db_connections"), pools=fewer, **at_limit)) == "is_the_limit"
    )


# --- what consoles say --------------------------------------------------------------------------


def test_a_console_says_what_it_is() -> None:
    assert parse_version([{"version": "PgBouncer 1.18.0"}]) == ("PgBouncer", (1, 18, 0))
    assert parse_version([{"version": "PgBouncer 1.24.1"}])[1] > (1, 18)
    assert parse_version([]) == ("", ())
    assert parse_version([{"version": "\x1b[1m?"}]) == ("", ())


def test_rows_are_read_by_name_and_what_is_missing_is_not_known() -> None:
    [database] = parse_databases([{"name": "app"}, {"name": "pgbouncer", "paused": "0"}])
    assert (database.paused, database.disabled, database.pool_size) == (None, None, None)
    unix = {"database": "app", "addr": "unix", "remote_pid": "7", "local_port": "6432"}
    broken = {"database": "app", "remote_pid": "-1", "local_port": "x"}
    assert parse_links([unix, broken]) == (ServerLink(database="app", pid=7, port=-1),)
    fixed = {"key": "listen_port", "value": "6432", "changeable": "no"}
    assert parse_settings([fixed, {"key": "a", "value": "1", "changeable": "yes"}]) == {"a": "1"}


@pytest.mark.parametrize("limit", [None, 3])
def test_a_server_of_any_version_tells_what_is_left_of_it(
    server: ScratchServer, limit: int | None
) -> None:
    if limit is not None:
        server.query(f"ALTER ROLE app CONNECTION LIMIT {limit}")
    with server.connect("app", "app") as session:
        link = ServerLink(database="app", pid=session.info.backend_pid, port=0)
        sql = POOL_SESSIONS_SQL.replace("%(pids)s", f"'{session_parameters([link])['pids']}'")
        [(answer,)] = server.query(sql)
    room = parse_room(answer)
    assert [s.pid for s in room.sessions] == [link.pid]
    assert room.sessions[0].backend_start is not None
    assert (room.limits_left, room.left <= 2) == ((None, False) if limit is None else (2, True))
    assert room.usable > room.taken > 0


# --- a console that goes wrong ------------------------------------------------------------------


@dataclass
class FakeConsole:
    """Answers from tables; `acts` says how each command goes, in order."""

    acts: list[Acted] = field(default_factory=list[Acted])
    paused: str = "1"
    fails: bool = False
    commands: list[str] = field(default_factory=list[str])
    closed: int = 0

    async def show(self, what: Shown, *, timeout_s: float) -> tuple[Row, ...]:
        if self.fails:
            raise ProbeFailed("no answer")
        tables: dict[str, tuple[Row, ...]] = {
            "VERSION": ({"version": "PgBouncer 1.22.1"},),
            "DATABASES": ({"name": "app", "host": "h", "paused": self.paused, "disabled": "0"},),
            "POOLS": ({"database": "app", "user": "web", "cl_waiting": "4"},),
        }
        return tables.get(what, ())

    async def is_watched_one(self, *, timeout_s: float) -> bool:
        return True

    async def execute(self, command: str, *, deadline_s: float) -> Acted:
        self.commands.append(command)
        return self.acts.pop(0)

    async def close(self) -> None:
        self.closed += 1


def fake_world(console: FakeConsole) -> World:
    return replace(bare_world(), poolers={"bouncer": console})


@pytest.mark.parametrize("action", [RESUME_POOL, PAUSE_POOL, RESET_POOL, RESIZE_POOL])
async def test_without_a_console_nothing_is_asked_and_nothing_is_known(action: Any) -> None:
    one = {"resume_pool": RESUME, "pause_pool": PAUSE, "reset_pool": RESET}
    planned = one.get(action.name, larger())
    refusal = await action.check(planned, bare_world(TARGET))
    assert refusal is not None
    assert (refusal.guard, "admin_dsn" in refusal.lifts) == ("pooler", True)
    seen = await action.verify(planned, bare_world(TARGET))
    assert (seen.ok, seen.pending) == (False, True)


async def test_a_silent_console_is_a_no_and_no_verdict_and_is_let_go_of() -> None:
    console = FakeConsole(fails=True)
    refusal = await RESUME_POOL.check(RESUME, fake_world(console))
    assert refusal is not None
    assert refusal.guard == "pooler"
    seen = await RESUME_POOL.verify(RESUME, fake_world(console))
    assert (seen.ok, seen.pending) == (False, True)
    assert console.closed == 2


async def test_a_resume_without_answer_is_in_doubt_and_sent_once() -> None:
    console = FakeConsole(acts=[Acted(outcome="in_doubt", detail="connection \x1blost")])
    report = await RESUME_POOL.act(RESUME, fake_world(console), always)
    assert not isinstance(report, Refusal)
    assert report.outcome is StepOutcome.IN_DOUBT
    assert report.detail == "connection \\x1blost"
    assert console.commands == ['RESUME "app"']
    assert "paused True" in report.before


async def test_a_pool_that_is_paused_with_its_transactions_still_at_work_is_no_pause_yet() -> None:
    class Busy(FakeConsole):
        async def show(self, what: Shown, *, timeout_s: float) -> tuple[Row, ...]:
            if what == "POOLS":
                return ({"database": "app", "user": "web", "sv_active": "2"},)
            return await super().show(what, timeout_s=timeout_s)

    seen = await PAUSE_POOL.verify(PAUSE, fake_world(Busy()))
    assert (seen.ok, "2 connections are still in use" in seen.detail) == (False, True)
    assert (await PAUSE_POOL.verify(PAUSE, fake_world(FakeConsole()))).ok
    assert not (await PAUSE_POOL.verify(PAUSE, fake_world(FakeConsole(paused="0")))).ok


async def test_a_pool_goes_on_waiting_for_a_verdict_where_its_pause_is_not_told() -> None:
    for action, one in ((PAUSE_POOL, PAUSE), (RESUME_POOL, RESUME)):
        seen = await action.verify(one, fake_world(FakeConsole(paused="?")))
        assert (seen.ok, seen.pending) == (False, True)


async def test_a_console_that_refuses_says_what_it_takes() -> None:
    console = FakeConsole(acts=[Acted(outcome="failed", detail="admin access needed")])
    with pytest.raises(ActionFailed, match="admin access needed") as caught:
        await RESUME_POOL.act(RESUME, fake_world(console), always)
    assert "admin_users" in caught.value.hint
