"""What a real server's log and catalogs show to have changed, and what shows nothing."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stanch.adapters.postgres.scratch import ScratchServer
from stanch.model.changes import Change, told
from stanch.model.ids import TargetName
from stanch.model.samples import Sample
from stanch.policy.policy import TargetPolicy
from stanch.service.clock import SteadyClock
from stanch.service.house import projection_of
from stanch.service.record.changed import Changed
from stanch.service.record.policies import Policies
from stanch.service.watched.target import Watched
from stanch.store.changes import changes_of
from stanch.store.sql import SqlStore
from stanch.store.statedir import StateDir
from stanch.store.timelines import InlineStore
from timelines import POLICY

pytestmark = pytest.mark.parametrize("pg_major", [15], indirect=True)

ORDERS = TargetName("orders")
ORDERS_TABLE = "app.public.orders"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
WAIT_S = 20.0


class Process:
    """What of `stanch run` sees and keeps changes, over one state directory."""

    def __init__(self, server: ScratchServer, state: Path) -> None:
        policies = Policies("h1", POLICY, "{}", lambda text: POLICY)
        self.store = InlineStore(SqlStore.open(state / "store", projection_of(policies)))
        policy = TargetPolicy(name=ORDERS, dsn=server.dsn("stanch_watch"), sample_every_s=0.2)
        clock = SteadyClock()
        self.watched = Watched(policy, clock=clock, state=StateDir(path=state), doubts=no_doubts)
        self.changed = Changed(self.store, clock, lambda: {ORDERS: self.watched.changing.drain})

    async def look(self) -> None:
        """One look of the slow lane, kept; one that was put off is made again."""
        lane = self.watched.slow.lane
        async with asyncio.timeout(WAIT_S):
            await lane.look()
            while lane.skipped:
                await asyncio.sleep(0.1)
                await lane.look()
        await self.changed.look()

    async def until(self, enough: Callable[[dict[str, Change]], bool]) -> dict[str, Change]:
        async with asyncio.timeout(WAIT_S):
            while not enough(found := await self.rows()):
                await self.changed.look()
                await asyncio.sleep(0.1)
        return found

    async def look_until(self, enough: Callable[[dict[str, Change]], bool]) -> dict[str, Change]:
        """A question that a busy server left without an answer is asked again by the next look."""
        async with asyncio.timeout(WAIT_S):
            while True:
                await self.look()
                if enough(found := await self.rows()):
                    return found

    async def rows(self) -> dict[str, Change]:
        found = await self.store.ask(
            lambda c: changes_of(c, ORDERS, since=LONG_AGO, until=None, limit=500)
        )
        return {change.what: change for change in found}


async def no_doubts() -> tuple[str, ...]:
    return ()


@asynccontextmanager
async def process(server: ScratchServer, state: Path) -> AsyncIterator[Process]:
    sampled, followed = asyncio.Event(), asyncio.Event()

    async def emit(sample: Sample) -> None:
        sampled.set()
        if any(r.name == "log_class_total" and r.value is not None for r in sample.readings):
            followed.set()

    one = Process(server, state)
    running = [
        asyncio.create_task(one.watched.run(emit)),
        asyncio.create_task(one.watched.watch_logs()),
    ]
    try:
        async with asyncio.timeout(WAIT_S):
            await sampled.wait()
            await followed.wait()
        yield one
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await one.watched.close()
        await one.store.close()


async def test_log_and_catalogs_tell_one_story_over_restarts_and_routine_tells_none(
    server: ScratchServer, tmp_path: Path
) -> None:
    server.query("ALTER SYSTEM SET log_statement = 'ddl'")
    server.query("SELECT pg_reload_conf()")
    server.query("CREATE TABLE orders (id int)", dbname="app")
    async with process(server, tmp_path) as stanch:
        await stanch.look()
        routine(server)
        server.query("ALTER TABLE orders ADD note text DEFAULT 'hunter2'", dbname="app")
        server.query("CREATE ROLE auditor LOGIN PASSWORD 'hunter2'")
        server.query("ALTER SYSTEM SET work_mem = '7MB'")
        before = await stanch.until(lambda rows: "work_mem" in rows and "auditor" in rows)
        rows = await stanch.look_until(
            lambda rows: ORDERS_TABLE in rows and "inventory" in rows["auditor"].source
        )
        assert set(rows) - set(before) == {"app.public.orders"}, "the look added no row of its own"
        assert set(rows) == {"app.public.orders", "auditor", "work_mem"}
        assert "hunter2" not in repr(rows)
        table, role, setting = rows["app.public.orders"], rows["auditor"], rows["work_mem"]
        assert table.source == role.source == "log and inventory"
        assert (table.before is not None, table.after is not None) == (True, True)
        assert table.how == "ALTER TABLE orders ADD note text DEFAULT '…'"
        assert "is new: login; ran CREATE ROLE auditor LOGIN PASSWORD '…'" in told(role)
        assert (setting.before, setting.after) == (None, None), "nobody has reloaded"
        server.query("SELECT pg_reload_conf()")
        await stanch.until(lambda rows: len(rows) == 3)
        await stanch.look_until(lambda rows: rows["work_mem"].after is not None)
    server.query("DROP ROLE auditor")
    async with process(server, tmp_path) as stanch:
        rows = await stanch.look_until(lambda rows: rows["auditor"].after is None)
        assert rows["auditor"].before == "login"
        assert rows["work_mem"].after == "7168 kB"


def routine(server: ScratchServer) -> None:
    """What goes on every day and changes nothing."""
    server.query("CREATE TEMP TABLE scratch (id int)", dbname="app")
    server.query("VACUUM ANALYZE orders", dbname="app")
    server.query("SELECT pg_reload_conf()")
    dumping = [str(server.binaries.program("pg_dump")), "--dbname", server.dsn("postgres", "app")]
    subprocess.run(dumping, check=True, capture_output=True)
