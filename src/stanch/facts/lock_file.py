"""Whether `postmaster.pid` belongs to a server that lives, and what proves it.

Deleting the file under a living server ends that server within a minute and lets a second one onto
the same data; so anything not proven counts as living.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from stanch.model.diagnosis import Missing
from stanch.model.host import (
    ContainerSigns,
    DataDirectoryProcesses,
    FileHolds,
    ProcessInfo,
    SharedMemory,
    Volume,
)

START_TOLERANCE_S: Final = 3.0
"""The file's start time is read from the clock after the process began, in whole seconds."""

_BYTES_MAX: Final = 8192
_NAMED_MAX: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class LockFile:
    """The lines of `postmaster.pid`; None where a line is absent or is not what belongs there."""

    pid: int | None = None
    single_user: bool = False
    """A single-user server (`postgres --single`) writes its pid with a minus sign."""
    data_directory: str | None = None
    started_at_epoch_s: int | None = None
    port: int | None = None
    socket_directory: str | None = None
    listen_address: str | None = None
    shm_key: int | None = None
    shm_id: int | None = None
    status: str | None = None
    """`starting`, `stopping`, `ready` or `standby`."""
    problems: tuple[str, ...] = ()
    """What is wrong with the file; a server that is just starting has not written it all."""


def parse_lock_file(content: bytes) -> LockFile:
    """Read a lock file as far as it goes; never raises."""
    text = content[:_BYTES_MAX].decode("utf-8", "replace")
    lines = [line.strip() for line in text.split("\n")]
    lines += [""] * (8 - len(lines))
    problems = [] if len(content) <= _BYTES_MAX else ["longer than any lock file"]
    if "\0" in text:
        problems.append("contains null bytes")
    pid = _whole(lines[0])
    if not pid:
        problems.append("the first line is not a process id")
    segment = lines[6].split()
    if lines[6] and (len(segment) != 2 or None in map(_whole, segment)):
        problems.append("the shared memory line is not a key and an id")
    known = len(segment) == 2 and None not in map(_whole, segment)
    if not lines[1].startswith("/"):
        problems.append("the data directory is missing")
    if _whole(lines[2]) is None:
        problems.append("the start time is missing")
    return LockFile(
        pid=abs(pid) if pid else None,
        single_user=pid is not None and pid < 0,
        data_directory=lines[1] if lines[1].startswith("/") else None,
        started_at_epoch_s=_whole(lines[2]),
        port=_whole(lines[3]),
        socket_directory=lines[4] or None,
        listen_address=lines[5] or None,
        shm_key=_whole(segment[0]) if known else None,
        shm_id=_whole(segment[1]) if known else None,
        status=lines[7] or None,
        problems=tuple(problems),
    )


def _whole(text: str) -> int | None:
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 19:
        return None
    return int(text)


class LockFileState(StrEnum):
    """Only `stale` allows anything."""

    LIVE = "live"
    STALE = "stale"
    UNPROVEN = "unproven"


class ProofName(StrEnum):
    """Each must hold before a lock file may be called stale."""

    BOOT_ID = "boot_id"
    PROCESS_START = "process_start"
    PROCESS_IDENTITY = "process_identity"
    NO_FILE_HOLDER = "no_file_holder"
    SHARED_MEMORY = "shared_memory"
    EXCLUSIVE_VOLUME = "exclusive_volume"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """One proof: `ok` True it holds, False it does not, None nobody can tell."""

    name: ProofName
    ok: bool | None
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LockFileWitness:
    """What was noted down while the server was known to live, on which boot of the machine."""

    boot_id: str
    pid: int
    started_at_epoch_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LockFileFacts:
    """Everything the proofs are made of, each read after the lock file itself."""

    data_directory: str
    """Its real path, links resolved."""
    witness: LockFileWitness | Missing
    boot_id: str | Missing
    process: ProcessInfo | Missing | None
    """The process that has the file's pid now; None: there is none."""
    processes: DataDirectoryProcesses | Missing
    file_holds: FileHolds | Missing
    """Asked after `processes`; see `kernel_is_to_be_asked`. In both, who only has log files open
    does not count."""
    shared_memory: SharedMemory | Missing
    volumes: tuple[Volume | Missing, ...]
    """Of data, WAL and tablespaces; none at all proves nothing."""
    container: ContainerSigns | Missing


@dataclass(frozen=True, slots=True, kw_only=True)
class LockFileVerdict:
    """The state and every proof, held or not."""

    state: LockFileState
    proofs: tuple[Proof, ...]
    signs_of_life: tuple[str, ...] = ()

    def proof(self, name: ProofName) -> Proof:
        return next(proof for proof in self.proofs if proof.name is name)


ALREADY_NAMED: Final = Missing(what="open files", reason="processes that use it are known already")


def kernel_is_to_be_asked(processes: DataDirectoryProcesses | Missing) -> bool:
    """Whether `file_holds` is to be read: not once /proc has named somebody.

    Then it can prove nothing more, and a server that lives shall not wait for us even for a moment.
    """
    return isinstance(processes, Missing) or not _users(processes)


def judge_lock_file(lock: LockFile, facts: LockFileFacts) -> LockFileVerdict:
    """Decide about a lock file: any sign of life is `live`, any gap in the proofs `unproven`."""
    proofs = (
        _boot_id(lock, facts),
        _start_time_of(lock, facts.process),
        _identity_of(lock, facts),
        _no_file_holder(facts.processes, facts.file_holds),
        _shared_memory(lock, facts.shared_memory),
        _exclusive_volume(facts.volumes, facts.container),
    )
    alive = _signs_of_life(lock, facts)
    if alive:
        state = LockFileState.LIVE
    elif lock.problems or not all(proof.ok is True for proof in proofs):
        state = LockFileState.UNPROVEN
    else:
        state = LockFileState.STALE
    return LockFileVerdict(state=state, proofs=proofs, signs_of_life=alive)


def _proof(name: ProofName, ok: bool | None, detail: str) -> Proof:
    return Proof(name=name, ok=ok, detail=detail)


def _boot_id(lock: LockFile, facts: LockFileFacts) -> Proof:
    """Without a note from the server's lifetime nobody knows that this machine wrote the file."""
    name = ProofName.BOOT_ID
    if isinstance(facts.boot_id, Missing):
        return _proof(name, None, facts.boot_id.reason)
    if isinstance(facts.witness, Missing):
        return _proof(name, None, facts.witness.reason)
    noted = (facts.witness.pid, facts.witness.started_at_epoch_s)
    if noted != (lock.pid, lock.started_at_epoch_s):
        return _proof(name, None, "the note is about another start of the server")
    if facts.witness.boot_id == facts.boot_id:
        return _proof(name, True, "written on this machine since it booted")
    return _proof(name, True, "the machine has booted since the file was written")


def _start_time_of(lock: LockFile, process: ProcessInfo | Missing | None) -> Proof:
    name = ProofName.PROCESS_START
    if lock.pid is None or lock.started_at_epoch_s is None:
        return _proof(name, None, "the file does not say which process, started when")
    if process is None:
        return _proof(name, True, f"no process {lock.pid}")
    if isinstance(process, Missing):
        return _proof(name, None, process.reason)
    if process.pid != lock.pid:
        return _proof(name, None, "another process than the file's was looked at")
    if process.started_at is None:
        return _proof(name, None, f"process {lock.pid} does not show when it started")
    apart_s = process.started_at.timestamp() - lock.started_at_epoch_s
    if abs(apart_s) <= START_TOLERANCE_S:
        return _proof(name, False, f"process {lock.pid} started when the file says")
    when = "after" if apart_s > 0 else "before"
    return _proof(name, True, f"process {lock.pid} started {abs(apart_s):.0f} s {when} the file's")


def _identity_of(lock: LockFile, facts: LockFileFacts) -> Proof:
    """What has the pid now must be somebody else entirely: executable and folder both."""
    name, process = ProofName.PROCESS_IDENTITY, facts.process
    if lock.pid is None:
        return _proof(name, None, "the file does not say which process")
    if process is None:
        return _proof(name, True, "no process has the file's pid")
    if isinstance(process, Missing):
        return _proof(name, None, process.reason)
    if process.pid != lock.pid:
        return _proof(name, None, "another process than the file's was looked at")
    if process.state == "zombie":
        # A zombie has neither executable nor folder left, and its parent may yet be the manager.
        return _proof(name, None, f"process {process.pid} is dead but not yet collected")
    if process.exe is None or process.cwd is None:
        return _proof(name, None, f"process {process.pid} shows no executable or folder")
    server, here = _is_server(process.exe), same_folder(process.cwd, facts.data_directory)
    what = f"process {process.pid} is {posixpath.basename(process.exe)} in {process.cwd}"
    return _proof(name, not server and not here, what)


def _no_file_holder(
    processes: DataDirectoryProcesses | Missing, holds: FileHolds | Missing
) -> Proof:
    """Either witness refutes it; either that saw everything proves it."""
    name = ProofName.NO_FILE_HOLDER
    if isinstance(processes, DataDirectoryProcesses) and _users(processes):
        return _proof(name, False, f"the data directory is in use by {_named(processes)}")
    if isinstance(holds, FileHolds) and holds.held:
        return _proof(name, False, f"somebody has {holds.held[0]} open")
    if isinstance(holds, FileHolds) and holds.complete:
        detail = f"none of {holds.files} files of the data directory is open, the kernel says"
        return _proof(name, True, detail)
    if isinstance(processes, Missing):
        return _proof(name, None, processes.reason)
    if not processes.complete:
        which = ", ".join(str(pid) for pid in processes.unreadable_pids) or "unknown"
        hidden = f"{processes.unreadable} processes could not be inspected (PID {which})"
        reason = holds.reason if isinstance(holds, Missing) else holds.gap
        return _proof(name, None, f"{hidden}; the kernel does not tell either: {reason}")
    return _proof(name, True, "no process has files of the data directory open")


def _users(processes: DataDirectoryProcesses) -> list[int]:
    return sorted({*_servers(processes), *(holder.pid for holder in processes.holders)})


def _named(processes: DataDirectoryProcesses) -> str:
    """Its users as a person finds them."""
    holders = {holder.pid: holder for holder in processes.holders}
    users = _users(processes)[:_NAMED_MAX]
    return ", ".join(holders[pid].told if pid in holders else f"process {pid}" for pid in users)


def _shared_memory(lock: LockFile, segment: SharedMemory | Missing) -> Proof:
    name = ProofName.SHARED_MEMORY
    if lock.shm_id is None:
        return _proof(name, None, "the file names no shared memory")
    if isinstance(segment, Missing):
        return _proof(name, None, segment.reason)
    if segment.shm_id != lock.shm_id:
        return _proof(name, None, "another segment than the file's was looked at")
    if segment.attached > 0:
        return _proof(name, False, f"{segment.attached} processes have it attached")
    return _proof(name, True, "attached by nobody" if segment.exists else "it no longer exists")


def _exclusive_volume(
    volumes: Sequence[Volume | Missing], container: ContainerSigns | Missing
) -> Proof:
    name = ProofName.EXCLUSIVE_VOLUME
    if isinstance(container, Missing):
        return _proof(name, None, container.reason)
    if container.in_container is None:
        return _proof(name, None, "whether this is a container cannot be told")
    if container.in_container:
        signs = ", ".join(container.signs) or "signs of one"
        return _proof(name, False, f"in a container, where a lock file proves nothing: {signs}")
    if not volumes:
        return _proof(name, None, "no volume was looked at")
    for volume in volumes:
        if isinstance(volume, Missing):
            return _proof(name, None, volume.reason)
        if volume.network is None:
            return _proof(name, None, f"{volume.fs_type} at {volume.mount_point} is unknown")
        if volume.network:
            detail = f"{volume.fs_type} at {volume.mount_point} can be mounted elsewhere too"
            return _proof(name, False, detail)
    return _proof(name, True, "local file systems, no container")


def _signs_of_life(lock: LockFile, facts: LockFileFacts) -> tuple[str, ...]:
    signs: list[str] = []
    process = facts.process
    if (
        isinstance(process, ProcessInfo)
        and process.pid == lock.pid
        and process.exe is not None
        and process.cwd is not None
        and _is_server(process.exe)
        and same_folder(process.cwd, facts.data_directory)
    ):
        signs.append(f"process {process.pid} is a server of this data directory")
    if isinstance(facts.processes, DataDirectoryProcesses) and _servers(facts.processes):
        signs.append("server processes are at work in the data directory")
    if isinstance(facts.shared_memory, SharedMemory) and facts.shared_memory.attached > 0:
        signs.append("the server's shared memory is attached")
    return tuple(signs)


def _servers(processes: DataDirectoryProcesses) -> list[int]:
    """Server processes only: a backup tool or a shell in the folder is no sign of a server."""
    servers = (processes.postmaster, *processes.members, *processes.orphans)
    return sorted({process.pid for process in servers if process is not None})


def _is_server(exe: str) -> bool:
    # Linux adds " (deleted)" once an upgrade has replaced the file under a running process.
    return posixpath.basename(exe.removesuffix(" (deleted)")) in {"postgres", "postmaster"}


def same_folder(one: str, other: str) -> bool:
    """Whether two real paths name one folder."""
    return posixpath.normpath(one) == posixpath.normpath(other)
