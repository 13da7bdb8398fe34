"""The loop of the canary: one write at a time, and none while an earlier one is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from stanch.model.canary import UnderWay, WriteOutcome, Wrote
from stanch.model.readings import Reading
from stanch.watch.canary.readings import outcome_readings, stuck_readings

AGAIN_S = 2.0
"""Until writes have gone well a few times after one that did not: so that a verdict is there soon,
and over soon."""
GOOD_IN_A_ROW = 3
FIRST_S = 2.0


class CanaryWriter(Protocol):
    """Writes the row at one server."""

    async def write(self) -> WriteOutcome:
        """One session, one write, however long it takes. Cancelled, it asks the server to give the
        write up and ends the session; the row may be there all the same.
        """
        ...

    async def under_way(self) -> tuple[float, str] | None:
        """How long the oldest of our writes has been under way at the server, and what it waits
        for, by the server's word; also one that an earlier process left behind. None: there is none
        or it cannot be read.
        """
        ...


class CanaryWatch:
    """Writes until cancelled; what came of it is fetched when there is a use for it."""

    def __init__(
        self,
        writer: CanaryWriter,
        *,
        every_s: float,
        deadline_s: float,
        in_the_way: Callable[[], str],
        in_recovery: Callable[[], bool],
        reads_work: Callable[[], bool],
        now: Callable[[], datetime],
    ) -> None:
        """`in_the_way` says why not to write now, `in_recovery` that it is a standby; where reads
        do not work either, that is the trouble, and nothing is said of writes.
        """
        self._writer = writer
        self._every_s = every_s
        self._deadline_s = deadline_s
        self._in_the_way = in_the_way
        self._in_recovery = in_recovery
        self._reads_work = reads_work
        self._now = now
        self._flight: asyncio.Future[WriteOutcome] | None = None
        self._since: datetime | None = None
        self._waits_for = ""
        self._left: UnderWay | None = None
        """A write of ours at the server that is not this process's to wait for."""
        self._known = False
        """Whether another write may be under way there was asked, and there was none."""
        self._fresh: tuple[Reading, ...] = ()
        self._good = GOOD_IN_A_ROW
        self._bad = False
        """The last write that says anything failed, or was late."""

    @property
    def writing(self) -> bool:
        """A session of the canary is open or being opened."""
        return self._flight is not None

    async def run(self) -> None:
        await asyncio.sleep(FIRST_S)
        try:
            while True:
                await self.beat()
                calm = self._flight is None and self._left is None and self._good >= GOOD_IN_A_ROW
                await asyncio.sleep(self._every_s if calm else min(AGAIN_S, self._every_s))
        finally:
            await self._abandon()

    async def beat(self) -> None:
        """One write, if none is under way; at most the deadline is waited for it."""
        if self._flight is None and not await self._may_write():
            return
        if self._flight is None:
            self._since = self._now()
            self._flight = asyncio.ensure_future(self._writer.write())
            await asyncio.wait({self._flight}, timeout=self._deadline_s)
        if self._flight.done():
            outcome, self._flight = self._flight.result(), None
            self._note(outcome)
        else:
            self._good, self._bad = 0, True
            found = await self._writer.under_way()
            self._waits_for = found[1] if found is not None else self._waits_for

    def take(self) -> tuple[Reading, ...]:
        """What came of the last write, once; of one that is late, each time."""
        if (stuck := self._stuck()) is not None:
            return stuck_readings(stuck) if self._reads_work() else ()
        fresh, self._fresh = self._fresh, ()
        return fresh

    def _stuck(self) -> UnderWay | None:
        write = self._left
        if self._flight is not None and not self._flight.done() and self._since is not None:
            age_s = (self._now() - self._since).total_seconds()
            write = UnderWay(age_s=age_s, since=self._since, waits_for=self._waits_for)
        return write if write is not None and write.age_s >= self._deadline_s else None

    async def _may_write(self) -> bool:
        if self._in_recovery():
            self._left, self._known = None, False
            detail = "a standby: it takes no writes by design"
            self._note(WriteOutcome(wrote=Wrote.STANDBY, detail=detail))
            return False
        if why := self._in_the_way():
            self._left, self._known = None, False
            self._note(WriteOutcome(wrote=Wrote.UNKNOWN, detail=f"not tried: {why}"))
            return False
        if self._known:
            return True
        # An earlier process, or a session that was cut, may have left a write behind. Another one
        # each time would fill the server with them.
        found = await self._writer.under_way()
        self._left = self._left_behind(found)
        self._known = self._left is None
        return self._known

    def _left_behind(self, found: tuple[float, str] | None) -> UnderWay | None:
        if found is None:
            return None
        age_s, waits_for = found
        since = self._now() - timedelta(seconds=age_s)
        return UnderWay(age_s=age_s, since=since, waits_for=waits_for)

    def _note(self, outcome: WriteOutcome) -> None:
        self._fresh = outcome_readings(outcome, was_bad=self._bad)
        if outcome.wrote is Wrote.FAILED:
            self._good, self._bad = 0, True
        elif outcome.wrote is Wrote.DONE:
            self._good, self._bad = self._good + 1, False
        self._known = outcome.wrote is not Wrote.UNKNOWN and self._known
        self._waits_for = ""

    async def _abandon(self) -> None:
        flight, self._flight = self._flight, None
        if flight is not None:
            flight.cancel()
            await asyncio.gather(flight, return_exceptions=True)
