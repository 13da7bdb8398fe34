"""A check-up of real servers: complete under locks, in time, on one session, changing nothing."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from fix_servers import MakeServer
from stanch.adapters.postgres.privileges import Privileges, read_privileges
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.adapters.postgres.scratch_folder import ScratchOptions
from stanch.model.errors import ProbeFailed, SetupError
from stanch.policy.parse import parse_policy
from stanch.service.readiness.checking import SILENT, TOLD, source_hint
from stanch.service.readiness.checkup import check_up
from stanch.testing.fakepg import FakeMode, FakePostgres
from stanch.watch.health.report import Judgement, Report, Section

on_15 = pytest.mark.parametrize("pg_major", [15], indirect=True)
POLICY = """\
state_directory: /var/lib/stanch
people: {asha: {name: Asha Example}}
ladder: [asha]
channels: {console: {type: terminal}}
"""
OUR_SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'stanch health'"
HOSTILE = "\x1b[2J<img src=x onerror=alert(1)>'; DROP TABLE t; --"


def of(server: ScratchServer, user: str = "stanch_watch", deadline_s: float = 10.0) -> Report:
    return asyncio.run(check_up(server.dsn(user, "app"), deadline_s=deadline_s))


def section(report: Report, name: str) -> Section:
    return next(one for one in report.sections if one.id == name)


def test_a_server_gets_an_answer_to_every_question_but_those_it_cannot_have(
    server: ScratchServer, pg_major: int
) -> None:
    report = of(server)
    assert report.version.startswith(str(pg_major))
    assert (report.database, report.role, report.in_recovery) == ("app", "stanch_watch", False)
    assert {one.id for one in report.missing} == {"statements"}
    assert "CREATE EXTENSION" in section(report, "statements").missing
    assert len(report.sections) == 11


@on_15
def test_a_role_without_rights_is_told_what_it_lacks(server: ScratchServer) -> None:
    report = of(server, user="app")
    missing = {one.id: one.missing for one in report.missing}
    assert set(missing) == {"long", "blocked", "statements"}
    assert "GRANT pg_monitor" in missing["long"]


@contextmanager
def everything_locked(server: ScratchServer) -> Iterator[None]:
    """Every table and sequence of the application held exclusively, and somebody behind each."""
    with server.connect(dbname="app") as session, closing(server.connect(dbname="app")) as waiter:
        for n in range(5):
            session.execute(f"CREATE TABLE t{n} (id serial PRIMARY KEY, x text)")  # type: ignore[arg-type]
        session.execute("GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO stanch_watch")
        session.execute("BEGIN")
        session.execute("LOCK TABLE t0, t1, t2, t3, t4 IN ACCESS EXCLUSIVE MODE")
        for n in range(5):
            session.execute(f"ALTER SEQUENCE t{n}_id_seq CACHE 5")  # type: ignore[arg-type]
        waiter.pgconn.send_query(b"BEGIN; LOCK TABLE t0, t1 IN ACCESS EXCLUSIVE MODE")
        until = time.monotonic() + 10
        while not server.query("SELECT 1 FROM pg_locks WHERE NOT granted"):
            assert time.monotonic() < until
        yield
        session.execute("ROLLBACK")


def test_locks_on_every_table_and_sequence_hold_nothing_up(server: ScratchServer) -> None:
    with everything_locked(server):
        began = time.monotonic()
        report = of(server)
        assert time.monotonic() - began < 5
        assert report.elapsed_ms < 3000
        assert {one.id for one in report.missing} <= {"statements", "sequences"}
        [behind] = section(report, "blocked").lines
        assert behind.figures["waiting"] == 1
        assert section(report, "tables").lines[0].figures["tables"] != 0


@asynccontextmanager
async def counting_sessions(server: ScratchServer) -> AsyncIterator[list[int]]:
    """The most sessions of a check-up that were there at once."""
    most = [0]

    def count() -> None:
        with server.connect() as session:
            while not done.is_set():
                row = session.execute(OUR_SESSIONS).fetchone()
                assert row is not None
                most[0] = max(most[0], row[0])

    done = asyncio.Event()
    counter = asyncio.create_task(asyncio.to_thread(count))
    try:
        yield most
    finally:
        done.set()
        await counter


@on_15
async def test_there_is_never_more_than_one_session_and_it_goes_away(server: ScratchServer) -> None:
    async with counting_sessions(server) as most:
        for _ in range(5):
            await check_up(server.dsn("stanch_watch", "app"), deadline_s=10)
            # A backend takes a moment to see that its client has gone.
            async with asyncio.timeout(10):
                while server.query(OUR_SESSIONS) != [(0,)]:
                    await asyncio.sleep(0.01)
    assert most == [1]


@on_15
def test_what_the_sources_ask_about_is_judged(server: ScratchServer) -> None:
    with (
        server.connect(dbname="app") as session,
        closing(psycopg.connect(server.dsn("app"), application_name="leaky")) as idle,
    ):
        session.execute("SELECT pg_create_physical_replication_slot('gone', true)")
        session.execute("CREATE SEQUENCE nearly MAXVALUE 100")
        session.execute("SELECT setval('nearly', 95)")
        session.execute("GRANT SELECT ON SEQUENCE nearly TO stanch_watch")
        # Each in a session of its own: what it did is counted once it ends.
        for sql in (
            "CREATE TABLE dead AS SELECT generate_series(1, 40000) AS g",
            "DELETE FROM dead WHERE g > 20000",
            "ANALYZE dead",
        ):
            server.query(sql, dbname="app")
        idle.execute("SELECT 1")
        time.sleep(1.1)
        report = of(server)
    found = {(one.id, line.what): line.judgement for one in report.sections for line in one.lines}
    assert found["settings", "fsync"] is Judgement.DANGER
    assert found["settings", "full_page_writes"] is Judgement.OK
    assert found["sequences", "public.nearly"] is Judgement.DANGER
    assert found["replication", "slot gone"] is Judgement.LOOK
    assert found["backups", "WAL archive"] is Judgement.LOOK
    assert found["tables", "public.dead"] is Judgement.LOOK
    assert found["connections", "connections"] is Judgement.OK
    [long] = section(report, "long").lines
    assert "leaky" in long.what
    assert long.judgement is Judgement.OK


@on_15
def test_a_folder_of_dumps_says_when_the_last_backup_was_taken(
    server: ScratchServer, tmp_path: Path
) -> None:
    dump = tmp_path / "app.sql"
    dump.write_text("-- PostgreSQL database dump\n\n-- PostgreSQL database dump complete\n")
    os.utime(dump, (time.time() - 3600, time.time() - 3600))
    dsn = server.dsn("stanch_watch", "app")
    report = asyncio.run(check_up(dsn, deadline_s=10, backups=str(tmp_path)))
    newest = section(report, "backups").lines[0]
    assert newest.what == "newest backup app.sql"
    assert newest.judgement is Judgement.OK
    gone = asyncio.run(check_up(dsn, deadline_s=10, backups=str(tmp_path / "nowhere")))
    assert section(gone, "backups").judgement is Judgement.DANGER

    text = f"{POLICY}targets: {{orders: {{dsn: '{dsn}', backups: {{dumps: {tmp_path}}}}}}}\n"
    policy = parse_policy(text, file="p")
    told = asyncio.run(check_up(dsn, deadline_s=10, policy=policy))
    assert section(told, "backups").lines[0].what == "newest backup app.sql"
    with pytest.raises(SetupError, match="no target of the policy is this server"):
        asyncio.run(check_up("host=other.example.com", deadline_s=10, policy=policy))


def receives(server: ScratchServer) -> bool:
    """As `stanch check` sees it."""
    seen = asyncio.run(read_privileges(server.dsn(), deadline_s=10))
    assert isinstance(seen, Privileges)
    return seen.receives


@on_15
def test_a_standby_says_how_it_follows_and_its_primary_who_receives(
    make_server: MakeServer,
) -> None:
    primary = make_server()
    primary.stop()
    options = ScratchOptions(parent=primary.options.parent, wal_segsize_mb=1)
    standby = ScratchServer.create(options=options, template=primary)
    try:
        standby.folder.write_owned(standby.data_directory / "standby.signal", "")
        standby.set_conf({"primary_conninfo": f"{primary.dsn()} application_name=second"})
        primary.start()
        standby.start()
        until = time.monotonic() + 20
        while not primary.query("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'"):
            assert time.monotonic() < until
        here, there = of(primary), of(standby)
        assert there.in_recovery
        assert {one.id for one in there.missing} == {"statements"}
        [following] = section(there, "replication").lines
        assert following.what.startswith("this standby of 127.0.0.1")
        assert following.judgement is Judgement.OK
        [receiver] = section(here, "replication").lines
        assert receiver.what.startswith("second")
        standby.query("SELECT pg_wal_replay_pause()")
        [paused] = section(of(standby), "replication").lines
        assert (paused.value, paused.judgement) == ("replay is paused", Judgement.DANGER)
        assert [receives(server) for server in (primary, standby)] == [False, True]
        primary.stop()
        until = time.monotonic() + 20
        while receives(standby):
            assert time.monotonic() < until
    finally:
        standby.destroy()


@on_15
def test_a_question_that_meets_a_lock_costs_its_own_section_and_a_tenth_of_a_second(
    server: ScratchServer,
) -> None:
    with server.connect() as session, server.connect(dbname="app") as holder:
        holder.execute("BEGIN")
        holder.execute("LOCK TABLE pg_stat_archiver IN ACCESS EXCLUSIVE MODE")
        session.execute("SELECT 1")
        report = of(server)
    assert "lock timeout" in section(report, "backups").missing
    assert report.elapsed_ms < 3000
    assert not section(report, "tables").missing


async def test_a_server_that_accepts_and_never_answers_is_given_up_in_time() -> None:
    async with FakePostgres() as fake:
        await fake.set_mode(FakeMode.HUNG)
        began = time.monotonic()
        with pytest.raises(ProbeFailed, match="hung"):
            await check_up(fake.dsn(), deadline_s=1.0)
        assert time.monotonic() - began < 3


@on_15
def test_other_peoples_names_and_statements_are_only_words(server: ScratchServer) -> None:
    with closing(psycopg.connect(server.dsn("app"), application_name="evil")) as evil:
        evil.execute("SELECT set_config('application_name', %s, false)", (HOSTILE,))
        evil.execute(f'CREATE TABLE "{HOSTILE.replace(chr(34), "")[:50]}" ()'.encode())
        time.sleep(1.1)
        report = of(server)
    [long] = section(report, "long").lines
    assert "onerror=alert(1)" in long.what
    assert server.query("SELECT 1") == [(1,)]


@pytest.mark.parametrize(
    ("on", "hint"),
    [("orders services shop", TOLD), ("orders pools bouncer", TOLD),
     ("orders backups s3 offsite", TOLD), ("orders WAL in /backups", TOLD),
     ("orders signs shop", SILENT), ("orders log_errors services", SILENT)],
)  # fmt: skip
def test_a_source_whose_silence_is_a_symptom_is_not_called_one_without_a_verdict(
    on: str, hint: str
) -> None:
    assert source_hint(on) == hint
