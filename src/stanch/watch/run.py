"""The loop of one target: ask once a second, and find out at once when the answer stays away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from stanch.model.errors import ProbeFailed
from stanch.model.host import Volume
from stanch.model.ids import TargetName
from stanch.model.reach import Reach, ReachState
from stanch.model.samples import Sample
from stanch.model.vitals import Vitals
from stanch.watch.silence import (
    SILENT_STATES,
    Hearing,
    Patience,
    Witnesses,
    hear,
    patience,
)

REPROBE_S = (0.05, 0.1, 0.25, 0.5, 1.0)
"""Waits between probes while a target is down; the last one repeats."""

AUTH_RETRY_S = 60.0
"""After refused credentials: our own retries must not look like an attack."""

PROBE_DEADLINE_S = 2.0
VOLUMES_EVERY_S = 2.0
GREET_EVERY_S = 1.5
GREET_FIRST_S = 1.0
GREETINGS = 6
GREET_APART_S = 0.15
GREET_AGAIN_S = 1.2
"""With three packets in ten lost, six greetings that are accepted and then unanswered for 1.2 s
happen less than once in 10,000; all of it together stays below five seconds."""
KNOCK_SILENT_S = 0.3
"""A knock younger than this may still be answered and counts for nothing."""


class WatchSession(Protocol):
    """The one open session of a target."""

    @property
    def is_open(self) -> bool: ...

    @property
    def round_trip_s(self) -> float: ...

    async def open(self, deadline_s: float) -> Reach:
        """One try; how far it got. `is_open` says whether there is a session now."""
        ...

    async def vitals(self, *, timeout_s: float) -> Vitals:
        """Raises ProbeFailed; a question too late to answer leaves the session closed."""
        ...

    async def lost(self) -> datetime:
        """Returns when the session is lost, at once if it already is."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Eyes:
    """Everything through which one target is seen."""

    session: WatchSession
    probe: Callable[[float], Awaitable[Reach]]
    """A full layered probe within so many seconds."""
    knock: Callable[[float], Awaitable[bool]]
    """One bare connection attempt: True if anything answered, an acceptance or a refusal."""
    greet: Callable[[float], Awaitable[bool]]
    """False: a new connection is accepted and never answered, whatever open sessions say."""
    volumes: Callable[[], Awaitable[tuple[Volume, ...] | None]]
    doubts: Callable[[], Awaitable[tuple[str, ...]]]
    """Why a silence may be our own fault right now."""
    now: Callable[[], datetime]


class TargetWatch:
    """Watches one target until cancelled; each look is handed to `emit`."""

    def __init__(
        self,
        target: TargetName,
        eyes: Eyes,
        emit: Callable[[Sample], Awaitable[None]],
        *,
        every_s: float,
    ) -> None:
        self._target = target
        self._eyes = eyes
        self._emit = emit
        self._every_s = every_s
        self._volumes_at = 0.0
        self._telling = asyncio.Lock()
        """Two tasks look; what they see is told one after the other."""
        self._lets_in = True
        """New connections are answered, as far as the last greeting tells."""
        self.last_sample_at: datetime | None = None
        """For metrics and readiness."""

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._ask_on())
                both.create_task(self._greet_on())
        finally:
            await self._eyes.session.close()

    async def _ask_on(self) -> None:
        lost_at: datetime | None = None
        while True:
            if not self._eyes.session.is_open:
                await self._find_out(lost_at)
            lost_at = await self._look()
            if lost_at is None:
                lost_at = await self._pause()

    async def _greet_on(self) -> None:
        """An open session cannot notice that nobody new is let in."""
        while True:
            await asyncio.sleep(GREET_EVERY_S)
            greeted_at = self._eyes.now()
            reach = await self._turned_away() if self._eyes.session.is_open else None
            self._lets_in = reach is None
            if reach is not None and self._eyes.session.is_open:
                await self._tell(reach=reach, several_witnesses=True, lost_at=greeted_at)

    async def _turned_away(self) -> Reach | None:
        """How a probe ends if nobody new gets an answer; None while anybody does.

        One lost packet leaves a greeting unanswered as well, so several are sent, and each must
        have been accepted and then ignored.
        """
        if await self._eyes.greet(GREET_FIRST_S):
            return None
        probe = asyncio.ensure_future(self._eyes.probe(GREETINGS * GREET_APART_S + GREET_AGAIN_S))
        again = [self._greet_after(n * GREET_APART_S) for n in range(GREETINGS)]
        answered = await asyncio.gather(*again)
        reach = await probe
        return reach if reach.state is ReachState.HUNG and not any(answered) else None

    async def _greet_after(self, wait_s: float) -> bool:
        await asyncio.sleep(wait_s)
        return await self._eyes.greet(GREET_AGAIN_S)

    # --- while a session is open ---

    async def _look(self) -> datetime | None:
        """One question. Returns the moment of loss if the session did not survive it."""
        asked_at = self._eyes.now()
        limits = patience(self._eyes.session.round_trip_s)
        question = asyncio.create_task(self._eyes.session.vitals(timeout_s=limits.hung_after_s))
        try:
            done, _ = await asyncio.wait({question}, timeout=limits.slow_after_s)
            if not done:
                await self._question_silence(question, limits, asked_at)
            vitals = await question
        except ProbeFailed:
            return None if self._eyes.session.is_open else asked_at
        finally:
            question.cancel()
        await self._tell(vitals=vitals)
        return None

    async def _question_silence(
        self, question: asyncio.Task[Vitals], limits: Patience, asked_at: datetime
    ) -> None:
        """Ask other witnesses until the answer comes, or all agree that none will."""
        loop = asyncio.get_running_loop()
        began = loop.time() - limits.slow_after_s
        probe = asyncio.ensure_future(self._eyes.probe(limits.hung_after_s))
        knocks: dict[asyncio.Task[bool], float] = {}
        answered, told = False, False
        try:
            while not question.done():
                if not answered:
                    knock = asyncio.ensure_future(self._knock(limits.hung_after_s))
                    knocks[knock] = loop.time()
                await asyncio.wait({question}, timeout=limits.knock_every_s)
                answered = answered or any(k.done() and k.result() for k in knocks)
                waited_s = loop.time() - began
                heard = Witnesses(
                    waited_s=waited_s,
                    knocks=sum(loop.time() - at >= KNOCK_SILENT_S for at in knocks.values()),
                    knock_answered=answered,
                    reach=_reach_so_far(probe, waited_s, limits, answered=answered),
                )
                if not told and hear(heard, limits) is Hearing.DOWN:
                    await self._tell(reach=heard.reach, several_witnesses=True, lost_at=asked_at)
                    told = True
                if answered:
                    # Nothing more to knock for: only the question and the probe can still tell.
                    await asyncio.wait({question, probe}, timeout=limits.knock_every_s)
        finally:
            for task in (probe, *knocks):
                task.cancel()
            await asyncio.gather(probe, *knocks, return_exceptions=True)

    async def _knock(self, deadline_s: float) -> bool:
        return await self._eyes.knock(deadline_s)

    async def _pause(self) -> datetime | None:
        """Until the next question is due, or the session is lost: then at once."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._every_s):
                return await self._eyes.session.lost()
        return None

    # --- while there is none ---

    async def _find_out(self, lost_at: datetime | None) -> None:
        """Probe until the target lets us in again; every finding is told."""
        agreeing, tries = 0, 0
        before: ReachState | None = None
        while not self._eyes.session.is_open:
            reach = await self._eyes.session.open(PROBE_DEADLINE_S)
            agreeing = agreeing + 1 if reach.state is before else 1
            before = reach.state
            # A lost session and a probe are two witnesses; without one, two probes must agree.
            # Silence is never confirmed by a single probe: its packets may just be lost.
            needed = 1 if lost_at is not None and reach.state not in SILENT_STATES else 2
            await self._tell(reach=reach, several_witnesses=agreeing >= needed, lost_at=lost_at)
            if not self._eyes.session.is_open:
                await asyncio.sleep(_reprobe_s(reach.state, tries))
            tries += 1

    # --- telling ---

    async def _tell(
        self,
        *,
        vitals: Vitals | None = None,
        reach: Reach | None = None,
        several_witnesses: bool = False,
        lost_at: datetime | None = None,
    ) -> None:
        silent = reach is not None and reach.state in SILENT_STATES | {ReachState.HUNG}
        doubts = await self._eyes.doubts() if silent else ()
        async with self._telling:
            volumes = await self._volumes()
            self.last_sample_at = self._eyes.now()
            await self._emit(
                Sample(
                    target=self._target,
                    at=self.last_sample_at,
                    vitals=vitals,
                    lets_in=self._lets_in,
                    reach=reach,
                    confirmed=several_witnesses and not doubts,
                    doubts=doubts,
                    lost_at=lost_at,
                    volumes=volumes,
                )
            )

    async def _volumes(self) -> tuple[Volume, ...] | None:
        now_s = asyncio.get_running_loop().time()
        if now_s < self._volumes_at:
            return None
        self._volumes_at = now_s + VOLUMES_EVERY_S
        return await self._eyes.volumes()


def _reach_so_far(
    probe: asyncio.Future[Reach], waited_s: float, limits: Patience, *, answered: bool
) -> Reach | None:
    """The probe's finding; once silence has lasted, what it amounts to without waiting longer."""
    if probe.done():
        return probe.result()
    if waited_s < limits.silent_after_s:
        return None
    state = ReachState.HUNG if answered else ReachState.TIMEOUT
    return Reach(state=state, layers=(), elapsed_ms=waited_s * 1000)


def _reprobe_s(state: ReachState, tries: int) -> float:
    if state is ReachState.AUTH_FAILED:
        return AUTH_RETRY_S
    return REPROBE_S[min(tries, len(REPROBE_S) - 1)]
