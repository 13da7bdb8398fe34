"""The main job put together: watching, paging and acting over one house.

`stanch run` and the simulator build it here, so that what is simulated is what runs. What differs
comes in from outside: the clock, the store, the channels, and the hands for each target.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from stanch.detect.engine import Remembered
from stanch.diagnose.catalogue import BY_ID, explained_by
from stanch.incident.correlate import Explains
from stanch.incident.state import Incident
from stanch.model import events as e
from stanch.model.ids import RESPONDER, ChannelName, IncidentId, TargetName
from stanch.model.ports.acting import BootClock
from stanch.model.ports.channels import ChannelPort
from stanch.model.restarts import PageAfter
from stanch.policy.policy import TargetPolicy
from stanch.respond.actions.catalogue import CATALOGUE
from stanch.respond.runbook import Runbook
from stanch.service.doing.acting import Acting, Hands
from stanch.service.doing.emergency import Emergency, Spool
from stanch.service.doing.paging import Paging
from stanch.service.doing.proposing import proposer
from stanch.service.doing.underway import UnderWay
from stanch.service.doing.watching import Watching, as_said
from stanch.service.engine import Engine
from stanch.service.house import House, Store
from stanch.service.pipeline import Pipeline
from stanch.service.record.baselines import nothing_kept
from stanch.service.supervisor import contained
from stanch.steps.action import Action
from stanch.steps.run import Clocks
from stanch.store.timelines import ANSWER_S_MAX

ENDED_MAX = 200
"""So many of the newest incidents may still be reopened by a symptom after a restart."""

OPEN_MAX = 100_000
TOGETHER = 64


def explains() -> Explains:
    """Per cause, the symptoms it brings about, itself or through what it brings about."""
    return {cause_id: explained_by(cause_id) for cause_id in BY_ID}


class Core:
    """`watching` takes samples, `engine` does what is due; call `resume` before either."""

    def __init__(
        self,
        house: House,
        *,
        boot: BootClock,
        ports: Mapping[ChannelName, ChannelPort],
        spool: Spool,
        hands: Callable[[TargetName], Hands | None],
        runbooks: Sequence[Runbook],
        on_failure: Callable[[str], None],
        on_store_failure: Callable[[], None],
        actions: Mapping[str, Action] = CATALOGUE,
        usual: Callable[[TargetName], Remembered] = nothing_kept,
        late_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`on_failure` counts bugs by the name of the task, `on_store_failure` vain claims;
        `late_s` is how long this process has stood still in all."""
        self.house = house
        self.ports = ports
        self.runbooks = runbooks
        self._actions = actions
        self._boot = boot
        self._hands = hands
        self._on_failure = on_failure
        self._on_store_failure = on_store_failure
        self.under_way = UnderWay()
        self._paging = Paging(
            book=house.book,
            timelines=house.store,
            clock=house.clock,
            ports=ports,
            heads=house.store.heads,
        )
        self.emergency = Emergency(
            book=house.book,
            policies=house.policies,
            clock=house.clock,
            ports=lambda: self.ports,
            spool=spool,
        )
        self.watching = Watching(
            book=house.book,
            policies=house.policies,
            standing=house.standing,
            clock=house.clock,
            explains=explains(),
            emergency=self.emergency.symptom,
            page_after=self._page_after,
            busy=self.under_way.on,
            usual=usual,
            late_s=late_s,
        )
        self.engine = self._make_engine()

    def _page_after(self, target: TargetPolicy) -> PageAfter:
        hands = self._hands(TargetName(target.name))
        return as_said(target) if hands is None else hands.page_after()

    def _make_engine(self) -> Engine:
        house = self.house
        acting = Acting(
            book=house.book,
            timelines=house.store,
            clock=house.clock,
            clocks=Clocks(boot=self._boot, at=house.clock.now),
            standing=house.standing,
            hands=self._hands,
            propose=proposer(lambda: self.runbooks, self._actions),
            actions=self._actions,
            open_incidents=self.watching.still_open,
            under_way=self.under_way,
        )
        pipeline = Pipeline(
            book=house.book,
            policies=house.policies,
            clock=house.clock,
            paging=self._paging,
            acting=acting,
        )
        work = contained(pipeline.work, now=house.clock.now, on_failure=self._on_failure)
        engine = Engine(house.store, house.clock, work, on_unavailable=self._unavailable)
        house.book.on_append = engine.poke
        return engine

    def use_channels(self, ports: Mapping[ChannelName, ChannelPort]) -> None:
        """From now on messages go out over these."""
        self.ports = ports
        self._paging.ports = ports

    async def resume(self, started: e.ResponderStarted) -> None:
        """Take up what an earlier process left: say so, and put the current policy in force."""
        house = self.house
        latest = await _last_moment(house.store, RESPONDER)
        still_open = await house.operations.incidents(open_only=True, limit=OPEN_MAX)
        # Many with one commit: nothing is watched before all of them are taken up.
        for first in range(0, len(still_open), TOGETHER):
            some = still_open[first : first + TOGETHER]
            await asyncio.gather(*(self._take_up(incident, latest) for incident in some))
        recent = await house.operations.incidents(open_only=False, limit=ENDED_MAX)
        ended = [i for i in recent if i.status.ended]
        await self.watching.resume([*ended, *still_open])
        await house.book.record(RESPONDER, started)
        # From here on a journal that hangs is no reason to wait: pages go out without it.
        house.store.answer_s = ANSWER_S_MAX

    async def _take_up(self, incident: Incident, latest: datetime | None) -> None:
        house = self.house
        newest = await _last_moment(house.store, incident.id, after_seq=incident.seq - 1)
        away_since = max(filter(None, (latest, newest)), default=None)
        facts: list[e.Event] = [e.ResponderResumed(away_since=away_since)]
        if incident.policy_hash != house.policies.current_hash:
            facts.append(e.PolicyApplied(policy_hash=house.policies.current_hash, by="start"))
        await house.book.record(incident.id, *facts)

    async def _unavailable(self) -> None:
        self._on_store_failure()
        await self.emergency.overdue()


async def _last_moment(
    store: Store, timeline: IncidentId, *, after_seq: int = 0
) -> datetime | None:
    entries = await store.read(timeline, after_seq=after_seq)
    return entries[-1].at if entries else None
