"""Ending sessions on real servers: exactly the ones that may be ended, and nobody else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from acting_worlds import permits, run, step, world_of
from fix_servers import MakeServer
from stanch.adapters.postgres.acting import ActingSession
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.adapters.postgres.sentinel import Sentinel
from stanch.model.plans import PlannedStep, Refusal, StepOutcome
from stanch.respond.actions.end_blocking_session.run import END_BLOCKING_SESSION
from stanch.respond.actions.end_idle_sessions.run import END_IDLE_SESSIONS
from stanch.steps.action import ActReport
from stanch.steps.world import World

pytestmark = pytest.mark.story

LEAK = step("end_idle_sessions", application_name="shop", usename="app", deadline_s=10.0)

Session = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def crowded(make_server: MakeServer) -> ScratchServer:
    """Twenty connections, seventeen of them for everybody."""
    return make_server(conf={"max_connections": 20, "superuser_reserved_connections": 3})


@pytest.fixture
def sessions() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def login(stack: ExitStack, server: ScratchServer, name: str, user: str = "app") -> Session:
    session = server.connect(user, "app", application_name=name)
    stack.callback(session.close)
    session.execute("SELECT 1")
    return session


def alive(session: Session) -> bool:
    try:
        session.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


async def acting_world(server: ScratchServer, root: Path, **policy: Any) -> World:
    sentinel, acting = Sentinel(server.dsn("stanch_watch")), ActingSession(server.dsn("stanch_act"))
    assert (await sentinel.connect(deadline_s=5.0)).answers
    assert (await acting.connect(deadline_s=5.0)).answers
    return world_of(server, root, sessions=(sentinel, acting), **policy)


async def test_idle_sessions_of_the_leaking_application_are_ended_until_there_is_headroom(
    crowded: ScratchServer, sessions: ExitStack, tmp_path: Path
) -> None:
    world = await acting_world(crowded, tmp_path, idle_session_age_s_min=0.0)
    leaked = [login(sessions, crowded, "shop") for _ in range(13)]
    other = login(sessions, crowded, "crm")

    done, log = await run(END_IDLE_SESSIONS, LEAK, world)

    assert done.outcome is StepOutcome.DONE, done.refusal
    assert log.verified().ok, log.verified().detail
    survivors = [alive(session) for session in leaked]
    assert survivors == [False] * 5 + [True] * 8, "16 in use, 11 of 17 leave headroom"
    assert alive(other)


async def test_what_the_end_of_a_session_would_destroy_keeps_it_alive(
    crowded: ScratchServer, sessions: ExitStack, tmp_path: Path
) -> None:
    world = await acting_world(
        crowded, tmp_path, idle_session_age_s_min=0.0, protected_applications=("ledger",)
    )
    kept = {
        "advisory lock": login(sessions, crowded, "shop"),
        "temporary table": login(sessions, crowded, "shop"),
        "superuser": login(sessions, crowded, "shop", user="postgres"),
        "in a transaction": login(sessions, crowded, "shop"),
        "pooler": login(sessions, crowded, "pgbouncer"),
        "protected": login(sessions, crowded, "ledger"),
    }
    kept["advisory lock"].execute("SELECT pg_advisory_lock(7)")
    kept["temporary table"].execute("CREATE TEMPORARY TABLE basket (item int)")
    kept["in a transaction"].autocommit = False
    kept["in a transaction"].execute("SELECT 1")
    plain = [login(sessions, crowded, "shop") for _ in range(7)]

    report = await END_IDLE_SESSIONS.act(LEAK, world, permits(100))

    assert [why for why, session in kept.items() if not alive(session)] == []
    ended = [session for session in plain if not alive(session)]
    if crowded.binaries.major >= 16:
        assert isinstance(report, ActReport), report
        assert len(ended) > 2
    else:
        # Whose temporary table it is cannot be told before version 16: then nobody is ended.
        assert isinstance(report, Refusal)
        assert ended == []


async def test_where_somebody_listens_everybody_alike_is_spared(
    crowded: ScratchServer, sessions: ExitStack, tmp_path: Path
) -> None:
    world = await acting_world(crowded, tmp_path, idle_session_age_s_min=0.0)
    leaked = [login(sessions, crowded, "shop") for _ in range(13)]
    leaked[4].execute("LISTEN orders")

    done, _log = await run(END_IDLE_SESSIONS, LEAK, world)

    assert done.refusal is not None
    assert done.refusal.guard == "something_to_end"
    assert all(alive(session) for session in leaked)


async def test_a_session_that_wakes_up_between_look_and_act_is_spared(
    crowded: ScratchServer, sessions: ExitStack, tmp_path: Path
) -> None:
    world = await acting_world(crowded, tmp_path, idle_session_age_s_min=0.0)
    leaked = [login(sessions, crowded, "shop") for _ in range(13)]
    first = leaked[0]

    def wake() -> Refusal | None:
        first.execute("SELECT 1")
        return None

    await END_IDLE_SESSIONS.act(LEAK, world, wake)

    assert alive(first), "it had worked since it was looked at"
    assert not alive(leaked[1])


async def test_a_halt_half_way_ends_nobody_else(
    crowded: ScratchServer, sessions: ExitStack, tmp_path: Path
) -> None:
    world = await acting_world(crowded, tmp_path, idle_session_age_s_min=0.0)
    leaked = [login(sessions, crowded, "shop") for _ in range(13)]

    report = await END_IDLE_SESSIONS.act(LEAK, world, permits(2))

    assert isinstance(report, ActReport)
    assert "stopped early" in report.detail
    assert [alive(session) for session in leaked].count(False) == 2


async def test_sessions_that_were_not_idle_for_long_are_left_alone(
    crowded: ScratchServer, sessions: ExitStack, tmp_path: Path
) -> None:
    world = await acting_world(crowded, tmp_path, idle_session_age_s_min=300.0)
    leaked = [login(sessions, crowded, "shop") for _ in range(13)]

    done, _log = await run(END_IDLE_SESSIONS, LEAK, world)

    assert done.refusal is not None
    assert done.refusal.guard == "something_to_end"
    assert all(alive(session) for session in leaked)


# --- the head of a chain ------------------------------------------------------------------------


def chain(server: ScratchServer, stack: ExitStack) -> tuple[Session, Session]:
    """A root that is idle in its transaction, and one session that waits for it."""
    server.query("CREATE TABLE IF NOT EXISTS orders (id int PRIMARY KEY)", user="app")
    server.query("INSERT INTO orders VALUES (1)", user="app")
    root = login(stack, server, "shop")
    root.autocommit = False
    root.execute("DELETE FROM orders")
    waiter = login(stack, server, "crm")
    waiter.execute("SET lock_timeout = '20s'")
    # Sent and not waited for: it hangs on the root's lock.
    waiter.pgconn.send_query(b"UPDATE orders SET id = 2")
    deadline = time.monotonic() + 10
    while not server.query(
        "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid = %s",
        [waiter.info.backend_pid],
    ):
        assert time.monotonic() < deadline
    return root, waiter


def root_step(server: ScratchServer, root: Session) -> PlannedStep:
    [(started, began)] = server.query(
        "SELECT backend_start, xact_start FROM pg_stat_activity WHERE pid = %s",
        [root.info.backend_pid],
    )
    return step(
        "end_blocking_session",
        root_pid=root.info.backend_pid,
        root_backend_start=started.isoformat(),
        root_xact_start=began.isoformat(),
    )


async def test_ending_the_head_of_a_chain_lets_the_others_go_on(
    server: ScratchServer, sessions: ExitStack, tmp_path: Path
) -> None:
    world = await acting_world(server, tmp_path)
    root, waiter = chain(server, sessions)

    done, log = await run(END_BLOCKING_SESSION, root_step(server, root), world)

    assert done.outcome is StepOutcome.DONE, done.refusal
    assert log.verified().ok
    assert "DELETE FROM orders" in log.ended().before
    result = waiter.pgconn.get_result()
    assert result is not None
    assert result.command_tuples == 1, "the root's delete was rolled back, the update went through"


async def test_a_head_that_has_committed_and_gone_on_is_another_transaction(
    server: ScratchServer, sessions: ExitStack, tmp_path: Path
) -> None:
    world = await acting_world(server, tmp_path)
    root, waiter = chain(server, sessions)
    one = root_step(server, root)
    root.commit()
    waiter.pgconn.get_result()
    root.execute("SELECT 1")

    done, _log = await run(END_BLOCKING_SESSION, one, world)

    assert done.outcome is StepOutcome.REFUSED
    assert alive(root)


async def test_a_head_at_work_ends_by_approval_alone(
    server: ScratchServer, sessions: ExitStack, tmp_path: Path
) -> None:
    world = await acting_world(server, tmp_path)
    root, _waiter = chain(server, sessions)
    one = root_step(server, root)
    root.pgconn.send_query(b"SELECT pg_sleep(60)")
    working = "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND pid = %s"
    while not server.query(working, [root.info.backend_pid]):
        pass

    unasked = replace(one, params=(*one.params, ("while_idle", True)))
    done, _log = await run(END_BLOCKING_SESSION, unasked, world)
    assert done.refusal is not None
    assert done.refusal.guard == "idle_or_approved"
    assert server.query(working, [root.info.backend_pid])

    done, _log = await run(END_BLOCKING_SESSION, one, world)
    assert done.outcome is StepOutcome.DONE, done.refusal


async def test_a_session_in_the_middle_of_a_chain_is_not_its_head(
    server: ScratchServer, sessions: ExitStack, tmp_path: Path
) -> None:
    world = await acting_world(server, tmp_path)
    _root, waiter = chain(server, sessions)
    one = root_step(server, waiter)
    done, _log = await run(END_BLOCKING_SESSION, one, world)
    assert done.refusal is not None
    assert done.refusal.guard == "still_root"


async def test_a_superusers_session_is_not_ended_and_the_server_says_so(
    server: ScratchServer, sessions: ExitStack, tmp_path: Path
) -> None:
    world = await acting_world(server, tmp_path)
    server.query("CREATE TABLE orders (id int)", user="app")
    root = login(sessions, server, "psql", user="postgres")
    root.autocommit = False
    root.execute("LOCK TABLE orders")
    waiter = login(sessions, server, "crm")
    waiter.pgconn.send_query(b"SELECT * FROM orders")
    while not server.query("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
        pass

    done, log = await run(END_BLOCKING_SESSION, root_step(server, root), world)

    assert done.outcome is StepOutcome.FAILED
    assert "superuser" in log.ended().detail
    assert alive(root)


async def test_a_backup_at_the_head_is_a_case_for_people(
    server: ScratchServer, sessions: ExitStack, tmp_path: Path
) -> None:
    world = await acting_world(server, tmp_path)
    root, _waiter = chain(server, sessions)
    root.execute("SET application_name = 'pg_dump'")
    done, _log = await run(END_BLOCKING_SESSION, root_step(server, root), world)
    assert done.refusal is not None
    assert done.refusal.guard == "not_protected"
    assert alive(root)
