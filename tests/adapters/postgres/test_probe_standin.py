"""What a probe promises about itself, against a server that counts and breaks on demand."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import psutil
import pytest

from stanch.adapters.postgres.one_try import OneTry
from stanch.adapters.postgres.probe import probe
from stanch.model.reach import ReachState
from stanch.testing.fakepg import FakeMode, FakePostgres
from stanch.testing.pgbackend import Backend
from stanch.testing.pgmessages import Answer, SqlError


@pytest.mark.parametrize(
    ("mode", "state"),
    [
        (FakeMode.OK, ReachState.UP),
        (FakeMode.REFUSE, ReachState.REFUSED),
        (FakeMode.BLACKHOLE, ReachState.TIMEOUT),
        (FakeMode.HUNG, ReachState.HUNG),
        (FakeMode.RESET, ReachState.REFUSED),
        (FakeMode.STARTING_UP, ReachState.STARTING_UP),
        (FakeMode.SHUTTING_DOWN, ReachState.SHUTTING_DOWN),
        (FakeMode.TOO_MANY_CLIENTS, ReachState.TOO_MANY_CLIENTS),
    ],
)
async def test_each_way_to_break_has_its_own_state(mode: FakeMode, state: ReachState) -> None:
    async with FakePostgres() as server:
        await server.set_mode(mode)
        assert (await probe(server.dsn(), deadline_s=0.5)).state is state

        await server.set_mode(FakeMode.OK)
        assert (await probe(server.dsn(), deadline_s=2)).state is ReachState.UP


async def test_one_probe_is_one_connection() -> None:
    async with FakePostgres(passwords={"app": "secret"}) as server:
        await probe(server.dsn(password="secret").replace("disable", "prefer"))

        assert server.connections_seen == 1


async def test_a_wrong_password_is_sent_once() -> None:
    async with FakePostgres(passwords={"app": "secret"}) as server:
        reach = await probe(server.dsn(password="wrong").replace("disable", "prefer"))

        assert reach.state is ReachState.AUTH_FAILED
        assert (server.passwords_tried, server.connections_seen) == (1, 1)


async def test_who_waits_for_another_login_all_the_time_is_no_witness_beside_it() -> None:
    async with FakePostgres(passwords={"app": "secret"}) as server:
        dsn, one_try = server.dsn(password="secret"), OneTry()
        async with one_try:
            waiting = await probe(dsn, deadline_s=0.1, one_try=one_try)
        assert (waiting.state, waiting.in_turn) == (ReachState.HUNG, False)
        assert waiting.failed_layer is not None
        assert "another login" in waiting.failed_layer.detail
        assert server.passwords_tried == 0

        assert (await probe(dsn, deadline_s=2, one_try=one_try)).state is ReachState.UP
        await server.set_mode(FakeMode.HUNG)
        asked = await probe(dsn, deadline_s=0.1, one_try=one_try)
        assert (asked.state, asked.in_turn) == (ReachState.HUNG, True)


async def test_a_login_alone_asks_nothing_that_a_console_would_not_know() -> None:
    async with Console() as server:
        assert (await probe(server.dsn(), login_only=True)).state is ReachState.UP
        assert server.asked == []
        await probe(server.dsn())
        assert server.asked != []


class Console(FakePostgres):
    """Takes note of what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def answer(
        self, sql: str, values: tuple[str | None, ...], session: Backend
    ) -> Answer | SqlError:
        self.asked.append(sql)
        return super().answer(sql, values, session)


async def test_the_deadline_covers_every_layer_together() -> None:
    async with FakePostgres(slow_ms=150) as server:
        reach = await probe(server.dsn(), deadline_s=0.4)

        assert reach.state is ReachState.HUNG
        assert 380 < reach.elapsed_ms < 900


async def test_a_slow_server_within_the_deadline_is_up() -> None:
    async with FakePostgres(slow_ms=100) as server:
        assert (await probe(server.dsn(), deadline_s=3)).state is ReachState.UP


async def test_connect_timeout_of_the_string_is_the_default_deadline() -> None:
    async with FakePostgres() as server:
        await server.set_mode(FakeMode.HUNG)
        reach = await probe(f"{server.dsn()} connect_timeout=2")

        assert 1900 < reach.elapsed_ms < 3000


def client_sockets(server: FakePostgres) -> int:
    """Our own ends of connections to the stand-in, the ones that fill its queue included."""
    own = psutil.Process(os.getpid()).net_connections(kind="tcp")
    return sum(bool(one.raddr) and one.raddr[1] == server.port for one in own)


async def fewer_or_equal(server: FakePostgres, limit: int) -> bool:
    for _ in range(100):
        if client_sockets(server) <= limit:
            return True
        await asyncio.sleep(0.01)
    return False


@pytest.mark.parametrize("mode", FakeMode)
async def test_no_way_out_of_a_probe_leaves_a_socket_open(mode: FakeMode) -> None:
    async with FakePostgres() as server:
        await server.set_mode(mode)
        before = client_sockets(server)
        await probe(server.dsn(), deadline_s=0.3)

        assert await fewer_or_equal(server, before)


async def test_a_cancelled_probe_closes_its_socket() -> None:
    async with FakePostgres() as server:
        await server.set_mode(FakeMode.HUNG)
        task = asyncio.create_task(probe(server.dsn(), deadline_s=30))
        while not server.connections_seen:
            await asyncio.sleep(0.01)
        assert client_sockets(server) == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert await fewer_or_equal(server, 0)


@pytest.mark.parametrize(
    "greeting",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"\x00" * 64,
        b"\xff" * 64,
        b"R\x00\x00\x00\x05\x01",
        b"E\x7f\xff\xff\xff" + b"A" * 100,
        b"NR\x00\x00\x00\x08\x00\x00\x00\x00Z",
    ],
)
async def test_whatever_is_no_postgresql_is_refused_without_a_crash(greeting: bytes) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)
        writer.write(greeting)
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(speak, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with listener:
        for sslmode in ("disable", "prefer"):
            dsn = f"host=127.0.0.1 port={port} user=app sslmode={sslmode}"
            reach = await probe(dsn, deadline_s=2)
            assert reach.state in (ReachState.REFUSED, ReachState.TLS_FAILURE), reach
            assert reach.layers[-1].detail.isprintable()


async def test_an_answer_of_endless_settings_ends_with_the_deadline() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)
        try:
            while True:
                writer.write(b"S\x00\x00\x00\x08a\x00b\x00" * 1000)
                await writer.drain()
        except ConnectionError:
            writer.close()

    listener = await asyncio.start_server(babble, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with listener:
        reach = await probe(f"host=127.0.0.1 port={port} user=app sslmode=disable", deadline_s=0.3)

    assert reach.state is ReachState.HUNG
    assert reach.elapsed_ms < 1500


async def test_a_full_queue_on_a_unix_socket_is_hung_and_not_up(tmp_path: Path) -> None:
    path = tmp_path / ".s.PGSQL.5432"
    fillers: list[socket.socket] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(0)
        try:
            while True:
                filler = socket.socket(socket.AF_UNIX)
                fillers.append(filler)
                filler.setblocking(False)
                filler.connect(str(path))
        except BlockingIOError:
            pass
        reach = await probe(f"host={tmp_path} user=app", deadline_s=0.3)
        for filler in fillers:
            filler.close()

    assert reach.state is ReachState.HUNG
    assert [layer.name for layer in reach.layers] == ["socket"]
