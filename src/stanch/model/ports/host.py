"""What the rest of the house may ask a machine about the server on it."""

from __future__ import annotations

from typing import Protocol

from stanch.model.diagnosis import Missing
from stanch.model.host import (
    ContainerSigns,
    DataDirectoryProcesses,
    DeletedOpenFile,
    DirectorySizes,
    FileHolds,
    LockFileRead,
    LogChunk,
    LogPosition,
    Memory,
    OomKills,
    ProcessInfo,
    SharedMemory,
    TempRelationFile,
    Volume,
    VolumeUse,
)


class HostReader(Protocol):
    """Reads one machine for one data directory. Never changes anything there.

    Works with whatever rights the caller has: what they do not allow is `Missing` with the reason,
    never an exception and never a guess.
    """

    async def lock_file(self) -> LockFileRead | Missing | None:
        """`postmaster.pid`; None: there is none."""
        ...

    async def process(self, pid: int) -> ProcessInfo | Missing | None:
        """One process; None: no process has this pid."""
        ...

    async def data_directory_processes(self) -> DataDirectoryProcesses | Missing:
        """Everybody at work in the data directory. Cost: reads every process of the machine."""
        ...

    async def file_holds(self, *, deadline_s: float) -> FileHolds | Missing:
        """Files of the data directory that somebody has open, ourselves included.

        The second witness where processes hide their files. Cost: opens every file for a moment.
        """
        ...

    async def boot_id(self) -> str | Missing:
        """Differs after every boot of the machine."""
        ...

    async def shared_memory(self, shm_id: int) -> SharedMemory | Missing: ...

    async def volumes(self) -> tuple[Volume | Missing, ...]:
        """Of data, WAL, log and tablespaces, each asked for itself."""
        ...

    async def volume(self, use: VolumeUse, path: str) -> Volume | Missing: ...

    async def memory(self) -> Memory | Missing: ...

    async def oom_kills(self) -> OomKills | Missing: ...

    async def controldata(self, *, deadline_s: float) -> str | Missing:
        """What `pg_controldata` prints, in English; for `facts.controldata`."""
        ...

    async def log_tail(self, *, bytes_max: int) -> LogChunk | Missing:
        """The last bytes of the current log, from a line's beginning on."""
        ...

    async def log_since(self, position: LogPosition, *, bytes_max: int) -> LogChunk | Missing:
        """What was written after `position`, across rotation; empty content: nothing new."""
        ...

    async def directory_sizes(self, *, deadline_s: float) -> DirectorySizes | Missing: ...

    async def deleted_open_files(self) -> tuple[DeletedOpenFile, ...] | Missing:
        """Deleted files of the server's volumes that still take space, largest first."""
        ...

    async def temp_relation_files(self) -> tuple[TempRelationFile, ...] | Missing:
        """Files of temporary tables in every database and tablespace."""
        ...

    async def container_signs(self) -> ContainerSigns: ...
