"""One failure of a cluster in one incident: effects attached, early ones merged, crowds counted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime

import structlog

from stanch.incident.effects import (
    ATTACHED_MAX,
    STANDING_MAX,
    attached,
    breaks,
    cause_of,
    is_effect,
    own_key,
    paged_for,
    the_rest,
    worth_telling,
)
from stanch.incident.state import Incident
from stanch.model import events as e
from stanch.model.ids import IncidentId, TargetName
from stanch.model.samples import Sample
from stanch.model.symptoms import Symptom, SymptomKind
from stanch.service.clock import Clock
from stanch.service.record.book import Book
from stanch.service.record.policies import Policies

Crowd = tuple[IncidentId, TargetName, SymptomKind]

log = structlog.get_logger("watching")


class Together:
    """Knows who belongs together, and which of them are standbys at the moment."""

    def __init__(
        self,
        *,
        book: Book,
        policies: Policies,
        clock: Clock,
        incidents: Callable[[TargetName], Awaitable[Sequence[Incident]]],
    ) -> None:
        """`incidents`: those of a target that something new may belong to, newest first."""
        self._book = book
        self._policies = policies
        self._clock = clock
        self._incidents = incidents
        self._standbys: set[TargetName] = set()
        """As each server last said of itself; also while it is silent."""
        self._crowds: dict[Crowd, set[str]] = {}
        """Keys that stand in an incident as a number only."""

    def learn(self, sample: Sample) -> None:
        """Who replays another's WAL is a standby until it says otherwise."""
        if sample.vitals is None:
            return
        if sample.vitals.in_recovery:
            self._standbys.add(sample.target)
        else:
            self._standbys.discard(sample.target)

    def is_standby(self, target: TargetName) -> bool:
        """Of a cluster with a server that is none; without one nobody can do its work."""
        if target not in self._standbys:
            return False
        return any(other not in self._standbys for other in self._others(target))

    def opening(self, target: TargetName) -> AbstractAsyncContextManager[None]:
        """One at a time in a whole cluster, so that a cause and its effect meet."""
        cluster = self._policies.current.cluster_of(target)
        return self._book.opening(cluster.targets[0] if cluster is not None else target)

    def _others(self, target: TargetName) -> tuple[TargetName, ...]:
        cluster = self._policies.current.cluster_of(target)
        return tuple(t for t in cluster.targets if t != target) if cluster is not None else ()

    async def elsewhere(self, target: TargetName) -> list[Incident]:
        """Open incidents on the other servers of its cluster."""
        found = [i for other in self._others(target) for i in await self._incidents(other)]
        return [i for i in found if not i.status.ended]

    async def cause_of(self, symptom: Symptom) -> Incident | None:
        """The open incident elsewhere in the cluster that this is an effect of."""
        return cause_of(
            symptom,
            await self.elsewhere(symptom.target),
            standbys=self._standbys,
            at=self._clock.now(),
        )

    # --- attaching ---

    async def attach(self, incident: Incident, symptom: Symptom) -> None:
        """Put a symptom into an incident: as it is, or counted where too many stand already."""
        elsewhere = symptom.target != incident.target
        stands = attached(symptom) if elsewhere else symptom
        among = incident.attached if elsewhere else incident.symptoms
        room = ATTACHED_MAX if elsewhere else STANDING_MAX
        # What there is one of on a server is never a number among others.
        if stands.key in among or len(among) < room or not symptom.subject:
            await self._book.record(incident.id, e.SymptomObserved(symptom=stands))
            return
        crowd = self._crowds.setdefault((incident.id, symptom.target, symptom.kind), set())
        crowd.add(symptom.key)
        if worth_telling(len(crowd)):
            rest = the_rest(symptom, len(crowd))
            told = attached(rest) if elsewhere else rest
            await self._book.record(incident.id, e.SymptomObserved(symptom=told))

    async def clear(self, target: TargetName, key: str, detail: str) -> None:
        """It is over, wherever in the cluster it stands."""
        for incident in [*await self._incidents(target), *await self.elsewhere(target)]:
            if incident.target == target:
                if key in incident.symptoms and not self._counts(incident, target, key):
                    await self._cleared(incident.id, key, detail)
            else:
                for stands in _of(target, incident):
                    if own_key(stands) == key and not self._counts(incident, target, key):
                        await self._cleared(incident.id, stands.key, detail)
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

    async def _cleared(self, incident_id: IncidentId, key: str, detail: str) -> None:
        await self._book.record(incident_id, e.SymptomCleared(key=key, detail=detail))

    async def told(self, target: TargetName) -> set[str]:
        """Keys of a target that stand somewhere other than in an incident of its own.

        An effect whose cause is over for a while is taken out here: it goes on by itself.
        """
        found: set[str] = set()
        for incident in await self.elsewhere(target):
            mine = _of(target, incident)
            if not mine:
                continue
            if breaks(incident, self._standbys, self._clock.now()):
                found |= {own_key(s) for s in mine}
                continue
            over = [
                e.SymptomCleared(key=s.key, detail="it outlasts this incident, and is told anew")
                for s in mine
                if s.kind is not SymptomKind.OUTSIDE_ALERT
            ]
            if over:
                await self._book.record(incident.id, *over)
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
        for other in await self.elsewhere(cause.target):
            if not is_effect(other, cause, standbys=self._standbys, at=at):
                continue
            ends: list[Incident] = []
            await self._book.decide(other.id, self._merging(cause, ends))
            if not ends:
                continue
            log.warning("incident merged", incident=other.id, into=cause.id)
            await self._book.decide(cause.id, _at_least_as_bad_as(ends[-1]))
            await self._book.record(cause.id, _taken_in(ends[-1]))
            for symptom in ends[-1].symptoms.values():
                await self.attach(await self._book.get(cause.id), symptom)

    def _merging(
        self, cause: Incident, ends: list[Incident]
    ) -> Callable[[Incident, datetime], Sequence[e.Event]]:
        """`ends` gets the incident as it was right before it ended."""

        def decider(incident: Incident, at: datetime) -> Sequence[e.Event]:
            if not is_effect(incident, cause, standbys=self._standbys, at=at):
                return ()
            ends.append(incident)
            return (e.IncidentMerged(into=cause.id, reason=f"an effect of {cause.title}"),)

        return decider


def _at_least_as_bad_as(effect: Incident) -> Callable[[Incident, datetime], Sequence[e.Event]]:
    def decider(cause: Incident, at: datetime) -> Sequence[e.Event]:
        if effect.severity_rank >= cause.severity_rank or cause.status.ended:
            return ()
        label = effect.severity_label
        reason = f"its effect {effect.id} is {label}"
        return (e.SeveritySet(rank=effect.severity_rank, label=label, reason=reason),)

    return decider


def _taken_in(ended: Incident) -> e.IncidentTakenIn:
    paged = paged_for(ended)
    return e.IncidentTakenIn(
        of=ended.id,
        target=ended.target,
        title=ended.title,
        page_level=ended.page_level if paged else 0,
        paged_at=ended.paged_at if paged else None,
        paged=tuple(sorted(ended.paged)) if paged else (),
        acknowledged_by=ended.acknowledged_by if paged else None,
    )


def _of(target: TargetName, incident: Incident) -> list[Symptom]:
    """Attached symptoms of one target."""
    return [s for s in incident.attached.values() if s.target == target]
