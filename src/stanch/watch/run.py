"""The loop of one target: ask once a second, and find out at once when the answer stays away."""

from __future__ import annotations

import asyncio
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
from stanch.policy.quoting import printable
from stanch.watch.knocks.run import knocking_beside
from stanch.watch.newcomers.run import Newcomers
from stanch.watch.silence import SILENT_STATES, UNHEARD_STATES, Agreement, patience
from stanch.watch.silences.run import Silences

LEFT_OUT_EVERY_S_MAX = 1.0
"""Who is looked at more seldom is never passed over: no sample gets older than three seconds."""

REPROBE_S = (0.05, 0.1, 0.25, 0.5, 1.0)
"""Waits between probes while a target is down; the last one repeats."""

PROBE_DEADLINE_S = 2.0
VOLUMES_EVERY_S = 2.0
VOLUMES_S_MAX = 0.25
"""So long a sample waits for them."""
UNREAD_MIN = 3
UNREAD_S = 3.0
"""One failed question is no news; so many in a row, or failing for so long, are."""
VERDICT_FIRST_S = 0.5
"""The session is given up so much later than a hung server is told: a session that ends first
would take the verdict with it, and finding out anew costs two seconds."""


class WatchSession(Protocol):
    """The one open session of a target."""

    @property
    def is_open(self) -> bool: ...

    @property
    def round_trip_s(self) -> float: ...

    @property
    def unheard(self) -> bool | None:
        """What was sent is not confirmed by the other machine; None where nobody can tell."""
        ...

    async def open(self, deadline_s: float) -> Reach:
        """One try; how far it got. `is_open` says whether there is a session now.

        Refused credentials are left alone for a minute: until then it is the same refusal again
        while the server answers at all, else how it is gone.
        """
        ...

    async def vitals(self, *, timeout_s: float) -> Vitals:
        """Raises ProbeFailed; a question too late to answer leaves the session closed."""
        ...

    async def lost(self) -> datetime:
        """Returns when the session is lost, at once if it already is."""
        ...

    async def lost_within(self, wait_s: float) -> datetime | None:
        """The same; None if it is still open after so many seconds. One caller at a time."""
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
    has_volumes: Callable[[], bool]
    """False: it is known without asking that there are none to be seen from here."""
    doubts: Callable[[], Awaitable[tuple[str, ...]]]
    """Why a silence may be our own fault right now."""
    now: Callable[[], datetime]
    gives_way: Callable[[], bool] = lambda: False
    """A look that is not urgent had better be left out, because people are being told."""


@dataclass(slots=True, kw_only=True)
class _Unread:
    """A run of failed questions on a session that lives."""

    since: datetime
    since_s: float
    failures: int = 0
    probed: bool = False

    def lasts(self, now_s: float) -> bool:
        return self.failures >= UNREAD_MIN or now_s - self.since_s >= UNREAD_S


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
        self._looking: asyncio.Future[tuple[Volume, ...] | None] | None = None
        """A look at the volumes that is not done yet."""
        self._telling = asyncio.Lock()
        """Two tasks look; what they see is told one after the other."""
        self._lets_in = True
        """New connections are answered, as far as the last greeting tells."""
        self._newcomers = Newcomers(probe=eyes.probe, greet=eyes.greet, knock=eyes.knock)
        self._silences = Silences(
            probe=eyes.probe,
            knock=eyes.knock,
            unheard=lambda: eyes.session.unheard,
            tell=self._tell_silence,
        )
        self._unread: _Unread | None = None
        self.last_sample_at: datetime | None = None
        """For metrics and readiness."""

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._ask_on())
                both.create_task(self._greet_on())
        finally:
            if self._looking is not None:
                self._looking.cancel()
            await self._eyes.session.close()

    async def _ask_on(self) -> None:
        lost_at: datetime | None = None
        while True:
            if not self._eyes.session.is_open:
                await self._find_out(lost_at)
            lost_at = await self._look()
            if lost_at is None:
                lost_at = await self._eyes.session.lost_within(self._every_s)
            if lost_at is None and self._may_be_left_out():
                # A whole turn, so that the looks stay as spread as they were; never two in a row.
                lost_at = await self._eyes.session.lost_within(self._every_s)

    def _may_be_left_out(self) -> bool:
        """This look may: the last one found nothing wrong."""
        healthy = self._unread is None and self._lets_in
        return healthy and self._every_s <= LEFT_OUT_EVERY_S_MAX and self._eyes.gives_way()

    async def _greet_on(self) -> None:
        """An open session cannot notice that nobody new is let in."""
        while True:
            await self._newcomers.until_next()
            if self._may_be_left_out():
                await self._newcomers.until_next()
            greeted_at = self._eyes.now()
            reach = None
            if self._eyes.session.is_open:
                limits = patience(self._eyes.session.round_trip_s)
                reach = await self._newcomers.kept_out(limits)
            self._lets_in = reach is None and not self._newcomers.stuck
            if reach is not None and self._eyes.session.is_open:
                await self._tell(reach=reach, several_witnesses=True, lost_at=greeted_at)
                if reach.state is ReachState.SHUTTING_DOWN:
                    # It waits for every session to end, and ours would keep it for ever.
                    await self._eyes.session.close()

    # --- while a session is open ---

    async def _look(self) -> datetime | None:
        """One question. Returns the moment of loss if the session did not survive it."""
        asked_at = self._eyes.now()
        limits = patience(self._eyes.session.round_trip_s)
        until_s = limits.hung_after_s + VERDICT_FIRST_S
        vitals, why = None, ""
        self._silences.asked(limits, asked_at)
        try:
            vitals = await self._eyes.session.vitals(timeout_s=until_s)
        except ProbeFailed as failed:
            why = printable(str(failed))
        finally:
            await self._silences.ended()
        if vitals is None:
            return await self._not_read(asked_at, why) if self._eyes.session.is_open else asked_at
        if self._unread is not None:
            self._unread = None
            self._newcomers.try_soon()
        await self._tell(vitals=vitals)
        return None

    async def _not_read(self, asked_at: datetime, why: str) -> datetime | None:
        """An error in place of vitals. Returns the moment of loss if the session went meanwhile."""
        loop = asyncio.get_running_loop()
        if self._unread is None:
            self._unread = _Unread(since=asked_at, since_s=loop.time())
        unread = self._unread
        unread.failures += 1
        if not unread.lasts(loop.time()):
            return None
        reach = None
        if not unread.probed:
            unread.probed = True
            reach = await self._probe_or_loss()
            if isinstance(reach, datetime):
                return reach
            if reach.state is ReachState.HUNG:
                # Failed questions and a login without an end; from here on the greetings follow it.
                self._newcomers.note_hung()
                self._lets_in = False
        sure = reach is not None and reach.state not in SILENT_STATES
        await self._tell(reach=reach, several_witnesses=sure, lost_at=unread.since, unread=why)
        return None

    async def _probe_or_loss(self) -> Reach | datetime:
        limits = patience(self._eyes.session.round_trip_s)
        probe = asyncio.ensure_future(self._eyes.probe(limits.hung_after_s))
        lost = asyncio.ensure_future(self._eyes.session.lost())
        try:
            await asyncio.wait({probe, lost}, return_when=asyncio.FIRST_COMPLETED)
            return lost.result() if lost.done() else probe.result()
        finally:
            probe.cancel()
            lost.cancel()
            await asyncio.gather(probe, lost, return_exceptions=True)

    # --- while there is none ---

    async def _find_out(self, lost_at: datetime | None) -> None:
        """Probe until the target lets us in again; every finding is told."""
        loop, limits = asyncio.get_running_loop(), patience(self._eyes.session.round_trip_s)
        agreed, tries, sure = Agreement(), 0, False
        self._unread = None
        while not self._eyes.session.is_open:
            began_s = loop.time()
            opening = self._eyes.session.open(PROBE_DEADLINE_S)
            if sure:
                # It is told: nobody else has to be heard any more.
                reach, contradicted = await opening, False
            else:
                reach, knocked = await knocking_beside(opening, self._eyes.knock)
                contradicted = knocked.contradicts(reach.state)
            agreed = agreed.joined_by(reach.state, began_s=began_s, contradicted=contradicted)
            # A login that was ended, too, may have met whoever ended the session.
            after_loss = lost_at is not None and not reach.login_ended
            sure = agreed.enough(loop.time(), limits, after_loss=after_loss)
            await self._tell(reach=reach, several_witnesses=sure, lost_at=lost_at)
            if not self._eyes.session.is_open:
                wait_s, left_s = _reprobe_s(reach.state, tries), agreed.left_s(loop.time(), limits)
                await asyncio.sleep(min(wait_s, left_s) if left_s else wait_s)
            tries += 1
        self._newcomers.note_login()

    # --- telling ---

    async def _tell_silence(self, reach: Reach, sure: bool, asked_at: datetime) -> None:
        await self._tell(reach=reach, several_witnesses=sure, lost_at=asked_at)

    async def _tell(
        self,
        *,
        vitals: Vitals | None = None,
        reach: Reach | None = None,
        several_witnesses: bool = False,
        lost_at: datetime | None = None,
        unread: str = "",
    ) -> None:
        silent = reach is not None and reach.state in UNHEARD_STATES
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
                    refusal=self._newcomers.refusal,
                    unread=unread,
                    reach=reach,
                    confirmed=several_witnesses and not doubts,
                    doubted=several_witnesses and bool(doubts),
                    doubts=doubts,
                    lost_at=lost_at,
                    volumes=volumes,
                )
            )

    async def _volumes(self) -> tuple[Volume, ...] | None:
        """None where it is not time yet, or while a file system hangs: what is seen of the server
        is told all the same, and nobody asks that file system a second time."""
        now_s = asyncio.get_running_loop().time()
        if self._looking is None:
            if now_s < self._volumes_at or not self._eyes.has_volumes():
                return None
            self._volumes_at = now_s + VOLUMES_EVERY_S
            self._looking = asyncio.ensure_future(self._eyes.volumes())
            await asyncio.wait({self._looking}, timeout=VOLUMES_S_MAX)
        if not self._looking.done():
            return None
        looked, self._looking = self._looking, None
        return looked.result()


def _reprobe_s(state: ReachState, tries: int) -> float:
    if state is ReachState.AUTH_FAILED:
        # Not another login: whether the server is still there.
        return REPROBE_S[-1]
    return REPROBE_S[min(tries, len(REPROBE_S) - 1)]
