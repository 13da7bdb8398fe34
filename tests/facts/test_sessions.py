"""Waiting, idle and ended sessions on real servers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import timedelta

import psycopg
import pytest

from stanch.adapters.postgres.scratch import ScratchServer
from stanch.facts.blocking import blocking_roots
from stanch.facts.sessions import (
    END_SESSION_SQL,
    IDLE_SESSIONS_SQL,
    SESSIONS_WAITING_SQL,
    EndOutcome,
    IdleSession,
    Tells,
    WaitingSession,
    end_session_parameters,
    parse_end,
    parse_idle,
    parse_waiting,
    settle_temp_tables,
)
from stanch.model.host import TempRelationFile

on_15 = pytest.mark.parametrize("pg_major", [15], indirect=True)
on_18 = pytest.mark.parametrize("pg_major", [18], indirect=True)
"""For what no version does differently; tests without either run on both."""


def _asked(session: psycopg.Connection[tuple[object, ...]], sql: str) -> object:
    row = session.execute(sql.encode()).fetchone()
    assert row is not None
    return row[0]


def _idle(server: ScratchServer, *, dbname: str = "app") -> dict[int, IdleSession]:
    with psycopg.connect(server.dsn(user="stanch_act", dbname=dbname), autocommit=True) as session:
        return {found.pid: found for found in parse_idle(_asked(session, IDLE_SESSIONS_SQL))}


def _waiting_until(
    server: ScratchServer, enough: Callable[[tuple[WaitingSession, ...]], bool]
) -> tuple[WaitingSession, ...]:
    with psycopg.connect(server.dsn(user="stanch_watch"), autocommit=True) as session:
        for _ in range(2000):
            rows = parse_waiting(_asked(session, SESSIONS_WAITING_SQL))
            if enough(rows):
                return rows
    raise AssertionError("nobody came to wait")


def _app(
    stack: ExitStack, server: ScratchServer, *, application_name: str = "test"
) -> psycopg.Connection[tuple[object, ...]]:
    dsn = server.dsn(user="app", dbname="app")
    session = psycopg.connect(dsn, autocommit=True, application_name=application_name)
    return stack.enter_context(closing(session))


def _end(server: ScratchServer, parameters: dict[str, int | str | None]) -> EndOutcome:
    with psycopg.connect(server.dsn(user="stanch_act"), autocommit=True) as session:
        row = session.execute(END_SESSION_SQL.encode(), parameters).fetchone()
    assert row is not None
    return parse_end(row[0])


def test_the_root_of_a_queue_is_the_idle_transaction_not_the_waiter_in_front(
    server: ScratchServer,
) -> None:
    with ExitStack() as stack:
        root, alter, reader = (_app(stack, server) for _ in range(3))
        root.execute("CREATE TABLE held (n int)")
        root.execute("BEGIN")
        root.execute("SELECT * FROM held")
        alter.pgconn.send_query(b"ALTER TABLE held ADD m int")
        _waiting_until(server, lambda rows: any(row.waits for row in rows))
        reader.pgconn.send_query(b"SELECT * FROM held")
        rows = _waiting_until(server, lambda rows: sum(row.waits for row in rows) == 2)
        [chain] = blocking_roots(rows)
        assert chain.root_pid == root.info.backend_pid
        assert chain.root is not None
        assert chain.root.state == "idle in transaction"
        assert set(chain.waiters) == {alter.info.backend_pid, reader.info.backend_pid}
        root.execute("ROLLBACK")


@on_18
def test_a_busy_server_without_waiters_has_no_waiting_sessions(server: ScratchServer) -> None:
    with ExitStack() as stack:
        _app(stack, server).execute("BEGIN")
        assert _waiting_until(server, lambda _: True) == ()


@on_15
def test_a_prepared_transaction_is_a_root_without_a_session(server: ScratchServer) -> None:
    server.set_conf({"max_prepared_transactions": 2})
    server.restart()
    with ExitStack() as stack:
        session, waiter = _app(stack, server), _app(stack, server)
        session.execute("CREATE TABLE held (n int)")
        session.execute("BEGIN; LOCK TABLE held; PREPARE TRANSACTION 'left'")
        waiter.pgconn.send_query(b"SELECT * FROM held")
        [chain] = blocking_roots(_waiting_until(server, bool))
        assert (chain.prepared, chain.root) == (True, None)
        session.execute("ROLLBACK PREPARED 'left'")


@on_18
def test_an_ordinary_idle_session_may_be_ended(server: ScratchServer) -> None:
    with ExitStack() as stack:
        session = _app(stack, server)
        session.execute("SELECT 1")
        assert _idle(server)[session.info.backend_pid].exclusions() == ()


def test_a_session_with_a_temporary_table_is_told_from_the_others(
    server: ScratchServer, pg_major: int
) -> None:
    with ExitStack() as stack:
        # A gap below the owner, so that list positions and backend numbers differ.
        first, owner, other = (_app(stack, server) for _ in range(3))
        owner.execute("CREATE TEMP TABLE kept (n int)")
        other.execute("SELECT 1")
        first.close()
        found = _idle(server)
        exact = pg_major >= 16
        assert found[owner.info.backend_pid].temp_tables is (Tells.YES if exact else Tells.UNKNOWN)
        assert found[other.info.backend_pid].temp_tables is (Tells.NO if exact else Tells.UNKNOWN)
        owner.execute("DROP TABLE kept")
        assert _idle(server)[owner.info.backend_pid].temp_tables is Tells.NO


@on_15
def test_sessions_of_another_database_are_unknown_until_the_files_are_seen(
    server: ScratchServer, pg_major: int
) -> None:
    with ExitStack() as stack:
        owner, other = _app(stack, server), _app(stack, server)
        owner.execute("CREATE TEMP TABLE kept (n int)")
        other.execute("SELECT 1")
        found = _idle(server, dbname="postgres")
        mine, theirs = found[owner.info.backend_pid], found[other.info.backend_pid]
        assert mine.temp_tables is theirs.temp_tables is Tells.UNKNOWN
        row = owner.execute("SELECT pg_relation_filepath('kept')").fetchone()
        assert row is not None
        number = int(str(row[0]).split("/")[2].split("_")[0].removeprefix("t"))
        assert mine.database_oid is not None
        files = [TempRelationFile(database_oid=mine.database_oid, backend_number=number)]
        settled = [s.temp_tables for s in settle_temp_tables((mine, theirs), files)]
        exact = pg_major >= 16
        assert settled == ([Tells.YES, Tells.NO] if exact else [Tells.UNKNOWN] * 2)
        assert [s.temp_tables for s in settle_temp_tables((theirs,), [])] == [Tells.NO]


@on_18
def test_listeners_and_sessions_like_them_are_excluded(server: ScratchServer) -> None:
    with ExitStack() as stack:
        listener, twin = (_app(stack, server, application_name="web") for _ in range(2))
        stranger = _app(stack, server, application_name="batch")
        reset = _app(stack, server, application_name="web")
        listener.execute("LISTEN news")
        twin.execute("SELECT 1")
        stranger.execute("SELECT 1")
        reset.execute("DISCARD ALL")
        found = _idle(server)
        told = [found[s.info.backend_pid].listens for s in (listener, twin, stranger, reset)]
        assert told == [Tells.YES, Tells.UNKNOWN, Tells.NO, Tells.NO]


def test_advisory_locks_superusers_and_poolers_are_excluded(server: ScratchServer) -> None:
    with ExitStack() as stack:
        locker = _app(stack, server)
        locker.execute("SELECT pg_advisory_lock(1)")
        admin = stack.enter_context(server.connect())
        admin.autocommit = True
        admin.execute("SELECT 1")
        pooled = _app(stack, server, application_name="PgBouncer")
        pooled.execute("SELECT 1")
        found = _idle(server)
        assert found[locker.info.backend_pid].exclusions() == ("advisory_lock",)
        assert "superuser" in found[admin.info.backend_pid].exclusions()
        named = found[pooled.info.backend_pid]
        assert named.exclusions(pooler_names=["pgbouncer"]) == ("pooler",)
        assert named.exclusions() == ()


def test_a_session_is_ended_while_it_is_still_the_same(server: ScratchServer) -> None:
    with ExitStack() as stack:
        session = _app(stack, server)
        session.execute("SELECT 1")
        seen = _idle(server)[session.info.backend_pid]
        parameters = end_session_parameters(
            seen.pid, seen.backend_start, idle_since=seen.idle_since
        )
        assert _end(server, parameters) == EndOutcome(matched=True, signalled=True)
        for _ in range(2000):
            if seen.pid not in _idle(server):
                break
        assert seen.pid not in _idle(server)


@on_15
def test_a_session_that_moved_on_or_a_reused_pid_is_left_alone(server: ScratchServer) -> None:
    with ExitStack() as stack:
        session = _app(stack, server)
        session.execute("SELECT 1")
        seen = _idle(server)[session.info.backend_pid]
        tick = timedelta(microseconds=1)
        reused = end_session_parameters(seen.pid, seen.backend_start - tick)
        outside = end_session_parameters(seen.pid, seen.backend_start, xact_start=seen.idle_since)
        working = end_session_parameters(
            seen.pid, seen.backend_start, while_idle_in_transaction=True
        )
        session.execute("SELECT 2")
        moved_on = end_session_parameters(seen.pid, seen.backend_start, idle_since=seen.idle_since)
        untouched = EndOutcome(matched=False, signalled=False)
        assert [_end(server, p) for p in (reused, outside, working, moved_on)] == [untouched] * 4
        assert session.execute("SELECT 3").fetchone() == (3,)
