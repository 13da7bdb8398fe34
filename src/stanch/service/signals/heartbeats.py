"""Heartbeats that have to arrive: heard, kept, and missed in time.

A silence goes the way of every other alert: a row in the store, told to an incident, over with the
next beat.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from stanch.model.errors import StoreError
from stanch.model.ids import TargetName
from stanch.model.readings import Reading
from stanch.model.signals import Beat, Routed, SignalStatus
from stanch.policy.signals import ExpectedHeartbeat
from stanch.service.clock import Clock
from stanch.service.record.policies import Policies
from stanch.service.signals.intake import Busy, Intake
from stanch.store.signal_queries import SignalRows
from stanch.watch.signals.heartbeats import judged, reading

LOOK_S = (0.5, 10.0)
"""Never more often, never more seldom; in between a tenth of the shortest interval."""

REPEAT = timedelta(seconds=60)

log = structlog.get_logger("heartbeats")


class Heartbeats:
    """`hear` one, `run` notices those that stay away."""

    def __init__(
        self, rows: SignalRows, intake: Intake, *, policies: Policies, clock: Clock
    ) -> None:
        self._rows = rows
        self._intake = intake
        self._policies = policies
        self._clock = clock
        self._expected: tuple[ExpectedHeartbeat, ...] | None = None
        self._beats: Sequence[Beat] = ()
        self._told: dict[str, tuple[SignalStatus, datetime]] = {}

    async def hear(self, name: str) -> None:
        """A job is alive; durable once this returns. Raises StoreError, Busy."""
        # First, or the beat would look as if it had come before the start that it followed.
        await self._expect()
        await self._rows.beat(name, at=self._clock.now())
        await self.look()

    async def run(self) -> None:
        """Look again and again; also after a reload, when others may be expected."""
        while True:
            try:
                await self.look()
            except (StoreError, Busy) as error:
                log.error("heartbeats cannot be judged", error=str(error))
            await asyncio.sleep(self._pause_s())

    async def look(self) -> None:
        """Judge every heartbeat that is expected now."""
        expected = await self._expect()
        if not expected:
            self._beats = ()
            return
        self._beats = await self._rows.beats()
        by_name = {beat.name: beat for beat in self._beats}
        arrivals = [self._routed(e, by_name[e.name]) for e in expected if e.name in by_name]
        news = [arrived for arrived in arrivals if self._is_news(arrived)]
        if news:
            await self._intake.put(news)
            self._told |= {a.signal.key: (a.signal.status, self._clock.now()) for a in news}

    async def _expect(self) -> tuple[ExpectedHeartbeat, ...]:
        """What the policy of this moment waits for, also in the store."""
        expected = self._policies.current.signals.heartbeats
        if expected != self._expected:
            names = [beat.name for beat in expected]
            started = self._expected is None
            await self._rows.expect(names, at=self._clock.now(), started=started)
            self._expected = expected
        return expected

    def _is_news(self, arrived: Routed) -> bool:
        """A change; and from time to time that it goes on, which nobody may close for good."""
        told = self._told.get(arrived.signal.key)
        if told is None or told[0] is not arrived.signal.status:
            return True
        silent = arrived.signal.status is SignalStatus.FIRING
        return silent and self._clock.now() - told[1] >= REPEAT

    def readings(self) -> tuple[Reading, ...]:
        """Ages at this moment, as of the last look."""
        return tuple(reading(beat, self._clock.now()) for beat in self._beats)

    def _routed(self, expected: ExpectedHeartbeat, beat: Beat) -> Routed:
        signal = judged(beat, every_s=expected.every_s, at=self._clock.now())
        known = self._policies.current.target(expected.target)
        target = TargetName(expected.target) if known else None
        return Routed(signal=signal, target=target, rank=expected.severity)

    def _pause_s(self) -> float:
        shortest = min((beat.every_s for beat in self._expected or ()), default=LOOK_S[1] * 10)
        return min(LOOK_S[1], max(LOOK_S[0], shortest / 10))
