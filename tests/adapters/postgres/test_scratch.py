"""Scratch servers are real servers and break for real."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import psutil
import psycopg
import pytest

from fix_servers import MakeServer, Templates
from stanch.adapters.postgres.os_user import as_user
from stanch.adapters.postgres.scratch import ScratchServer, free_port
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
        # A fresh data directory of version 13 or 14 brings more segments than a later one.
        wal_volume_mb=24,
        conf={"max_wal_size": "1GB", "min_wal_size": "2MB", "wal_keep_size": "1GB"},
    )
    assert (server.data_directory / "pg_wal").is_symlink()
    fill = "CREATE TABLE full_up AS SELECT repeat('x', 1000) FROM generate_series(1, 40000)"
    with pytest.raises(psycopg.OperationalError):
        server.query(fill, user="app")
    assert "PANIC:  could not write to file" in server.log_text()


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
