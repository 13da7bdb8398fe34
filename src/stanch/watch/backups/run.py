"""The loop that looks at the backups of a target: seldom, one place at a time, bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from stanch.model.backups import Archived
from stanch.model.diagnosis import Missing
from stanch.model.ports.backups import ArchiveReader, BackupReader
from stanch.model.readings import Reading
from stanch.watch.backups.archive import ArchiveReadings, Hole
from stanch.watch.backups.readings import PlaceReadings

EVERY_S = 300.0
SOON_S = 30.0
"""Until a second walk, where the first one missed something: longer than a rename takes."""
FIRST_TRIES = 5
"""A second apart: when the watch begins, the session to the server may still be opening."""
DEADLINE_S = 60.0
WHEN_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the backups and the WAL of one target lie."""

    backups: Sequence[tuple[BackupReader, float]] = ()
    """Each with the days that it was promised to reach back."""
    archives: Sequence[tuple[ArchiveReader, bool]] = ()
    """Each with whether nobody else tells how far it reaches."""


@dataclass(slots=True)
class _Archive:
    reader: ArchiveReader
    made: ArchiveReadings
    due_at: datetime | None = None
    told: tuple[Reading, ...] = ()


@dataclass(slots=True)
class _Unseen:
    """Since when a place could not be seen."""

    since: dict[str, datetime] = field(default_factory=dict[str, datetime])

    def reading(self, place: str, reason: str, at: datetime) -> Reading:
        """`reason` is empty where it was seen."""
        if not reason:
            self.since.pop(place, None)
        since = self.since.setdefault(place, at) if reason else at
        return Reading(
            name="backup_unseen_s",
            value=(at - since).total_seconds(),
            subject=place,
            detail=reason,
        )


class BackupWatch:
    """Looks until cancelled; what it saw is fetched when there is a use for it."""

    def __init__(
        self,
        places: Places,
        *,
        archived: Callable[[], Awaitable[Archived | Missing]],
        now: Callable[[], datetime],
        every_s: float = EVERY_S,
    ) -> None:
        """`archived`: what the server says of its archive, asked right before a place is."""
        self._places = [
            (reader, PlaceReadings(place=reader.place, keep_days=days))
            for reader, days in places.backups
        ]
        self._archives = [
            _Archive(reader, ArchiveReadings(place=reader.place, tells_gap=tells))
            for reader, tells in places.archives
        ]
        self._archived = archived
        self._now = now
        self._every_s = every_s
        self._unseen = _Unseen()
        self._fresh: tuple[Reading, ...] = ()
        self._first_tries = FIRST_TRIES

    async def run(self) -> None:
        """Returns at once where there is no place to look at."""
        was_soon = False
        while self._places or self._archives:
            await self.look()
            # Once: an archive that is never sure is not walked without end.
            was_soon = not was_soon and any(archive.made.unsure for archive in self._archives)
            await asyncio.sleep(min(SOON_S, self._every_s) if was_soon else self._every_s)

    async def look(self) -> None:
        """One look at every place; all are told together, since a reading tells every subject."""
        told: list[Reading] = []
        # Before the places are read, so that what is archived meanwhile is no gap.
        archived = await self._asked()
        for reader, made in self._places:
            seen = await reader.look(deadline_s=DEADLINE_S)
            reason = seen.reason if isinstance(seen, Missing) else ""
            told.append(self._unseen.reading(reader.place, reason, self._now()))
            if isinstance(seen, Missing):
                told += made.none(seen.reason)
            else:
                told += made.of(seen, archived, at=self._now())
        for archive in self._archives:
            if archive.due_at is None or self._now() >= archive.due_at:
                archive.told = await self._walk(archive, archived)
            told += archive.told
        self._fresh = tuple(told)

    async def _asked(self) -> Archived | Missing:
        archived = await self._archived()
        while self._archives and isinstance(archived, Missing) and self._first_tries:
            self._first_tries -= 1
            await asyncio.sleep(1)
            archived = await self._archived()
        self._first_tries = 0
        return archived

    def take(self) -> tuple[Reading, ...]:
        """The readings of the last look, once."""
        fresh, self._fresh = self._fresh, ()
        return fresh

    async def _walk(self, archive: _Archive, archived: Archived | Missing) -> tuple[Reading, ...]:
        reader, made = archive.reader, archive.made
        walked = await reader.walk(deadline_s=DEADLINE_S)
        unseen = f"WAL in {reader.place}"
        if isinstance(walked, Missing):
            archive.due_at = self._now()
            failed = self._unseen.reading(unseen, walked.reason, self._now())
            return (failed, *made.none(walked.reason))
        found = made.found(walked, archived)
        # A hole is told after two walks, and the second should not take its time.
        soon = made.unsure or isinstance(found, Missing)
        wait_s = 0.0 if soon else reader.every_s - self._every_s / 2
        archive.due_at = self._now() + timedelta(seconds=wait_s)
        when = {} if isinstance(found, Missing) else await self._when(reader, found)
        told = made.of(walked, archived, found=found, when=when)
        return (self._unseen.reading(unseen, "", self._now()), *told)

    async def _when(self, reader: ArchiveReader, found: Sequence[Hole]) -> dict[str, datetime]:
        known: dict[str, datetime] = {}
        for hole in found:
            at = hole.before and await reader.when(
                hole.before, repository=hole.repository, deadline_s=WHEN_S
            )
            if at:
                known[hole.repository] = at
        return known
