"""Changing a real PgBouncer in front of a real server: what clients of it notice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pytest

from acting_worlds import always, run, step, world_of
from bouncer_at import Bouncer, bouncer_at, needs_pgbouncer
from stanch.adapters.pools.admin import PoolerAdmin
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.adapters.postgres.sentinel import Sentinel
from stanch.model.diagnosis import Scalar
from stanch.model.errors import ActionFailed
from stanch.model.plans import PlannedStep, Refusal, StepOutcome
from stanch.policy.signs import ConsolePools
from stanch.respond.actions.pause_pool.run import PAUSE_POOL
from stanch.respond.actions.reset_pool.run import RESET_POOL
from stanch.respond.actions.resize_pool.run import RESIZE_POOL
from stanch.respond.actions.resume_pool.run import RESUME_POOL
from stanch.steps.world import World

pytestmark = [needs_pgbouncer, pytest.mark.parametrize("pg_major", [15], indirect=True)]


def pool_step(action: str, **params: Scalar) -> PlannedStep:
    return step(action, deadline_s=5.0, pooler="bouncer", database="app", **params)


LARGER = pool_step("resize_pool", setting="default_pool_size", from_size=2, size=3)
RESUME, PAUSE = pool_step("resume_pool"), pool_step("pause_pool")
WAITS_S = 10


@pytest.fixture
def bouncer(server: ScratchServer) -> Iterator[Bouncer]:
    with bouncer_at(server) as one:
        yield one


@dataclass
class Clients:
    """Clients of the pool; `stack` ends them."""

    bouncer: Bouncer
    stack: AsyncExitStack

    async def take(self, *, begin: bool = True) -> psycopg.AsyncConnection:
        client = await psycopg.AsyncConnection.connect(
            self.bouncer.dsn(), prepare_threshold=None, autocommit=not begin
        )
        await self.stack.enter_async_context(client)
        await client.execute("SELECT 1")
        return client

    async def waits(self) -> asyncio.Task[psycopg.AsyncConnection]:
        """One that has no server connection, and is known to wait for one."""
        client = asyncio.create_task(self.take())
        async with asyncio.timeout(WAITS_S):
            while not any(row[3] for row in self.bouncer.say("SHOW POOLS")):
                await asyncio.sleep(0.01)
        return client


@pytest.fixture
async def clients(bouncer: Bouncer) -> AsyncIterator[Clients]:
    async with AsyncExitStack() as stack:
        yield Clients(bouncer, stack)


async def world(server: ScratchServer, root: Path, pools: ConsolePools) -> World:
    sentinel = Sentinel(server.dsn("stanch_watch"))
    assert (await sentinel.connect(deadline_s=5.0)).answers
    made = world_of(server, root, sessions=(sentinel,), pools=(pools,))
    return replace(made, poolers={"bouncer": PoolerAdmin(pools)})


async def test_a_pool_at_work_grows_and_who_waited_is_served_and_again_is_not_twice(
    server: ScratchServer, bouncer: Bouncer, clients: Clients, tmp_path: Path
) -> None:
    one = await world(server, tmp_path, bouncer.pools())
    busy = [await clients.take(begin=False) for _ in range(2)]
    at_work = [asyncio.create_task(client.execute("SELECT pg_sleep(60)")) for client in busy]
    waiting = await clients.waits()
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    while server.query(sleeping) != [(2,)]:
        await asyncio.sleep(0.01)

    done, log = await run(RESIZE_POOL, LARGER, one)

    assert done.outcome is StepOutcome.DONE, done.refusal
    assert log.verified().ok, log.verified().detail
    assert "SET default_pool_size = '2' takes it back" in log.ended().before
    await asyncio.wait_for(waiting, WAITS_S)
    again, _ = await run(RESIZE_POOL, LARGER, one)
    assert again.refusal is not None
    assert again.refusal.guard == "unchanged"
    for task in at_work:
        task.cancel()
    await asyncio.gather(*at_work, return_exceptions=True)


async def test_a_pool_that_idle_transactions_hold_up_does_not_grow(
    server: ScratchServer, bouncer: Bouncer, clients: Clients, tmp_path: Path
) -> None:
    one = await world(server, tmp_path, bouncer.pools())
    held = [await clients.take() for _ in range(2)]
    waiting = await clients.waits()

    done, _ = await run(RESIZE_POOL, LARGER, one)

    assert done.refusal is not None
    assert done.refusal.guard == "at_work"
    for client in held:
        await client.rollback()
    await waiting


async def test_a_paused_pool_holds_its_clients_until_it_is_resumed(
    server: ScratchServer, bouncer: Bouncer, clients: Clients, tmp_path: Path
) -> None:
    one = await world(server, tmp_path, bouncer.pools())
    client = await clients.take(begin=False)

    paused, log = await run(PAUSE_POOL, PAUSE, one)
    assert paused.outcome is StepOutcome.DONE, (paused.refusal, log.ended().detail)
    assert log.verified().ok
    asked = asyncio.create_task(client.execute("SELECT 2"))
    async with asyncio.timeout(WAITS_S):
        while not any(row[3] for row in bouncer.say("SHOW POOLS")):
            await asyncio.sleep(0.01)
    twice, _ = await run(PAUSE_POOL, PAUSE, one)
    assert twice.refusal is not None
    assert twice.refusal.guard == "not_paused"

    resumed, log = await run(RESUME_POOL, RESUME, one)
    assert resumed.outcome is StepOutcome.DONE, resumed.refusal
    assert log.verified().ok
    assert "1 clients waited" in log.ended().detail
    assert await (await asked).fetchone() == (2,)
    again, _ = await run(RESUME_POOL, RESUME, one)
    assert again.refusal is not None
    assert again.refusal.guard == "is_paused"


async def test_a_pause_that_a_transaction_holds_up_is_taken_back(
    server: ScratchServer, bouncer: Bouncer, clients: Clients, tmp_path: Path
) -> None:
    one = await world(server, tmp_path, bouncer.pools())
    client = await clients.take()

    with pytest.raises(ActionFailed, match="it was resumed"):
        await PAUSE_POOL.act(PAUSE, one, always)

    assert await (await client.execute("SELECT 3")).fetchone() == (3,)
    assert not (await PAUSE_POOL.verify(PAUSE, one)).ok
    other = await clients.take()
    assert await (await other.execute("SELECT 4")).fetchone() == (4,)


async def test_a_pool_lets_go_of_a_session_that_kept_a_lock_for_nobody(
    server: ScratchServer, bouncer: Bouncer, clients: Clients, tmp_path: Path
) -> None:
    one = await world(server, tmp_path, bouncer.pools())
    client = await clients.take(begin=False)
    await client.execute("SELECT pg_advisory_lock(7)")
    holder = (
        "SELECT a.pid, a.backend_start FROM pg_stat_activity AS a "
        "JOIN pg_locks AS l USING (pid) WHERE l.locktype = 'advisory'"
    )
    [(pid, began)] = server.query(holder)
    gone = pool_step("reset_pool", backend_pid=pid, backend_start=began.isoformat())

    done, log = await run(RESET_POOL, gone, one)

    assert done.outcome is StepOutcome.DONE, done.refusal
    assert log.verified().ok
    while server.query(holder):
        await asyncio.sleep(0.01)
    assert await (await client.execute("SELECT 5")).fetchone() == (5,)
    again, _ = await run(RESET_POOL, gone, one)
    assert again.refusal is not None
    assert again.refusal.guard in ("its_connection", "leads_here")


async def test_another_process_than_the_watched_one_is_left_alone(
    server: ScratchServer, bouncer: Bouncer, tmp_path: Path
) -> None:
    with bouncer_at(server) as other:
        other.say('PAUSE "app"')
        mixed = replace(bouncer.pools(), admin_dsn=other.pools().admin_dsn)
        refusal = await RESUME_POOL.check(RESUME, await world(server, tmp_path, mixed))
    assert refusal is not None
    assert refusal.guard == "same_pooler"


async def test_a_user_who_may_only_look_changes_nothing_and_is_told_what_it_takes(
    server: ScratchServer, bouncer: Bouncer, tmp_path: Path
) -> None:
    bouncer.say('PAUSE "app"')
    one = await world(server, tmp_path, bouncer.pools(chief="stats"))

    done, log = await run(RESUME_POOL, RESUME, one)

    assert done.outcome is StepOutcome.FAILED
    assert "admin access needed" in log.ended().detail
    assert "admin_users" in log.ended().detail


@pytest.mark.parametrize("one", [RESUME, PAUSE], ids=["resume", "pause"])
async def test_a_halt_right_before_the_command_touches_nothing(
    one: PlannedStep, server: ScratchServer, bouncer: Bouncer, clients: Clients, tmp_path: Path
) -> None:
    await clients.take(begin=False)
    if one is RESUME:
        bouncer.say('PAUSE "app"')
    before = bouncer.say("SHOW DATABASES")
    action = RESUME_POOL if one is RESUME else PAUSE_POOL
    halted = Refusal(guard="halt", reason="told to stop")

    report = await action.act(one, await world(server, tmp_path, bouncer.pools()), lambda: halted)

    assert report is halted
    assert bouncer.say("SHOW DATABASES") == before
