"""Does what is due: sleeps until the earliest wake of a lane, claims it, hands it on.

Three lanes, each with its own loop, so that an hour of restoring never delays a page. The engine
knows nothing about incidents: it turns wakes into claims and claims into calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta

import structlog

from stanch.model.errors import StaleDecision, StoreError
from stanch.model.ports.timelines import Timelines
from stanch.model.timeline import Claim, Lane
from stanch.service.clock import Clock

LEASE_S: Mapping[Lane, float] = {Lane.CLOCK: 30.0, Lane.DELIVER: 90.0, Lane.ACT: 180.0}
"""Longer than anything the lane does in one go; a lease that runs out voids the work's appends."""

AT_ONCE: Mapping[Lane, int] = {Lane.CLOCK: 64, Lane.DELIVER: 64, Lane.ACT: 16}
SLEEP_S_MAX = 15.0
STORE_RETRY_S = 1.0
FULL_WAIT_S = 1.0
"""Due, yet not to be had: the lane is full, or somebody else was quicker. Work that ends pokes."""

Work = Callable[[Claim], Awaitable[datetime | None]]
"""Does one claim's work; returns when to look again where no event said so."""

log = structlog.get_logger("engine")


class Engine:
    """Runs the lanes until cancelled; work under way is cancelled with it and stays in doubt."""

    def __init__(
        self,
        timelines: Timelines,
        clock: Clock,
        work: Work,
        *,
        on_unavailable: Callable[[], Awaitable[None]],
    ) -> None:
        """`on_unavailable` is called about once a second while the store takes no events.

        Also while it is damaged: whoever can write nothing down can page nobody but from memory.
        """
        self._on_unavailable = on_unavailable
        self._timelines = timelines
        self._clock = clock
        self._work = work
        self._poked = {lane: asyncio.Event() for lane in Lane}
        self._stopping = False
        self.working: dict[Lane, int] = dict.fromkeys(Lane, 0)
        """Claims under way, for metrics."""

    def stop(self) -> None:
        """Claim nothing more; `run` returns once the work under way is done."""
        self._stopping = True
        self.poke()

    def poke(self) -> None:
        """Something was appended: look again at once."""
        for poked in self._poked.values():
            poked.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as lanes:
            for lane in Lane:
                lanes.create_task(self._run_lane(lane), name=f"lane {lane.value}")

    async def _run_lane(self, lane: Lane) -> None:
        async with asyncio.TaskGroup() as works:
            while not self._stopping:
                self._poked[lane].clear()
                if AT_ONCE[lane] <= self.working[lane]:
                    # Full: the end of any work under way pokes.
                    await self._wait(lane, SLEEP_S_MAX)
                    continue
                try:
                    # Looked at first: a claim writes, and every append wakes all three lanes.
                    wait_s = await self._wait_s(lane)
                    if wait_s <= 0.0:
                        claims = await self._claim(lane)
                        wait_s = 0.0 if claims else FULL_WAIT_S
                        for claim in claims:
                            self._begin(claim, works)
                except StoreError as error:
                    log.error("store unavailable", lane=lane.value, error=str(error))
                    if lane is Lane.CLOCK:
                        await self._on_unavailable()
                    wait_s = STORE_RETRY_S
                await self._wait(lane, wait_s)

    def _begin(self, claim: Claim, works: asyncio.TaskGroup) -> None:
        self.working[claim.lane] += 1
        works.create_task(self._run_work(claim), name=f"{claim.lane} {claim.incident_id}")

    async def _claim(self, lane: Lane) -> list[Claim]:
        room = AT_ONCE[lane] - self.working[lane]
        now = self._clock.now()
        return list(await self._timelines.claim(lane, at=now, lease_s=LEASE_S[lane], limit=room))

    async def _wait_s(self, lane: Lane) -> float:
        due_at = await self._timelines.next_due(lane)
        if due_at is None:
            return SLEEP_S_MAX
        return min(SLEEP_S_MAX, max(0.0, (due_at - self._clock.now()).total_seconds()))

    async def _wait(self, lane: Lane, wait_s: float) -> None:
        # At least one turn of the loop, so that a lane with endless work starves nobody.
        try:
            async with asyncio.timeout(max(wait_s, 0.001)):
                await self._poked[lane].wait()
        except TimeoutError:
            pass

    async def _run_work(self, claim: Claim) -> None:
        retry_at: datetime | None = None
        try:
            retry_at = await self._work(claim)
        except StaleDecision as error:
            # Somebody decided first, or the lease is gone: the newest timeline says what is due.
            log.info("decision was stale", incident=claim.incident_id, error=str(error))
        except StoreError as error:
            log.error("store unavailable", incident=claim.incident_id, error=str(error))
            if claim.lane is not Lane.ACT:
                # A full disk may still take a claim, which changes a row, and no new event.
                await self._on_unavailable()
            retry_at = self._clock.now() + timedelta(seconds=STORE_RETRY_S)
        finally:
            self.working[claim.lane] -= 1
        try:
            await self._timelines.release(claim, retry_at=retry_at)
        except StoreError as error:
            log.error("lease not given back", incident=claim.incident_id, error=str(error))
        self._poked[claim.lane].set()
