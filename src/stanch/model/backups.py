"""What a place of backups holds, in words that every backup tool shares."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """One backup of one place."""

    name: str
    kind: str
    """Only backups of one kind are compared with each other: `full`, `incr`, `dump`."""
    at: datetime
    """When it was finished, aware; for one that is not finished, when it last grew."""
    size_bytes: int
    fault: str = ""
    """Why it cannot be restored from; empty: nothing is known against it."""
    running: bool = False
    """Still being written: neither good nor bad."""

    @property
    def is_good(self) -> bool:
        return not self.fault and not self.running


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupsSeen:
    """One look at one place."""

    backups: tuple[Backup, ...]
    latest_fault: str = ""
    """What is wrong with the link `latest`; empty: nothing, or there is none."""
    archived: tuple[str, ...] | None = None
    """The newest WAL file of each repository that should hold all; None: not an archive of WAL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """What the server itself says about its archive of WAL."""

    last_wal: str
    """As in pg_stat_archiver; empty: nothing was ever archived."""
    segment_bytes: int
