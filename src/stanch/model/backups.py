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
    verified: bool | None = None
    """What a test of its content came to; None: nobody has tested it."""

    @property
    def is_good(self) -> bool:
        return not self.fault and not self.running


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploads:
    """Uploads that were begun and never finished; they are paid for and seen by no listing."""

    count: int
    oldest_at: datetime
    oldest_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupsSeen:
    """One look at one place."""

    backups: tuple[Backup, ...]
    """All, or of very many the newest and the oldest."""
    more: int = 0
    """Those between, of which only the number and the size are known."""
    more_bytes: int = 0
    latest_fault: str = ""
    """What is wrong with the link `latest`; empty: nothing, or there is none."""
    problem: str = ""
    """What is wrong with the place as a whole, such as one of two repositories."""
    running: bool = False
    """A backup is being taken of which nothing lies there yet."""
    uploads: Uploads | None = None
    archived: tuple[str, ...] | None = None
    """The newest WAL file of each repository that should hold all; None: not an archive of WAL."""

    @property
    def count(self) -> int:
        return len(self.backups) + self.more

    @property
    def size_bytes(self) -> int:
        return sum(backup.size_bytes for backup in self.backups) + self.more_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class WalRun:
    """WAL files whose names count up without a hole: the last eight digits, from first to last."""

    timeline: int
    high: int
    """The eight digits in the middle."""
    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """Where a timeline ended and the next one began."""

    timeline: int
    end_bytes: int
    """The position in WAL of the switch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WalNeeded:
    """The WAL files that one kept backup needs to be consistent."""

    backup: str
    first: str
    last: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WalHeld:
    """The WAL files of one archive by their names; nobody read what is in them."""

    runs: tuple[WalRun, ...]
    """In the order of their names."""
    repository: str = ""
    """Which of several; empty: there is one."""
    branches: tuple[Branch, ...] = ()
    """Those before the newest timeline, oldest first; empty: not known, or there are none."""
    needed: tuple[WalNeeded, ...] | None = None
    """The kept backups; None: nobody knows them, so everything that is held counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """What the server itself says about its archive of WAL."""

    last_wal: str
    """As in pg_stat_archiver; empty: nothing was ever archived."""
    segment_bytes: int
