"""set_aside_lock_file on real servers and files: only the proven file, and back if it was not."""

from __future__ import annotations

import hashlib
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from acting_worlds import note_of, run, step, world_of
from stanch.adapters.hosts.local import LocalHost
from stanch.adapters.postgres.os_user import as_user
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.model.host import ContainerSigns
from stanch.model.plans import PlannedStep, StepOutcome
from stanch.model.ports.acting import LockNote
from stanch.respond.actions.set_aside_lock_file.run import SET_ASIDE_LOCK_FILE
from stanch.respond.actions.start_server.run import START_SERVER
from stanch.steps.world import World

pytestmark = pytest.mark.story


class ThisMachine(LocalHost):
    """This machine, said to be a container or none."""

    in_container: bool = False

    async def container_signs(self) -> ContainerSigns:
        return ContainerSigns(in_container=self.in_container, signs=("a test says so",))


@contextmanager
def owned_sleep(server: ScratchServer) -> Iterator[int]:
    """A program of the server's own OS user that has nothing to do with it."""
    user = as_user(server.folder.user)
    with subprocess.Popen(["sleep", "120"], cwd="/", **user) as sleeper:
        try:
            yield sleeper.pid
        finally:
            sleeper.terminate()


def lock_path(server: ScratchServer) -> Path:
    return server.data_directory / "postmaster.pid"


def world(server: ScratchServer, root: Path, note: LockNote) -> World:
    known = world_of(server, root, note=note)
    host = ThisMachine(
        data_directory=str(server.data_directory),
        bin_dir=str(server.binaries.bin_dir),
        log_path=str(server.log_path),
        root=root,
    )
    return replace(known, host=host)


def reuse_pid(server: ScratchServer, note: LockNote, pid: int) -> LockNote:
    """The lock file as if the dead server had had this PID, an hour ago."""
    lines = lock_path(server).read_text().splitlines(keepends=True)
    started = note.started_at_epoch_s - 3600
    lines[0], lines[2] = f"{pid}\n", f"{started}\n"
    lock_path(server).write_text("".join(lines))
    return LockNote(boot_id=note.boot_id, pid=pid, started_at_epoch_s=started)


def aside(server: ScratchServer) -> PlannedStep:
    content = lock_path(server).read_bytes()
    return step(
        "set_aside_lock_file",
        data_directory=str(server.data_directory),
        lock_inode=lock_path(server).stat().st_ino,
        lock_sha256=hashlib.sha256(content).hexdigest(),
    )


def start(server: ScratchServer) -> PlannedStep:
    return step("start_server", deadline_s=30.0, data_directory=str(server.data_directory))


def killed(server: ScratchServer) -> None:
    server.kill()
    deadline = time.monotonic() + 10
    while server.processes():
        assert time.monotonic() < deadline
        time.sleep(0.02)


async def test_a_reused_pid_is_set_aside_and_the_server_starts(
    server: ScratchServer, tmp_path: Path
) -> None:
    note = note_of(server)
    killed(server)
    with owned_sleep(server) as pid:
        note = reuse_pid(server, note, pid)
        content = lock_path(server).read_bytes()
        here = world(server, tmp_path, note)
        blocked, _log = await run(START_SERVER, start(server), here)
        done, log = await run(SET_ASIDE_LOCK_FILE, aside(server), here)
        started, _log = await run(START_SERVER, start(server), here)

    assert blocked.refusal is not None
    assert blocked.refusal.guard == "lock_free"
    assert done.outcome is StepOutcome.DONE, done.refusal
    assert log.verified().ok
    assert started.outcome is StepOutcome.DONE, started.refusal
    [kept] = server.data_directory.glob("postmaster.pid.stale.*")
    assert kept.read_bytes() == content
    assert server.query("SELECT 1", user="app") == [(1,)]


async def test_the_lock_file_of_a_living_server_is_never_touched(
    server: ScratchServer, tmp_path: Path
) -> None:
    before = lock_path(server).read_bytes()
    here = world(server, tmp_path, note_of(server))
    done, _log = await run(SET_ASIDE_LOCK_FILE, aside(server), here)
    assert done.refusal is not None
    assert done.refusal.guard == "proven_stale"
    assert lock_path(server).read_bytes() == before


async def test_without_a_note_from_the_servers_lifetime_nothing_is_proven(
    server: ScratchServer, tmp_path: Path
) -> None:
    note = note_of(server)
    killed(server)
    with owned_sleep(server) as pid:
        reuse_pid(server, note, pid)
        here = world(server, tmp_path, note)
        done, _log = await run(SET_ASIDE_LOCK_FILE, aside(server), here)
    assert done.refusal is not None
    assert done.refusal.guard == "proven_stale"
    assert "boot_id" in done.refusal.reason


async def test_a_process_with_files_of_the_data_directory_open_counts_as_alive(
    server: ScratchServer, tmp_path: Path
) -> None:
    note = note_of(server)
    killed(server)
    with owned_sleep(server) as pid, (server.data_directory / "PG_VERSION").open() as held:
        note = reuse_pid(server, note, pid)
        reader = subprocess.Popen(["sleep", "120"], cwd="/", stdin=held)
        try:
            here = world(server, tmp_path, note)
            done, _log = await run(SET_ASIDE_LOCK_FILE, aside(server), here)
        finally:
            reader.terminate()
            reader.wait()
    assert done.refusal is not None
    assert done.refusal.guard == "proven_stale"


async def test_in_a_container_the_file_is_never_touched(
    server: ScratchServer, tmp_path: Path
) -> None:
    note = note_of(server)
    killed(server)
    with owned_sleep(server) as pid:
        note = reuse_pid(server, note, pid)
        here = world(server, tmp_path, note)
        assert isinstance(here.host, ThisMachine)
        here.host.in_container = True
        done, _log = await run(SET_ASIDE_LOCK_FILE, aside(server), here)
    assert done.refusal is not None
    assert done.refusal.guard == "no_container"
    assert lock_path(server).exists()


async def test_a_lock_file_nobody_has_the_pid_of_is_postgresqls_own_to_replace(
    server: ScratchServer, tmp_path: Path
) -> None:
    note = note_of(server)
    killed(server)
    done, _log = await run(SET_ASIDE_LOCK_FILE, aside(server), world(server, tmp_path, note))
    assert done.refusal is not None
    assert done.refusal.guard == "in_the_way"
