"""Who keeps WAL, what fills a volume: on real servers, broken for real."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from fix_servers import MakeServer
from looking import diagnose_dsn
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.adapters.postgres.scratch_access import SUPERUSER
from stanch.diagnose.rank import STANDS_FROM
from stanch.model.diagnosis import CauseFinding, Diagnosis, Verdict

on_15 = pytest.mark.parametrize("pg_major", [15], indirect=True)
SMALL = {"max_wal_size": "2MB", "min_wal_size": "2MB", "checkpoint_timeout": "1h"}


async def look(server: ScratchServer) -> Diagnosis:
    return await diagnose_dsn(
        server.dsn(user="stanch_watch", dbname="app"),
        data_directory=str(server.data_directory),
        log=str(server.log_path),
        deadline_s=10.0,
    )


def write_wal(server: ScratchServer, megabytes: int) -> None:
    """In transactions of their own, so that checkpoints can come between them."""
    with psycopg.connect(server.dsn(SUPERUSER, "app"), autocommit=True) as session:
        for _ in range(megabytes):
            session.execute("SELECT pg_logical_emit_message(false, 'x', repeat('x', 1000000))")
            session.execute("SELECT pg_switch_wal()")


def until(condition: Callable[[], bool], what: str, seconds: float = 15.0) -> None:
    """Poll until something outside this process has happened."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)


def can_touch(path: Path) -> bool:
    try:
        path.touch()
    except OSError:
        return False
    return True


def why(found: Diagnosis) -> str:
    """For the failing test's message."""
    lines = [f"{found.verdict}: {found.summary}"]
    for cause in found.causes:
        lines.append(f"{cause.id} {cause.probability}")
        weighed = (*cause.evidence_for, *cause.evidence_against, *cause.missing)
        lines += [f"  {f.weight:+} {f.evidence}: {f.text}" for f in weighed]
    return "\n".join(lines)


def found(diagnosis: Diagnosis, cause_id: str) -> CauseFinding:
    standing = [c for c in diagnosis.causes if c.probability >= STANDS_FROM]
    named = next((c for c in standing if c.id == cause_id), None)
    assert named is not None, why(diagnosis)
    return named


async def test_an_archive_command_that_is_not_there(make_server: MakeServer) -> None:
    """The server counts none of these failures: its archiver ends before it can."""
    missing = {"archive_mode": "on", "archive_command": "/nonexistent/archive %p"}
    server = make_server(conf={**missing, **SMALL})
    write_wal(server, 5)
    until(lambda: "failed with exit code 127" in server.log_text(), "the archiver has tried")
    [(failures,)] = server.query("SELECT failed_count FROM pg_stat_archiver")
    assert failures == 0
    cause = found(await look(server), "archiver_failing")
    assert "exit code 127: it is not there" in cause.summary
    assert cause.fact("archive_exit_code") == 127
    assert int(str(cause.fact("ready_files"))) >= 5


@on_15
async def test_an_archive_command_that_fails_again_and_again(make_server: MakeServer) -> None:
    failing = {"archive_mode": "on", "archive_command": "exit 3"}
    server = make_server(conf={**failing, **SMALL})
    write_wal(server, 4)
    until(lambda: server.log_text().count("failed with exit code 3") >= 3, "three attempts")
    cause = found(await look(server), "archiver_failing")
    assert cause.fact("archive_exit_code") == 3
    assert len(str(cause.fact("last_failed_wal"))) == 24


async def test_an_archive_command_that_does_not_come_back(make_server: MakeServer) -> None:
    hangs = {"archive_mode": "on", "archive_command": "sleep 600"}
    server = make_server(conf={**hangs, **SMALL})
    write_wal(server, 2)
    waiting = Path(server.data_directory, "pg_wal", "archive_status")
    until(lambda: any(waiting.glob("*.ready")), "a WAL file that is ready")
    for ready in waiting.glob("*.ready"):
        os.utime(ready, (time.time() - 300, time.time() - 300))
    cause = found(await look(server), "archiver_failing")
    assert "has waited for 5 min" in cause.summary


async def test_a_slot_nobody_reads_on_a_volume_that_gets_short(make_server: MakeServer) -> None:
    server = make_server(wal_volume_mb=24, conf=SMALL)
    server.query("SELECT pg_create_physical_replication_slot('forgotten', true)")

    def free_share() -> float:
        volumes = server.folder.volumes
        return min(v.free_bytes() for v in volumes) / (24 * 1024 * 1024)

    while free_share() > 0.08:
        write_wal(server, 1)
    cause = found(await look(server), "slot_inactive")
    assert (cause.fact("slot"), cause.fact("slot_type")) == ("forgotten", "physical")
    assert cause.fact("slot_active") is False
    assert cause.fact("server_running") is True


@on_15
async def test_checkpoints_of_one_large_import_are_no_storm(make_server: MakeServer) -> None:
    server = make_server(conf=SMALL)
    write_wal(server, 20)
    until(lambda: server.log_text().count("occurring too frequently") >= 4, "several of them")
    diagnosis = await look(server)
    assert diagnosis.verdict is Verdict.HEALTHY, why(diagnosis)


@on_15
async def test_a_statement_whose_temporary_files_fill_the_volume(make_server: MakeServer) -> None:
    server = make_server(data_volume_mb=120, conf={"work_mem": "64kB"})
    rows = "SELECT g, repeat('y', 100) FROM generate_series(1, 2000000) AS g ORDER BY 2, 1 DESC"
    with (
        psycopg.connect(server.dsn("app", "app"), autocommit=True) as session,
        pytest.raises(psycopg.errors.DiskFull),
    ):
        session.execute(rows)
    cause = found(await look(server), "temp_file_spill")
    assert "pgsql_tmp" in cause.summary


@on_15
async def test_a_data_volume_without_inodes(make_server: MakeServer) -> None:
    server = make_server(data_volume_mb=120)
    [volume] = server.folder.volumes
    seen = os.statvfs(volume.mount_point)
    few = f"remount,nr_inodes={seen.f_files - seen.f_ffree + 3}"
    subprocess.run(["mount", "-o", few, str(volume.mount_point)], check=True)
    until(lambda: not can_touch(volume.mount_point / f"spool-{time.monotonic_ns()}"), "no inode")
    cause = found(await look(server), "inodes_exhausted")
    assert "not one inode" in cause.summary
