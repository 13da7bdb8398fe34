"""The acting session sends each statement at most once, and says when it does not know."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, suppress

import psycopg
import pytest

from fix_servers import MakeServer
from stanch.adapters.postgres.acting import ActingSession
from stanch.adapters.postgres.scratch import ScratchServer, free_port
from stanch.testing.fakepg import FakeMode, FakePostgres

COUNT_CALL = "INSERT INTO calls VALUES (%(n)s::int)"


async def test_a_statement_is_done_with_its_rows(shared_server: ScratchServer) -> None:
    acting = ActingSession(shared_server.dsn("stanch_act"))
    await acting.connect()

    acted = await acting.execute("SELECT %(n)s::int + 1 AS n", {"n": 41}, deadline_s=5)

    assert acted.outcome == "done"
    assert acted.rows == ({"n": "42"},)
    acting.close()


async def test_it_ends_a_session_on_a_full_server(make_server: MakeServer) -> None:
    server = make_server(conf={"max_connections": 8, "superuser_reserved_connections": 1})
    acting = ActingSession(server.dsn("stanch_act"))
    await acting.connect()
    with ExitStack() as stack:
        victim = stack.enter_context(server.connect("app"))
        with suppress(psycopg.OperationalError):
            while True:
                stack.enter_context(server.connect("app"))

        acted = await acting.execute(
            "SELECT pg_terminate_backend(%(pid)s::int) AS signalled",
            {"pid": victim.info.backend_pid},
            deadline_s=5,
        )

    assert acted.outcome == "done"
    assert acted.rows == ({"signalled": "t"},)
    acting.close()


@pytest.mark.parametrize(
    ("sql", "sqlstate"),
    [
        ("SELECT 1/0", "22012"),
        ("SELECT 2147483647 + 1", "22003"),
        ("CREATE ROLE x", "42501"),
        ("no sql at all", "42601"),
    ],
)
async def test_the_servers_no_is_failed_with_its_code(
    shared_server: ScratchServer, sql: str, sqlstate: str
) -> None:
    acting = ActingSession(shared_server.dsn("stanch_act"))

    acted = await acting.execute(sql, deadline_s=5)

    assert (acted.outcome, acted.sqlstate) == ("failed", sqlstate)
    acting.close()


async def test_an_answer_that_does_not_come_is_in_doubt_and_not_repeated(
    make_server: MakeServer,
) -> None:
    server = make_server()
    server.query("CREATE TABLE calls (n int)")
    acting = ActingSession(server.dsn())
    await acting.connect()

    acted = await acting.execute(
        "WITH slow AS (SELECT pg_sleep(0.5)) INSERT INTO calls SELECT 1 FROM slow", deadline_s=0.1
    )
    assert acted.outcome == "in_doubt"

    again = await acting.execute(COUNT_CALL, {"n": 2}, deadline_s=5)
    await asyncio.sleep(0.6)
    assert again.outcome == "done"
    assert server.query("SELECT count(*) FROM calls WHERE n = 2") == [(1,)]
    assert server.query("SELECT count(*) <= 1 FROM calls WHERE n = 1") == [(True,)]
    acting.close()


async def test_a_session_that_ends_during_the_statement_is_in_doubt(
    make_server: MakeServer,
) -> None:
    server = make_server()
    acting = ActingSession(server.dsn())
    await acting.connect()
    task = asyncio.create_task(acting.execute("SELECT pg_sleep(5)", deadline_s=8))
    await asyncio.sleep(0.1)
    server.query(f"SELECT pg_terminate_backend({acting.backend_pid})")

    acted = await task

    assert (acted.outcome, acted.sqlstate) == ("in_doubt", "57P01")


async def test_a_lost_session_is_reopened_before_the_statement_is_sent(
    make_server: MakeServer,
) -> None:
    server = make_server()
    server.query("CREATE TABLE calls (n int)")
    acting = ActingSession(server.dsn())
    await acting.connect()
    server.query(f"SELECT pg_terminate_backend({acting.backend_pid})")
    async with asyncio.timeout(5):
        while acting.connected:
            await asyncio.sleep(0.005)

    acted = await acting.execute(COUNT_CALL, {"n": 1}, deadline_s=5)

    assert acted.outcome == "done"
    assert server.query("SELECT count(*) FROM calls") == [(1,)]
    acting.close()


async def test_nothing_is_sent_where_nobody_listens() -> None:
    acting = ActingSession(f"host=127.0.0.1 port={free_port()} user=app dbname=app")

    acted = await acting.execute("SELECT 1", deadline_s=1)

    assert acted.outcome == "not_sent"
    assert "refused" in acted.detail


async def test_a_server_that_hangs_is_not_sent_within_the_deadline() -> None:
    async with FakePostgres() as server:
        await server.set_mode(FakeMode.HUNG)
        acting = ActingSession(server.dsn())
        async with asyncio.timeout(2):
            acted = await acting.execute("SELECT 1", deadline_s=0.3)

        assert acted.outcome == "not_sent"
