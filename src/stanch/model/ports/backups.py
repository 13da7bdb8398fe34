"""What the watch of backups asks of a place where they lie."""

from __future__ import annotations

from typing import Protocol

from stanch.model.backups import BackupsSeen
from stanch.model.diagnosis import Missing


class BackupReader(Protocol):
    """Looks at one place where backups lie. Never changes anything there."""

    @property
    def place(self) -> str: ...

    async def look(self, *, deadline_s: float) -> BackupsSeen | Missing:
        """Ends within its deadline; what cannot be seen is `Missing` with the reason."""
        ...
