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


class TraceReader(Protocol):
    """Reads traces of one data directory; what may not be read is `Missing` with the reason."""

    async def kernel_kills(self) -> tuple[KernelKill, ...] | Missing:
        """Kills for memory that the kernel log still holds, oldest first."""
        ...

    async def kernel_pids_are_ours(self) -> bool:
        """The kernel's log names processes by the PIDs that we see, too."""
        ...

    async def wal_on_disk(self, *, segment_bytes: int) -> WalOnDisk | Missing: ...

    async def owner_uid(self) -> int | Missing:
        """The operating-system user whom the data directory, and so its server, belongs to."""
        ...
