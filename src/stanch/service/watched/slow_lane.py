"""The slow lane of one target, and the one way to log in at it, before which the lane gives way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from stanch.adapters.postgres.probe import probe
from stanch.adapters.postgres.slow_visit import SlowSessions
from stanch.model.changes import ChangesSeen
from stanch.model.reach import Reach, ReachState
from stanch.model.readings import Reading
from stanch.model.samples import Sample
from stanch.policy.policy import TargetPolicy
from stanch.service.watched.canary import canary_watch
from stanch.service.watched.eyes import SharedSentinel
from stanch.watch.slow.run import SlowLane
from stanch.watch.slow.wellness import in_the_way

TOLD_EVERY = timedelta(minutes=1)
"""How late the slow lane is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchCost:
    """What being watched costs a target at this moment."""

    sessions_held: int
    """Without the acting session."""
    vitals_s: float
    """How long the newest question about vitals took, in all."""
    parse_s: float
    """Of that, our own time to read the answer."""
    slow_look_age_s: float | None


class SlowWatch:
    """Sees to it that beside the sessions that stay open there is never more than one of ours."""

    def __init__(
        self, target: TargetPolicy, sentinel: SharedSentinel, *, now: Callable[[], datetime]
    ) -> None:
        self._dsn = target.dsn
        self._sentinel = sentinel
        self._now = now
        self._every_s = target.slow_every_s
        self._began_at = now()
        self._told_at: datetime | None = None
        self._logins = 0
        self._last: Sample | None = None
        self._version_num = 0
        self._refused = False
        """The last login that was tried by anybody was not let in."""
        self.canary = canary_watch(target, sentinel, gate=self, now=now)
        self.lane = SlowLane(
            SlowSessions(target.dsn),
            version_num=lambda: self._version_num,
            in_the_way=self._in_the_way,
            now=now,
            every_s=target.slow_every_s,
        )

    async def run(self) -> None:
        await self.lane.run()

    async def write(self) -> None:
        """The canary, until cancelled; returns at once where the policy wants none."""
        if self.canary is not None:
            await self.canary.run()

    async def probe(self, deadline_s: float) -> Reach:
        """Whoever probes this target does it here: wrong credentials are tried once a minute."""
        if (known := await self._sentinel.while_refused(deadline_s)) is not None:
            return known
        self._logins += 1
        self.lane.give_way()
        try:
            one_try = self._sentinel.one_try
            reach = await probe(self._dsn, deadline_s=deadline_s, one_try=one_try)
        finally:
            self._logins -= 1
        self._refused = not reach.answers
        if reach.state is ReachState.AUTH_FAILED:
            self._sentinel.note_refusal(reach)
        return reach

    def note(self, sample: Sample) -> None:
        """The newest sample: whether the target is well, and which version it is."""
        self._last = sample
        if sample.vitals is not None:
            self._version_num = sample.vitals.version_num

    @property
    def sessions_held(self) -> int:
        """The sentinel, a login under way, a visit, a write; without the acting session."""
        held = int(self._sentinel.is_open) + self._logins + int(self.lane.visiting)
        return held + int(self._writing)

    @property
    def _writing(self) -> bool:
        return self.canary is not None and self.canary.writing

    # --- what the canary asks before it writes ---

    def reads_work(self) -> bool:
        return self._last is not None and self._last.vitals is not None

    def in_recovery(self) -> bool:
        vitals = self._last.vitals if self._last is not None else None
        return vitals is not None and vitals.in_recovery

    def no_write(self) -> str:
        """Why no session should be opened now to write; empty where it may."""
        if not self._sentinel.is_open or not self.reads_work():
            return "the server is not read"
        if self._refused:
            return "the last login was not let in"
        busy = self._logins or self.lane.visiting
        return "another session is open" if busy else ""

    def seen(self) -> ChangesSeen:
        """How far the lane has looked."""
        lane = self.lane
        return ChangesSeen(looked_at=lane.looked_at, skipped=lane.skipped or lane.left_out)

    def cost(self, at: datetime) -> WatchCost:
        """What being watched costs this target."""
        looked_at = self.lane.looked_at
        return WatchCost(
            sessions_held=self.sessions_held,
            vitals_s=self._sentinel.vitals_s,
            parse_s=self._sentinel.parse_s,
            slow_look_age_s=None if looked_at is None else (at - looked_at).total_seconds(),
        )

    def take(self) -> tuple[Reading, ...]:
        written = self.canary.take() if self.canary is not None else ()
        return (*self.lane.take(), *self._late(), *written)

    def _late(self) -> tuple[Reading, ...]:
        """By how much a whole look is overdue. Of a server that is not reached nobody expects one;
        that it is not is told by others."""
        at = self._now()
        if self._told_at is not None and at - self._told_at < TOLD_EVERY:
            return ()
        self._told_at = at
        since = self.lane.looked_at or self._began_at
        late_s = max(0.0, (at - since).total_seconds() - self._every_s)
        value = late_s if self._sentinel.is_open else None
        return (Reading(name="slow_look_late_s", value=value, detail=self.seen().skipped),)

    def _in_the_way(self) -> str:
        if not self._sentinel.is_open:
            return "no session is open"
        if self._writing:
            return "the canary is writing"
        return "somebody is logging in" if self._logins else in_the_way(self._last)
