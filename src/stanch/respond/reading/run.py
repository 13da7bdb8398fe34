"""Readings that several actions take again right before they act."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from stanch.facts.controldata import ControlData, parse_controldata
from stanch.facts.lock_file import (
    ALREADY_NAMED,
    LockFile,
    LockFileFacts,
    LockFileVerdict,
    LockFileWitness,
    judge_lock_file,
    kernel_is_to_be_asked,
    parse_lock_file,
)
from stanch.facts.sessions import (
    IDLE_SESSIONS_SQL,
    SESSIONS_WAITING_SQL,
    IdleSession,
    Tells,
    WaitingSession,
    parse_idle,
    parse_waiting,
    settle_temp_tables,
)
from stanch.facts.vitals import VITALS_SQL, parse_vitals
from stanch.model.diagnosis import Missing
from stanch.model.errors import ProbeFailed
from stanch.model.host import DataDirectoryProcesses, FileHolds, ProcessInfo, SharedMemory
from stanch.model.ports.acting import LockNote
from stanch.model.ports.host import HostReader
from stanch.model.ports.server import SqlParams
from stanch.model.vitals import Vitals
from stanch.steps.world import World

CONTROL_DEADLINE_S = 2.0
QUESTION_TIMEOUT_S = 2.0
HOLDS_DEADLINE_S = 5.0
"""Enough for a hundred thousand files and more."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class LockReading:
    """A lock file, who has its PID now, and the verdict about it."""

    lock: LockFile
    inode: int
    sha256: str
    """Of all bytes of the file."""
    path: str
    content: bytes
    process: ProcessInfo | Missing | None
    verdict: LockFileVerdict


async def read_lock(world: World, host: HostReader) -> LockReading | Missing | None:
    """The lock file with every proof taken after it was read; None: there is none."""
    read = await host.lock_file()
    if read is None or isinstance(read, Missing):
        return read
    lock = parse_lock_file(read.content)
    process = Missing(what="process", reason="the lock file names none")
    if lock.pid is not None:
        process = await host.process(lock.pid)
    processes = await host.data_directory_processes()
    holds = await read_holds(host, processes)
    facts = LockFileFacts(
        data_directory=world.data_directory,
        witness=_witness(world.lock_note),
        boot_id=await host.boot_id(),
        process=process,
        processes=processes,
        file_holds=holds,
        shared_memory=await _shared_memory(host, lock),
        volumes=await host.volumes(),
        container=await host.container_signs(),
    )
    return LockReading(
        lock=lock,
        inode=read.inode,
        sha256=hashlib.sha256(read.content).hexdigest(),
        path=read.path,
        content=read.content,
        process=process,
        verdict=judge_lock_file(lock, facts),
    )


async def read_holds(
    host: HostReader, processes: DataDirectoryProcesses | Missing
) -> FileHolds | Missing:
    """Whether somebody has files open whom /proc does not show."""
    if not kernel_is_to_be_asked(processes):
        return ALREADY_NAMED
    return await host.file_holds(deadline_s=HOLDS_DEADLINE_S)


def _witness(note: LockNote | Missing) -> LockFileWitness | Missing:
    if isinstance(note, Missing):
        return note
    return LockFileWitness(
        boot_id=note.boot_id, pid=note.pid, started_at_epoch_s=note.started_at_epoch_s
    )


async def _shared_memory(host: HostReader, lock: LockFile) -> SharedMemory | Missing:
    if lock.shm_id is None:
        return Missing(what="shared memory", reason="the lock file names no segment")
    return await host.shared_memory(lock.shm_id)


async def read_control(host: HostReader) -> ControlData | Missing:
    text = await host.controldata(deadline_s=CONTROL_DEADLINE_S)
    return text if isinstance(text, Missing) else parse_controldata(text)


async def orphans_left(host: HostReader, *, wait_s: float) -> DataDirectoryProcesses | Missing:
    """Who is at work in the data directory, once a dead postmaster's children have gone.

    They notice within a moment that it died; until then PostgreSQL itself refuses a start.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + wait_s
    while True:
        seen = await host.data_directory_processes()
        if isinstance(seen, Missing) or not seen.orphans or loop.time() >= until:
            return seen
        await asyncio.sleep(0.1)


async def ask(
    world: World,
    asked: tuple[str, SqlParams | None],
    parse: Callable[[str], T],
    *,
    what: str,
) -> T | Missing:
    """What one question over the session that is open anyway answers, or why nothing does."""
    if world.reader is None:
        return Missing(what=what, reason="there is no session to the server")
    sql, params = asked
    try:
        return parse(await world.reader.fetch_json(sql, params, timeout_s=QUESTION_TIMEOUT_S))
    except ProbeFailed as error:
        return Missing(what=what, reason=str(error))


async def read_vitals(world: World) -> Vitals | Missing:
    return await ask(world, (VITALS_SQL, None), parse_vitals, what="vitals")


async def read_waiting(world: World) -> tuple[WaitingSession, ...] | Missing:
    """Who waits for whom.

    Cost: looks into the lock manager once; never on a timer.
    """
    asked = (SESSIONS_WAITING_SQL, None)
    return await ask(world, asked, parse_waiting, what="waiting sessions")


async def read_idle(world: World) -> tuple[IdleSession, ...] | Missing:
    """Idle sessions with what speaks against ending each.

    Temporary tables of other databases are only to be seen on disk, listed after the sessions.
    """
    idle = await ask(world, (IDLE_SESSIONS_SQL, None), parse_idle, what="idle sessions")
    if isinstance(idle, Missing):
        return idle
    if world.host is None or all(s.temp_tables is not Tells.UNKNOWN for s in idle):
        return idle
    files = await world.host.temp_relation_files()
    return idle if isinstance(files, Missing) else settle_temp_tables(idle, files)
