"""Managers on real servers, and who else may have a hand on one."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fix_servers import MakeServer
from postmasters_at import postmaster
from stanch.adapters.hosts.manager import PgCtl, PgCtlCluster
from stanch.adapters.hosts.postmasters import another_than
from stanch.adapters.hosts.rivals import SeenProcess, jobs_among, markers_in, rival_manager
from stanch.adapters.hosts.start_options import last_options
from stanch.adapters.postgres.os_user import server_user
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.model.errors import ProbeFailed
from stanch.model.ports.acting import ManagerStatus, Postmaster

on_15 = pytest.mark.parametrize("pg_major", [15], indirect=True)
on_18 = pytest.mark.parametrize("pg_major", [18], indirect=True)
"""For what no version does differently; tests without either run on both."""


def pg_ctl(server: ScratchServer, *, log: bool = True) -> PgCtl:
    return PgCtl(
        data_directory=str(server.data_directory),
        bin_directory=str(server.binaries.bin_dir),
        log_file=str(server.log_path) if log else "",
    )


async def status(manager: PgCtl | PgCtlCluster) -> ManagerStatus:
    found = await manager.status()
    assert isinstance(found, ManagerStatus), found
    return found


async def test_pg_ctl_starts_the_server_as_its_owner(server: ScratchServer) -> None:
    server.stop()
    answer = await pg_ctl(server).start(deadline_s=30)
    assert answer.ok, answer.detail
    assert server.query("SELECT 1") == [(1,)]
    pid = server.postmaster_pid()
    assert os.stat(f"/proc/{pid}").st_uid == server.data_directory.stat().st_uid


@on_18
async def test_variables_of_whoever_runs_stanch_do_not_reach_the_server(
    server: ScratchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.stop()
    monkeypatch.setenv("PGDATA", "/nowhere")
    monkeypatch.setenv("PGOPTIONS", "-c work_mem=99MB")
    assert (await pg_ctl(server).start(deadline_s=30)).ok
    pid = server.postmaster_pid()
    assert b"PGOPTIONS" not in Path(f"/proc/{pid}/environ").read_bytes()


async def test_a_start_beside_a_living_server_is_refused_by_postgresql(
    server: ScratchServer,
) -> None:
    answer = await pg_ctl(server).start(deadline_s=10)
    assert not answer.ok
    assert answer.lock_held
    assert "lock file" in answer.detail
    assert server.query("SELECT 1") == [(1,)]


@on_15
@pytest.mark.skipif(os.geteuid() != 0, reason="who is not root goes before nobody")
async def test_a_server_goes_before_nobody_although_whoever_starts_it_does(
    server: ScratchServer,
) -> None:
    server.stop()
    before = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, -7)
    try:
        assert (await pg_ctl(server).start(deadline_s=20)).ok
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, before)
    pid = server.postmaster_pid()
    assert pid is not None
    assert os.getpriority(os.PRIO_PROCESS, pid) == 0


async def test_a_server_that_cannot_start_says_why(server: ScratchServer) -> None:
    server.stop()
    with (server.data_directory / "postgresql.auto.conf").open("a") as conf:
        conf.write("no_such_setting = on\n")
    answer = await pg_ctl(server).start(deadline_s=10)
    assert not answer.ok
    assert not answer.lock_held
    assert "no_such_setting" in answer.detail[:200], "the server's own words come first"


@on_15
async def test_no_answer_in_time_is_in_doubt_and_not_a_failure(
    server: ScratchServer, tmp_path: Path
) -> None:
    slow = tmp_path / "pg_ctl"
    slow.write_text("#!/bin/sh\nexec sleep 20\n")
    for path in (tmp_path, slow, *tmp_path.parents[:3]):
        path.chmod(0o755)
    manager = PgCtl(
        data_directory=str(server.data_directory),
        bin_directory=str(tmp_path),
        log_file=str(server.log_path),
    )
    with pytest.raises(ProbeFailed):
        await manager.start(deadline_s=0.3)


@on_18
async def test_where_the_log_goes_has_to_be_known(make_server: MakeServer) -> None:
    server = make_server()
    found = await status(pg_ctl(server, log=False))
    assert not found.may_act
    assert "log" in found.detail
    server.set_conf({"logging_collector": True})
    assert (await status(pg_ctl(server, log=False))).may_act


@on_15
async def test_markers_of_unfinished_work_are_found(server: ScratchServer) -> None:
    found = await status(pg_ctl(server))
    assert (found.markers, found.jobs, found.other_manager) == ((), (), "")
    assert found.restarts_by_itself is False
    (server.data_directory / "backup_label").touch()
    (server.data_directory / "global" / "pg_control.old").touch()
    assert markers_in(str(server.data_directory)) == ("backup_label", "global/pg_control.old")


@on_18
async def test_patroni_leaves_a_trace_in_the_data_directory(server: ScratchServer) -> None:
    (server.data_directory / "patroni.dynamic.json").touch()
    assert "Patroni" in (await status(pg_ctl(server))).other_manager


# --- stopping and restarting ----------------------------------------------------------------------


async def test_pg_ctl_restarts_that_very_server_in_order_and_then_stops_it(
    server: ScratchServer,
) -> None:
    manager, first = pg_ctl(server), postmaster(server)
    with server.connect("app"):
        answer = await manager.restart(first, deadline_s=30)
    assert answer.ok, answer.detail
    second = postmaster(server)
    assert (second.pid, second.system_identifier) != (first.pid, "")
    assert second.since > first.since
    assert "fast shutdown" in server.log_path.read_text()

    # What was meant is gone; whoever has its place is left alone.
    for late in (
        await manager.stop(first, deadline_s=10),
        await manager.restart(first, deadline_s=10),
    ):
        assert (late.ok, late.another) == (False, True)
    assert postmaster(server) == second

    assert (await manager.stop(second, deadline_s=30)).ok
    assert server.postmaster_pid() is None
    gone = await manager.restart(second, deadline_s=10)
    assert (gone.another, gone.detail) == (True, "its lock file is gone")
    assert server.postmaster_pid() is None, "a restart starts nothing that was stopped meanwhile"


@on_18
async def test_a_restart_whose_second_half_fails_says_that_the_server_is_down(
    server: ScratchServer,
) -> None:
    meant = postmaster(server)
    with (server.data_directory / "postgresql.auto.conf").open("a") as conf:
        conf.write("no_such_setting = on\n")
    answer = await pg_ctl(server).restart(meant, deadline_s=20)
    assert (answer.ok, answer.left_down) == (False, True)
    assert "no_such_setting" in answer.detail


@on_15
async def test_a_server_of_another_directory_is_not_the_one(
    shared_server: ScratchServer, tmp_path: Path
) -> None:
    copied = (shared_server.data_directory / "postmaster.pid").read_bytes()
    (tmp_path / "postmaster.pid").write_bytes(copied)
    meant = postmaster(shared_server)
    assert another_than(meant, str(shared_server.data_directory)) is None
    answer = another_than(meant, str(tmp_path))
    assert answer is not None
    assert "works in" in answer.detail


@on_15
async def test_a_server_that_does_not_get_done_is_in_doubt_and_never_killed(
    server: ScratchServer,
) -> None:
    meant = postmaster(server)
    [(checkpointer,)] = server.query(
        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'"
    )
    os.kill(checkpointer, signal.SIGSTOP)
    try:
        with pytest.raises(ProbeFailed, match="told to stop"):
            await pg_ctl(server).stop(meant, deadline_s=2)
        assert server.postmaster_pid() == meant.pid
    finally:
        os.kill(checkpointer, signal.SIGCONT)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{pid}\n/data\n{epoch}9\n", "of another start"),
        ("{other}\n/data\n{epoch}\n", "of another start"),
        ("{pid}\n/data\n{epoch}\n", "no postmaster"),
    ],
)
def test_a_lock_file_that_names_somebody_else_has_nobody_stopped(
    tmp_path: Path, content: str, why: str
) -> None:
    meant = Postmaster(
        pid=os.getpid(), started_at_epoch_s=100, since=datetime.now(UTC), system_identifier="1"
    )
    text = content.format(pid=meant.pid, other=meant.pid + 1, epoch=100)
    (tmp_path / "postmaster.pid").write_text(text)
    answer = another_than(meant, str(tmp_path))
    assert answer is not None
    assert why in answer.detail


# --- pg_ctlcluster --------------------------------------------------------------------------------


@on_15
async def test_pg_ctlcluster_starts_a_cluster_and_heeds_its_start_conf(
    server: ScratchServer, tmp_path: Path
) -> None:
    if not Path("/usr/bin/pg_ctlcluster").exists():
        pytest.skip("postgresql-common is Debian's")
    server.stop()
    conf = server.folder.path / "etc" / "15" / "scratch"
    conf.mkdir(parents=True)
    settings = (server.data_directory / "postgresql.conf").read_text()
    data = server.data_directory
    (conf / "postgresql.conf").write_text(f"{settings}\ndata_directory = '{data}'\n")
    for name in ("pg_hba.conf", "pg_ident.conf"):
        (conf / name).write_text((data / name).read_text())
    (conf / "start.conf").write_text("auto\n")
    (conf / "log").symlink_to(server.log_path)
    user = server_user()
    for path in (conf.parent.parent, conf.parent, conf, *conf.iterdir()):
        if user:
            user.own(path)
    manager = PgCtlCluster(
        version="15",
        cluster="scratch",
        data_directory=str(data),
        conf_root=str(conf.parent.parent),
        log_file=str(server.log_path),
    )

    assert (await status(manager)).may_act
    answer = await manager.start(deadline_s=30)
    assert answer.ok, answer.detail
    assert server.query("SELECT 1") == [(1,)]

    first = postmaster(server)
    answer = await manager.restart(first, deadline_s=30)
    assert answer.ok, answer.detail
    second = postmaster(server)
    assert second.since > first.since
    assert (await manager.stop(second, deadline_s=30)).ok

    (conf / "start.conf").write_text("# no more\ndisabled\n")
    found = await status(manager)
    assert not found.may_act
    assert "disabled" in found.detail


# --- rivals and jobs ------------------------------------------------------------------------------

DATA = "/srv/postgresql/15/main"


def seen(*command: str, pid: int = 9) -> SeenProcess:
    return SeenProcess(pid=pid, ppid=1, name=os.path.basename(command[0]), command=command)


JOBS = [
    ("pg_ctl", "stop", "-D", DATA),
    ("/usr/lib/postgresql/15/bin/pg_ctl", "restart", f"-D{DATA}"),
    ("pg_ctl", "stop"),
    ("pg_ctl", "-D", DATA, "start"),
    ("/usr/bin/perl", "-wT", "/usr/bin/pg_ctlcluster", "15", "main", "stop"),
    ("pg_ctlcluster", "15-main", "restart"),
    ("pg_upgrade", "-b", "/old", "-B", "/new"),
    ("pg_basebackup", "-D", DATA),
    ("pg_rewind", f"--target-pgdata={DATA}"),
    ("rsync", "-a", "/backup/", f"{DATA}/"),
    ("tar", "-x", "-C", DATA),
    ("pgbackrest", "--stanza=main", "restore"),
    ("systemctl", "stop", "postgresql"),
]

NO_JOBS = [
    ("pg_ctl", "status", "-D", DATA),
    ("pg_ctl", "stop", "-D", "/srv/other"),
    ("pg_basebackup", "-D", "/backup/today"),
    ("rsync", "-a", "/home", "/backup"),
    ("pgbackrest", "--stanza=main", "backup"),
    ("systemctl", "stop", "nginx"),
    ("psql", "-c", "pg_ctl stop"),
    ("vi", "pg_upgrade"),
    ("pg_ctlcluster", "15", "other", "stop"),
    ("pg_ctlcluster", "15", "main", "status"),
    ("cp", "/tmp/a", "/tmp/b"),
]


@pytest.mark.parametrize("command", JOBS, ids=" ".join)
def test_a_command_at_work_on_the_server_is_a_job(command: tuple[str, ...]) -> None:
    [job] = jobs_among([seen(*command)], data_directory=DATA, own_pid=1)
    assert job.pid == 9


@pytest.mark.parametrize("command", NO_JOBS, ids=" ".join)
def test_a_command_that_does_not_concern_it_is_none(command: tuple[str, ...]) -> None:
    assert jobs_among([seen(*command)], data_directory=DATA, own_pid=1) == ()


def test_this_very_process_is_no_job() -> None:
    assert jobs_among([seen("pg_ctl", "stop", pid=7)], data_directory=DATA, own_pid=7) == ()


def test_a_running_patroni_is_a_rival_wherever_its_configuration_is() -> None:
    patroni = seen("/usr/bin/python3", "/usr/bin/patroni", "/etc/patroni.yml")
    assert "Patroni" in rival_manager("/nowhere", [patroni], own_unit="")
    assert rival_manager("/nowhere", [seen("psql", "patroni")], own_unit="") == ""


# --- options of the last start ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "options"),
    [
        ('/usr/bin/postgres "-D" "/data"\n', ""),
        ('/usr/bin/postgres "-D" "/data" "-p" "5433"\n', "-p 5433"),
        ('/usr/bin/postgres "-c" "cluster_name=two words"\n', "-c 'cluster_name=two words'"),
        ('/usr/bin/postgres "-c" "x=$(touch /tmp/no)"\n', "-c 'x=$(touch /tmp/no)'"),
        ('/usr/bin/postgres "unfinished\n', ""),
        ("", ""),
    ],
)
def test_options_of_the_last_start_are_quoted_for_the_shell(
    tmp_path: Path, written: str, options: str
) -> None:
    (tmp_path / "postmaster.opts").write_text(written)
    assert last_options(tmp_path / "postmaster.opts") == options
