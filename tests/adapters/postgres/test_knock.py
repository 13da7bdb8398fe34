"""Knocking at an address and greeting what is there."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fix_servers import MakeServer
from stanch.adapters.postgres.greeting import gone
from stanch.adapters.postgres.knock import greet, knock
from stanch.adapters.postgres.scratch import ScratchServer, free_port
from stanch.model.reach import Reach, ReachState

one_major = pytest.mark.parametrize("pg_major", [15], indirect=True)


@contextmanager
def listening(*, backlog: int = 8) -> Iterator[str]:
    """An address whose kernel accepts and behind which nobody is."""
    with socket.create_server(("127.0.0.1", 0), backlog=backlog) as server:
        yield f"host=127.0.0.1 port={server.getsockname()[1]}"


def state_of(found: Reach | None) -> ReachState | None:
    return found.state if found is not None else None


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("over", ["address", "name", "socket"])
async def test_a_server_answers_a_knock_and_a_greeting_and_logs_neither(
    shared_server: ScratchServer, over: str
) -> None:
    named = {"host": "localhost"} if over == "name" else {}
    dsn = shared_server.dsn("stanch_watch", over_socket=over == "socket", **named)
    log = Path(shared_server.folder.log)
    before = log.read_text(errors="replace")

    assert await knock(dsn, 5)
    assert await greet(dsn, 5)
    assert await gone(dsn, deadline_s=5) is None
    await asyncio.sleep(0.2)

    said = log.read_text(errors="replace")[len(before) :]
    assert not [line for line in said.splitlines() if "reset" in line or "startup" in line]


@one_major
async def test_a_stopped_postmaster_answers_the_knock_and_not_the_greeting(
    make_server: MakeServer,
) -> None:
    server = make_server()
    dsn = server.dsn("stanch_watch")
    server.pause()
    try:
        assert await knock(dsn, 2)
        assert not await greet(dsn, 0.3)
        assert state_of(await gone(dsn, deadline_s=0.3)) is ReachState.HUNG
    finally:
        server.resume()
    assert await greet(dsn, 5)


async def test_a_refusal_answers_a_knock_and_is_somebody_elses_to_tell() -> None:
    dsn = f"host=127.0.0.1 port={free_port()}"
    assert await knock(dsn, 2)
    assert await greet(dsn, 2)
    assert state_of(await gone(dsn, deadline_s=2)) is ReachState.REFUSED


async def test_an_end_in_place_of_an_answer_is_an_answer() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        dsn = f"host=127.0.0.1 port={server.sockets[0].getsockname()[1]}"
        assert await greet(dsn, 2)
        assert state_of(await gone(dsn, deadline_s=2)) is ReachState.REFUSED, "as a proxy says it"


async def test_a_full_queue_answers_no_knock_within_its_deadline() -> None:
    with listening(backlog=0) as dsn:
        port = int(dsn.rpartition("=")[2])
        with socket.create_connection(("127.0.0.1", port)):
            began = time.monotonic()
            assert not await knock(dsn, 0.2)
            assert await greet(dsn, 0.2), "nobody accepted, so nobody kept it waiting"
            assert 0.4 <= time.monotonic() - began < 2


async def test_a_name_without_an_address_answers_no_knock() -> None:
    dsn = "host=nowhere.invalid port=5432"
    assert not await knock(dsn, 5)
    assert state_of(await gone(dsn, deadline_s=5)) is ReachState.DNS_FAILURE


async def test_no_file_is_left_open_however_it_ends() -> None:
    with listening() as dsn:
        assert not await greet(dsn, 0.05)
        before = open_files()
        assert await knock(dsn, 1)
        assert not await greet(dsn, 0.05)
        cancelled = asyncio.create_task(greet(dsn, 5))
        await asyncio.sleep(0.05)
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
        assert open_files() == before
