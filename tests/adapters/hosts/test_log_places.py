"""Who reads a server's log uses none of its data, however the log lies among it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stanch.adapters.hosts.local import LocalHost
from stanch.adapters.hosts.log_files import LogSource
from stanch.adapters.hosts.log_places import LogPlaces, log_places
from stanch.model.host import DataDirectoryProcesses, FileHolds

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and leases")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """As little as looks like a data directory that collects its log in `log`."""
    for name in ("base/1", "global", "pg_tblspc", "pg_wal", "log"):
        (tmp_path / "data" / name).mkdir(parents=True)
    folder = tmp_path / "data"
    (folder / "PG_VERSION").write_text("15\n")
    (folder / "base" / "1" / "1259").write_bytes(b"x")
    (folder / "log" / "postgresql-Mon.log").write_text("LOG:  ready\n")
    (folder / "log" / "postgresql-Sun.log").write_text("LOG:  ready\n")
    (folder / "current_logfiles").write_text("stderr log/postgresql-Mon.log\n")
    return folder


@contextmanager
def having_open(*paths: Path, cwd: Path | str = "/") -> Iterator[int]:
    """Another process, such as a log shipper, with these files open."""
    names = [str(path) for path in paths]
    code = f"kept = [open(p, 'rb') for p in {names!r}]; print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=cwd
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.communicate(b"\n")


async def seen(host: LocalHost) -> tuple[DataDirectoryProcesses, FileHolds]:
    processes, holds = await host.data_directory_processes(), await host.file_holds(deadline_s=5)
    assert isinstance(processes, DataDirectoryProcesses)
    assert isinstance(holds, FileHolds), holds
    return processes, holds


@linux_only
async def test_a_log_shipper_uses_none_of_the_data(data: Path) -> None:
    logs = [data / "log" / "postgresql-Mon.log", data / "log" / "postgresql-Sun.log"]
    with having_open(*logs):
        processes, holds = await seen(LocalHost(data_directory=str(data)))
    assert processes.holders == ()
    assert (holds.held, holds.complete) == ((), True)


@linux_only
async def test_somebody_who_looks_at_the_log_in_its_folder_is_in_nobodys_way(data: Path) -> None:
    with having_open(data / "log" / "postgresql-Mon.log", cwd=data / "log"):
        processes, holds = await seen(LocalHost(data_directory=str(data)))
    assert processes.holders == ()
    assert holds.complete


@linux_only
async def test_who_has_a_file_of_the_data_open_beside_the_log_is_named_with_that_file(
    data: Path,
) -> None:
    table = data / "base" / "1" / "1259"
    with having_open(data / "log" / "postgresql-Mon.log", table) as pid:
        processes, holds = await seen(LocalHost(data_directory=str(data)))
    assert [(holder.pid, holder.files) for holder in processes.holders] == [(pid, (str(table),))]
    assert holds.held == (str(table),)
    assert not holds.complete


@linux_only
async def test_who_works_in_the_data_directory_itself_is_still_in_the_way(data: Path) -> None:
    with having_open(cwd=data) as pid:
        processes, _ = await seen(LocalHost(data_directory=str(data)))
    assert [holder.pid for holder in processes.holders] == [pid]


@linux_only
async def test_a_log_nobody_knows_of_is_a_file_like_any_other(data: Path) -> None:
    (data / "current_logfiles").unlink()
    log = data / "log" / "postgresql-Mon.log"
    with having_open(log) as pid:
        processes, holds = await seen(LocalHost(data_directory=str(data)))
    assert [holder.pid for holder in processes.holders] == [pid]
    assert holds.held == (str(log),)


@linux_only
async def test_a_log_file_among_the_servers_own_is_alone_taken_for_log(data: Path) -> None:
    log = data / "server.log"
    log.write_text("LOG:  ready\n")
    with having_open(log):
        processes, holds = await seen(LocalHost(data_directory=str(data), log_path=str(log)))
    assert processes.holders == ()
    assert holds.complete
    with having_open(data / "PG_VERSION") as pid:
        processes, holds = await seen(LocalHost(data_directory=str(data), log_path=str(log)))
    assert [holder.pid for holder in processes.holders] == [pid]


@pytest.mark.parametrize("where", ["base/1/1259", "pg_wal/x.log", "global/x.log"])
def test_what_postgresql_owns_is_never_taken_for_log(data: Path, where: str) -> None:
    found = log_places(LogSource(data_directory=str(data), given=str(data / where)))
    assert found == LogPlaces()
    assert not found.hold(str(data / where))
    assert not found.hold("")


def test_a_log_elsewhere_or_by_a_link_out_of_the_data_directory_is_no_part_of_it(
    data: Path, tmp_path: Path
) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.log").write_text("x")
    (data / "linked").symlink_to(tmp_path / "logs")
    for given in (tmp_path / "logs" / "a.log", data / "linked" / "a.log"):
        assert log_places(LogSource(data_directory=str(data), given=str(given))) == LogPlaces()


def test_a_name_that_only_begins_like_the_log_folder_is_no_log(data: Path) -> None:
    found = log_places(LogSource(data_directory=str(data)))
    assert found.hold(os.path.realpath(data / "log" / "postgresql-Sun.log"))
    assert not found.hold(os.path.realpath(data) + "/logical")
