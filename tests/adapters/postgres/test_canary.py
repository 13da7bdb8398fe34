"""One write of the canary on real servers, and every way in which it is not done."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime

import psycopg
import pytest

from fix_servers import MAJORS, MakeServer, Templates
from samplings import Watched as Rules
from samplings import seen
from stanch.adapters.postgres.canary import Canary
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.adapters.postgres.scratch_folder import ScratchOptions
from stanch.facts.canary import CANARY_SESSIONS_SQL, parse_canary_sessions
from stanch.model.canary import WriteOutcome, Wrote
from stanch.service.readiness.grants import grants
from stanch.watch.canary.readings import outcome_readings

# One version in an ordinary run, all of them in `make matrix`.
WITH = MAJORS if "STANCH_MAJORS" in os.environ else [15]
pytestmark = pytest.mark.parametrize("pg_major", WITH, indirect=True)
TABLE = "stanch.canary"
OURS = "FROM pg_stat_activity WHERE application_name = 'stanch canary'"


def canary_at(server: ScratchServer, *, table: str = TABLE) -> Canary:
    dsn = server.dsn("stanch_watch", "postgres")
    return Canary(dsn, target="orders", table=table, database=lambda: "postgres")


@pytest.fixture(scope="module")
def server(pg_major: int, server_templates: Templates) -> Iterator[ScratchServer]:
    """One for the whole file, with what `stanch grants` prints."""
    template = server_templates.of(pg_major, "trust")
    options = ScratchOptions(parent=server_templates.parent)
    with ScratchServer.create(options=options, template=template) as made:
        made.query(grants().canary)
        yield made


async def outcome(server: ScratchServer, wrote: Wrote) -> WriteOutcome:
    """The first that is so, because a reload takes its time."""
    said = await canary_at(server).write()
    for _ in range(200):
        if said.wrote is wrote:
            break
        await asyncio.sleep(0.02)
        said = await canary_at(server).write()
    assert said.wrote is wrote, said
    return said


async def test_a_write_leaves_one_row_that_says_when_and_no_session(server: ScratchServer) -> None:
    assert await canary_at(server).unfit() == ""
    before = datetime.now(UTC)
    first = await canary_at(server).write()
    second = await canary_at(server).write()
    assert (first.wrote, second.wrote) == (Wrote.DONE, Wrote.DONE), first
    assert first.written_at is not None
    assert second.written_at is not None
    assert before <= first.written_at < second.written_at <= datetime.now(UTC)
    assert 0 < (first.ms or 0) < 5000
    rows = server.query(f"SELECT target, written_at FROM {TABLE}", dbname="postgres")
    assert rows == [("orders", second.written_at)]
    assert server.query(f"SELECT count(*) {OURS} AND state = 'active'") == [(0,)]


async def test_the_grants_let_it_write_its_own_table_and_no_other(server: ScratchServer) -> None:
    server.query("CREATE TABLE stanch.other (target text PRIMARY KEY, written_at timestamptz)")
    other = canary_at(server, table="stanch.other")
    assert "may not write" in await other.unfit()
    said = await other.write()
    assert (said.wrote, said.sqlstate) == (Wrote.UNUSABLE, "42501")
    assert "stanch grants --only canary" in said.detail


async def test_a_missing_table_is_the_canarys_own_trouble(server: ScratchServer) -> None:
    gone = canary_at(server, table="stanch.gone")
    assert "no table stanch.gone" in await gone.unfit()
    said = await gone.write()
    assert (said.wrote, said.sqlstate) == (Wrote.UNUSABLE, "42P01")


async def told(canary: Canary) -> list[str]:
    """What the rules make of writes half a minute apart."""
    rules = Rules()
    for at_s in (0, 30, 61, 90):
        rules.look(at_s, seen(readings=outcome_readings(await canary.write(), was_bad=False)))
    return rules.raised


async def test_trouble_of_its_own_is_told_as_such_and_never_as_writes_that_fail(
    server: ScratchServer,
) -> None:
    assert await told(canary_at(server)) == []
    assert await told(canary_at(server, table="stanch.gone")) == ["canary_unusable"]
    server.set_conf({"default_transaction_read_only": "on"})
    await outcome(server, Wrote.FAILED)
    assert await told(canary_at(server)) == ["writes_failing"]
    server.set_conf({"default_transaction_read_only": "off"})
    await outcome(server, Wrote.DONE)


async def test_a_lock_on_its_table_is_waited_for_a_tenth_of_a_second_and_says_nothing(
    server: ScratchServer,
) -> None:
    with closing(psycopg.connect(server.dsn(dbname="postgres"))) as holder:
        holder.execute("LOCK TABLE stanch.canary")
        said = await canary_at(server).write()
    assert (said.wrote, said.sqlstate) == (Wrote.UNKNOWN, "55P03")


async def test_a_server_that_is_not_there_says_nothing_about_writes(pg_major: int) -> None:
    dsn = "host=127.0.0.1 port=1 user=x"
    gone = Canary(dsn, target="x", table=TABLE, database=lambda: "postgres")
    assert (await gone.write()).wrote is Wrote.UNKNOWN


async def test_read_only_for_everybody_is_a_failure_and_for_its_own_role_is_not(
    server: ScratchServer,
) -> None:
    server.set_conf({"default_transaction_read_only": "on"})
    said = await outcome(server, Wrote.FAILED)
    assert said.sqlstate == "25006"
    assert "default_transaction_read_only is on" in said.detail
    server.set_conf({"default_transaction_read_only": "off"})
    await outcome(server, Wrote.DONE)
    server.query("ALTER ROLE stanch_watch SET default_transaction_read_only = on")
    said = await canary_at(server).write()
    server.query("ALTER ROLE stanch_watch RESET default_transaction_read_only")
    assert said.wrote is Wrote.UNUSABLE
    assert "the watching role itself" in said.detail


async def until_it_hangs(server: ScratchServer) -> str:
    """What the server says the write waits for."""
    for _ in range(400):
        [(answer,)] = server.query(
            CANARY_SESSIONS_SQL.replace("current_user", "'stanch_watch'"), dbname="postgres"
        )
        found = parse_canary_sessions(answer)
        if found is not None and "standby" in found[1]:
            return found[1]
        await asyncio.sleep(0.02)
    raise AssertionError("it does not hang")


@asynccontextmanager
async def without_its_standby(server: ScratchServer) -> AsyncGenerator[None]:
    server.set_conf({"synchronous_standby_names": "nobody"})
    try:
        # The setting is in force once the checkpointer, too, has read it.
        await asyncio.sleep(0.2)
        yield
    finally:
        server.set_conf({"synchronous_standby_names": ""})


async def test_a_write_that_waits_for_a_standby_is_given_up_cleanly_and_its_row_stays(
    server: ScratchServer,
) -> None:
    server.query(f"DELETE FROM {TABLE}", dbname="postgres")
    async with without_its_standby(server):
        write = asyncio.create_task(canary_at(server).write())
        assert await until_it_hangs(server) == "a synchronous standby that does not confirm"
        write.cancel()
        await asyncio.gather(write, return_exceptions=True)
        assert write.cancelled()
        assert server.query(f"SELECT count(*) {OURS} AND state = 'active'") == [(0,)]
        assert server.query(f"SELECT count(*) FROM {TABLE}", dbname="postgres") == [(1,)]


async def test_a_write_that_waits_ends_well_when_the_standby_is_no_longer_wanted(
    server: ScratchServer,
) -> None:
    async with without_its_standby(server):
        write = asyncio.create_task(canary_at(server).write())
        await until_it_hangs(server)
        assert not write.done()
    async with asyncio.timeout(5):
        said = await write
    assert said.wrote is Wrote.DONE
    assert (said.ms or 0) > 20


async def test_a_full_volume_is_told_in_the_servers_words(make_server: MakeServer) -> None:
    full = make_server(data_volume_mb=60, wal_volume_mb=40)
    full.query(grants().canary)
    with pytest.raises(psycopg.errors.DiskFull):
        full.query("CREATE TABLE filler AS SELECT repeat('x', 900) FROM generate_series(1, 200000)")
    ballast = full.data_directory / "ballast"
    with pytest.raises(OSError, match="No space left"):
        ballast.write_bytes(bytes(64 * 2**20))
    said = await canary_at(full).write()
    ballast.unlink()
    assert (said.wrote, said.sqlstate) == (Wrote.FAILED, "53100"), said


async def test_a_standby_is_not_written_to(make_server: MakeServer) -> None:
    primary = make_server()
    primary.query(grants().canary)
    primary.stop()
    primary.folder.write_owned(primary.data_directory / "standby.signal", "")
    primary.start()
    assert (await canary_at(primary).write()).wrote is Wrote.STANDBY
