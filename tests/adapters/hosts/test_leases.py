"""The kernel's word on open files, on real servers and in races with real openers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import psycopg
import pytest

from fix_servers import MakeServer
from stanch.adapters.hosts import leases
from stanch.adapters.hosts.local import LocalHost
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.model.diagnosis import Missing
from stanch.model.host import FileHolds

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these leases")
NOBODY = 65534
one_version = pytest.mark.parametrize("pg_major", [15], indirect=True)


def holds(folder: Path | str) -> FileHolds:
    found = leases.read_holds(str(folder), lambda: False)
    assert isinstance(found, FileHolds), found
    return found


def kill(server: ScratchServer) -> None:
    server.kill()
    end = time.monotonic() + 20
    while server.processes():
        assert time.monotonic() < end, "the killed server's processes did not leave"
        time.sleep(0.02)


@contextmanager
def held_by_another(path: Path, mode: str = "rb") -> Iterator[int]:
    code = f"f = open({str(path)!r}, {mode!r}); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/"
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.communicate(b"\n")


@contextmanager
def rights_of(uid: int) -> Iterator[None]:
    """Without root's rights, where we have them; the rights of one user only."""
    own = os.geteuid()
    if own == 0:
        os.seteuid(uid)
    try:
        yield
    finally:
        if own == 0:
            os.seteuid(own)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As little as looks like a data directory."""
    for name in ("base/1", "global", "pg_tblspc"):
        (tmp_path / "data" / name).mkdir(parents=True)
    (tmp_path / "wal").mkdir()
    (tmp_path / "wal" / "000000010000000000000001").write_bytes(b"x")
    (tmp_path / "data" / "pg_wal").symlink_to(tmp_path / "wal")
    (tmp_path / "data" / "PG_VERSION").write_text("15\n")
    (tmp_path / "data" / "base" / "1" / "1259").write_bytes(b"x")
    return tmp_path / "data"


def test_a_server_at_work_has_files_open_and_a_dead_one_none(server: ScratchServer) -> None:
    with psycopg.connect(server.dsn(user="app", dbname="app")) as session:
        session.execute("SELECT count(*) FROM pg_class")
        at_work = holds(server.data_directory)
    assert not at_work.complete
    assert at_work.held
    kill(server)
    dead = holds(server.data_directory)
    assert (dead.held, dead.gap, dead.complete) == ((), "", True)
    assert dead.files > 900


@one_version
def test_one_file_open_in_an_unrelated_process_is_named(server: ScratchServer) -> None:
    kill(server)
    path = server.data_directory / "global" / "pg_control"
    with held_by_another(path):
        found = holds(server.data_directory)
    assert found.held == (str(path),)
    assert not found.complete
    assert holds(server.data_directory).complete


@one_version
def test_the_servers_own_user_needs_no_further_right(server: ScratchServer) -> None:
    kill(server)
    with rights_of(server.data_directory.stat().st_uid):
        found = holds(server.data_directory)
    assert found.complete
    assert found.files > 900


@one_version
def test_wal_on_a_volume_of_its_own_is_asked_about(make_server: MakeServer) -> None:
    server = make_server(wal_volume_mb=48)
    kill(server)
    segment = next((server.data_directory / "pg_wal").resolve().glob("0*"))
    with held_by_another(segment):
        assert holds(server.data_directory).held == (str(segment),)
    assert holds(server.data_directory).complete


@one_version
def test_a_server_starts_as_quickly_while_its_files_are_asked_about(
    server: ScratchServer,
) -> None:
    kill(server)
    walks: list[FileHolds] = []
    starting = True

    def walk() -> None:
        while starting:
            walks.append(holds(server.data_directory))

    asking = Thread(target=walk)
    asking.start()
    began = time.monotonic()
    server.start()
    took_s = time.monotonic() - began
    starting = False
    asking.join()
    assert server.query("SELECT 1", user="app") == [(1,)]
    assert walks
    # A lease kept for as long as the kernel lets it be would have held the start up for 45 s.
    assert took_s < 5


def test_nobody_is_ended_or_held_up_by_openers_in_the_same_moment(folder: Path) -> None:
    """The default signal of a lease somebody waits for would end this very process."""
    path = folder / "PG_VERSION"
    code = (
        "import os, time\n"
        "longest = 0.0\n"
        "for _ in range(30000):\n"
        "    began = time.perf_counter()\n"
        f"    os.close(os.open({str(path)!r}, os.O_RDWR))\n"
        "    longest = max(longest, time.perf_counter() - began)\n"
        "print(longest)"
    )
    answers: set[str] = set()
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as opener:
        while opener.poll() is None:
            answers.add(leases.ask(str(path)))
        assert opener.stdout is not None
        longest_s = float(opener.stdout.read())
    assert "granted" in answers
    assert longest_s < 2
    assert leases.ask(str(path)) == "granted"


@pytest.mark.parametrize("mode", ["rb", "ab"], ids=["reader", "writer"])
def test_readers_and_writers_count_alike(folder: Path, mode: str) -> None:
    path = folder / "base" / "1" / "1259"
    with held_by_another(path, mode):
        assert holds(folder).held == (str(path),)


def test_a_mapping_without_a_descriptor_counts(folder: Path) -> None:
    path = folder / "base" / "1" / "1259"
    code = (
        "import mmap, os\n"
        f"fd = os.open({str(path)!r}, os.O_RDWR)\n"
        "kept = mmap.mmap(fd, 1)\n"
        "os.close(fd)\n"
        "os.closerange(3, 100)\n"
        "print('open', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = holds(folder)
        process.communicate(b"\n")
    assert found.held == (str(path),)


def test_somebody_who_reads_a_file_for_a_moment_does_not_use_it(folder: Path) -> None:
    path = folder / "base" / "1" / "1259"
    opened = path.open("rb")
    closing = Thread(target=lambda: (time.sleep(leases.PAUSE_S), opened.close()))
    closing.start()
    found = holds(folder)
    closing.join()
    assert found.complete


def test_links_pipes_and_sockets_are_neither_followed_nor_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    outside = folder.parent / "outside"
    outside.write_text("x")
    (folder / "link").symlink_to(outside)
    (folder / "loop").symlink_to(folder)
    with outside.open():
        found = holds(folder)
    assert (found.complete, found.files) == (True, 3)


def test_a_tablespace_is_asked_about_without_those_of_other_versions(folder: Path) -> None:
    space = folder.parent / "space"
    for version in ("PG_15_202209061", "PG_18_202506291"):
        (space / version / "1").mkdir(parents=True)
        (space / version / "1" / "16385").write_bytes(b"x")
    (folder / "pg_tblspc" / "16384").symlink_to(space)
    with held_by_another(space / "PG_18_202506291" / "1" / "16385"):
        assert holds(folder).complete
    with held_by_another(space / "PG_15_202209061" / "1" / "16385"):
        assert not holds(folder).complete


def test_a_walk_whose_time_is_over_proves_nothing(folder: Path) -> None:
    found = leases.read_holds(str(folder), lambda: True)
    assert isinstance(found, FileHolds)
    assert not found.complete
    assert "time was over" in found.gap


def test_an_empty_folder_proves_nothing(tmp_path: Path) -> None:
    assert isinstance(leases.read_holds(str(tmp_path), lambda: False), Missing)


def test_a_tablespace_that_is_not_there_proves_nothing(folder: Path) -> None:
    (folder / "pg_tblspc" / "16384").symlink_to(folder.parent / "not-mounted")
    assert isinstance(leases.read_holds(str(folder), lambda: False), Missing)


def test_on_a_file_system_with_other_ways_in_the_kernel_is_not_believed(folder: Path) -> None:
    proc = folder.parent / "proc"
    (proc / "self").mkdir(parents=True)
    device = os.stat(folder).st_dev
    numbers = f"{os.major(device)}:{os.minor(device)}"
    line = f"1 0 {numbers} / / rw - overlay overlay rw\n"
    (proc / "self" / "mountinfo").write_text(line)
    found = leases.read_holds(str(folder), lambda: False, proc=proc)
    assert isinstance(found, Missing)
    assert "overlay" in found.reason


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_somebody_elses_files_are_unknown_and_never_free(public_folder: Path) -> None:
    data = public_folder / "data"
    for name in ("pg_wal", "pg_tblspc"):
        (data / name).mkdir(parents=True)
    for folder in (data, data / "pg_wal", data / "pg_tblspc"):
        folder.chmod(0o755)
    (data / "PG_VERSION").write_text("15\n")
    with rights_of(NOBODY):
        found = holds(data)
    assert not found.complete
    assert "only the owner" in found.gap


async def test_the_machines_reader_ends_the_walk_at_its_deadline(folder: Path) -> None:
    host = LocalHost(data_directory=str(folder))
    assert (await host.file_holds(deadline_s=10)) == FileHolds(held=(), files=3, complete=True)
    late = await host.file_holds(deadline_s=0)
    assert isinstance(late, FileHolds)
    assert not late.complete
