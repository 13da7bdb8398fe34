"""Rounds of looks: all sources of a round together, because they tell readings of one name."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from stanch.model.ports.signs import SignSource
from stanch.model.readings import Reading


class SignWatch:
    """Looks at some sources until cancelled; what they said is fetched when there is a use for it.

    A sample that carries a name carries every subject of it. So whoever tells readings of the same
    names belongs into one round.
    """

    def __init__(
        self, sources: Sequence[SignSource], *, every_s: float, first_wait: float = 1.0
    ) -> None:
        """`first_wait`: the share of `every_s` between the first two rounds, at least half. With
        another one for each target the rounds of many do not stay in step."""
        self._sources = tuple(sources)
        self._every_s = every_s
        self._first_wait = first_wait
        self._fresh: tuple[Reading, ...] = ()
        self._round: asyncio.Task[tuple[Reading, ...]] | None = None
        """A round that is under way: nobody is asked the same twice at once."""

    @property
    def asks_anybody(self) -> bool:
        return bool(self._sources)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        wait_s = self._every_s * self._first_wait
        try:
            while self._sources:
                began_s = loop.time()
                await self.look()
                await asyncio.sleep(max(self._every_s / 2, began_s + wait_s - loop.time()))
                wait_s = self._every_s
        finally:
            if self._round is not None:
                self._round.cancel()
            for source in self._sources:
                await source.close()

    async def look(self) -> tuple[Reading, ...]:
        """One round, or the one that is under way; it takes as long as its slowest source."""
        if self._round is None or self._round.done():
            self._round = asyncio.create_task(self._ask_all())
        # Whoever stops waiting does not end it for the others.
        return await asyncio.shield(self._round)

    async def _ask_all(self) -> tuple[Reading, ...]:
        told = await asyncio.gather(*(source.look() for source in self._sources))
        self._fresh = tuple(reading for one in told for reading in one)
        return self._fresh

    def take(self) -> tuple[Reading, ...]:
        """The readings of the last round, once: a reading that is told twice is no second one."""
        fresh, self._fresh = self._fresh, ()
        return fresh
