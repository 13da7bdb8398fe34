"""What nobody is woken for just now: maintenance of a target, silence of a rule on it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from stanch.incident.effects import DOWN
from stanch.incident.state import Incident
from stanch.model import events as e
from stanch.model.ids import IncidentId
from stanch.model.symptoms import Symptom
from stanch.policy.rules.planned import held_in_maintenance
from stanch.service.clock import Clock
from stanch.service.record.book import Book
from stanch.service.record.policies import Policies
from stanch.service.record.silences import Silences
from stanch.service.record.standing import Standing


class Holding:
    """Binds incidents to the windows that stand; what is due then follows from their timelines."""

    def __init__(self, *, book: Book, standing: Standing, policies: Policies, clock: Clock) -> None:
        self._book = book
        self._standing = standing
        self._policies = policies
        self._silences = Silences(standing, policies)
        self._clock = clock
        self._followed: object = None
        """The policy and its open windows that incidents were last told of."""

    def of(self, symptom: Symptom) -> tuple[e.PageHeld | e.RuleSilenced, ...]:
        """What an incident with this symptom is held for."""
        now, held = self._clock.now(), list[e.PageHeld | e.RuleSilenced]()
        window = self._standing.maintenance(symptom.target, now)
        if window is not None and held_in_maintenance(symptom.key):
            reason = f"maintenance by {window.by}: {window.reason}"
            held.append(e.PageHeld(until=window.until, reason=reason))
        return (*held, *self._silences.of(symptom, now))

    def silenced(self, symptom: Symptom) -> bool:
        return bool(self._silences.of(symptom, self._clock.now()))

    def fitting(self, incidents: Sequence[Incident], symptom: Symptom) -> list[Incident]:
        """Those it may join: what is silenced keeps to itself, so that it hides nothing else."""
        silenced, now = self.silenced(symptom), self._clock.now()
        return [i for i in incidents if symptom.key in i.seen or i.silent(now) == silenced]

    def hides(self, cause: Incident, symptom: Symptom) -> bool:
        """Whether nobody would hear of this in the incident of its cause, though nobody said so.

        Work on a server explains what its cluster suffers meanwhile, but not another one down.
        """
        now = self._clock.now()
        if cause.silent(now) and not self.silenced(symptom):
            return True
        if symptom.kind not in DOWN or self._standing.maintenance(symptom.target, now) is not None:
            return False
        return self._standing.maintenance(cause.target, now) is not None

    async def hold(self, incident_id: IncidentId, symptom: Symptom) -> None:
        """What joins inside a window may page anew, so that is held as well."""
        held = self.of(symptom)

        def decider(incident: Incident, at: datetime) -> Sequence[e.Event]:
            return () if incident.status.ended else [h for h in held if not _known(incident, h)]

        if held:
            await self._book.decide(incident_id, decider)

    async def settle(self, incident_id: IncidentId) -> None:
        """To be called when something joined: what got worse than it was silenced for speaks."""
        await self._book.decide(incident_id, self._silences.changes)

    def to_follow(self) -> bool:
        """Whether the silences of the policy are others than incidents were told of last."""
        now = self._clock.now()
        return self._followed != (self._policies.current_hash, self._open(now))

    async def follow(self, incidents: Sequence[Incident]) -> None:
        """Hold open incidents for what the policy silences now, and for nothing else of it."""
        now = self._clock.now()
        for incident in incidents:
            if self._silences.changes(incident, now):
                await self._book.decide(incident.id, self._silences.changes)
        self._followed = (self._policies.current_hash, self._open(now))

    def _open(self, at: datetime) -> tuple[tuple[str, datetime], ...]:
        return self._silences.standing_in_policy(at)


def _known(incident: Incident, held: e.PageHeld | e.RuleSilenced) -> bool:
    if isinstance(held, e.RuleSilenced):
        until = incident.silenced.get(held.key)
    else:
        until = incident.page_held_until
    return until is not None and until >= held.until
