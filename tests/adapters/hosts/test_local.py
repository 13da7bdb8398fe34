"""The readings of this machine, against real servers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import psycopg
import pytest

from stanch.adapters.hosts.local import LocalHost
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.facts.lock_file import (
    LockFileFacts,
    LockFileState,
    LockFileWitness,
    ProofName,
    judge_lock_file,
    parse_lock_file,
)
from stanch.model.diagnosis import Missing
from stanch.model.host import (
    DataDirectoryProcesses,
    DirectorySizes,
    LockFileRead,
    OomKills,
    ProcessInfo,
    Volume,
    VolumeUse,
)
from stanch.model.ports.host import HostReader

ROOT = os.geteuid() == 0
on_15 = pytest.mark.parametrize("pg_major", [15], indirect=True)
on_18 = pytest.mark.parametrize("pg_major", [18], indirect=True)
"""For what no version does differently; tests without either run on both."""
as_root = pytest.mark.skipif(not ROOT, reason="needs root to see other users' processes")


def _host(server: ScratchServer) -> LocalHost:
    return LocalHost(
        data_directory=str(server.data_directory), bin_dir=str(server.binaries.bin_dir)
    )


async def _facts(
    host: HostReader, server: ScratchServer, witness: LockFileWitness | Missing
) -> tuple[LockFileRead, LockFileFacts]:
    read = await host.lock_file()
    assert isinstance(read, LockFileRead)
    lock = parse_lock_file(read.content)
    assert lock.pid is not None
    assert lock.shm_id is not None
    return read, LockFileFacts(
        data_directory=os.path.realpath(server.data_directory),
        witness=witness,
        boot_id=await host.boot_id(),
        process=await host.process(lock.pid),
        processes=await host.data_directory_processes(),
        file_holds=await host.file_holds(deadline_s=10),
        shared_memory=await host.shared_memory(lock.shm_id),
        volumes=await host.volumes(),
        container=await host.container_signs(),
    )


async def _witness(host: HostReader) -> LockFileWitness:
    read, boot_id = await host.lock_file(), await host.boot_id()
    assert isinstance(read, LockFileRead)
    assert isinstance(boot_id, str)
    lock = parse_lock_file(read.content)
    assert lock.pid is not None
    assert lock.started_at_epoch_s is not None
    return LockFileWitness(
        boot_id=boot_id, pid=lock.pid, started_at_epoch_s=lock.started_at_epoch_s
    )


def _wait_until_gone(server: ScratchServer) -> None:
    end = time.monotonic() + 20
    postmaster = int((server.data_directory / "postmaster.pid").read_text().split()[0])
    # Also collected: until then the machine still lists the dead one.
    while server.processes() or psutil.pid_exists(postmaster):
        assert time.monotonic() < end, "the killed server's processes did not leave"
        os.sched_yield()


@as_root
@on_18
async def test_a_running_server_has_a_live_lock_file(server: ScratchServer) -> None:
    host = _host(server)
    read, facts = await _facts(host, server, await _witness(host))
    verdict = judge_lock_file(parse_lock_file(read.content), facts)
    assert verdict.state is LockFileState.LIVE
    assert len(verdict.signs_of_life) == 3


@as_root
async def test_a_killed_servers_lock_file_is_stale_once_everybody_left(
    server: ScratchServer,
) -> None:
    host = _host(server)
    witness = await _witness(host)
    server.kill()
    _wait_until_gone(server)
    read, facts = await _facts(host, server, witness)
    verdict = judge_lock_file(parse_lock_file(read.content), facts)
    assert verdict.state is LockFileState.STALE, [p for p in verdict.proofs if not p.ok]


@as_root
@on_15
async def test_without_a_note_of_its_lifetime_it_stays_unproven(server: ScratchServer) -> None:
    server.kill()
    _wait_until_gone(server)
    read, facts = await _facts(_host(server), server, Missing(what="witness", reason="no note"))
    verdict = judge_lock_file(parse_lock_file(read.content), facts)
    assert verdict.state is LockFileState.UNPROVEN
    assert [p.name for p in verdict.proofs if not p.ok] == [ProofName.BOOT_ID]


@as_root
@on_18
async def test_a_reused_pid_is_told_from_the_server(server: ScratchServer) -> None:
    host = _host(server)
    server.kill()
    _wait_until_gone(server)
    path = server.data_directory / "postmaster.pid"
    with subprocess.Popen(["sleep", "60"]) as stranger:
        lines = path.read_text().split("\n")
        lines[0], lines[2] = str(stranger.pid), str(int(lines[2]) - 3600)
        path.write_text("\n".join(lines))
        witness = await _witness(host)
        read, facts = await _facts(host, server, witness)
        lock = parse_lock_file(read.content)
        verdict = judge_lock_file(lock, facts)
        stranger.kill()
    assert isinstance(facts.process, ProcessInfo)
    assert verdict.state is LockFileState.STALE, [p for p in verdict.proofs if not p.ok]


@as_root
@on_15
async def test_an_open_file_of_the_data_directory_is_seen_whoever_has_it(
    server: ScratchServer,
) -> None:
    host = _host(server)
    server.stop()
    path = str(server.data_directory / "PG_VERSION")
    code = f"import sys; f = open({path!r}); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as reader:
        assert reader.stdout is not None
        reader.stdout.readline()
        found = await host.data_directory_processes()
        reader.communicate()
    assert isinstance(found, DataDirectoryProcesses)
    assert [holder.pid for holder in found.holders] == [reader.pid]
    assert found.holders[0].files == (path,)
    assert found.postmaster is None
    after = await host.data_directory_processes()
    assert isinstance(after, DataDirectoryProcesses)
    assert after.holders == ()


@as_root
@on_18
async def test_children_of_a_killed_postmaster_are_orphans(server: ScratchServer) -> None:
    host = _host(server)
    running = await host.data_directory_processes()
    assert isinstance(running, DataDirectoryProcesses)
    assert running.postmaster is not None
    assert len(running.members) >= 3
    assert running.orphans == ()
    with psycopg.connect(server.dsn(user="app", dbname="app")) as session:
        backend = session.info.backend_pid
        os.kill(backend, 19)  # SIGSTOP: it cannot notice that its postmaster died.
        try:
            server.kill()
            found = await host.data_directory_processes()
        finally:
            os.kill(backend, 18)
    assert isinstance(found, DataDirectoryProcesses)
    assert found.postmaster is None
    assert backend in [orphan.pid for orphan in found.orphans]


@on_15
async def test_a_process_that_is_not_there_is_none_and_no_lock_file_is_none(
    server: ScratchServer,
) -> None:
    host = _host(server)
    server.stop()
    assert await host.lock_file() is None
    assert await host.process(2**22 + 1) is None
    assert await host.process(0) is None


async def test_a_missing_data_directory_is_missing_not_an_error(tmp_path: Path) -> None:
    host: HostReader = LocalHost(data_directory=str(tmp_path / "none"))
    readings = [
        await host.lock_file(),
        await host.data_directory_processes(),
        await host.file_holds(deadline_s=1),
        await host.controldata(deadline_s=1),
        await host.log_tail(bytes_max=100),
        await host.directory_sizes(deadline_s=1),
        await host.temp_relation_files(),
        *(await host.volumes()),
    ]
    assert all(isinstance(reading, Missing) and reading.reason for reading in readings)


@pytest.mark.parametrize("kind", ["fifo", "link"])
async def test_a_lock_file_that_is_no_file_is_missing_and_never_waited_for(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "postmaster.pid"
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("/etc/passwd")
    assert isinstance(await LocalHost(data_directory=str(tmp_path)).lock_file(), Missing)


async def test_sizes_and_temporary_tables_of_a_running_server(server: ScratchServer) -> None:
    host = _host(server)
    with psycopg.connect(server.dsn(user="app", dbname="app"), autocommit=True) as session:
        assert await host.temp_relation_files() == ()
        session.execute("CREATE TEMP TABLE kept (n int)")
        row = session.execute(
            "SELECT pg_relation_filepath('kept'), oid::int FROM pg_database WHERE datname = 'app'"
        ).fetchone()
        assert row is not None
        found = await host.temp_relation_files()
        assert not isinstance(found, Missing)
        [file] = found
        assert file.database_oid == row[1]
        assert f"/t{file.backend_number}_" in str(row[0])
    sizes = await host.directory_sizes(deadline_s=10)
    assert isinstance(sizes, DirectorySizes)
    assert sizes.complete
    assert sizes.wal_segments >= 1
    assert sizes.base_bytes > 1_000_000


@on_18
async def test_counting_stops_at_its_deadline_and_says_so(server: ScratchServer) -> None:
    sizes = await _host(server).directory_sizes(deadline_s=0)
    assert isinstance(sizes, DirectorySizes)
    assert not sizes.complete


@on_15
async def test_the_volumes_of_data_and_wal_are_measured(server: ScratchServer) -> None:
    found = await _host(server).volumes()
    assert [v.use for v in found if isinstance(v, Volume)][:2] == [VolumeUse.DATA, VolumeUse.WAL]
    assert all(isinstance(v, Volume) and 0 < v.free_bytes <= v.total_bytes for v in found)
    data = found[0]
    assert isinstance(data, Volume)
    room = os.statvfs(server.data_directory)
    assert data.total_bytes == room.f_blocks * room.f_frsize
    assert os.path.ismount(data.mount_point)


@as_root
@on_18
async def test_a_deleted_file_that_is_still_open_is_found_with_its_size(
    server: ScratchServer,
) -> None:
    host = _host(server)
    path = server.data_directory / "forgotten"
    code = (
        f"import os, sys; f = open({str(path)!r}, 'wb'); f.write(b'x' * 300000); f.flush(); "
        f"os.unlink({str(path)!r}); print('gone', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        found = await host.deleted_open_files()
        holder.communicate()
    assert not isinstance(found, Missing)
    [file] = [file for file in found if file.pid == holder.pid]
    assert file.path == str(path)
    assert file.allocated_bytes >= 300_000


async def test_a_tool_that_does_not_answer_is_ended_at_its_deadline(
    tmp_path: Path, public_folder: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    if ROOT:
        os.chown(data, 65534, 65534)
    tool = public_folder / "pg_controldata"
    tool.write_text("#!/bin/sh\nexec sleep 60\n")
    tool.chmod(0o755)
    began = time.monotonic()
    host = LocalHost(data_directory=str(data), bin_dir=str(public_folder))
    said = await host.controldata(deadline_s=0.2)
    assert isinstance(said, Missing)
    assert "no answer" in said.reason
    assert time.monotonic() - began < 10


@on_15
async def test_the_servers_control_group_is_remembered_after_its_death(
    server: ScratchServer,
) -> None:
    host = _host(server)
    alive = await host.oom_kills()
    server.kill()
    dead = await host.oom_kills()
    if isinstance(alive, OomKills) and isinstance(dead, OomKills):
        assert dead.cgroup_path == alive.cgroup_path
    else:
        assert isinstance(alive, Missing)
