"""What is usual, carried over a restart: rows of the store, written off the hot path."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import structlog

from stanch.detect.engine import NOTHING, Remembered
from stanch.detect.usual import Baseline
from stanch.model.errors import StoreError
from stanch.model.ids import TargetName
from stanch.model.symptoms import SymptomKind
from stanch.service.clock import Clock
from stanch.store.usual import Kept, Shelf, UsualRow, forget, of_targets, put

EVERY_S = 300.0
FORGET_EVERY = 12
"""Writes between two looks for what is too old or too much."""
TOGETHER = 64
"""Rows a commit: 350 kB, before which no event waits long."""
PAUSE_S = 0.05
AT_THE_END_S = 5.0
"""So long a clean stop may take for it."""

RULES = frozenset(SymptomKind)

log = structlog.get_logger("baselines")

Series = tuple[SymptomKind, str]


class Learned(NamedTuple):
    """One series that a detector of this process learns."""

    target: TargetName
    kind: SymptomKind
    subject: str
    baseline: Baseline


def nothing_kept(target: TargetName) -> Remembered:
    """Where everything is learned anew."""
    return NOTHING


class Baselines:
    """Reads what an earlier process learned, and keeps what this one learns.

    A series is written once it has finished an hour, and at a clean stop with the hour in hand. A
    crash costs at most that hour and what was finished in the last five minutes.
    """

    def __init__(self, shelf: Shelf, clock: Clock, *, at_the_end_s: float = AT_THE_END_S) -> None:
        self._shelf = shelf
        self._clock = clock
        self._at_the_end_s = at_the_end_s
        self._known: dict[TargetName, dict[Series, Baseline]] = {}
        self._asked: set[TargetName] = set()

    async def load(self, targets: Iterable[TargetName]) -> None:
        """Read what is kept of targets that are new here; a cold start where that fails."""
        new = [name for name in targets if name not in self._asked]
        self._asked.update(new)
        try:
            rows = await self._shelf.ask(lambda conn: of_targets(conn, new)) if new else ()
        except StoreError as error:
            log.warning("what is usual cannot be read: it is learned anew", error=str(error))
            return
        known, damaged = await asyncio.to_thread(_read, rows)
        self._known.update(known)
        if damaged:
            log.warning(
                "what was usual is damaged: it is learned anew",
                series=len(damaged),
                first=f"{damaged[0].target} {damaged[0].rule} {damaged[0].subject}",
            )

    def of(self, target: TargetName) -> dict[Series, Baseline]:
        """What is known of a target; handed over, so it is told once."""
        return self._known.pop(target, {})

    async def run(self, learned: Callable[[], Iterable[Learned]]) -> None:
        """Keep what was finished, every few minutes, until cancelled."""
        count = 0
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await self.write(one for one in tuple(learned()) if one.baseline.unstored)
                if count % FORGET_EVERY == 0:
                    await self._shelf.write(forget(at=self._clock.now()))
            except StoreError as error:
                log.warning("what is usual waits for the store", error=str(error))
            count += 1

    async def stop(self, learned: Iterable[Learned]) -> None:
        """Keep everything, the hours in hand as well; not for longer than a stop may take."""
        # All of it at once: targets may still leave the policy while it is being written.
        known = [one for one in learned if not one.baseline.is_new]
        try:
            async with asyncio.timeout(self._at_the_end_s):
                await self.write(known, pause_s=0.0)
        except (StoreError, TimeoutError) as error:
            log.warning("what is usual was not all kept", error=str(error) or "no time")

    async def write(self, learned: Iterable[Learned], *, pause_s: float = PAUSE_S) -> int:
        """Keep these series; how many there were. Raises StoreError."""
        written, some = 0, list[Learned]()
        for one in learned:
            some.append(one)
            if len(some) == TOGETHER:
                written += await self._put(some)
                some = []
                await asyncio.sleep(pause_s)
        return written + await self._put(some)

    async def _put(self, some: Sequence[Learned]) -> int:
        told = [(one.baseline, one.baseline.unstored) for one in some]
        await self._shelf.write(put([_row(one, self._clock) for one in some]))
        for baseline, hours in told:
            # What was finished while it was being written is still to be kept.
            baseline.unstored -= hours
        return len(some)


def _row(one: Learned, clock: Clock) -> UsualRow:
    return UsualRow(
        target=one.target,
        rule=one.kind.value,
        subject=one.subject,
        learned_at=clock.now(),
        content=one.baseline.stored(),
    )


def _read(rows: Iterable[Kept]) -> tuple[dict[TargetName, dict[Series, Baseline]], list[Kept]]:
    known: dict[TargetName, dict[Series, Baseline]] = {}
    damaged: list[Kept] = []
    for row in rows:
        if row.rule not in RULES:
            # Learned by a release that had this rule.
            continue
        try:
            if not isinstance(row.content, bytes):
                raise ValueError("no bytes")
            baseline = Baseline.from_stored(row.content)
            known.setdefault(row.target, {})[SymptomKind(row.rule), row.subject] = baseline
        except ValueError:
            damaged.append(row)
    return known, damaged
