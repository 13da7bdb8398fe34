"""What changed at targets: taken from whoever sees it, made durable, and at hand when asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from stanch.incident.state import Incident
from stanch.model.changes import Change, NotedChange, newest_first, sort_of_one, told, varied
from stanch.model.errors import StaleDecision, StoreError
from stanch.model.events import ChangesNoted, Event
from stanch.model.ids import ITSELF, TargetName
from stanch.model.shown import shortened
from stanch.policy.quoting import printable
from stanch.service.clock import Clock
from stanch.service.record.book import Book
from stanch.store.changes import (
    EVERYWHERE,
    News,
    Rows,
    changes_of,
    forget_others,
    lately,
    note,
)

EVERY_S = 1.0
BEFORE_S = 7200.0
"""So far back what changed may have to do with what is wrong now."""
AT_HAND_MAX = 50
"""Of one target, in memory: an incident that opens waits for no store."""
READ_MAX = 150
"""Of one target after a start, to choose those from."""
NOTED_MAX = 20
WAITING_MAX = 500
"""Of one target, while the store takes nothing; the oldest give way."""
TEXT_CHARS_MAX = 300

log = structlog.get_logger("changes")

Sources = Callable[[], Mapping[TargetName, Callable[[], News | None]]]
"""What became known at each target since it was last asked."""


class Changed:
    """One per responder. `run` takes what the targets' watches saw; `take` what somebody says."""

    def __init__(
        self, rows: Rows, clock: Clock, sources: Sources, *, book: Book | None = None
    ) -> None:
        """`book`: its open incidents hear of what became known after they had opened."""
        self._rows = rows
        self._book = book
        self._clock = clock
        self._sources = sources
        self._near: dict[str, dict[str, Change]] = {}
        """By target, rows by their names."""
        self._waiting: dict[str, News] = {}

    async def run(self) -> None:
        """Until cancelled."""
        await self._resume()
        while True:
            await self.look()
            await asyncio.sleep(EVERY_S)

    async def look(self) -> None:
        """Store what the watches saw; what cannot be stored now is tried again."""
        for target, drain in self._sources().items():
            news = drain()
            if news is not None:
                self._waiting[target] = _together(self._waiting.get(target), news)
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, {}
        try:
            await self._store(list(waiting.values()))
        except StoreError as error:
            log.warning("changes not stored", targets=len(waiting), error=str(error))
            # A look is made again, and compared with what is stored then.
            self._waiting = {t: replace(n, looks=()) for t, n in waiting.items() if n.changes}

    async def take(self, news: Sequence[News]) -> None:
        """Durable once this returns. Raises StoreError."""
        await self._store(news)

    def noted(self, target: TargetName, at: datetime) -> tuple[Event, ...]:
        """What an incident that opens now has to say about the hours before; nothing where nothing
        was seen. Never waits."""
        if target == ITSELF:
            return ()
        since = at - timedelta(seconds=BEFORE_S)
        near = [c for of in (target, EVERYWHERE) for c in self._near.get(of, {}).values()]
        return _noting([change for change in near if since <= change.at <= at], since)

    async def _resume(self) -> None:
        now = self._clock.now()
        since = now - timedelta(seconds=BEFORE_S)
        try:
            found = await self._rows.ask(lambda c: lately(c, since=since, each=READ_MAX))
            await self._rows.write(forget_others(self._sources(), at=now))
        except StoreError as error:
            log.warning("earlier changes not read", error=str(error))
            return
        for target, rows in found.items():
            # What was taken since we started is newer.
            self._keep(target, {**rows, **self._near.get(target, {})})
        await self._fill_in(found)

    async def _store(self, news: Sequence[News]) -> None:
        touched = await self._rows.write(note(news, at=self._clock.now()))
        for target, rows in touched.items():
            self._keep(target, {**self._near.get(target, {}), **rows})
        if touched:
            await self._fill_in(touched)

    async def _fill_in(self, touched: Collection[str]) -> None:
        """Note what changed before an incident that opened when none of it was known: right after a
        start, or before the look that showed it."""
        for incident in self._book.known() if self._book is not None else ():
            about = EVERYWHERE in touched or incident.target in touched
            if about and _notes_nothing(incident):
                await self._fill_one(incident)

    async def _fill_one(self, incident: Incident) -> None:
        target, opened_at = incident.target, incident.opened_at
        if self._book is None or opened_at is None or target == ITSELF:
            return
        since = opened_at - timedelta(seconds=BEFORE_S)
        try:
            rows = await self._rows.ask(
                lambda c: changes_of(c, target, since=since, until=opened_at, limit=READ_MAX)
            )
            noting = _noting(rows, since)
            await self._book.decide(incident.id, lambda i, at: noting if _notes_nothing(i) else ())
        except (StoreError, StaleDecision) as error:
            log.warning("changes not noted", incident=incident.id, error=str(error))

    def _keep(self, target: str, rows: Mapping[str, Change]) -> None:
        """The newest of every sort, those that are long ago left out."""
        first = self._clock.now() - timedelta(seconds=BEFORE_S)
        near = [row for row in rows.items() if row[1].at >= first]
        near.sort(key=lambda row: row[1].at, reverse=True)
        self._near[target] = dict(varied(near, AT_HAND_MAX, lambda row: sort_of_one(row[1])))


def _notes_nothing(incident: Incident) -> bool:
    return incident.changes is None and not incident.status.ended


def _noting(changes: Sequence[Change], since: datetime) -> tuple[Event, ...]:
    found = newest_first(changes)
    if not found:
        return ()
    few = tuple(map(_noted, varied(found, NOTED_MAX, sort_of_one)))
    return (ChangesNoted(since=since, changes=few, more=len(found[NOTED_MAX:])),)


def _together(waiting: News | None, news: News) -> News:
    if waiting is None:
        return news
    return replace(news, changes=[*waiting.changes, *news.changes][-WAITING_MAX:])


def _noted(change: Change) -> NotedChange:
    return NotedChange(
        at=change.at,
        kind=change.kind.value,
        what=_fit(change.what),
        told=_fit(told(change)),
        link=change.link[:TEXT_CHARS_MAX] if change.link.startswith("http") else "",
    )


def _fit(text: str) -> str:
    return shortened(printable(text[: TEXT_CHARS_MAX + 1]), TEXT_CHARS_MAX)
