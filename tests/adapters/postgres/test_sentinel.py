"""The sentinel notices at once, asks one thing at a time, and comes back with restraint."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import UTC, datetime

import psycopg
import pytest

from fix_servers import MakeServer
from stanch.adapters.postgres.kept import OPENING_MAX
from stanch.adapters.postgres.probe import probe
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.adapters.postgres.sentinel import Sentinel
from stanch.facts.vitals import VITALS_SQL, parse_vitals
from stanch.model.errors import ProbeFailed
from stanch.model.reach import LossReason, ReachState, SentinelLost
from stanch.testing.fakepg import FakeMode, FakePostgres
from two_faced import TwoFaced

one_major = pytest.mark.parametrize("pg_major", [15], indirect=True)


async def until(holds: Callable[[], bool], *, timeout_s: float = 5.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not holds():
            await asyncio.sleep(0.001)


async def test_a_killed_postmaster_is_noticed_within_a_fraction_of_a_second(
    make_server: MakeServer,
) -> None:
    server = make_server()
    lost: list[tuple[SentinelLost, float]] = []
    sentinel = Sentinel(
        server.dsn("stanch_watch"), on_lost=lambda one: lost.append((one, time.monotonic()))
    )
    await sentinel.connect()

    killed = time.monotonic()
    await asyncio.to_thread(server.kill)
    await until(lambda: bool(lost))

    [(loss, noticed)] = lost
    assert loss.reason is LossReason.POSTMASTER_DIED
    # Long before the kernel would have given up a silent connection.
    assert noticed - killed < 2
    assert not sentinel.connected
    assert (await probe(server.dsn("stanch_watch"))).state is ReachState.REFUSED


async def test_a_crashed_backend_of_somebody_else_is_a_crash_shutdown(
    make_server: MakeServer,
) -> None:
    server = make_server()
    lost: list[SentinelLost] = []
    sentinel = Sentinel(server.dsn("stanch_watch"), on_lost=lost.append)
    await sentinel.connect()
    with server.connect("app") as victim:
        os.kill(victim.info.backend_pid, signal.SIGKILL)
        await until(lambda: bool(lost))

    # The server tells its other sessions before it ends them, if it can still write to them.
    assert lost[0].reason in (LossReason.CRASH_SHUTDOWN, LossReason.CLOSED)


async def test_a_message_between_questions_is_not_taken_for_the_end(
    shared_server: ScratchServer,
) -> None:
    lost: list[SentinelLost] = []
    sentinel = Sentinel(shared_server.dsn("stanch_watch"), on_lost=lost.append)
    await sentinel.connect()
    await sentinel.fetch_rows("LISTEN calls", timeout_s=5)

    shared_server.query("NOTIFY calls, 'anybody there?'")
    await asyncio.sleep(0.2)

    assert not lost
    assert await sentinel.fetch_rows("SELECT 1", timeout_s=5)
    sentinel.close()


async def test_closing_it_ourselves_is_no_loss(shared_server: ScratchServer) -> None:
    lost: list[SentinelLost] = []
    sentinel = Sentinel(shared_server.dsn("stanch_watch"), on_lost=lost.append)
    await sentinel.connect()

    sentinel.close()
    await asyncio.sleep(0.05)

    assert not lost
    assert not sentinel.connected


async def test_a_loss_while_a_question_is_in_flight_fails_the_question_and_is_told_once(
    make_server: MakeServer,
) -> None:
    server = make_server()
    lost: list[SentinelLost] = []
    sentinel = Sentinel(server.dsn("stanch_watch"), on_lost=lost.append)
    await sentinel.connect()
    asking = asyncio.create_task(sentinel.fetch_rows("SELECT pg_sleep(20)", timeout_s=15))
    await asyncio.sleep(0.1)

    server.query(f"SELECT pg_terminate_backend({sentinel.backend_pid})")

    with pytest.raises(ProbeFailed):
        await asking
    await until(lambda: bool(lost))
    assert [(one.reason, one.sqlstate) for one in lost] == [(LossReason.ADMIN_SHUTDOWN, "57P01")]


async def test_questions_wait_for_their_turn(shared_server: ScratchServer) -> None:
    sentinel = Sentinel(shared_server.dsn("stanch_watch"))
    await sentinel.connect()

    answers = await asyncio.gather(
        *(
            sentinel.fetch_rows("SELECT %(n)s::int AS n, pg_sleep(0.02)", {"n": n}, timeout_s=5)
            for n in range(10)
        )
    )

    assert [rows[0]["n"] for rows in answers] == [str(n) for n in range(10)]
    sentinel.close()


async def test_a_question_that_never_gets_its_turn_does_not_end_the_session(
    shared_server: ScratchServer,
) -> None:
    sentinel = Sentinel(shared_server.dsn("stanch_watch"))
    await sentinel.connect()
    long = asyncio.create_task(sentinel.fetch_rows("SELECT pg_sleep(0.6)", timeout_s=5))
    await asyncio.sleep(0.05)

    with pytest.raises(ProbeFailed, match="still in flight"):
        await sentinel.fetch_rows("SELECT 1", timeout_s=0.1)

    assert await long
    assert sentinel.connected
    sentinel.close()


async def test_a_cancelled_question_does_not_give_its_answer_to_the_next(
    shared_server: ScratchServer,
) -> None:
    sentinel = Sentinel(shared_server.dsn("stanch_watch"))
    await sentinel.connect()
    first = asyncio.create_task(
        sentinel.fetch_rows("SELECT 'first' AS which, pg_sleep(0.2)", timeout_s=5)
    )
    await asyncio.sleep(0.05)
    first.cancel()
    with suppress(asyncio.CancelledError):
        await first

    [row] = await sentinel.fetch_rows("SELECT 'second' AS which", timeout_s=5)

    assert row["which"] == "second"
    sentinel.close()


async def test_a_question_cancelled_while_it_was_prepared_is_prepared_anew(
    shared_server: ScratchServer,
) -> None:
    sentinel = Sentinel(shared_server.dsn("stanch_watch"))
    await sentinel.connect()
    first = asyncio.create_task(sentinel.fetch_json("SELECT '1'", timeout_s=5))
    await asyncio.sleep(0)  # it is sent, and no answer has been read
    first.cancel()
    with suppress(asyncio.CancelledError):
        await first

    assert await sentinel.fetch_json("SELECT '1'", timeout_s=5) == "1"
    assert await sentinel.fetch_json("SELECT '2'", timeout_s=5) == "2"
    sentinel.close()


async def test_an_answer_that_has_arrived_while_the_loop_lagged_is_no_silence(
    shared_server: ScratchServer,
) -> None:
    sentinel = Sentinel(shared_server.dsn("stanch_watch"))
    await sentinel.connect()
    asking = asyncio.create_task(sentinel.fetch_rows("SELECT 1 AS one", timeout_s=0.1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    time.sleep(0.4)

    assert await asking == ({"one": "1"},)
    assert sentinel.connected
    sentinel.close()


async def test_the_session_has_the_settings_it_promises(shared_server: ScratchServer) -> None:
    sentinel = Sentinel(shared_server.dsn("stanch_watch"))
    await sentinel.connect()

    [row] = await sentinel.fetch_rows(
        "SELECT current_setting('statement_timeout') AS statement,"
        " current_setting('lock_timeout') AS lock,"
        " coalesce(current_setting('idle_session_timeout', true), '0') AS idle,"
        " current_setting('default_transaction_read_only') AS read_only,"
        " current_setting('application_name') AS name, current_database() AS db",
        timeout_s=5,
    )

    assert dict(row) == {
        "statement": "2s",
        "lock": "100ms",
        "idle": "0",
        "read_only": "on",
        "name": "stanch sentinel",
        "db": "postgres",
    }
    sentinel.close()


async def test_writing_is_refused_by_the_server(shared_server: ScratchServer) -> None:
    sentinel = Sentinel(shared_server.dsn())
    await sentinel.connect()

    with pytest.raises(ProbeFailed, match="25006"):
        await sentinel.fetch_rows("CREATE TABLE t ()", timeout_s=5)
    sentinel.close()


async def test_a_lock_is_waited_for_a_tenth_of_a_second(make_server: MakeServer) -> None:
    server = make_server()
    server.query("CREATE TABLE orders ()")
    sentinel = Sentinel(server.dsn())
    await sentinel.connect()
    with server.connect() as holder, holder.transaction():
        holder.execute("LOCK TABLE orders")
        began = time.monotonic()
        with pytest.raises(ProbeFailed, match="55P03"):
            await sentinel.fetch_rows("SELECT count(*) FROM orders", timeout_s=5)
        assert time.monotonic() - began < 1
    sentinel.close()


async def test_an_idle_session_timeout_of_the_server_does_not_reach_it(
    make_server: MakeServer, pg_major: int
) -> None:
    if pg_major < 14:
        pytest.skip("version 13 has no idle_session_timeout")
    server = make_server(conf={"idle_session_timeout": 200})
    sentinel = Sentinel(server.dsn("stanch_watch"))
    await sentinel.connect()

    await asyncio.sleep(0.5)

    assert sentinel.connected
    assert await sentinel.fetch_rows("SELECT 1", timeout_s=5)
    sentinel.close()


async def test_it_does_not_stand_in_the_way_of_dropping_the_applications_database(
    make_server: MakeServer,
) -> None:
    server = make_server()
    sentinel = Sentinel(server.dsn("stanch_watch", "app"))
    await sentinel.connect()

    server.query("DROP DATABASE app")

    assert (sentinel.dbname, sentinel.fell_back_because) == ("postgres", "")
    sentinel.close()


async def test_where_postgres_is_closed_to_the_role_it_falls_back_and_says_so(
    make_server: MakeServer,
) -> None:
    server = make_server()
    server.query("REVOKE CONNECT ON DATABASE postgres FROM PUBLIC")
    sentinel = Sentinel(server.dsn("stanch_watch", "app"))

    reach = await sentinel.connect()

    assert reach.state is ReachState.UP
    assert sentinel.dbname == "app"
    assert "42501" in sentinel.fell_back_because
    sentinel.close()


async def test_an_open_session_goes_on_answering_when_the_server_is_full(
    make_server: MakeServer,
) -> None:
    server = make_server(conf={"max_connections": 8, "superuser_reserved_connections": 1})
    sentinel = Sentinel(server.dsn("stanch_watch"))
    await sentinel.connect()
    with ExitStack() as stack:
        with suppress(psycopg.OperationalError):
            while True:
                stack.enter_context(server.connect("app"))
        assert (await probe(server.dsn("stanch_watch"))).state is ReachState.TOO_MANY_CLIENTS

        vitals = await sentinel.sample(VITALS_SQL, parse_vitals, timeout_s=5)

    assert vitals.backends >= 7
    sentinel.close()


async def test_a_reading_that_makes_no_sense_is_a_failed_probe(
    shared_server: ScratchServer,
) -> None:
    sentinel = Sentinel(shared_server.dsn("stanch_watch"))
    await sentinel.connect()

    for sql in ("SELECT '{}'", "SELECT NULL", "SELECT 1, 2", "SELECT 'x'"):
        with pytest.raises(ProbeFailed):
            await sentinel.sample(sql, parse_vitals, timeout_s=5)
    assert sentinel.connected
    sentinel.close()


async def test_it_comes_back_after_a_restart(make_server: MakeServer) -> None:
    server = make_server()
    lost: list[SentinelLost] = []
    sentinel = Sentinel(server.dsn("stanch_watch"), on_lost=lost.append)
    await sentinel.connect()
    await asyncio.to_thread(server.restart)
    await until(lambda: bool(lost))

    assert (await sentinel.connect()).state is ReachState.UP
    assert await sentinel.fetch_rows("SELECT 1", timeout_s=5)
    sentinel.close()


async def test_each_question_has_a_deadline_of_its_own(shared_server: ScratchServer) -> None:
    lost: list[SentinelLost] = []
    sentinel = Sentinel(shared_server.dsn("stanch_watch"), on_lost=lost.append)
    await sentinel.connect()

    assert await sentinel.fetch_rows("SELECT 1", timeout_s=0.2)
    assert await sentinel.fetch_rows("SELECT pg_sleep(0.5)", timeout_s=30)
    assert not lost
    began = time.monotonic()
    with pytest.raises(ProbeFailed):
        await sentinel.fetch_rows("SELECT pg_sleep(1.5)", timeout_s=0.3)

    assert 0.3 <= time.monotonic() - began < 1.2
    assert [one.reason for one in lost] == [LossReason.SILENT]


async def test_a_server_that_is_stopped_is_still_heard(shared_server: ScratchServer) -> None:
    sentinel = Sentinel(shared_server.dsn("stanch_watch"))
    await sentinel.connect()
    assert sentinel.backend_pid is not None
    os.kill(sentinel.backend_pid, signal.SIGSTOP)
    try:
        question = asyncio.create_task(sentinel.fetch_rows("SELECT 1", timeout_s=10))
        await asyncio.sleep(0.25)
        assert sentinel.unheard is False
        assert not question.done()
    finally:
        os.kill(sentinel.backend_pid, signal.SIGCONT)
    assert await question
    sentinel.close()


async def test_nobody_can_tell_whether_a_unix_socket_or_a_lost_session_is_heard(
    shared_server: ScratchServer,
) -> None:
    sentinel = Sentinel(shared_server.dsn("stanch_watch", over_socket=True))
    assert sentinel.unheard is None
    await sentinel.connect()
    assert sentinel.connected
    assert sentinel.unheard is None
    sentinel.close()


async def test_asking_without_a_session_is_a_failed_probe() -> None:
    with pytest.raises(ProbeFailed, match="no session"):
        await Sentinel("host=127.0.0.1").fetch_rows("SELECT 1", timeout_s=1)


async def test_wrong_credentials_are_tried_once_a_minute() -> None:
    async with FakePostgres(passwords={"app": "right"}) as server:
        sentinel = Sentinel(server.dsn(password="wrong"))
        first = await sentinel.connect()
        again = [await sentinel.connect() for _ in range(5)]

        assert first.state is ReachState.AUTH_FAILED
        assert again == [first] * 5
        assert server.passwords_tried == 1
        assert 50 < sentinel.retry_delay_s <= 60


async def test_libpq_refused_twice_behind_a_probe_that_got_in_is_left_alone_for_a_minute() -> None:
    async with TwoFaced() as server:
        sentinel = Sentinel(server.dsn())
        first = await sentinel.connect()
        assert sentinel.retry_delay_s < 1, "it may have been a server that died in between"
        second = await sentinel.connect()
        again = [await sentinel.connect() for _ in range(5)]

        assert [first.state, second.state] == [ReachState.TURNED_AWAY] * 2
        assert again == [second] * 5
        assert server.logins == 4
        assert 50 < sentinel.retry_delay_s <= 60
        assert sentinel.refused_lately is second


async def test_libpq_refused_on_a_server_whose_places_are_taken_is_tried_again_soon() -> None:
    async with TwoFaced() as server:
        sentinel = Sentinel(server.dsn())
        server.full = 1
        assert (await sentinel.connect()).state is ReachState.TOO_MANY_CLIENTS
        for _ in range(3):
            assert (await sentinel.connect()).state is ReachState.TURNED_AWAY
        server.two_faced = False
        assert (await sentinel.connect()).state is ReachState.UP
        sentinel.close()


async def test_the_wait_between_tries_doubles_to_a_ceiling_and_ends_with_success() -> None:
    async with FakePostgres() as server:
        await server.set_mode(FakeMode.REFUSE)
        sentinel = Sentinel(server.dsn(), jitter=lambda: 1.0)
        waits: list[float] = []
        for _ in range(7):
            await sentinel.connect()
            waits.append(round(sentinel.retry_delay_s, 3))

        assert waits == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]

        await server.set_mode(FakeMode.OK)
        await sentinel.connect()
        assert sentinel.retry_delay_s == 0
        sentinel.close()


async def test_jitter_shortens_the_wait_by_up_to_half() -> None:
    async with FakePostgres() as server:
        await server.set_mode(FakeMode.REFUSE)
        sentinel = Sentinel(server.dsn(), jitter=lambda: 0.0)
        await sentinel.connect()

        assert round(sentinel.retry_delay_s, 3) == 0.1


async def test_two_connects_at_once_open_one_session() -> None:
    async with FakePostgres() as server:
        sentinel = Sentinel(server.dsn())
        await asyncio.gather(sentinel.connect(), sentinel.connect())

        assert server.sessions == 1
        sentinel.close()


async def test_a_loss_carries_the_moment_from_the_clock_it_was_given() -> None:
    at = datetime(2026, 11, 21, 7, 0, tzinfo=UTC)
    async with FakePostgres() as server:
        lost: list[SentinelLost] = []
        sentinel = Sentinel(server.dsn(), on_lost=lost.append, now=lambda: at)
        await sentinel.connect()
        await server.crash()
        await until(lambda: bool(lost))

        assert lost[0].at == at


async def test_a_hostile_last_word_is_shown_escaped(shared_server: ScratchServer) -> None:
    sentinel = Sentinel(shared_server.dsn("stanch_watch"))
    await sentinel.connect()

    with pytest.raises(ProbeFailed) as caught:
        await sentinel.fetch_rows('SELECT "\x1b[2J<b>\n"', timeout_s=5)

    assert str(caught.value).isprintable()
    sentinel.close()


async def test_many_sessions_are_opened_a_few_at_a_time() -> None:
    async with FakePostgres(slow_ms=20) as server:

        async def open_and_end(one: Sentinel) -> ReachState:
            reach = await one.connect(deadline_s=5)
            one.close()
            return reach.state

        many = [Sentinel(server.dsn()) for _ in range(4 * OPENING_MAX)]
        states = await asyncio.gather(*map(open_and_end, many))

        assert set(states) == {ReachState.UP}
        # The probe of one and the session after it may overlap while the former ends.
        assert server.connections_most_at_once <= 2 * OPENING_MAX


async def test_many_that_are_lost_at_once_try_again_in_turn() -> None:
    async with FakePostgres() as server:
        many = [Sentinel(server.dsn()) for _ in range(4 * OPENING_MAX)]
        await asyncio.gather(*(one.connect(deadline_s=5) for one in many))
        await server.shut_down()
        await until(lambda: not any(one.connected for one in many))
        await server.set_mode(FakeMode.OK)
        server.connections_most_at_once = 0

        async def open_and_end(one: Sentinel) -> ReachState:
            reach = await one.connect(deadline_s=5)
            one.close()
            return reach.state

        states = await asyncio.gather(*map(open_and_end, many))

        assert set(states) == {ReachState.UP}
        assert server.connections_most_at_once <= 2 * OPENING_MAX


async def test_the_first_try_after_a_loss_does_not_wait_behind_those_who_find_nobody() -> None:
    async with FakePostgres() as silent, FakePostgres() as server:
        await silent.set_mode(FakeMode.HUNG)
        lost = Sentinel(server.dsn())
        await lost.connect()
        crowd = [Sentinel(silent.dsn()) for _ in range(OPENING_MAX)]
        waiting = asyncio.gather(*(one.connect(deadline_s=30) for one in crowd))
        newcomer = Sentinel(server.dsn())
        await until(lambda: silent.connections_seen == OPENING_MAX)
        queued = asyncio.create_task(newcomer.connect(deadline_s=5))

        await server.crash()
        await until(lambda: not lost.connected)
        assert (await lost.connect(deadline_s=5)).state is ReachState.REFUSED
        assert not queued.done()

        for task in (waiting, queued):
            task.cancel()
        await asyncio.gather(waiting, queued, return_exceptions=True)
