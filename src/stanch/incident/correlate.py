"""Where a symptom belongs: a new incident, one that is open, or one that ended too soon."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from stanch.incident.effects import DOWN
from stanch.incident.state import Incident, Status
from stanch.model.ids import CauseId, IncidentId
from stanch.model.symptoms import Symptom, SymptomKind
from stanch.policy.rules import declared_rules

Explains = Mapping[CauseId, Collection[SymptomKind]]
"""Per cause, the symptoms it brings about downstream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Belongs:
    """The answer, with its reason for the timeline."""

    to: Literal["new", "open", "ended"]
    incident_id: IncidentId | None = None
    reason: str = ""


def belongs(
    symptom: Symptom,
    incidents: Sequence[Incident],
    *,
    explains: Explains,
    at: datetime,
    flap_window_s: float,
) -> Belongs:
    """One incident per cause and target; later symptoms join; flapping does not open ten.

    `incidents` are those of the symptom's target, newest first, ended ones included.
    """
    mine = [i for i in incidents if i.target == symptom.target]
    still_open = [i for i in mine if not i.status.ended]
    for incident in still_open:
        if symptom.key in incident.seen:
            return Belongs(to="open", incident_id=incident.id, reason="seen before in it")
    for incident in still_open:
        reason = _joins(symptom, incident, explains)
        if reason:
            return Belongs(to="open", incident_id=incident.id, reason=reason)
    for incident in mine:
        if _flaps(symptom, incident, at, flap_window_s):
            return Belongs(to="ended", incident_id=incident.id, reason="it came back")
    return Belongs(to="new")


def _joins(symptom: Symptom, incident: Incident, explains: Explains) -> str:
    """Why a symptom that was not seen in this incident joins it; empty where it does not."""
    first = incident.named.first if incident.named else None
    if first is not None and symptom.kind in explains.get(first.id, ()):
        return f"explained by {first.id}"
    kinds = {SymptomKind(key.partition(":")[0]) for key in incident.seen}
    if symptom.kind in DOWN and kinds & DOWN:
        return "the same, seen from elsewhere"
    rules = declared_rules()
    if rules[symptom.kind].apart:
        return "the same on something else" if symptom.kind in kinds else ""
    if _apart(incident):
        # What may stand for weeks says nothing about what breaks today.
        return ""
    if rules[symptom.kind].along:
        return "suffers from everything"
    return "" if first is not None else "its cause is not known yet"


def _apart(incident: Incident) -> bool:
    """Whether all that was ever seen in it may stand for weeks."""
    rules, kinds = declared_rules(), {key.partition(":")[0] for key in incident.seen}
    return bool(kinds) and all(rules[SymptomKind(kind)].apart for kind in kinds)


def _flaps(symptom: Symptom, incident: Incident, at: datetime, window_s: float) -> bool:
    if incident.status is not Status.RESOLVED or incident.ended_at is None:
        return False
    return symptom.key in incident.seen and at - incident.ended_at <= timedelta(seconds=window_s)


def same_story(newer: Incident, older: Incident) -> bool:
    """Two open incidents that a diagnosis has since traced to one cause on one target."""
    if newer.target != older.target or newer.status.ended or older.status.ended:
        return False
    if _apart(newer) is not _apart(older):
        return False
    ours = newer.named.first if newer.named else None
    theirs = older.named.first if older.named else None
    if ours is None or theirs is None:
        return False
    return (ours.id, ours.subject) == (theirs.id, theirs.subject)
