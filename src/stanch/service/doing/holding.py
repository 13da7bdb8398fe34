"""What nobody is woken for just now: maintenance of a target, silence of one rule on it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from stanch.incident.state import Incident
from stanch.model import events as e
from stanch.model.ids import IncidentId
from stanch.model.symptoms import Symptom
from stanch.service.clock import Clock
from stanch.service.record.book import Book
from stanch.service.record.standing import Standing


class Holding:
    """Binds incidents to the windows that stand; what is due then follows from their timelines."""

    def __init__(self, *, book: Book, standing: Standing, clock: Clock) -> None:
        self._book = book
        self._standing = standing
        self._clock = clock

    def of(self, symptom: Symptom) -> tuple[e.PageHeld | e.RuleSilenced, ...]:
        """What an incident with this symptom is held for."""
        now, held = self._clock.now(), list[e.PageHeld | e.RuleSilenced]()
        window = self._standing.maintenance(symptom.target, now)
        if window is not None:
            reason = f"maintenance by {window.by}: {window.reason}"
            held.append(e.PageHeld(until=window.until, reason=reason))
        silence = self._standing.silence(symptom.target, symptom.kind, now)
        if silence is not None:
            reason = f"silenced by {silence.by}: {silence.reason}"
            held.append(e.RuleSilenced(rule=symptom.kind.value, until=silence.until, reason=reason))
        return tuple(held)

    def silenced(self, symptom: Symptom) -> bool:
        now = self._clock.now()
        return self._standing.silence(symptom.target, symptom.kind, now) is not None

    def fitting(self, incidents: Sequence[Incident], symptom: Symptom) -> list[Incident]:
        """Those it may join: what is silenced keeps to itself, so that it hides nothing else."""
        silenced, now = self.silenced(symptom), self._clock.now()
        return [i for i in incidents if symptom.key in i.seen or i.silent(now) == silenced]

    async def hold(self, incident_id: IncidentId, symptom: Symptom) -> None:
        """What joins inside a window may page anew, so that is held as well."""
        held = self.of(symptom)

        def decider(incident: Incident, at: datetime) -> Sequence[e.Event]:
            return () if incident.status.ended else [h for h in held if not _known(incident, h)]

        if held:
            await self._book.decide(incident_id, decider)


def _known(incident: Incident, held: e.PageHeld | e.RuleSilenced) -> bool:
    if isinstance(held, e.RuleSilenced):
        until = incident.silenced.get(held.rule)
    else:
        until = incident.page_held_until
    return until is not None and until >= held.until
