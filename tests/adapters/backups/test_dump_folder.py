"""Dumps of a real server in a folder: whole ones, broken ones, and the link to the newest."""

from __future__ import annotations

import gzip
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stanch.adapters.backups.dump_folder import QUIET_S, DumpFolder
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.model.backups import Backup, BackupsSeen
from stanch.model.diagnosis import Missing

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
END = b"--\n-- PostgreSQL database dump complete\n--\n\n"


def put(path: Path, content: bytes, *, hours: float) -> Path:
    path.write_bytes(content)
    return aged(path, hours)


def aged(path: Path, hours: float) -> Path:
    at = (NOW - timedelta(hours=hours)).timestamp()
    os.utime(path, (at, at))
    return path


def zipped(text: bytes = b"CREATE TABLE t ();\n" * 1000 + END) -> bytes:
    return gzip.compress(text, mtime=0)


async def seen(folder: Path) -> BackupsSeen:
    found = await DumpFolder(str(folder), now=lambda: NOW).look(deadline_s=30)
    assert isinstance(found, BackupsSeen), found
    return found


async def by_name(folder: Path) -> dict[str, Backup]:
    return {b.name: b for b in (await seen(folder)).backups}


async def test_a_pipe_whose_pg_dump_died_is_no_backup_though_the_gzip_file_is_whole(
    tmp_path: Path,
) -> None:
    put(tmp_path / "whole.sql.gz", zipped(), hours=25)
    put(tmp_path / "died.sql.gz", zipped(b"CREATE TABLE t ();\n" * 1000), hours=1)
    found = await by_name(tmp_path)
    assert found["whole.sql.gz"].is_good
    assert found["died.sql.gz"].fault == "ends without the last line of pg_dump"


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("a.sql.gz", zipped()[:-9], "the gzip file is cut off or damaged"),
        (
            "a.sql.gz",
            zipped()[:40] + b"xxxx" + zipped()[44:],
            "the gzip file is cut off or damaged",
        ),
        ("a.sql.gz", b"<html>", "is no gzip file"),
        ("a.sql.gz", b"", "is empty"),
        ("a.sql", b"CREATE TABLE t ();\n", "ends without the last line of pg_dump"),
        ("a.dump", b"not a dump", "does not begin as a dump of pg_dump"),
        ("a.dump", b"PGDMP\x01\x0f", "pg_restore"),
    ],
)
async def test_a_file_that_cannot_be_restored_from_says_why(
    tmp_path: Path, name: str, content: bytes, fault: str
) -> None:
    put(tmp_path / name, content, hours=1)
    found = (await by_name(tmp_path))[name]
    assert not found.is_good
    assert found.fault.startswith(fault)


async def test_what_is_still_written_is_neither_good_nor_bad_until_its_end_is_there(
    tmp_path: Path,
) -> None:
    growing = put(tmp_path / "now.sql.gz", zipped()[:-9], hours=0)
    assert (await by_name(tmp_path))["now.sql.gz"].running
    put(growing, zipped(), hours=0)
    assert (await by_name(tmp_path))["now.sql.gz"].is_good
    put(growing, zipped()[:-9], hours=(QUIET_S + 1) / 3600)
    assert (await by_name(tmp_path))["now.sql.gz"].fault


@pytest.mark.parametrize("pg_major", [15], indirect=True)
async def test_what_pg_dump_makes_is_whole_in_every_format(
    shared_server: ScratchServer, tmp_path: Path
) -> None:
    program = "/usr/lib/postgresql/15/bin/pg_dump"
    for form, name in (("p", "p.sql"), ("c", "c.dump"), ("d", "d")):
        command = (program, "-F", form, "-f", str(tmp_path / name), shared_server.dsn("postgres"))
        subprocess.run(command, check=True, capture_output=True)
        for path in (tmp_path / name).iterdir() if form == "d" else [tmp_path / name]:
            aged(path, 1)
    found = await by_name(tmp_path)
    assert {(b.name, b.kind) for b in found.values()} == {
        ("p.sql", "sql"),
        ("c.dump", "custom"),
        ("d", "directory"),
    }
    assert all(b.is_good for b in found.values()), found


@pytest.mark.parametrize("pg_major", [15], indirect=True)
async def test_a_dump_whose_rows_are_cut_off_behind_its_list_is_not_whole(
    shared_server: ScratchServer, tmp_path: Path
) -> None:
    shared_server.query(
        "CREATE TABLE IF NOT EXISTS dumped AS SELECT md5(n::text) FROM generate_series(1, 9000) n"
    )
    path = tmp_path / "c.dump"
    command = ("/usr/lib/postgresql/15/bin/pg_dump", "-Fc", "-f", str(path))
    subprocess.run((*command, shared_server.dsn("postgres")), check=True, capture_output=True)
    put(path, path.read_bytes()[:-20_000], hours=1)
    assert "end of file" in (await by_name(tmp_path))["c.dump"].fault


async def test_a_link_that_does_not_lead_to_the_newest_good_dump_is_told(tmp_path: Path) -> None:
    put(tmp_path / "old.sql.gz", zipped(), hours=30)
    put(tmp_path / "new.sql.gz", zipped(), hours=6)
    broken = put(tmp_path / "broken.sql.gz", b"x", hours=1)
    link = tmp_path / "latest.sql.gz"
    link.symlink_to("new.sql.gz")
    assert (await seen(tmp_path)).latest_fault == ""
    assert "latest.sql.gz" not in await by_name(tmp_path)
    for wrong in ("old.sql.gz", broken.name):
        link.unlink()
        link.symlink_to(wrong)
        expected = f"latest.sql.gz points to {wrong}, the newest good one is new.sql.gz"
        assert (await seen(tmp_path)).latest_fault == expected
    link.unlink()
    link.symlink_to("gone.sql.gz")
    assert (await seen(tmp_path)).latest_fault == "latest.sql.gz points to nothing"


async def test_what_is_no_dump_is_left_alone_and_a_pipe_holds_nobody_up(tmp_path: Path) -> None:
    put(tmp_path / "notes.txt", b"x", hours=1)
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe.sql")
    assert (await seen(tmp_path)).backups[0].fault == "is empty"
    assert set(await by_name(tmp_path)) == {"pipe.sql"}


async def test_a_folder_that_is_not_there_is_missing_with_the_reason(tmp_path: Path) -> None:
    found = await DumpFolder(str(tmp_path / "none"), now=lambda: NOW).look(deadline_s=5)
    assert isinstance(found, Missing)
    assert "No such file or directory" in found.reason
