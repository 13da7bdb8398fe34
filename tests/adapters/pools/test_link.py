"""How often one who does not answer is tried."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from stanch.adapters.pools.link import SILENT_WAITS_S, Link
from stanch.adapters.postgres.scratch import free_port
from stanch.model.errors import ProbeFailed


@asynccontextmanager
async def dumb() -> AsyncGenerator[tuple[str, list[object]]]:
    """Somewhere that takes connections and says nothing; and those it took."""
    took: list[object] = []
    server = await asyncio.start_server(lambda reader, writer: took.append(writer), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"host=127.0.0.1 port={port} user=stats dbname=pgbouncer sslmode=disable", took


async def asked(link: Link) -> str:
    with pytest.raises(ProbeFailed) as failed:
        await link.ask("SHOW POOLS", deadline_s=0.1, simple=True)
    return failed.value.what


async def test_who_takes_connections_and_answers_none_gets_one_a_minute_in_the_end() -> None:
    async with dumb() as (dsn, took):
        link = Link(dsn, {}, silent_waits_s=(0.0, 0.0, 60.0))
        said = [await asked(link) for _ in range(8)]
        assert len(took) == 3
        assert set(said) == {"no session within 0.1 s"}


async def test_who_was_left_alone_is_tried_again_after_its_wait() -> None:
    async with dumb() as (dsn, took):
        link = Link(dsn, {}, silent_waits_s=(0.0, 0.2))
        async with asyncio.timeout(10):
            while len(took) < 4:
                await asked(link)
                await asyncio.sleep(0.02)


async def test_who_refuses_connections_is_tried_every_time() -> None:
    link = Link(f"host=127.0.0.1 port={free_port()} user=a", {}, silent_waits_s=(60.0,))
    for _ in range(3):
        assert "refused" in await asked(link)
    async with dumb() as (dsn, took):
        assert not took
        link = Link(dsn, {}, silent_waits_s=(60.0,))
        await asked(link)
        await asked(link)
        assert len(took) == 1


def test_waits_grow_to_a_minute_and_no_earlier_than_the_rule_is_sure() -> None:
    assert SILENT_WAITS_S[:2] == (0.0, 0.0), "a rule that holds 10 s wants three answers"
    assert sorted(SILENT_WAITS_S)[-1] == SILENT_WAITS_S[-1] == 60.0
