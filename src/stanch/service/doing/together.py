"""One failure of a cluster in one incident: effects attached, early ones merged, crowds counted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import datetime

import structlog

from stanch.incident.effects import (
    ATTACHED_MAX,
    STANDING_MAX,
    attached,
    breaks,
    cause_of,
    is_effect,
    own,
    own_key,
    still_told,
    the_rest,
    worth_telling,
)
from stanch.incident.merging import taken_in
from stanch.incident.state import Incident
from stanch.model import events as e
from stanch.model.ids import IncidentId, TargetName
from stanch.model.restarts import PageAfter
from stanch.model.symptoms import Symptom, SymptomKind
from stanch.service.clock import Clock
from stanch.service.doing.holding import Holding
from stanch.service.doing.topology import Topology
from stanch.service.record.book import Book

Crowd = tuple[IncidentId, TargetName, SymptomKind]

log = structlog.get_logger("watching")


class Together:
    """Knows what belongs to one failure, wherever in a cluster it is seen."""

    def __init__(
        self,
        book: Book,
        topology: Topology,
        holding: Holding,
        *,
        clock: Clock,
        incidents: Callable[[TargetName], Awaitable[Sequence[Incident]]],
    ) -> None:
        """`incidents`: those of a target that something new may belong to, newest first."""
        self._book = book
        self.topology = topology
        self._holding = holding
        self._clock = clock
        self._incidents = incidents
        self._guest_in: dict[TargetName, set[IncidentId]] = {}
        self._crowds: dict[Crowd, set[str]] = {}
        """Keys that stand in an incident as a number only."""

    @property
    def _standbys(self) -> Collection[TargetName]:
        return self.topology.standbys

    def opening(self, target: TargetName) -> AbstractAsyncContextManager[None]:
        """One at a time in a whole cluster, so that a cause and its effect meet."""
        return self._book.opening(self.topology.cluster_of(target)[0])

    async def elsewhere(self, target: TargetName) -> list[Incident]:
        """Open incidents on the other servers of its cluster, and those it has symptoms in."""
        others = self.topology.others(target)
        found = {i.id: i for other in others for i in await self._incidents(other)}
        for incident_id in self._guest_in.get(target, set()) - found.keys():
            found[incident_id] = await self._book.get(incident_id)
        still_open = [i for i in found.values() if not i.status.ended]
        if target in self._guest_in:
            self._guest_in[target] &= {i.id for i in still_open}
        return still_open

    def is_guest(self, target: TargetName, incident_id: IncidentId) -> None:
        """Symptoms of a target stand in this incident; who is its neighbour may change since."""
        self._guest_in.setdefault(target, set()).add(incident_id)

    async def cause_of(self, symptom: Symptom) -> Incident | None:
        """The open incident elsewhere in the cluster that this is an effect of.

        None in which nobody would hear of it.
        """
        others, at = self.topology.others(symptom.target), self._clock.now()
        elsewhere = [i for i in await self.elsewhere(symptom.target) if i.target in others]
        elsewhere = [i for i in elsewhere if not self._holding.hides(i, symptom)]
        found = cause_of(symptom, elsewhere, standbys=self._standbys, at=at)
        if found is not None:
            return found
        behind = [i for t in self.topology.behind(symptom) for i in await self._incidents(t)]
        behind = [i for i in behind if not self._holding.hides(i, symptom)]
        # Whoever comes through a pool suffers from the very server behind it, whatever that is.
        return cause_of(symptom, behind, standbys=(), at=at)

    # --- attaching ---

    async def attach(
        self, incident: Incident, symptom: Symptom, *, wait: PageAfter | None = None
    ) -> None:
        """Put a symptom into an incident: as it is, or counted where too many stand already.

        `wait`: how long what went down is left to whoever restarts it.
        """
        elsewhere = symptom.target != incident.target
        if elsewhere:
            self.is_guest(symptom.target, incident.id)
        stands = attached(symptom) if elsewhere else symptom
        among = incident.attached if elsewhere else incident.symptoms
        room = ATTACHED_MAX if elsewhere else STANDING_MAX
        # What there is one of on a server is never a number among others.
        if stands.key in among or len(among) < room or not symptom.subject:
            observed = e.SymptomObserved(symptom=stands)
            if wait is not None and not elsewhere:
                observed = replace(
                    observed, page_after_s=wait.seconds, page_after_source=wait.source
                )
            await self._book.record(incident.id, observed)
            return
        crowd = self._crowds.setdefault((incident.id, symptom.target, symptom.kind), set())
        crowd.add(symptom.key)
        if worth_telling(len(crowd)):
            rest = the_rest(symptom, len(crowd))
            told = attached(rest) if elsewhere else rest
            await self._book.record(incident.id, e.SymptomObserved(symptom=told))

    async def clear(
        self, target: TargetName, key: str, detail: str, *, lapsed: bool = False
    ) -> None:
        """It is over, wherever in the cluster it stands; or, where it has lapsed, usual by now."""
        for incident in [*await self._incidents(target), *await self.elsewhere(target)]:
            if incident.target == target:
                if key in incident.symptoms and not self._counts(incident, target, key):
                    await self._cleared(incident.id, key, detail, lapsed=lapsed)
            else:
                for stands in _of(target, incident):
                    if own_key(stands) == key and not self._counts(incident, target, key):
                        await self._cleared(incident.id, stands.key, detail, lapsed=lapsed)
            await self._left(incident, target, key)

    def _counts(self, incident: Incident, target: TargetName, key: str) -> bool:
        """Whether a key is that of a crowd in which somebody still is."""
        kind, _, subject = key.partition(":")
        return subject == "more" and bool(
            self._crowds.get((incident.id, target, SymptomKind(kind)))
        )

    async def _left(self, incident: Incident, target: TargetName, key: str) -> None:
        """One of a crowd is over; with the last one the crowd is."""
        name = (incident.id, target, SymptomKind(key.partition(":")[0]))
        crowd = self._crowds.get(name)
        if crowd is None or key not in crowd:
            return
        if crowd != {key}:
            crowd.discard(key)
            return
        rest = the_rest(Symptom(kind=name[2], target=target, since=self._clock.now()), 0)
        more = attached(rest).key if incident.target != target else rest.key
        await self._cleared(incident.id, more, "none of them is left")
        # Not before it is written down: until then it has to be told again.
        del self._crowds[name]

    async def _cleared(
        self, incident_id: IncidentId, key: str, detail: str, *, lapsed: bool = False
    ) -> None:
        cleared = e.SymptomCleared(key=key, detail=detail, lapsed=lapsed)
        await self._book.record(incident_id, cleared)

    async def told(self, target: TargetName) -> set[str]:
        """Keys of a target that stand somewhere other than in an incident of its own.

        An effect whose cause is over for a while is taken out here: it goes on by itself.
        """
        found: set[str] = set()
        for incident in await self.elsewhere(target):
            mine = _of(target, incident)
            if not mine:
                continue
            now = self._clock.now()
            stays = [
                s
                for s in mine
                if still_told(s, incident, standbys=self._standbys, at=now)
                and not self._holding.hides(incident, own(s))
            ]
            found |= {own_key(s) for s in stays}
            over = [
                e.SymptomCleared(key=s.key, detail="it outlasts this incident, and is told anew")
                for s in mine
                if s not in stays and s.kind is not SymptomKind.OUTSIDE_ALERT
            ]
            if over:
                await self._book.record(incident.id, *over)
            if stays:
                continue
            self._forget(lambda crowd, gone=incident.id: crowd[:2] == (gone, target))
        self._forget(lambda crowd: self._book_knows_end(crowd[0]))
        return found | {k for c, keys in self._crowds.items() if c[1] == target for k in keys}

    def _book_knows_end(self, incident_id: IncidentId) -> bool:
        known = next((i for i in self._book.known() if i.id == incident_id), None)
        return known is None or known.status.ended

    def _forget(self, which: Callable[[Crowd], bool]) -> None:
        self._crowds = {c: keys for c, keys in self._crowds.items() if not which(c)}

    # --- merging ---

    async def take_in(self, cause: Incident) -> None:
        """Merge what was opened for effects a moment before their cause was known.

        Who was paged for one of them hears of it in one update, and is not paged again.
        """
        at = self._clock.now()
        if not breaks(cause, self._standbys, at):
            return
        through = self.topology.through_pools(cause.target)
        early = [i for t in through for i in await self._incidents(t)]
        for other in (*await self.elsewhere(cause.target), *early):
            standbys = self._standbys
            if other.target not in self.topology.others(cause.target):
                if any(
                    cause.target not in self.topology.behind(s) for s in other.symptoms.values()
                ):
                    continue
                standbys = ()
            if not is_effect(other, cause, standbys=standbys, at=at):
                continue
            if any(self._holding.hides(cause, s) for s in other.symptoms.values()):
                continue
            ends: list[Incident] = []
            await self._book.decide(other.id, _merging(cause, ends, standbys))
            if not ends:
                continue
            log.warning("incident merged", incident=other.id, into=cause.id)
            taken = taken_in(ends[-1], reason=f"its effect {other.id}")
            await self._book.decide(cause.id, taken)
            for symptom in ends[-1].symptoms.values():
                await self.attach(await self._book.get(cause.id), symptom)


def _merging(
    cause: Incident, ends: list[Incident], standbys: Collection[TargetName]
) -> Callable[[Incident, datetime], Sequence[e.Event]]:
    """`ends` gets the incident as it was right before it ended."""

    def decider(incident: Incident, at: datetime) -> Sequence[e.Event]:
        if not is_effect(incident, cause, standbys=standbys, at=at):
            return ()
        ends.append(incident)
        return (e.IncidentMerged(into=cause.id, reason=f"an effect of {cause.title}"),)

    return decider


def _of(target: TargetName, incident: Incident) -> list[Symptom]:
    """Attached symptoms of one target."""
    return [s for s in incident.attached.values() if s.target == target]
