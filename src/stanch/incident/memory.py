"""Which incidents of before look like this one: by cause, evidence and symptoms."""

from __future__ import annotations

from collections.abc import Iterable, Set

from stanch.incident.state import Incident, Status
from stanch.model.diagnosis import CauseFinding
from stanch.model.memory import PastIncident

ALIKE_FROM = 0.5
SHOWN_MAX = 3
CAUSE, EVIDENCE, SYMPTOMS, TARGET = 0.4, 0.35, 0.15, 0.1
"""What each has to say; together 1."""


def alike(incident: Incident, others: Iterable[Incident]) -> tuple[PastIncident, ...]:
    """Those that ended and look like it, the most alike and the newest first."""
    first = incident.named.first if incident.named else None
    if first is None:
        return ()
    found = [
        one
        for other in others
        if other.id != incident.id and (one := _compared(incident, first, other)) is not None
    ]
    found.sort(key=lambda one: (-one.likeness, -one.opened_at.timestamp(), one.id))
    return tuple(found[:SHOWN_MAX])


def _compared(incident: Incident, first: CauseFinding, other: Incident) -> PastIncident | None:
    theirs = other.named.first if other.named else None
    if theirs is None or other.status is not Status.RESOLVED or other.drill != incident.drill:
        return None
    likeness = (
        CAUSE * (theirs.id == first.id)
        + EVIDENCE * _shared(_evidence(first), _evidence(theirs))
        + SYMPTOMS * _shared(_kinds(incident), _kinds(other))
        + TARGET * (other.target == incident.target)
    )
    if likeness < ALIKE_FROM or other.opened_at is None or other.ended_at is None:
        return None
    over_at = other.rescued_at or other.ended_at
    began_at = other.since or other.opened_at
    return PastIncident(
        id=other.id,
        target=other.target,
        title=other.title,
        cause=theirs.id,
        likeness=round(likeness, 2),
        opened_at=other.opened_at,
        took_s=max(0.0, (over_at - began_at).total_seconds()),
        fixed_by=_fixed_by(other),
    )


def _evidence(cause: CauseFinding) -> Set[str]:
    return {finding.evidence for finding in cause.evidence_for}


def _kinds(incident: Incident) -> Set[str]:
    return {key.partition(":")[0] for key in incident.seen}


def _shared(ours: Set[str], theirs: Set[str]) -> float:
    return len(ours & theirs) / len(ours | theirs) if ours | theirs else 0.0


def _fixed_by(incident: Incident) -> str:
    plan = incident.plan
    if plan is not None and plan.completed:
        return f"Stanch: {', '.join(step.action for step in plan.plan.steps)}"
    if not incident.told:
        return "itself"
    by = incident.acknowledged_by
    return f"people ({by})" if by else "people, or itself"
