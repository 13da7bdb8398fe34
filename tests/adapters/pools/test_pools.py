"""A real PgBouncer that runs full, and the tables of an application, through one kept session."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from fix_servers import MakeServer
from samplings import ORDERS, T0, Watched, target
from stanch.adapters.pools.console import PoolerConsole
from stanch.adapters.pools.tables import PoolTables
from stanch.adapters.postgres.scratch import ScratchServer, free_port
from stanch.model.readings import Reading
from stanch.model.samples import Sample
from stanch.policy.signs import ConsolePools, QueryPools

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

pytestmark = pytest.mark.parametrize("pg_major", [15], indirect=True)

needs_pgbouncer = pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed")
Told = dict[tuple[str, str], float | None]


@dataclass(frozen=True)
class Bouncer:
    port: int
    running: subprocess.Popen[bytes]

    def dsn(self, dbname: str, user: str = "app") -> str:
        return f"host=127.0.0.1 port={self.port} user={user} dbname={dbname}"

    def console(self, user: str = "stats", deadline_s: float = 3.0) -> PoolerConsole:
        pools = ConsolePools(name="bouncer", dsn=self.dsn("pgbouncer", user))
        return PoolerConsole(pools, deadline_s=deadline_s)


@pytest.fixture
def bouncer(make_server: MakeServer) -> Iterator[Bouncer]:
    """Two server connections, six clients, and nobody waits longer than three seconds."""
    server, port = make_server(), free_port()
    user = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    with tempfile.TemporaryDirectory(prefix="bouncer") as folder:
        config = Path(folder, "pgbouncer.ini")
        config.write_text(
            f"""[databases]
app = host=127.0.0.1 port={server.port} dbname=app user=app
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = 2
max_client_conn = 6
query_wait_timeout = 3
stats_users = stats
logfile =
"""
        )
        users = Path(folder, "users")
        users.write_text("".join(f'"{name}" ""\n' for name in ("app", "stats", "stranger")))
        Path(folder).chmod(0o755)
        users.chmod(0o644)
        config.chmod(0o644)
        as_user = ["-u", user] if os.geteuid() == 0 else []
        running = subprocess.Popen(
            [str(PGBOUNCER), "-q", *as_user, str(config)], stderr=subprocess.DEVNULL
        )
        try:
            yield Bouncer(port=port, running=running)
        finally:
            running.kill()
            running.wait(10)


@asynccontextmanager
async def looking_at(bouncer: Bouncer) -> AsyncGenerator[PoolerConsole]:
    """A console that has got in."""
    console = bouncer.console()
    try:
        async with asyncio.timeout(10):
            while (await seen(console))["health_check_ok", "pool source bouncer"] != 1.0:
                await asyncio.sleep(0.02)
        yield console
    finally:
        await console.close()


async def seen(source: PoolerConsole | PoolTables) -> Told:
    return {(r.name, r.subject): r.value for r in await source.look()}


async def taking(bouncer: Bouncer, stack: AsyncExitStack) -> psycopg.AsyncConnection:
    """A client in the middle of a transaction."""
    client = await psycopg.AsyncConnection.connect(bouncer.dsn("app"), prepare_threshold=None)
    await stack.enter_async_context(client)
    await client.execute("SELECT 1")
    return client


IMPATIENT = target(pool_wait_long={"limit": 1.0, "clear": 0.5})
"""Fifteen seconds are long for whoever runs these tests."""


class Rules(Watched):
    """What they make of the pooler's answers, of which some are as good a while later."""

    def __init__(self) -> None:
        super().__init__(IMPATIENT)
        self._at_s = 0.0

    def hear(self, told: Told, *, lasts_s: float = 0.0) -> set[str]:
        """One answer, and at the end of so long the same again. Returns what was raised by it."""
        readings = tuple(
            Reading(name=name, value=value, subject=subject)
            for (name, subject), value in told.items()
        )
        before = len(self.raised)
        for at_s in (self._at_s, self._at_s + lasts_s):
            self.look(at_s, Sample(target=ORDERS, at=T0, readings=readings))
        self._at_s += lasts_s + 1
        return set(self.raised[before:])


@needs_pgbouncer
async def test_an_exhausted_pool_is_told_with_who_waits_until_the_pooler_gives_them_up(
    bouncer: Bouncer,
) -> None:
    pool, rules = ("pool_waiting", "bouncer/app/app"), Rules()
    async with looking_at(bouncer) as console, AsyncExitStack() as stack:
        holders = [await taking(bouncer, stack) for _ in range(2)]
        full = await seen(console)
        assert full["pool_usage_pct", "bouncer/app/app"] == 100.0
        assert full[pool] == 0.0, "full, but nobody waits yet"
        assert rules.hear(full) == set(), "it may be full for a moment"
        assert rules.hear(full, lasts_s=5) == {"pool_exhausted:bouncer/app/app"}
        waiting = asyncio.create_task(taking(bouncer, stack))
        async with asyncio.timeout(5):
            while (queued := await seen(console))[pool] != 1.0:
                await asyncio.sleep(0.02)
            assert rules.hear(queued) == set(), "somebody may wait for a moment"
            assert rules.hear(queued, lasts_s=10) == {"pool_waiting:bouncer/app/app"}
            while ((long := await seen(console))["pool_max_wait_s", "bouncer/app/app"] or 0) < 1:
                await asyncio.sleep(0.02)
        assert rules.hear(long) == {"pool_wait_long:bouncer/app/app"}
        with pytest.raises(psycopg.OperationalError, match="query_wait_timeout"):
            await waiting
        for holder in holders:
            await holder.rollback()
        after = await seen(console)
        assert after["pool_usage_pct", "bouncer/app/app"] == 0.0
        assert after[pool] == 0.0
        assert rules.hear(after, lasts_s=60) == set()
        assert sorted(rules.cleared) == sorted(rules.raised)


@needs_pgbouncer
async def test_a_pooler_that_takes_no_more_clients_still_answers_the_session_kept_before(
    bouncer: Bouncer,
) -> None:
    async with looking_at(bouncer) as console, AsyncExitStack() as stack:
        rules = Rules()
        for clients in range(1, 6):
            client = await taking(bouncer, stack)
            await client.rollback()
            raised = rules.hear(await seen(console), lasts_s=30)
            # Of the six that may come the console is one.
            assert raised == TOLD_WITH.get(clients, set())
        full = await seen(console)
        with pytest.raises(psycopg.OperationalError, match="no more connections"):
            await taking(bouncer, stack)
        assert full["pool_usage_pct", "bouncer/clients"] == 100.0
        assert full["pool_usage_pct", "bouncer/app/app"] == 0.0, "its pool has all the room"
        assert (await seen(console))["health_check_ok", "pool source bouncer"] == 1.0


TOLD_WITH = {4: {"pool_high:bouncer/clients"}, 5: {"pool_exhausted:bouncer/clients"}}


@needs_pgbouncer
async def test_a_killed_pooler_is_told_and_its_pools_are_not_known(bouncer: Bouncer) -> None:
    async with looking_at(bouncer) as console, AsyncExitStack() as stack:
        await (await taking(bouncer, stack)).rollback()
        assert (await seen(console))["pool_usage_pct", "bouncer/app/app"] == 0.0
        bouncer.running.kill()
        bouncer.running.wait(10)
        told = await seen(console)
        assert told["health_check_ok", "pool source bouncer"] == 0.0
        assert told["pool_usage_pct", "bouncer/app/app"] is None


@needs_pgbouncer
async def test_a_stopped_pooler_costs_one_deadline_and_no_more(bouncer: Bouncer) -> None:
    async with looking_at(bouncer):
        late = bouncer.console(deadline_s=0.3)
        bouncer.running.send_signal(19)
        async with asyncio.timeout(2):
            assert (await seen(late))["health_check_ok", "pool source bouncer"] == 0.0
        await late.close()


@needs_pgbouncer
async def test_a_stopped_pooler_is_left_alone_after_three_tries(bouncer: Bouncer) -> None:
    async with looking_at(bouncer):
        late = bouncer.console(deadline_s=0.2)
        bouncer.running.send_signal(19)
        for _ in range(3):
            await late.look()
        bouncer.running.send_signal(18)
        [told, *_] = await late.look()
        assert (told.value, told.detail) == (0.0, "no session within 0.2 s"), "nobody asked it"


@needs_pgbouncer
async def test_a_user_who_may_not_look_is_told_and_is_not_tried_again_at_once(
    bouncer: Bouncer,
) -> None:
    async with looking_at(bouncer):
        stranger = bouncer.console(user="stranger")
        [first] = await stranger.look()
        bouncer.running.kill()
        [again] = await stranger.look()
        assert first.value == 0.0
        assert "not allowed" in first.detail
        assert again.detail == first.detail, "the pooler is gone, and nobody has asked it"


SCHEMA = """
CREATE TABLE connection_pool_config (id int PRIMARY KEY, tier text, pool_name text,
    min_connections int, max_connections int);
CREATE TABLE connection_pool_metrics (pool_config_id int, active_connections int,
    idle_connections int, connection_usage_rate numeric, pending_acquires int,
    collected_at timestamptz);
INSERT INTO connection_pool_config VALUES (1, 'OLTP', 'Primary', 5, 50), (2, 'OLAP', 'Old', 3, 15);
INSERT INTO connection_pool_metrics VALUES (1, 20, 30, 0.4, 0, now() - interval '2 min'),
    (1, 48, 2, 0.96, 7, now()), (2, 15, 0, 1, 9, now() - interval '1 hour');
"""


@pytest.fixture
def tables(make_server: MakeServer) -> ScratchServer:
    server = make_server()
    with psycopg.connect(server.dsn("app", dbname="app"), autocommit=True) as session:
        session.execute(SCHEMA)
    return server


async def test_the_newest_metrics_of_each_configured_pool_count_and_old_ones_do_not(
    tables: ScratchServer,
) -> None:
    source = PoolTables(QueryPools(name="app", dsn=tables.dsn("app", dbname="app")))
    readings = await source.look()
    await source.close()
    told = {(r.name, r.subject): r.value for r in readings}
    assert told["pool_usage_pct", "app/OLTP/Primary"] == 96.0
    assert told["pool_waiting", "app/OLTP/Primary"] == 7.0
    assert told["pool_usage_pct", "app/OLAP/Old"] is None, "an hour ago says nothing about now"
    assert "48 of 50 connections in use, at least 5 kept, 7 wait" in {r.detail for r in readings}


async def test_a_query_of_ones_own_names_its_columns(tables: ScratchServer) -> None:
    dsn = tables.dsn("app", dbname="app")
    query = "SELECT 'worker' AS pool, 9 AS active, 10 AS size, 12.5 AS max_wait_s"
    source = PoolTables(QueryPools(name="jobs", dsn=dsn, query=query))
    told = await seen(source)
    await source.close()
    assert told["pool_usage_pct", "jobs/worker"] == 90.0
    assert told["pool_max_wait_s", "jobs/worker"] == 12.5


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("CREATE TABLE mine (n int)", "read-only"),
        ("SELECT pg_sleep(60)", "timeout|deadline"),
        ("SELECT 1 AS pool; DROP TABLE connection_pool_config", "multiple commands"),
        ("SELECT 1 AS one", "no column pool"),
    ],
)
async def test_a_query_that_writes_lasts_or_says_nothing_is_told_as_trouble(
    tables: ScratchServer, query: str, said: str
) -> None:
    dsn = tables.dsn("app", dbname="app")
    source = PoolTables(QueryPools(name="jobs", dsn=dsn, query=query), deadline_s=0.5)
    [told] = await source.look()
    await source.close()
    assert told.value == 0.0
    assert any(word in told.detail for word in said.split("|")), told.detail
