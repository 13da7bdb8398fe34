"""What an incident has to know of one that goes on in it: how bad it was, and who knows of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from stanch.incident.state import Incident
from stanch.model import events as e


def taken_in(
    ended: Incident, *, reason: str
) -> Callable[[Incident, datetime], Sequence[e.SeveritySet | e.IncidentTakenIn]]:
    """What the incident that goes on hears, in one entry: nobody is paged for half of it.

    `reason` names the one that ended.
    """

    def decider(goes_on: Incident, at: datetime) -> Sequence[e.SeveritySet | e.IncidentTakenIn]:
        if goes_on.status.ended:
            return ()
        told = _told_in(ended)
        rank, label = ended.severity_rank, ended.severity_label
        if rank >= goes_on.severity_rank:
            return (told,)
        return e.SeveritySet(rank=rank, label=label, reason=f"{reason} is {label}"), told

    return decider


def _told_in(ended: Incident) -> e.IncidentTakenIn:
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


def paged_for(incident: Incident) -> bool:
    """Whether a page of it has reached somebody: one that is still on its way may be lost."""
    on_its_way = any(m.raised.level == incident.page_level for m in incident.messages.values())
    return incident.page_level > 0 and not incident.page_lost and not on_its_way
