"""The lock file with everything that proves whose it is."""

from __future__ import annotations

from collections.abc import Callable

from stanch.diagnose.condense_files import NO_LOCK_FILE, lock_from
from stanch.diagnose.outside import LockFileSeen
from stanch.facts.lock_file import (
    ALREADY_NAMED,
    LockFile,
    LockFileFacts,
    LockFileWitness,
    judge_lock_file,
    kernel_is_to_be_asked,
    parse_lock_file,
)
from stanch.model.diagnosis import Missing
from stanch.model.host import FileHolds, ProcessInfo
from stanch.model.ports.host import HostReader
from stanch.model.ports.traces import TraceReader

HOLDS_DEADLINE_S = 1.0
"""Enough for some ten thousand files; a diagnosis has no more time, an action takes more."""


async def read_lock_file(
    host: HostReader,
    *,
    folder: Callable[[], str],
    witness: LockFileWitness | Missing,
    traces: TraceReader | Missing,
    left_s: Callable[[], float],
) -> LockFileSeen | Missing:
    """`postmaster.pid`, judged; `left_s` says how much time there still is.

    `folder`: the data directory, asked once there was a lock file in it.
    """
    read = await host.lock_file()
    if read is None:
        return NO_LOCK_FILE
    if isinstance(read, Missing):
        return read
    lock = parse_lock_file(read.content)
    facts = await _facts(host, lock, data_directory=folder(), witness=witness, left_s=left_s)
    return lock_from(
        read,
        lock,
        judge_lock_file(lock, facts),
        holder=facts.process,
        shared_memory=facts.shared_memory,
        owner_uid=traces if isinstance(traces, Missing) else await traces.owner_uid(),
        boot_id=facts.boot_id,
    )


async def _facts(
    host: HostReader,
    lock: LockFile,
    *,
    data_directory: str,
    witness: LockFileWitness | Missing,
    left_s: Callable[[], float],
) -> LockFileFacts:
    """Read after the lock file, so that a proof is never older than what it proves."""
    no_segment = Missing(what="shared memory", reason="the lock file names no segment")
    holder: ProcessInfo | Missing | None = Missing(
        what="process", reason="the lock file names no process"
    )
    if lock.pid is not None:
        holder = await host.process(lock.pid)
    processes = await host.data_directory_processes()
    holds: FileHolds | Missing = ALREADY_NAMED
    if kernel_is_to_be_asked(processes):
        holds = await host.file_holds(deadline_s=min(HOLDS_DEADLINE_S, left_s()))
    return LockFileFacts(
        data_directory=data_directory,
        witness=witness,
        boot_id=await host.boot_id(),
        process=holder,
        processes=processes,
        file_holds=holds,
        shared_memory=no_segment if lock.shm_id is None else await host.shared_memory(lock.shm_id),
        volumes=await host.volumes(),
        container=await host.container_signs(),
    )
