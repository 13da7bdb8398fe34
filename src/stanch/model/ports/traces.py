"""What a dead server leaves behind on its machine beside its own files' contents."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from stanch.model.diagnosis import Missing


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelKill:
    """One process that the kernel killed for want of memory, from the kernel's own log."""

    pid: int
    name: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelStall:
    """One process that the kernel saw wait for minutes, most often for storage."""

    pid: int
    name: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotOnDisk:
    """A replication slot as its file tells it; whether anybody uses it is not on disk."""

    name: str
    restart_lsn: int
    """As a number of bytes; 0: it reserves no WAL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WalOnDisk:
    """Slots and the end of WAL, read without a server."""

    slots: tuple[SlotOnDisk, ...]
    newest_lsn: int
    """The end of the segment written last: at most one segment beyond the truth."""
    segment_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StartFiles:
    """Files of a data directory that decide whether it can be started, and by which programs."""

    version: str
    """What PG_VERSION says; empty: there is no such file."""
    control_file: bool
    """global/pg_control is there."""
    control_set_aside: bool = False
    """global/pg_control.old is there: pg_upgrade renames it before another cluster takes the files
    over (--link, --swap)."""
    upgrade_output: str = ""
    """The newest folder in pg_upgrade_output.d, which pg_upgrade removes when all went well."""
    upgrade_at: datetime | None = None
    """When that folder was last written to."""
    backup_label: bool = False
    """A base backup whose restore is not finished, or a backup of the old, exclusive kind."""
    owner_uid: int | None = None
    """Whom the directory belongs to; None: this system has no such owners."""
    control_owner_uid: int | None = None
    """Whom the control file in it belongs to; None: it is not there, or could not be seen."""
    mode: int | None = None
    """Permissions of the directory, as `0o700`."""
    closed: bool = False
    """What lies in it could not be looked at: only its owner and its mode are known."""


class TraceReader(Protocol):
    """Reads traces of one data directory; what may not be read is `Missing` with the reason."""

    async def kernel_kills(self) -> tuple[KernelKill, ...] | Missing:
        """Kills for memory that the kernel log still holds, oldest first."""
        ...

    async def kernel_stalls(self) -> tuple[KernelStall, ...]:
        """Processes that hung, of which the kernel log still tells, oldest first; none where it
        may not be read, which `kernel_kills` says."""
        ...

    async def kernel_pids_are_ours(self) -> bool:
        """The kernel's log names processes by the PIDs that we see, too."""
        ...

    async def wal_on_disk(self, *, segment_bytes: int) -> WalOnDisk | Missing: ...

    async def start_files(self) -> StartFiles | Missing: ...

    async def owner_uid(self) -> int | Missing:
        """The operating-system user whom the data directory, and so its server, belongs to."""
        ...
