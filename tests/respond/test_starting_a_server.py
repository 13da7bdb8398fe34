"""start_server on real servers: what it brings back, and what it leaves alone."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from acting_worlds import note_of, run, step, world_of
from fix_servers import MakeServer
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.model.plans import PlannedStep, StepOutcome
from stanch.model.rules import RuleChange
from stanch.respond.actions.start_server.run import START_SERVER
from stanch.steps.action import Verification

pytestmark = pytest.mark.story


def start(server: ScratchServer) -> PlannedStep:
    return step("start_server", deadline_s=30.0, data_directory=str(server.data_directory))


async def test_a_server_killed_with_sigkill_is_started_and_takes_connections(
    server: ScratchServer, tmp_path: Path
) -> None:
    world = world_of(server, tmp_path)
    old = server.postmaster_pid()
    server.kill()

    done, log = await run(START_SERVER, start(server), world)

    assert done.outcome is StepOutcome.DONE, done.refusal
    assert log.kinds() == ["StepIntended", "StepEnded", "StepVerified"]
    assert log.verified().ok
    assert server.postmaster_pid() not in (None, old)
    assert server.query("SELECT 1", user="app") == [(1,)]


async def test_a_running_server_is_left_alone(server: ScratchServer, tmp_path: Path) -> None:
    old = server.postmaster_pid()

    done, _log = await run(START_SERVER, start(server), world_of(server, tmp_path))

    assert done.outcome is StepOutcome.REFUSED
    assert done.refusal is not None
    assert done.refusal.guard == "no_live_postmaster"
    assert server.postmaster_pid() == old


async def test_a_suspended_server_counts_as_alive(server: ScratchServer, tmp_path: Path) -> None:
    server.pause()
    done, _log = await run(START_SERVER, start(server), world_of(server, tmp_path))
    assert done.refusal is not None
    assert done.refusal.guard == "no_live_postmaster"


@pytest.mark.parametrize("desired", ["running", "unmanaged"])
async def test_a_clean_stop_is_undone_only_where_the_server_should_be_running(
    server: ScratchServer, tmp_path: Path, desired: str
) -> None:
    server.stop("fast")

    done, _log = await run(START_SERVER, start(server), world_of(server, tmp_path, desired=desired))

    if desired == "running":
        assert done.outcome is StepOutcome.DONE, done.refusal
        assert server.query("SELECT 1", user="app") == [(1,)]
    else:
        assert done.refusal is not None
        assert done.refusal.guard == "clean_stop_unordered"
        assert server.postmaster_pid() is None


async def test_an_unfinished_restore_keeps_it_down(server: ScratchServer, tmp_path: Path) -> None:
    server.kill()
    (server.data_directory / "recovery.signal").touch()
    done, _log = await run(START_SERVER, start(server), world_of(server, tmp_path))
    assert done.refusal is not None
    assert done.refusal.guard == "no_markers"
    assert "recovery.signal" in done.refusal.reason


async def test_somebody_at_work_on_the_data_directory_keeps_it_down(
    server: ScratchServer, tmp_path: Path
) -> None:
    server.stop("fast")
    # Stands for a pg_ctl that is at work on this data directory; it does nothing.
    pretend = tmp_path / "pg_ctl"
    pretend.write_text("#!/bin/sh\nread line\n")
    pretend.chmod(0o755)
    job = subprocess.Popen(
        [pretend, "stop", "-D", server.data_directory], stdin=subprocess.PIPE, cwd=tmp_path
    )
    try:
        done, _log = await run(START_SERVER, start(server), world_of(server, tmp_path))
    finally:
        job.communicate(b"\n", timeout=10)
    assert done.refusal is not None
    assert done.refusal.guard == "no_jobs"
    assert str(job.pid) in done.refusal.reason


async def test_signs_of_damage_in_the_log_keep_it_down(
    server: ScratchServer, tmp_path: Path
) -> None:
    server.kill()
    with server.log_path.open("a") as log:
        log.write("2026-03-14 09:00:00.000 UTC [1] XX001 ERROR:  invalid page in block 7 of rel\n")
    done, _log = await run(START_SERVER, start(server), world_of(server, tmp_path))
    assert done.refusal is not None
    assert done.refusal.guard == "no_corruption_signs"


async def test_another_database_cluster_in_its_place_is_not_started(
    server: ScratchServer, tmp_path: Path
) -> None:
    server.kill()
    one = step(
        "start_server", data_directory=str(server.data_directory), system_identifier="1234567890"
    )
    done, _log = await run(START_SERVER, one, world_of(server, tmp_path))
    assert done.refusal is not None
    assert done.refusal.guard == "same_cluster"


async def test_children_of_a_killed_server_are_waited_for(
    server: ScratchServer, tmp_path: Path
) -> None:
    """A child that cannot end keeps the server down; it is neither killed nor ignored."""
    with server.connect("app") as session:
        child = session.info.backend_pid
        psutil.Process(child).send_signal(signal.SIGSTOP)
        try:
            server.kill()
            one = replace(start(server), deadline_s=3.0)
            done, _log = await run(START_SERVER, one, world_of(server, tmp_path))
            assert done.refusal is not None
            assert done.refusal.guard == "no_live_postmaster"
            assert str(child) in done.refusal.reason
            assert psutil.pid_exists(child)
        finally:
            psutil.Process(child).send_signal(signal.SIGCONT)


async def test_a_server_in_crash_recovery_is_neither_up_nor_failed(
    server: ScratchServer, tmp_path: Path
) -> None:
    world = world_of(server, tmp_path)
    seen = await START_SERVER.verify(start(server), world)
    assert seen == Verification(ok=True, detail="it answers: up")
    server.stop("fast")
    seen = await START_SERVER.verify(start(server), world)
    assert not seen.ok
    assert not seen.pending


async def test_the_options_of_the_last_start_are_used_again(
    make_server: MakeServer, tmp_path: Path
) -> None:
    server = make_server()
    server.stop("fast")
    command = [server.binaries.program("pg_ctl"), "-D", server.data_directory, "-w", "start"]
    command += ["-l", server.log_path, "-o", "-c work_mem=7MB -c cluster_name='two words'"]
    server.folder.must_run(command)
    server.kill()

    done, _log = await run(START_SERVER, start(server), world_of(server, tmp_path))

    assert done.outcome is StepOutcome.DONE, done.refusal
    assert server.query("SHOW work_mem") == [("7MB",)]
    assert server.query("SHOW cluster_name") == [("two words",)]


async def test_a_full_volume_is_no_place_for_crash_recovery(
    server: ScratchServer, tmp_path: Path
) -> None:
    server.kill()
    world = world_of(server, tmp_path)
    rules = {"disk_full": RuleChange(kind="disk_full", limit=float(1 << 60))}
    world = replace(world, target=replace(world.target, rules=rules))
    done, _log = await run(START_SERVER, start(server), world)
    assert done.refusal is not None
    assert done.refusal.guard == "room_for_wal"


async def test_a_lock_file_whose_pid_a_program_of_the_owner_has_blocks_the_start(
    server: ScratchServer, tmp_path: Path
) -> None:
    note = note_of(server)
    server.kill()
    with owned_sleep(server) as pid:
        reuse_pid(server, pid)
        done, _log = await run(START_SERVER, start(server), world_of(server, tmp_path, note=note))
    assert done.refusal is not None
    assert done.refusal.guard == "lock_free"


@contextmanager
def owned_sleep(server: ScratchServer) -> Iterator[int]:
    """A program of the server's own OS user that has nothing to do with it."""
    user = server.folder.user
    ids = {"user": user.uid, "group": user.gid, "extra_groups": []} if user else {}
    with subprocess.Popen(["sleep", "60"], cwd="/", **ids) as sleeper:  # pyright: ignore
        try:
            yield sleeper.pid
        finally:
            sleeper.kill()


def reuse_pid(server: ScratchServer, pid: int) -> None:
    path = server.data_directory / "postmaster.pid"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([f"{pid}\n", *lines[1:]]))
