"""Which change a cause followed: the nearest before its onset of a kind that can cause it."""

from __future__ import annotations

from datetime import datetime, timedelta

from stanch.diagnose.cause import Cause
from stanch.diagnose.evidence import Evidence, value_of
from stanch.model.changes import NotedChange
from stanch.model.diagnosis import Finding
from stanch.model.shown import shortened, span

BEFORE_S_MAX = 900.0
"""A change longer ago than this is no longer the nearest explanation."""
SEEN_LATE_S = 10.0
"""What is seen to begin was there already: a change may be noted this long after the onset."""
WEIGHT = 1.0
"""A change at the right moment speaks for a cause, but things change all day long."""
TEXT_CHARS_MAX = 200


def change_before(cause: Cause, evidence: Evidence) -> NotedChange | None:
    """The change that this cause may have followed; None where none fits."""
    seen, onset = value_of(evidence.changes), cause.began(evidence) or evidence.onset
    if seen is None or onset is None or not cause.follows_change:
        return None
    first = onset - timedelta(seconds=BEFORE_S_MAX)
    last = onset + timedelta(seconds=SEEN_LATE_S)
    fits = [c for c in seen.changes if c.kind in cause.follows_change and first <= c.at <= last]
    return max(fits, key=lambda c: (c.at, c.what), default=None)


def finding_of(change: NotedChange, onset: datetime) -> Finding:
    """The change as evidence for the cause."""
    before_s = (onset - change.at).total_seconds()
    when = f"{span(before_s)} before it began" if before_s > 0 else "as it began"
    text = f"{when}: {shortened(change.told or change.what, TEXT_CHARS_MAX)}"
    return Finding(evidence="change", text=text, weight=WEIGHT, at=change.at)
