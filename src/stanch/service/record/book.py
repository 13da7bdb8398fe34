"""Incidents as the service works with them: folded at their head, changed only through events."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from weakref import WeakValueDictionary

from stanch.incident.fold import apply
from stanch.incident.state import Incident
from stanch.model.errors import StaleDecision, StoreUnavailable
from stanch.model.events import ChangesNoted, Event, IncidentOpened, IncidentReopened
from stanch.model.ids import IncidentId, TargetName
from stanch.model.plans import Refusal
from stanch.model.ports.timelines import Timelines
from stanch.model.timeline import Append, Claim, Recorded
from stanch.service.clock import Clock

CACHED_MAX = 1024
OPEN_MAX = CACHED_MAX // 2
DECIDE_TRIES = 8

Decider = Callable[[Incident, datetime], Sequence[Event] | Refusal]


class Book:
    """Reads, decides and records; whoever waits for due work is told of every change."""

    def __init__(self, timelines: Timelines, clock: Clock) -> None:
        self._timelines = timelines
        self._clock = clock
        self._folded: OrderedDict[IncidentId, Incident] = OrderedDict()
        self._turns: WeakValueDictionary[IncidentId, asyncio.Lock] = WeakValueDictionary()
        self._openings: WeakValueDictionary[TargetName, asyncio.Lock] = WeakValueDictionary()
        self._doubtful: set[IncidentId] = set()
        """Of these more may be written than is in memory: the answer to an append never came."""
        self._in_doubt = False
        """An incident may be open of which nobody here knows: its writing got no answer."""
        self.on_open: Callable[[Incident], None] = lambda incident: None
        """Told of every open incident when it is first seen, whoever opened it. May come twice:
        one that nobody got an answer for, because the disk was slow, is met when it is due."""
        self.beside_opening: Callable[[TargetName, datetime], Sequence[Event]] = lambda t, at: ()
        """What is known already about the target when an incident opens, or opens again; asked at
        once, so that it is in one entry with the rest."""
        self.on_append: Callable[[], None] = lambda: None
        """Told of every append: something else may be due now."""

    async def get(self, incident_id: IncidentId) -> Incident:
        """The incident at its head. One without events where there is no such incident."""
        if incident_id in self._doubtful:
            await self._settle_doubt(incident_id)
        known = self._folded.get(incident_id) or Incident(id=incident_id)
        return self._keep(known, await self._timelines.read(incident_id, after_seq=known.seq))

    async def _settle_doubt(self, incident_id: IncidentId) -> None:
        """Until an append that nobody waits for any more has come to its end, either way."""
        # Discarded first: whatever fails to be written meanwhile makes it doubtful again.
        self._doubtful.discard(incident_id)
        try:
            await self._timelines.settled()
        except BaseException:
            self._doubtful.add(incident_id)
            raise

    async def at_hand(self, incident_id: IncidentId) -> Incident:
        """Like `get`, from memory where it is there: nobody but this process writes.

        An append on it is refused all the same where somebody else did.
        """
        known = self._folded.get(incident_id)
        if known is None or incident_id in self._doubtful:
            return await self.get(incident_id)
        self._folded.move_to_end(incident_id)
        return known

    def known(self) -> Sequence[Incident]:
        """What is in memory, for when the store cannot be asked."""
        return tuple(self._folded.values())

    async def open(self, events: Sequence[Event]) -> Incident:
        """A new incident that begins with these events. Raises StoreUnavailable."""
        at = self._clock.now()
        beside = [fact for opened in events[:1] for fact in self._beside(opened, at)]
        first = Append(incident_id=IncidentId(""), basis_seq=0, at=at, events=(*events, *beside))
        try:
            recorded = await self._timelines.open_incident(at, first)
        except StoreUnavailable:
            self._in_doubt = True
            raise
        self.on_append()
        return self._keep(Incident(id=recorded[0].incident_id), recorded)

    def _beside(self, opened: Event, at: datetime) -> Sequence[Event]:
        return self.beside_opening(opened.target, at) if isinstance(opened, IncidentOpened) else ()

    def _beside_again(
        self, decided: Sequence[Event], incident: Incident, at: datetime
    ) -> Sequence[Event]:
        """What has become known since it opened first; what it says already is not said twice."""
        if not any(isinstance(event, IncidentReopened) for event in decided):
            return ()
        said = incident.changes.changes if incident.changes is not None else ()
        beside = self.beside_opening(incident.target, at)
        return [f for f in beside if not (isinstance(f, ChangesNoted) and f.changes == said)]

    async def record(self, incident_id: IncidentId, *facts: Event) -> Incident:
        """Facts are never refused, at worst marked late. Raises StoreUnavailable."""
        assert all(fact.nature == "fact" for fact in facts)
        async with self._turn(incident_id):
            basis = self._folded.get(incident_id)
            return await self._append(incident_id, basis.seq if basis else 0, facts, None)

    async def decide(
        self, incident_id: IncidentId, decider: Decider, *, lease: Claim | None = None
    ) -> Incident | Refusal:
        """Decide on the newest state; on a conflict read again and decide again.

        Raises StaleDecision when the lease was lost, or the same conflict comes back each time:
        then the decision has been made by somebody else. Raises StoreUnavailable.
        """
        for tries_left in reversed(range(DECIDE_TRIES)):
            async with self._turn(incident_id):
                incident = await self.at_hand(incident_id)
                at = self._clock.now()
                decided = decider(incident, at)
                if isinstance(decided, Refusal):
                    return decided
                if not decided:
                    return incident
                events = (*decided, *self._beside_again(decided, incident, at))
                try:
                    return await self._append(incident_id, incident.seq, events, lease)
                except StaleDecision:
                    if tries_left == 0:
                        raise
        raise AssertionError("unreachable")

    @asynccontextmanager
    async def opening(self, target: TargetName) -> AsyncGenerator[None]:
        """Held from looking at a target's incidents until the new one is open: one at a time.

        Raises StoreUnavailable while it is in doubt what an earlier opening came to.
        """
        lock = self._openings.get(target)
        if lock is None:
            lock = self._openings[target] = asyncio.Lock()
        async with lock:
            await self._settle()
            yield

    async def _settle(self) -> None:
        """Meet what was opened although the answer never came, else it would be opened again."""
        if not self._in_doubt:
            return
        self._in_doubt = False
        try:
            await self._timelines.settled()
            for incident_id in await self._timelines.incident_ids(open_only=True, limit=OPEN_MAX):
                if incident_id not in self._folded:
                    await self.get(incident_id)
        except StoreUnavailable:
            self._in_doubt = True
            raise

    def _turn(self, incident_id: IncidentId) -> asyncio.Lock:
        """Appends of this process to one incident queue, so that none of them is late."""
        lock = self._turns.get(incident_id)
        if lock is None:
            lock = self._turns[incident_id] = asyncio.Lock()
        return lock

    async def _append(
        self, incident_id: IncidentId, basis_seq: int, events: Sequence[Event], lease: Claim | None
    ) -> Incident:
        entry = Append(
            incident_id=incident_id,
            basis_seq=basis_seq,
            at=self._clock.now(),
            events=tuple(events),
            lease=lease,
        )
        try:
            recorded = await self._timelines.append(entry)
        except BaseException:
            self._doubtful.add(incident_id)
            raise
        self.on_append()
        known = self._folded.get(incident_id) or Incident(id=incident_id)
        if known.seq + 1 != recorded[0].seq:
            return await self.get(incident_id)
        return self._keep(known, recorded)

    def _keep(self, known: Incident, recorded: Sequence[Recorded]) -> Incident:
        for entry in recorded:
            if entry.seq > known.seq:
                known = apply(known, entry)
        newer = self._folded.get(known.id)
        if newer is not None and newer.seq > known.seq:
            return newer
        if known.id not in self._folded and known.opened_at and not known.status.ended:
            self.on_open(known)
        self._folded[known.id] = known
        self._folded.move_to_end(known.id)
        while len(self._folded) > CACHED_MAX:
            self._folded.popitem(last=False)
        return known
