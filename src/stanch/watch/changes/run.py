"""The loop that asks whoever rolls things out; each change is handed on once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Protocol

from stanch.model.changes import Change

EVERY_S: Final = 60.0
SLOWEST_S: Final = 600.0
"""Who does not answer is asked less and less often."""
DEADLINE_S: Final = 20.0
KNOWN_MAX: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one look at somebody's history says."""

    changes: tuple[Change, ...]
    missing: str
    """What could not be read, and why; empty: everything was."""


class History(Protocol):
    """Somebody who remembers what was rolled out."""

    async def look(self) -> Seen: ...

    async def close(self) -> None:
        """Give connections back; a later look opens them anew."""
        ...


class HistoryWatch:
    """Looks until cancelled."""

    def __init__(self, history: History, *, every_s: float = EVERY_S) -> None:
        self._history = history
        self._every_s = every_s
        self._wait_s = every_s
        self._known: OrderedDict[str, int] = OrderedDict()
        """How often each was said to have happened."""
        self._fresh: list[Change] = []
        self.missing = ""
        """What the last look could not read."""

    async def run(self) -> None:
        try:
            while True:
                await self.look()
                await asyncio.sleep(self._wait_s)
        finally:
            await self._history.close()

    async def look(self) -> None:
        """One look."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                seen = await self._history.look()
        except TimeoutError:
            seen = Seen(changes=(), missing=f"no answer within {DEADLINE_S:g} s")
        self.missing = seen.missing
        lame = bool(seen.missing) and not seen.changes
        self._wait_s = min(2 * self._wait_s, SLOWEST_S) if lame else self._every_s
        for change in seen.changes:
            if self._known.get(change.key, 0) < change.times:
                self._fresh.append(change)
            self._known[change.key] = change.times
            self._known.move_to_end(change.key)
        while len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)

    def take(self) -> tuple[Change, ...]:
        """What is new, once."""
        fresh, self._fresh = tuple(self._fresh[-KNOWN_MAX:]), []
        return fresh
