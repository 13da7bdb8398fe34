"""Beside a question: once its answer is late, knocks and a probe, until all agree or it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

from stanch.model.reach import Reach, ReachState
from stanch.watch.silence import Hearing, Patience, Witnesses, hear, suspicious

AFTERWARDS_S = 0.5
"""Between knocks once a silence was told: a thousand silent targets must not take every file."""
OWN_LAG_S = 0.1
KNOCK_SILENT_S = 0.3
"""A knock younger than this may still be answered and counts for nothing."""

KNOCK_LOST_S = 0.5
"""A knock unanswered for so long, or twelve round trips, lost a packet: nobody else is so slow."""

PROBE_FIRST_S = 0.1
PROBE_S_MIN = 1.0

Tell = Callable[[Reach, bool, datetime], Awaitable[None]]
"""What was found, whether several witnesses agree on it, and when the question was asked."""


class Silences:
    """One target's questions, one at a time: `asked` before each, `ended` after it.

    A question that is answered in time costs one timer and no task.
    """

    def __init__(
        self,
        *,
        probe: Callable[[float], Awaitable[Reach]],
        knock: Callable[[float], Awaitable[bool]],
        unheard: Callable[[], bool | None],
        tell: Tell,
    ) -> None:
        self._probe = probe
        self._knock = knock
        self._unheard = unheard
        self._tell = tell
        self._timer: asyncio.TimerHandle | None = None
        self._asked_s = 0.0
        self._due_s = 0.0
        self._over: asyncio.Future[None] | None = None
        """Set once the question has ended, however it did."""
        self._asking: asyncio.Task[None] | None = None

    def asked(self, limits: Patience, asked_at: datetime) -> None:
        """A question goes out now."""
        self._asked_s = asyncio.get_running_loop().time()
        self._await_silence(limits, asked_at)

    def _await_silence(self, limits: Patience, asked_at: datetime) -> None:
        loop = asyncio.get_running_loop()
        self._due_s = loop.time() + limits.unheard_after_s
        self._timer = loop.call_at(self._due_s, self._late, limits, asked_at)

    async def ended(self) -> None:
        """It was answered, or never will be; what is being told meanwhile is told to its end."""
        if self._timer is not None:
            self._timer.cancel()
        asking, self._asking = self._asking, None
        if asking is not None and self._over is not None:
            self._over.set_result(None)
            await asking

    def _late(self, limits: Patience, asked_at: datetime) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() - self._due_s > OWN_LAG_S:
            # Late ourselves: the answer may be here already, among much else that waits its turn.
            self._await_silence(limits, asked_at)
            return
        self._over = asyncio.get_running_loop().create_future()
        self._asking = asyncio.create_task(self._find_witnesses(limits, asked_at, self._over))

    async def _find_witnesses(
        self, limits: Patience, asked_at: datetime, over: asyncio.Future[None]
    ) -> None:
        """At once where the other machine is not heard; else only once the answer is really late:
        a server that is heard and thinks needs no more load.
        """
        if not self._unheard():
            await asyncio.wait({over}, timeout=limits.slow_after_s - limits.unheard_after_s)
        if not over.done():
            await self._ask_witnesses(limits, asked_at, over)

    async def _ask_witnesses(
        self, limits: Patience, asked_at: datetime, over: asyncio.Future[None]
    ) -> None:
        loop = asyncio.get_running_loop()
        # It ends before the verdict, so that how far it got is known by then.
        left_s = limits.hung_after_s - PROBE_FIRST_S - (loop.time() - self._asked_s)
        probe = asyncio.ensure_future(self._probe(max(left_s, PROBE_S_MIN)))
        knocks: dict[asyncio.Future[bool], float] = {}
        answered, told, suspected = False, False, False
        try:
            while not over.done():
                if not answered or (not told and self._may_be_hung(limits, probe)):
                    # One that is answered late lost a packet on its way, too.
                    patient_s = _lost_after_s(limits) if answered else limits.silent_after_s
                    knocks[asyncio.ensure_future(self._knock(patient_s))] = loop.time()
                pace_s = AFTERWARDS_S if told else limits.knock_every_s
                await asyncio.wait({over}, timeout=pace_s)
                answered = answered or any(k.done() and k.result() for k in knocks)
                heard = self._heard(limits, probe, knocks, answered=answered)
                if not suspected and suspicious(heard, limits):
                    # Said before anybody is sure: who is silent together must show in time.
                    suspicion = _silence(ReachState.TIMEOUT, heard.waited_s)
                    await self._tell(suspicion, False, asked_at)
                    suspected = True
                if not told and heard.reach is not None and hear(heard, limits) is Hearing.DOWN:
                    await self._tell(heard.reach, True, asked_at)
                    told = True
                if answered:
                    # From here on mostly the question and the probe can tell.
                    await asyncio.wait({over, probe}, timeout=limits.knock_every_s)
        finally:
            for task in (probe, *knocks):
                task.cancel()
            await asyncio.gather(probe, *knocks, return_exceptions=True)

    def _may_be_hung(self, limits: Patience, probe: asyncio.Future[Reach]) -> bool:
        """Then the fate of further knocks tells a hung server from a way that loses packets."""
        if probe.done() and probe.result().state is not ReachState.HUNG:
            return False
        return asyncio.get_running_loop().time() - self._asked_s >= limits.silent_after_s

    def _heard(
        self,
        limits: Patience,
        probe: asyncio.Future[Reach],
        knocks: dict[asyncio.Future[bool], float],
        *,
        answered: bool,
    ) -> Witnesses:
        now_s, unheard = asyncio.get_running_loop().time(), self._unheard()
        waited_s = now_s - self._asked_s
        reach = None
        if probe.done():
            reach = probe.result()
        elif waited_s >= limits.silence_s(unheard=unheard):
            # What it amounts to by now, without waiting for its own deadline.
            reach = _silence(ReachState.HUNG if answered else ReachState.TIMEOUT, waited_s)
        return Witnesses(
            waited_s=waited_s,
            knocks=sum(now_s - at >= KNOCK_SILENT_S for at in knocks.values()),
            unheard=unheard,
            knock_answered=answered,
            knocks_lost=_lost_between(knocks, now_s, limits),
            reach=reach,
        )


def _lost_between(knocks: dict[asyncio.Future[bool], float], now_s: float, limits: Patience) -> int:
    answered_s = max((at for k, at in knocks.items() if k.done() and k.result()), default=0.0)
    return sum(
        not k.result() if k.done() else now_s - at >= _lost_after_s(limits)
        for k, at in knocks.items()
        if at < answered_s
    )


def _lost_after_s(limits: Patience) -> float:
    return max(KNOCK_LOST_S, limits.unheard_after_s)


def _silence(state: ReachState, waited_s: float) -> Reach:
    return Reach(state=state, layers=(), elapsed_ms=waited_s * 1000)
