"""The sentinel as the watch and the diagnosis share it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from datetime import UTC, datetime

import pytest

from stanch.adapters.postgres.scratch import ScratchServer
from stanch.model.errors import ProbeFailed
from stanch.service.watched.eyes import SharedSentinel


def now() -> datetime:
    return datetime.now(UTC)


async def test_a_pause_ends_in_time_or_with_the_session(shared_server: ScratchServer) -> None:
    session = SharedSentinel(shared_server.dsn("stanch_watch"), now=now)
    assert await session.lost_within(5) is not None, "there is none yet"
    await session.open(5)

    began = time.monotonic()
    assert await session.lost_within(0.1) is None
    assert 0.09 <= time.monotonic() - began < 1

    pause = asyncio.create_task(session.lost_within(20))
    await asyncio.sleep(0.05)
    before = now()
    shared_server.query(f"SELECT pg_terminate_backend({session.backend_pid})")
    async with asyncio.timeout(5):
        lost_at = await pause
    assert lost_at is not None
    assert before <= lost_at <= now()
    assert await session.lost_within(20) == lost_at
    await session.close()


async def test_a_cancelled_pause_leaves_nothing_behind(shared_server: ScratchServer) -> None:
    session = SharedSentinel(shared_server.dsn("stanch_watch"), now=now)
    await session.open(5)
    pause = asyncio.create_task(session.lost_within(0.2))
    await asyncio.sleep(0.05)
    pause.cancel()
    await asyncio.gather(pause, return_exceptions=True)

    began = time.monotonic()
    assert await session.lost_within(0.5) is None
    assert time.monotonic() - began >= 0.45, "the timer of the cancelled one must not end it"
    await session.close()


async def test_a_question_that_the_server_thinks_about_for_too_long_takes_the_session(
    shared_server: ScratchServer,
) -> None:
    session = SharedSentinel(shared_server.dsn("stanch_watch"), now=now)
    await session.open(5)
    backend_pid = session.backend_pid
    assert backend_pid is not None
    os.kill(backend_pid, signal.SIGSTOP)
    try:
        with pytest.raises(ProbeFailed, match="no answer to a question within its deadline"):
            await session.fetch_json("SELECT '1'", timeout_s=0.3)
        assert not session.is_open
    finally:
        os.kill(backend_pid, signal.SIGCONT)
    await session.open(5)
    assert await session.fetch_json("SELECT '1'", timeout_s=5) == "1"
    await session.close()
