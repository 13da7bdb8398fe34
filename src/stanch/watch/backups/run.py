"""The loop that looks at the backups of a target: seldom, one place at a time, bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from stanch.model.backups import Archived
from stanch.model.diagnosis import Missing
from stanch.model.ports.backups import BackupReader
from stanch.model.readings import Reading
from stanch.watch.backups.readings import PlaceReadings

EVERY_S = 300.0
DEADLINE_S = 60.0


class BackupWatch:
    """Looks until cancelled; what it saw is fetched when there is a use for it."""

    def __init__(
        self,
        readers: Sequence[BackupReader],
        *,
        archived: Callable[[], Awaitable[Archived | Missing]],
        now: Callable[[], datetime],
        every_s: float = EVERY_S,
    ) -> None:
        """`archived`: what the server says of its archive, asked right before a place is."""
        self._places = [(reader, PlaceReadings(place=reader.place)) for reader in readers]
        self._archived = archived
        self._now = now
        self._every_s = every_s
        self._fresh: tuple[Reading, ...] = ()

    async def run(self) -> None:
        """Returns at once where there is no place to look at."""
        while self._places:
            await self.look()
            await asyncio.sleep(self._every_s)

    async def look(self) -> None:
        """One look at every place; all are told together, since a reading tells every subject."""
        told: list[Reading] = []
        # Before the places are read, so that what is archived meanwhile is no gap.
        archived = await self._archived()
        for reader, made in self._places:
            seen = await reader.look(deadline_s=DEADLINE_S)
            if isinstance(seen, Missing):
                told += made.none(seen.reason)
            else:
                told += made.of(seen, archived, at=self._now())
        self._fresh = tuple(told)

    def take(self) -> tuple[Reading, ...]:
        """The readings of the last look, once."""
        fresh, self._fresh = self._fresh, ()
        return fresh
