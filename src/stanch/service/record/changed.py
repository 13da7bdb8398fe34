"""What changed at targets: taken from whoever sees it, made durable, and at hand when asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from stanch.model.changes import Change, NotedChange, newest_first, sort_of_one, told, varied
from stanch.model.errors import StoreError
from stanch.model.events import ChangesNoted, Event
from stanch.model.ids import ITSELF, TargetName
from stanch.model.shown import shortened
from stanch.policy.quoting import printable
from stanch.service.clock import Clock
from stanch.store.changes import EVERYWHERE, News, Rows, forget_others, lately, note

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

    def __init__(self, rows: Rows, clock: Clock, sources: Sources) -> None:
        self._rows = rows
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
        found = newest_first([change for change in near if since <= change.at <= at])
        if not found:
            return ()
        return (
            ChangesNoted(
                since=since,
                changes=tuple(map(_noted, varied(found, NOTED_MAX, sort_of_one))),
                more=len(found[NOTED_MAX:]),
            ),
        )

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

    async def _store(self, news: Sequence[News]) -> None:
        touched = await self._rows.write(note(news, at=self._clock.now()))
        for target, rows in touched.items():
            self._keep(target, {**self._near.get(target, {}), **rows})

    def _keep(self, target: str, rows: Mapping[str, Change]) -> None:
        """The newest of every sort, those that are long ago left out."""
        first = self._clock.now() - timedelta(seconds=BEFORE_S)
        near = [row for row in rows.items() if row[1].at >= first]
        near.sort(key=lambda row: row[1].at, reverse=True)
        self._near[target] = dict(varied(near, AT_HAND_MAX, lambda row: sort_of_one(row[1])))


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
