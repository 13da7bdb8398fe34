"""Cancelling a statement: exactly the one that was diagnosed, and nobody else's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from acting_worlds import AT, TARGET, RecordingActor, always, bare_world, run, step, world_of
from stanch.adapters.postgres.acting import ActingSession
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.adapters.postgres.sentinel import Sentinel
from stanch.facts.running import RunningStatement, parse_running
from stanch.model.diagnosis import Missing
from stanch.model.errors import ProbeFailed
from stanch.model.plans import PlannedStep, Refusal, StepOutcome
from stanch.model.ports.server import Acted
from stanch.respond.actions.cancel_statement.guards import GUARDS, may_cancel
from stanch.respond.actions.cancel_statement.run import CANCEL_STATEMENT
from stanch.steps.world import World

Session = psycopg.Connection[tuple[Any, ...]]
ONE = step(
    "cancel_statement",
    pid=7,
    backend_start=AT.isoformat(),
    query_start=(AT + timedelta(seconds=5)).isoformat(),
)
RUNNING = RunningStatement(
    pid=7,
    backend_start=AT,
    query_start=AT + timedelta(seconds=5),
    backend_type="client backend",
    state="active",
    wait_type="",
    usename="app",
    datname="app",
    application_name="reports",
    query_age_s=90.0,
    query="SELECT count(*) FROM orders",
)


# --- guards -------------------------------------------------------------------------------------


def test_the_statement_that_was_diagnosed_may_be_cancelled() -> None:
    assert may_cancel(ONE, RUNNING, target=TARGET) is RUNNING


@pytest.mark.parametrize(
    ("seen", "guard"),
    [
        pytest.param(None, "still_running", id="gone"),
        pytest.param(Missing(what="x", reason="no answer"), "still_running", id="not read"),
        pytest.param(replace(RUNNING, state="idle"), "still_running", id="ended"),
        pytest.param(replace(RUNNING, state=""), "still_running", id="hidden"),
        pytest.param(
            replace(RUNNING, backend_start=AT + timedelta(microseconds=1)),
            "same_statement",
            id="the pid of another session",
        ),
        pytest.param(replace(RUNNING, backend_start=None), "same_statement", id="age hidden"),
        pytest.param(
            replace(RUNNING, query_start=AT + timedelta(seconds=6)),
            "same_statement",
            id="the next statement",
        ),
        pytest.param(
            replace(RUNNING, backend_type="autovacuum worker"), "ordinary_client", id="a worker"
        ),
        pytest.param(replace(RUNNING, backend_type="walsender"), "ordinary_client", id="a standby"),
        pytest.param(replace(RUNNING, application_name="pg_dump"), "not_protected", id="a backup"),
        pytest.param(
            replace(RUNNING, application_name="Stanch watch"), "not_protected", id="ourselves"
        ),
    ],
)
def test_whatever_is_not_that_statement_is_left_alone(
    seen: RunningStatement | Missing | None, guard: str
) -> None:
    answer = may_cancel(ONE, seen, target=TARGET)
    assert isinstance(answer, Refusal)
    assert answer.guard == guard
    assert guard in {one.name for one in GUARDS}


def test_an_application_that_policy_protects_is_left_alone() -> None:
    target = replace(TARGET, protected_applications=("Reports",))
    answer = may_cancel(ONE, RUNNING, target=target)
    assert isinstance(answer, Refusal)
    assert answer.guard == "not_protected"


QUEUED = replace(ONE, params=(*ONE.params, ("while_waiting", True)))


@pytest.mark.parametrize("wait_type", ["", "IO", "Client"])
def test_a_change_that_has_its_lock_by_now_is_left_alone(wait_type: str) -> None:
    answer = may_cancel(QUEUED, replace(RUNNING, wait_type=wait_type), target=TARGET)
    assert isinstance(answer, Refusal)
    assert answer.guard == "still_waiting"
    assert may_cancel(QUEUED, replace(RUNNING, wait_type="Lock"), target=TARGET)


async def test_without_an_acting_session_nothing_is_cancelled() -> None:
    refusal = await CANCEL_STATEMENT.check(ONE, bare_world())
    assert refusal is not None
    assert refusal.guard == "acting_session"


@pytest.mark.parametrize("answer", ["[]", "null", '{"pid": "x"}', "{"])
def test_an_answer_that_is_none_is_no_statement(answer: str) -> None:
    with pytest.raises(ProbeFailed):
        parse_running(answer)


# --- real servers -------------------------------------------------------------------------------


@pytest.fixture
def sessions() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


async def acting_world(server: ScratchServer, root: Path) -> World:
    sentinel, acting = Sentinel(server.dsn("stanch_watch")), ActingSession(server.dsn("stanch_act"))
    assert (await sentinel.connect(deadline_s=5.0)).answers
    assert (await acting.connect(deadline_s=5.0)).answers
    return world_of(server, root, sessions=(sentinel, acting))


def sleeper(server: ScratchServer, stack: ExitStack, user: str = "app") -> Session:
    """A session whose statement runs for a minute."""
    session = server.connect(user, "app", application_name="reports")
    stack.callback(session.close)
    session.pgconn.send_query(b"SELECT pg_sleep(60)")
    state = "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND pid = %s"
    deadline = time.monotonic() + 10
    while not server.query(state, [session.info.backend_pid]):
        assert time.monotonic() < deadline
    return session


def step_for(server: ScratchServer, session: Session) -> PlannedStep:
    [(began, asked)] = server.query(
        "SELECT backend_start, query_start FROM pg_stat_activity WHERE pid = %s",
        [session.info.backend_pid],
    )
    return step(
        "cancel_statement",
        pid=session.info.backend_pid,
        backend_start=began.isoformat(),
        query_start=asked.isoformat(),
    )


def error_of(session: Session) -> str:
    """How its statement ended; empty where it did not fail."""
    result = session.pgconn.get_result()
    assert result is not None
    while session.pgconn.get_result() is not None:
        pass
    return result.error_message.decode()


async def test_the_statement_is_cancelled_and_its_session_lives_on(
    server: ScratchServer, sessions: ExitStack, tmp_path: Path
) -> None:
    world = await acting_world(server, tmp_path)
    busy, other = sleeper(server, sessions), sleeper(server, sessions)

    done, log = await run(CANCEL_STATEMENT, step_for(server, busy), world)

    assert done.outcome is StepOutcome.DONE, done.refusal
    assert log.verified().ok
    assert "pg_sleep" in log.ended().before
    assert "canceling statement" in error_of(busy)
    assert busy.execute("SELECT 1").fetchone() == (1,)
    left = "SELECT state FROM pg_stat_activity WHERE pid = %s"
    assert server.query(left, [other.info.backend_pid]) == [("active",)]


async def test_the_next_statement_of_the_same_session_is_not_cancelled(
    server: ScratchServer, sessions: ExitStack, tmp_path: Path
) -> None:
    world = await acting_world(server, tmp_path)
    busy = sleeper(server, sessions)
    one = step_for(server, busy)
    server.query("SELECT pg_cancel_backend(%s)", [busy.info.backend_pid])
    error_of(busy)
    busy.pgconn.send_query(b"SELECT pg_sleep(60)")
    state = "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND pid = %s"
    while not server.query(state, [busy.info.backend_pid]):
        pass

    done, _log = await run(CANCEL_STATEMENT, one, world)

    assert done.refusal is not None
    assert done.refusal.guard == "same_statement"
    assert server.query(state, [busy.info.backend_pid])


async def test_a_statement_that_ends_between_look_and_act_is_not_touched(
    server: ScratchServer, sessions: ExitStack, tmp_path: Path
) -> None:
    world = await acting_world(server, tmp_path)
    busy = sleeper(server, sessions)
    one = step_for(server, busy)

    def ends() -> Refusal | None:
        server.query("SELECT pg_cancel_backend(%s)", [busy.info.backend_pid])
        error_of(busy)
        return None

    report = await CANCEL_STATEMENT.act(one, world, ends)

    assert isinstance(report, Refusal)
    assert report.guard == "same_statement"
    assert busy.execute("SELECT 1").fetchone() == (1,)


def logged_in(stack: ExitStack, server: ScratchServer, name: str) -> Session:
    session = server.connect("app", "app", application_name=name)
    stack.callback(session.close)
    return session


def queued(server: ScratchServer, session: Session, text: bytes) -> None:
    """Send it, and see it wait for a lock."""
    session.pgconn.send_query(text)
    waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid = %s"
    while not server.query(waits, [session.info.backend_pid]):
        pass


def while_waiting(one: PlannedStep) -> PlannedStep:
    return replace(one, params=(*one.params, ("while_waiting", True)))


async def test_a_waiting_change_is_cancelled_and_its_queue_goes_on(
    server: ScratchServer, sessions: ExitStack, tmp_path: Path
) -> None:
    world = await acting_world(server, tmp_path)
    server.query("CREATE TABLE orders (id int)", user="app")
    names = ("pg_dump", "migrate", "shop")
    reader, change, behind = (logged_in(sessions, server, name) for name in names)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM orders")
    queued(server, change, b"ALTER TABLE orders ADD n int")
    queued(server, behind, b"TABLE orders")

    done, log = await run(CANCEL_STATEMENT, while_waiting(step_for(server, change)), world)

    assert done.outcome is StepOutcome.DONE, done.refusal
    assert log.verified().ok
    assert error_of(behind) == ""
    assert reader.execute("SELECT 1").fetchone() == (1,)


async def test_a_change_that_gets_its_lock_between_look_and_act_is_not_cancelled(
    server: ScratchServer, sessions: ExitStack, tmp_path: Path
) -> None:
    world = await acting_world(server, tmp_path)
    server.query("CREATE TABLE orders (id int)", user="app")
    reader, change = (logged_in(sessions, server, name) for name in ("report", "migrate"))
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM orders")
    queued(server, change, b"LOCK TABLE orders; SELECT pg_sleep(60)")
    at_work = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND pid = %s"

    def is_let_through() -> Refusal | None:
        reader.execute("COMMIT")
        while not server.query(at_work, [change.info.backend_pid]):
            pass
        return None

    step_now = while_waiting(step_for(server, change))
    report = await CANCEL_STATEMENT.act(step_now, world, is_let_through)

    assert isinstance(report, Refusal)
    assert server.query(at_work, [change.info.backend_pid])


async def test_a_superusers_statement_is_not_cancelled_and_the_server_says_so(
    server: ScratchServer, sessions: ExitStack, tmp_path: Path
) -> None:
    world = await acting_world(server, tmp_path)
    busy = sleeper(server, sessions, user="postgres")

    done, log = await run(CANCEL_STATEMENT, step_for(server, busy), world)

    assert done.outcome is StepOutcome.FAILED
    assert "superuser" in log.ended().detail


async def test_a_server_that_does_not_answer_leaves_it_in_doubt(
    server: ScratchServer, sessions: ExitStack, tmp_path: Path
) -> None:
    world = await acting_world(server, tmp_path)
    busy = sleeper(server, sessions)
    actor = RecordingActor(Acted(outcome="in_doubt", detail="no answer"))
    report = await CANCEL_STATEMENT.act(step_for(server, busy), replace(world, actor=actor), always)
    assert not isinstance(report, Refusal)
    assert report.outcome is StepOutcome.IN_DOUBT
    seen = await CANCEL_STATEMENT.verify(step_for(server, busy), world)
    assert (seen.ok, seen.pending) == (False, False)
