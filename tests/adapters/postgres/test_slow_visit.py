"""The slow lane on real servers: its sessions, its limits, and a whole look."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing

import psycopg
import pytest

from fix_servers import MakeServer
from slow_at import lane_of
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.adapters.postgres.slow_visit import SlowSessions
from stanch.model.changes import ItemKind
from stanch.model.errors import ProbeFailed
from stanch.watch.slow.run import SlowLane
from stanch.watch.slow.statements import STATEMENT_READINGS


def listed(lane: SlowLane) -> dict[tuple[ItemKind, str], str]:
    """What the last look listed, wherever."""
    look = lane.take_inventories()
    assert look is not None
    return {(item.kind, item.name): item.value for one in look.inventories for item in one.items}


async def test_a_whole_look_finds_databases_changes_and_what_it_may_not_see(
    server: ScratchServer, pg_major: int
) -> None:
    lane = lane_of(server, pg_major)
    await lane.look()
    assert lane.skipped == ""
    told = {(r.name, r.subject): r for r in lane.take()}
    assert {s for n, s in told if n == "database_size_bytes"} == {"app", "postgres", "template1"}
    assert {s for n, s in told if n == "invalid_indexes"} == {"app", "postgres"}
    assert told["hba_errors", ""].value is None
    for name, view in (
        ("hba_errors", "pg_hba_file_rules"),
        ("settings_errors", "pg_file_settings"),
    ):
        assert told[name, ""].detail.startswith(f"needs SELECT on {view} and EXECUTE on ")
    assert "permission denied" not in server.log_text(), "a refusal is an error in their log"
    assert told["settings_pending_restart", ""].value == 0

    server.query("CREATE TABLE added (id int)", dbname="app")
    server.query("ALTER ROLE app CREATEDB")
    server.query("ALTER SYSTEM SET work_mem = '7MB'")
    server.query("SELECT pg_reload_conf()")
    told = list[tuple[str, str, str | None, str | None]]()
    before = listed(lane)
    for _ in range(50):
        await lane.look()
        told = [
            (str(kind), what, before.get((kind, what)), value)
            for (kind, what), value in listed(lane).items()
            if before.get((kind, what)) != value
        ]
        if len(told) >= 3:
            break
    assert ("role", "app", "login", "login createdb") in told
    assert ("setting", "work_mem", None, "7168 kB") in told
    assert [(kind, what, before) for kind, what, before, _ in told if what == "app.public.added"]
    gone = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'stanch slow lane'"
    for _ in range(200):
        if server.query(gone) == [(0,)]:
            break
    assert server.query(gone) == [(0,)]


async def test_every_table_locked_is_no_reason_to_wait(
    make_server: MakeServer, pg_major: int
) -> None:
    server = make_server(conf={"log_lock_waits": True, "deadlock_timeout": "10ms"})
    for statement in (
        "CREATE TABLE held (id int GENERATED ALWAYS AS IDENTITY, what text) WITH (fillfactor = 10)",
        # A row a page, so that it is one of the large ones.
        "INSERT INTO held (what) SELECT repeat('x', 700) FROM generate_series(1, 1500)",
        "ANALYZE held",
    ):
        server.query(statement, dbname="app")
    lane = lane_of(server, pg_major)
    with closing(psycopg.connect(server.dsn(dbname="app"))) as holder:
        holder.execute("LOCK TABLE held IN ACCESS EXCLUSIVE MODE")
        holder.execute("ALTER SEQUENCE held_id_seq INCREMENT 2")
        began = time.monotonic()
        await lane.look()
        assert time.monotonic() - began < 3
    assert lane.skipped == ""
    unknown = {r.name: r for r in lane.take() if r.value is None}
    assert unknown.keys() <= {
        "hba_errors",
        "settings_errors",
        "table_size_bytes",
        *STATEMENT_READINGS,
    }
    assert unknown["table_size_bytes"].subject == "app.public.held"
    assert "exclusively" in unknown["table_size_bytes"].detail
    assert "still waiting for" not in server.log_text()
    await lane.look()
    [free] = [r for r in lane.take() if r.subject == "app.public.held"]
    assert (free.value or 0) > 10 * 2**20


@pytest.mark.parametrize("pg_major", [15], indirect=True)
async def test_a_session_reads_only_and_ends_what_takes_too_long(
    shared_server: ScratchServer,
) -> None:
    session = await SlowSessions(shared_server.dsn("stanch_watch")).open("app")
    with pytest.raises(ProbeFailed, match="25006"):
        await session.ask("CREATE TABLE t ()", timeout_s=2)
    with pytest.raises(ProbeFailed, match="57014"):
        await session.ask("SELECT pg_sleep(9)::text", timeout_s=4)
    assert session.is_open, "the server ended the statement, not the session"
    assert await session.ask("SELECT current_database()", timeout_s=2) == "app"
    session.close()


@pytest.mark.parametrize("pg_major", [15], indirect=True)
async def test_giving_way_ends_the_session_at_the_server_too(server: ScratchServer) -> None:
    lane = lane_of(server, 15)
    looking = asyncio.create_task(lane.look())
    ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'stanch slow lane'"
    witness = await asyncio.to_thread(server.connect)
    while not looking.done() and witness.execute(ours).fetchone() == (0,):
        await asyncio.sleep(0.005)
    lane.give_way()
    await looking
    assert lane.skipped
    for _ in range(200):
        witness.rollback()
        if witness.execute(ours).fetchone() == (0,):
            break
        await asyncio.sleep(0.01)
    assert witness.execute(ours).fetchone() == (0,)
    witness.close()
    await lane.look()
    assert lane.skipped == "", "it goes on, and is done"


@pytest.mark.parametrize("pg_major", [15], indirect=True)
async def test_a_database_that_is_shut_to_us_is_unknown_and_never_over_or_as_it_was(
    server: ScratchServer,
) -> None:
    server.query("CREATE SEQUENCE tickets MAXVALUE 1000", dbname="app")
    server.query("SELECT setval('tickets', 790)", dbname="app")
    server.query("GRANT USAGE ON SEQUENCE tickets TO stanch_watch", dbname="app")
    lane, told = lane_of(server, 15), list[float | None]()
    for shut in (False, True, True):
        if shut:
            server.query("REVOKE CONNECT ON DATABASE app FROM PUBLIC")
        await lane.look()
        readings = {(r.name, r.subject): r for r in lane.take()}
        told.append(readings["sequence_used_pct", "app.public.tickets"].value)
    assert told == [pytest.approx(79, abs=0.1), pytest.approx(79, abs=0.1), None]
    assert "CONNECT" in readings["invalid_indexes", "app"].detail
    assert 'permission denied for database "app"' not in server.log_text()
    server.query("GRANT CONNECT ON DATABASE app TO stanch_watch")
    await lane.look()
    again = {(r.name, r.subject): r.value for r in lane.take()}
    assert again["sequence_used_pct", "app.public.tickets"] == pytest.approx(79, abs=0.1)
