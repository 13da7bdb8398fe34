"""Starts that give up, reloads that are refused and limits of the machine, on real servers."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from fix_servers import MakeServer
from looking import diagnose_dsn
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.diagnose.rank import STANDS_FROM
from stanch.model.diagnosis import Diagnosis
from stanch.model.errors import SetupError

on_15 = pytest.mark.parametrize("pg_major", [15], indirect=True)
on_18 = pytest.mark.parametrize("pg_major", [18], indirect=True)


async def look(server: ScratchServer, *, user: str = "stanch_watch") -> Diagnosis:
    return await diagnose_dsn(
        server.dsn(user=user, dbname="app"),
        data_directory=str(server.data_directory),
        log=str(server.log_path),
        deadline_s=10.0,
    )


def named(found: Diagnosis) -> list[str]:
    return [c.id for c in found.causes if c.probability >= STANDS_FROM]


def fails_to_start(server: ScratchServer) -> None:
    with pytest.raises(SetupError):
        server.start(leaving_s_max=0.0)


@on_18
async def test_data_of_another_version(server: ScratchServer) -> None:
    server.stop()
    server.folder.write_owned(server.data_directory / "PG_VERSION", "12\n")
    fails_to_start(server)
    found = await look(server)
    assert named(found) == ["version_mismatch"], found.summary
    assert "initialized by PostgreSQL version 12" in found.summary
    assert found.causes[0].fact("data_version") == "12"


@on_15
async def test_more_shared_memory_than_there_is(server: ScratchServer) -> None:
    server.kill()
    server.set_conf({"shared_buffers": "900GB"})
    with suppress(SetupError):
        server.start()  # Waits for the children of the killed one.
    found = await look(server)
    assert named(found) == ["kernel_resources_short"], found.summary


@on_18
async def test_a_library_of_the_start_that_is_not_installed(server: ScratchServer) -> None:
    server.set_conf({"shared_preload_libraries": "no_such_library"})
    server.stop()
    fails_to_start(server)
    found = await look(server)
    assert named(found) == ["preload_library_missing"], found.summary
    assert "no_such_library" in found.summary


@pytest.mark.parametrize("cut", [0, 100], ids=["gone", "cut short"])
@on_15
async def test_a_control_file_that_is_no_good(server: ScratchServer, cut: int) -> None:
    server.stop()
    control = server.data_directory / "global" / "pg_control"
    if cut:
        os.truncate(control, cut)
    else:
        control.unlink()
    fails_to_start(server)
    found = await look(server)
    assert named(found) == ["no_valid_checkpoint"], found.summary
    assert found.causes[0].fact("control_file_present") is bool(cut)


@on_18
async def test_a_cluster_whose_files_pg_upgrade_has_taken_over(server: ScratchServer) -> None:
    server.stop()
    control = server.data_directory / "global" / "pg_control"
    control.rename(control.with_name("pg_control.old"))
    fails_to_start(server)
    found = await look(server)
    assert named(found) == ["upgrade_failed"], found.summary


async def test_wal_that_was_deleted(server: ScratchServer) -> None:
    server.stop()
    for file in (server.data_directory / "pg_wal").iterdir():
        if len(file.name) == 24:
            file.unlink()
    fails_to_start(server)
    found = await look(server)
    assert named(found) == ["no_valid_checkpoint"], found.summary


@on_15
async def test_a_reload_that_cannot_read_a_value_while_another_waits(
    make_server: MakeServer,
) -> None:
    server = make_server()
    server.set_conf({"max_connections": 55})
    until_logged(server, "cannot be changed without restarting")
    found = await look(server)
    assert named(found) == ["restart_pending"], found.summary
    assert "max_connections" in found.summary
    server.set_conf({"work_mem": "lots"})
    until_logged(server, 'invalid value for parameter "work_mem"')
    found = await look(server)
    assert set(named(found)) == {"reload_refused", "restart_pending"}, found.summary


PIDS = Path("/sys/fs/cgroup/pids")


@contextmanager
def few_processes(server: ScratchServer) -> Iterator[None]:
    """The server may have no more processes than it has."""
    group = PIDS / f"stanch-test-{os.getpid()}-{server.port}"
    group.mkdir()
    try:
        for pid in server.processes():
            (group / "cgroup.procs").write_text(str(pid))
        (group / "pids.max").write_text("1")
        yield
    finally:
        (group / "pids.max").write_text("max")
        server.stop("immediate")
        while (group / "cgroup.procs").read_text():
            time.sleep(0.02)
        group.rmdir()


@pytest.mark.skipif(
    not os.access(PIDS / "cgroup.procs", os.W_OK) or os.geteuid() != 0,
    reason="needs root and control groups of version 1",
)
async def test_a_limit_of_processes(server: ScratchServer) -> None:
    with few_processes(server):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(server.dsn(user="app", dbname="app"))
        found = await look(server)
    assert named(found) == ["os_limit_reached"], found.summary
    assert found.causes[0].fact("process_refused") is True


def until_logged(server: ScratchServer, words: str) -> None:
    """Wait until the server has said so."""
    for _ in range(400):
        if words in server.log_text():
            return
        time.sleep(0.02)
    raise AssertionError(f"not in the log: {words}")
