"""How often one who does not answer is tried."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from stanch.adapters.pools.link import SILENT_WAITS_S, Link
from stanch.adapters.postgres.scratch import free_port
from stanch.model.errors import ProbeFailed
from stanch.testing.fakepg import FakePostgres
from stanch.testing.pgmessages import SqlError
from two_faced import PROXYS, TwoFaced


@asynccontextmanager
async def dumb() -> AsyncGenerator[tuple[str, list[object]]]:
    """Somewhere that takes connections and says nothing; and those it took."""
    took: list[object] = []
    server = await asyncio.start_server(lambda reader, writer: took.append(writer), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"host=127.0.0.1 port={port} user=stats dbname=pgbouncer sslmode=disable", took


NAMED = {"application_name": "stanch pools"}


async def asked(link: Link, *, deadline_s: float = 0.1) -> str:
    with pytest.raises(ProbeFailed) as failed:
        await link.ask("SHOW POOLS", deadline_s=deadline_s, simple=True)
    return failed.value.what


async def test_who_takes_connections_and_answers_none_gets_one_a_minute_in_the_end() -> None:
    async with dumb() as (dsn, took):
        link = Link(dsn, NAMED, silent_waits_s=(0.0, 0.0, 60.0))
        said = [await asked(link) for _ in range(8)]
        assert len(took) == 3
        assert set(said) == {"no session within 0.1 s"}


async def test_who_was_left_alone_is_tried_again_after_its_wait() -> None:
    async with dumb() as (dsn, took):
        link = Link(dsn, NAMED, silent_waits_s=(0.0, 0.2))
        async with asyncio.timeout(10):
            while len(took) < 4:
                await asked(link)
                await asyncio.sleep(0.02)


async def test_who_refuses_connections_is_tried_every_time() -> None:
    link = Link(f"host=127.0.0.1 port={free_port()} user=a", NAMED, silent_waits_s=(60.0,))
    for _ in range(3):
        assert "refused" in await asked(link)
    async with dumb() as (dsn, took):
        assert not took
        link = Link(dsn, NAMED, silent_waits_s=(60.0,))
        await asked(link)
        await asked(link)
        assert len(took) == 1


class German(FakePostgres):
    """Refuses every login in its own language."""

    def __init__(self, sqlstate: str, message: str) -> None:
        super().__init__()
        self.refusal = SqlError(severity="FATAL", sqlstate=sqlstate, message=message)
        self.logins = 0

    def admit(self, user: str, database: str) -> SqlError | None:
        self.logins += 1
        return self.refusal


async def test_a_refusal_in_any_language_is_tried_again_after_a_minute() -> None:
    words = "Passwort-Authentifizierung für Benutzer »app« fehlgeschlagen"
    async with German("28P01", words) as server:
        link = Link(server.dsn(), NAMED)
        said = [await asked(link, deadline_s=5) for _ in range(4)]
        assert server.logins == 1
        assert len(set(said)) == 1
        assert words in said[0]


async def test_a_refusal_that_is_not_of_who_we_are_is_tried_every_time() -> None:
    words = "tut mir leid, schon zu viele Verbindungen; Passwort-Authentifizierung entfällt"
    async with German("53300", words) as server:
        link = Link(server.dsn(), NAMED)
        for _ in range(4):
            assert words in await asked(link, deadline_s=5)
        assert server.logins == 4


async def test_who_lets_a_probe_in_and_not_the_session_is_left_alone_after_the_second() -> None:
    async with TwoFaced() as server:
        link = Link(server.dsn(), NAMED)
        for _ in range(5):
            assert PROXYS in await asked(link, deadline_s=5)
        assert server.logins == 4


async def test_a_session_is_opened_behind_the_probe_and_kept() -> None:
    async with FakePostgres() as server:
        link = Link(server.dsn(), NAMED)
        for _ in range(3):
            assert await link.ask("SELECT 1", deadline_s=5) == ({"?column?": "1"},)
        assert server.connections_seen == 2
        assert server.connections_most_at_once == 1
        link.close()


def test_waits_grow_to_a_minute_and_no_earlier_than_the_rule_is_sure() -> None:
    assert SILENT_WAITS_S[:2] == (0.0, 0.0), "a rule that holds 10 s wants three answers"
    assert sorted(SILENT_WAITS_S)[-1] == SILENT_WAITS_S[-1] == 60.0
