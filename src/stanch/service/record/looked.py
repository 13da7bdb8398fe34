"""Looks that brought no news: when each may be taken again.

Such a look leaves no event, so the timeline still calls it due, as the earliest. Without a note of
it the next look of another kind would never get its turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from stanch.incident.state import Incident
from stanch.incident.work import Due, Job
from stanch.model.ids import IncidentId

LOOKS = frozenset({Job.DIAGNOSE, Job.CHECK_RESCUE})


class Looked:
    """Only in memory: after a restart every look is taken once more, which harms nobody."""

    def __init__(self) -> None:
        self._until: dict[tuple[IncidentId, Job], tuple[int, datetime]] = {}

    def without_news(self, incident: Incident, job: Job, *, now: datetime, until: datetime) -> None:
        """A look at this state of the incident changed nothing."""
        # What has passed is dropped here, so that ended incidents leave nothing behind.
        self._until = {key: kept for key, kept in self._until.items() if kept[1] > now}
        self._until[incident.id, job] = (incident.seq, until)

    def put_off(self, incident: Incident, job: Job, now: datetime) -> bool:
        """Whether it is too early for the same look at the same state."""
        seq, until = self._until.get((incident.id, job), (-1, now))
        return seq == incident.seq and now < until

    def soonest(self, incident: Incident, ready: Sequence[Due]) -> datetime | None:
        """The first moment at which one of these looks may be taken again."""
        noted = (self._until.get((incident.id, d.job)) for d in ready)
        return min((kept[1] for kept in noted if kept is not None), default=None)
