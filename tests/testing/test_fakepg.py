"""One contract for the stand-in and real servers, so that the stand-in cannot lie."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from typing import Protocol

import psycopg
import pytest

from fix_servers import BINARIES, DEBIAN_AS_ROOT, Templates
from stanch.adapters.postgres.conninfo import resolve
from stanch.adapters.postgres.probe import probe
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.adapters.postgres.scratch_folder import ScratchOptions
from stanch.adapters.postgres.sentinel import Sentinel
from stanch.facts.vitals import VITALS_SQL
from stanch.model.errors import ProbeFailed
from stanch.model.reach import LossReason, ReachState, SentinelLost
from stanch.testing.fakepg import FakeMode, FakePostgres

SECRET = "s3cret"


class Served(Protocol):
    """A server of either kind: role `app` logs in by SCRAM, `stanch_watch` too."""

    def dsn(self, user: str = ..., dbname: str = ..., password: str | None = ...) -> str: ...

    async def crash(self) -> None: ...

    async def shut_down(self) -> None: ...


class RealServed:
    def __init__(self, server: ScratchServer) -> None:
        self._server = server

    def dsn(self, user: str = "app", dbname: str = "app", password: str | None = None) -> str:
        if password is None:
            return self._server.dsn(user, dbname, sslmode="disable")
        return self._server.dsn(user, dbname, sslmode="disable", password=password)

    async def crash(self) -> None:
        await asyncio.to_thread(self._server.kill)

    async def shut_down(self) -> None:
        await asyncio.to_thread(self._server.stop, "fast")


class StandInServed:
    def __init__(self, server: FakePostgres) -> None:
        self._server = server

    def dsn(self, user: str = "app", dbname: str = "app", password: str | None = None) -> str:
        return self._server.dsn(user=user, dbname=dbname, password=password or SECRET)

    async def crash(self) -> None:
        await self._server.crash()

    async def shut_down(self) -> None:
        await self._server.shut_down()


KINDS = [
    pytest.param(None, id="stand-in"),
    pytest.param(15, id="pg15"),
    pytest.param(18, id="pg18"),
]


@pytest.fixture(scope="module")
def readable(server_templates: Templates) -> Iterator[Callable[[int], RealServed]]:
    """One real server a version for the tests that leave it as it was."""
    with ExitStack() as stack:
        made: dict[int, RealServed] = {}

        def of(major: int) -> RealServed:
            if major not in made:
                made[major] = stack.enter_context(real_server(major, server_templates))
            return made[major]

        yield of


@contextmanager
def real_server(major: int, templates: Templates) -> Generator[RealServed]:
    if major not in BINARIES:
        reason = f"no PostgreSQL {major} server here; run scripts/setup-test"
        pytest.fail(reason) if DEBIAN_AS_ROOT else pytest.skip(reason)
    options = ScratchOptions(auth="scram-sha-256")
    template = templates.of(major, "scram-sha-256")
    with ScratchServer.create(options=options, template=template) as server:
        yield RealServed(server)


@asynccontextmanager
async def stand_in() -> AsyncGenerator[StandInServed]:
    vitals = {VITALS_SQL: json.dumps({"backends": 3})}
    passwords = {"app": SECRET, "stanch_watch": SECRET}
    async with FakePostgres(answers=vitals, passwords=passwords) as fake:
        yield StandInServed(fake)


@pytest.fixture(params=KINDS)
async def served(
    request: pytest.FixtureRequest, readable: Callable[[int], RealServed]
) -> AsyncIterator[Served]:
    if request.param is None:
        async with stand_in() as served:
            yield served
    else:
        yield readable(request.param)


@pytest.fixture(params=KINDS)
async def breakable(
    request: pytest.FixtureRequest, server_templates: Templates
) -> AsyncIterator[Served]:
    if request.param is None:
        async with stand_in() as served:
            yield served
    else:
        with real_server(request.param, server_templates) as served:
            yield served


pytestmark = pytest.mark.contract


async def test_the_right_password_is_up_and_the_wrong_one_auth_failed(served: Served) -> None:
    right, wrong = await probe(served.dsn()), await probe(served.dsn(password="wrong"))

    assert right.state is ReachState.UP
    assert (wrong.state, wrong.sqlstate) == (ReachState.AUTH_FAILED, "28P01")


async def test_an_unknown_database_is_refused_after_login(served: Served) -> None:
    reach = await probe(served.dsn(dbname="gone"))

    assert (reach.state, reach.sqlstate) == (ReachState.NO_SUCH_DATABASE, "3D000")
    assert reach.layers[-1].name == "database"


async def test_an_unknown_setting_at_login_is_refused(served: Served) -> None:
    reach = await probe(f"{served.dsn()} options='-c no_such_setting=1'")

    assert reach.sqlstate == "42704"


async def test_a_server_without_tls_says_so(served: Served) -> None:
    reach = await probe(served.dsn().replace("sslmode=disable", "sslmode=require"))

    assert reach.state is ReachState.TLS_FAILURE


async def test_the_drivers_own_sessions_work_simple_and_extended(served: Served) -> None:
    async with await psycopg.AsyncConnection.connect(served.dsn(), autocommit=True) as session:
        assert (await (await session.execute("SELECT 1")).fetchone()) == (1,)
        assert (await (await session.execute("SELECT 1", prepare=True)).fetchone()) == (1,)
        with pytest.raises(psycopg.errors.DivisionByZero):
            await session.execute("SELECT 1/0")
        assert (await (await session.execute("SELECT 1")).fetchone()) == (1,)


async def test_the_vitals_are_one_json_object_and_stay_prepared(served: Served) -> None:
    sentinel = Sentinel(served.dsn("stanch_watch", "postgres"))
    await sentinel.connect()

    for _ in range(3):
        payload = await sentinel.fetch_json(VITALS_SQL, timeout_s=5)
        assert json.loads(payload)["backends"] >= 1
    sentinel.close()


async def test_the_sentinels_session_is_read_only(served: Served) -> None:
    sentinel = Sentinel(served.dsn())
    await sentinel.connect()

    [row] = await sentinel.fetch_rows(
        "SELECT pg_catalog.pg_is_in_recovery(), "
        "pg_catalog.current_setting('transaction_read_only'), pg_catalog.pg_backend_pid()",
        timeout_s=5,
    )

    assert list(row.values()) == ["f", "on", str(sentinel.backend_pid)]
    sentinel.close()


async def test_an_error_leaves_the_session_open(served: Served) -> None:
    sentinel = Sentinel(served.dsn())
    await sentinel.connect()

    with pytest.raises(ProbeFailed, match="22012"):
        await sentinel.fetch_rows("SELECT 1/0", timeout_s=5)

    assert sentinel.connected
    assert await sentinel.fetch_rows("SELECT 1", timeout_s=5)
    sentinel.close()


async def test_the_statement_timeout_ends_the_statement_and_not_the_session(
    served: Served,
) -> None:
    sentinel = Sentinel(served.dsn())
    await sentinel.connect()

    with pytest.raises(ProbeFailed, match="57014"):
        await sentinel.fetch_rows("SELECT pg_sleep(30)", timeout_s=10)

    assert sentinel.connected
    sentinel.close()


async def test_a_deadline_in_flight_ends_the_session_as_silent(served: Served) -> None:
    lost: list[SentinelLost] = []
    sentinel = Sentinel(served.dsn(), on_lost=lost.append)
    await sentinel.connect()

    with pytest.raises(ProbeFailed):
        await sentinel.fetch_rows("SELECT pg_sleep(1)", timeout_s=0.1)

    assert [one.reason for one in lost] == [LossReason.SILENT]
    assert not sentinel.connected


async def test_a_terminated_session_is_told_so(served: Served) -> None:
    lost: list[SentinelLost] = []
    sentinel = Sentinel(served.dsn(), on_lost=lost.append)
    other = Sentinel(served.dsn())
    await sentinel.connect()
    await other.connect()

    await other.fetch_rows(
        "SELECT pg_terminate_backend(%(pid)s::int)", {"pid": sentinel.backend_pid}, timeout_s=5
    )
    await until(lambda: bool(lost))

    assert (lost[0].reason, lost[0].sqlstate) == (LossReason.ADMIN_SHUTDOWN, "57P01")
    assert other.connected
    assert (await probe(served.dsn())).state is ReachState.UP
    other.close()


async def test_a_killed_postmaster_is_told_by_its_orphan_before_it_refuses(
    breakable: Served,
) -> None:
    lost: list[SentinelLost] = []
    sentinel = Sentinel(breakable.dsn(), on_lost=lost.append)
    await sentinel.connect()

    await breakable.crash()
    await until(lambda: bool(lost))

    assert (lost[0].reason, lost[0].sqlstate) == (LossReason.POSTMASTER_DIED, "57P01")
    assert (await probe(breakable.dsn())).state is ReachState.REFUSED


async def test_a_fast_shutdown_is_told_and_then_refuses(breakable: Served) -> None:
    lost: list[SentinelLost] = []
    sentinel = Sentinel(breakable.dsn(), on_lost=lost.append)
    await sentinel.connect()

    await breakable.shut_down()
    await until(lambda: bool(lost))

    assert (lost[0].reason, lost[0].sqlstate) == (LossReason.ADMIN_SHUTDOWN, "57P01")
    assert (await probe(breakable.dsn())).state is ReachState.REFUSED


@pytest.mark.parametrize(
    "first",
    [
        struct.pack("!ii", 4, 196608),
        struct.pack("!ii", 1 << 30, 196608),
        struct.pack("!ii", 9, 196608) + b"\0",
        struct.pack("!ii", 13, 196608) + b"user\0",
        struct.pack("!ii", 9, 2 << 16) + b"\0",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
async def test_a_startup_that_is_none_ends_the_connection(served: Served, first: bytes) -> None:
    port = resolve(served.dsn()).port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(first)
    async with asyncio.timeout(5):
        answer = await reader.read()

    assert answer[:1] in (b"", b"E")
    writer.close()


async def until(holds: object, *, timeout_s: float = 5.0) -> None:
    assert callable(holds)
    async with asyncio.timeout(timeout_s):
        while not holds():
            await asyncio.sleep(0.002)


# --- what only the stand-in can be asked ----------------------------------------------------------


async def test_an_unrecorded_statement_is_an_error_and_never_a_guess() -> None:
    async with FakePostgres() as server:
        sentinel = Sentinel(server.dsn())
        await sentinel.connect()

        with pytest.raises(ProbeFailed, match="0A000"):
            await sentinel.fetch_rows("SELECT 2", timeout_s=1)
        sentinel.close()


@pytest.mark.parametrize("mode", [FakeMode.HUNG, FakeMode.BLACKHOLE])
async def test_silence_reaches_open_sessions_and_ends_when_the_mode_does(mode: FakeMode) -> None:
    async with FakePostgres() as server:
        sentinel = Sentinel(server.dsn())
        await sentinel.connect()
        await server.set_mode(mode)
        waiting = asyncio.create_task(sentinel.fetch_rows("SELECT 1", timeout_s=5))
        done, _ = await asyncio.wait({waiting}, timeout=0.2)
        assert not done

        await server.set_mode(FakeMode.OK)
        assert await waiting
        sentinel.close()


async def test_a_port_that_refuses_is_not_given_to_anybody_else() -> None:
    async with FakePostgres() as server:
        await server.set_mode(FakeMode.REFUSE)

        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind((server.host, server.port))


async def test_a_crash_can_also_reset_its_sessions() -> None:
    async with FakePostgres() as server:
        lost: list[SentinelLost] = []
        sentinel = Sentinel(server.dsn(), on_lost=lost.append)
        await sentinel.connect()

        await server.crash(reset=True)
        await until(lambda: bool(lost))

        assert lost[0].reason is LossReason.CLOSED


async def test_a_thousand_servers_live_on_one_loop() -> None:
    async with AsyncExitStack() as stack:
        servers = [FakePostgres() for _ in range(1000)]
        for server in servers:
            await stack.enter_async_context(server)
        sentinels = [Sentinel(server.dsn()) for server in servers[::20]]
        for sentinel in sentinels:
            assert (await sentinel.connect()).answers

        assert len({server.port for server in servers}) == 1000
        for sentinel in sentinels:
            sentinel.close()
