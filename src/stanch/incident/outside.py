"""Where an alert from outside belongs: with whatever is open on its target, or on its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from stanch.incident.state import Incident, Status
from stanch.model.ids import IncidentId
from stanch.model.symptoms import Symptom, SymptomKind
from stanch.policy.rules import declared_rules

LATE_S = 180.0
"""So long other monitors may take to see that something is over, before they are believed."""

ATTACHED_MAX = 20
"""So many outside alerts stand in an incident one by one; the rest stand there together."""

MORE = "more"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The answer, with its reason for the timeline."""

    to: Literal["new", "open", "ended", "wait"]
    incident_id: IncidentId | None = None
    until: datetime | None = None
    reason: str = ""


def place(
    symptom: Symptom, incidents: Sequence[Incident], *, at: datetime, flap_window_s: float
) -> Place:
    """One failure is one incident, however many monitors tell of it.

    `incidents` are those of the symptom's target, newest first, ended ones included. Unlike what
    Stanch sees itself, an alert from outside joins whatever the cause: it says nothing about one.
    """
    still_open = [i for i in incidents if not i.status.ended and not _stands_apart(i)]
    if still_open:
        known = [i for i in still_open if symptom.key in i.seen]
        worst = min(known or still_open, key=lambda i: i.severity_rank)
        return Place(to="open", incident_id=worst.id, reason="it is about the same target")
    window = timedelta(seconds=flap_window_s)
    recent = [
        i
        for i in incidents
        if i.status is Status.RESOLVED and i.ended_at is not None and at - i.ended_at <= window
    ]
    for incident in recent:
        assert incident.ended_at is not None
        if symptom.since <= incident.ended_at and symptom.key not in incident.seen:
            return _late(incident, incident.ended_at, at)
        if symptom.key in incident.seen:
            return Place(to="ended", incident_id=incident.id, reason=f"{symptom.key} came back")
    return Place(to="new")


def _stands_apart(incident: Incident) -> bool:
    """It holds only what may stand for weeks and says nothing about what breaks today."""
    kinds = {SymptomKind(key.partition(":")[0]) for key in incident.seen}
    return bool(kinds) and all(declared_rules()[kind].apart for kind in kinds)


def _late(incident: Incident, ended_at: datetime, at: datetime) -> Place:
    """It began before the end of what is over: news of that, unless it goes on."""
    until = ended_at + timedelta(seconds=LATE_S)
    if at < until:
        return Place(to="wait", incident_id=incident.id, until=until, reason="late news")
    reason = f"another monitor still says so {LATE_S:.0f} s after it was resolved"
    return Place(to="ended", incident_id=incident.id, reason=reason)


def crowded(symptom: Symptom, incident: Incident) -> bool:
    """Whether this alert has to stand with the rest of them."""
    outside = [
        s
        for s in incident.everything.values()
        if s.kind in (SymptomKind.OUTSIDE_ALERT, SymptomKind.REPORTED) and s.subject
    ]
    return symptom.key not in incident.everything and len(outside) >= ATTACHED_MAX


def the_rest(symptom: Symptom) -> Symptom:
    """What stands for every outside alert that does not stand by itself."""
    return Symptom(
        kind=SymptomKind.OUTSIDE_ALERT,
        target=symptom.target,
        since=symptom.since,
        subject=MORE,
        detail=f"more than {ATTACHED_MAX} outside alerts; `stanch signals` lists them all",
    )
