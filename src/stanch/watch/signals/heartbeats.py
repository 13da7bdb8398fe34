"""Heartbeats that have to arrive: a job that stays silent too long is an alert."""

from __future__ import annotations

from datetime import datetime, timedelta

from stanch.model.readings import Reading
from stanch.model.shown import moment, span
from stanch.model.signals import Beat, Signal, SignalStatus
from stanch.policy.signals import HEARTBEAT


def due_at(beat: Beat, every_s: float) -> datetime:
    """When silence becomes an alert.

    A beat may have been sent while nobody listened, so the first start of the responder in a
    silence gives it one whole interval more; later starts in the same silence give nothing.
    """
    every = timedelta(seconds=every_s)
    heard_or_waited = (beat.heard_at or beat.since) + every
    return max(heard_or_waited, beat.grace_from + every) if beat.grace_from else heard_or_waited


def age_s(beat: Beat, at: datetime) -> float:
    """How long ago it was heard, or for how long it is waited for."""
    return max(0.0, (at - (beat.heard_at or beat.since)).total_seconds())


def reading(beat: Beat, at: datetime) -> Reading:
    """Unit: seconds since the heartbeat was heard."""
    heard = f"last heard {moment(beat.heard_at)}" if beat.heard_at else "never heard"
    return Reading(
        name="heartbeat_age_s",
        value=age_s(beat, at),
        subject=beat.name,
        detail=heard,
        since=beat.heard_at or beat.since,
    )


def judged(beat: Beat, *, every_s: float, at: datetime) -> Signal:
    """The heartbeat as an alert that fires or is over."""
    missing = at > due_at(beat, every_s)
    heard = f"last heard {moment(beat.heard_at)}" if beat.heard_at else "never heard"
    return Signal(
        source=HEARTBEAT,
        key=beat.name,
        status=SignalStatus.FIRING if missing else SignalStatus.RESOLVED,
        title=f"no heartbeat of {beat.name} for {span(age_s(beat, at))}"
        if missing
        else f"heartbeat of {beat.name}",
        detail=f"expected every {span(every_s)}, {heard}",
        starts_at=beat.heard_at or beat.since,
    )
