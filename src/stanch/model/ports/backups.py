"""What the watch of backups asks of a place where they lie."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from stanch.model.backups import BackupsSeen, WalHeld
from stanch.model.diagnosis import Missing


class BackupReader(Protocol):
    """Looks at one place where backups lie. Never changes anything there."""

    @property
    def place(self) -> str: ...

    async def look(self, *, deadline_s: float) -> BackupsSeen | Missing:
        """Ends within its deadline; what cannot be seen is `Missing` with the reason."""
        ...


class ArchiveReader(Protocol):
    """Lists the WAL files of one place, by their names alone. Never changes anything there."""

    @property
    def place(self) -> str: ...

    @property
    def every_s(self) -> float:
        """How often listing all of it is worth its cost."""
        ...

    async def walk(self, *, deadline_s: float) -> tuple[WalHeld, ...] | Missing:
        """One for each repository of the place. Ends within its deadline."""
        ...

    async def when(self, wal: str, *, repository: str, deadline_s: float) -> datetime | None:
        """When a WAL file was archived; None: that cannot be told."""
        ...
