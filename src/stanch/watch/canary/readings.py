"""Readings of the canary: pure, and silent about what it cannot know."""

from __future__ import annotations

from collections.abc import Iterator

from stanch.model.canary import UnderWay, WriteOutcome, Wrote
from stanch.model.readings import Reading

_VERDICTS = {Wrote.DONE: 1.0, Wrote.FAILED: 0.0}


def outcome_readings(outcome: WriteOutcome, *, was_bad: bool) -> tuple[Reading, ...]:
    """`was_bad`: the verdict before. A primary whose writes failed and that is a standby by now
    has nothing left that could fail."""
    return tuple(_outcome(outcome, was_bad))


def _outcome(outcome: WriteOutcome, was_bad: bool) -> Iterator[Reading]:
    value = _VERDICTS.get(outcome.wrote)
    if outcome.wrote is Wrote.STANDBY and was_bad:
        value = 1.0
    yield Reading(name="canary_ok", value=value, detail=outcome.detail)
    yield Reading(name="canary_stuck_s", value=0.0)
    if outcome.ms is not None:
        yield Reading(name="canary_ms", value=outcome.ms)
    if outcome.wrote is not Wrote.UNKNOWN:
        usable = outcome.wrote is not Wrote.UNUSABLE
        detail = "" if usable else outcome.detail
        yield Reading(name="canary_usable", value=float(usable), detail=detail)


def stuck_readings(write: UnderWay) -> tuple[Reading, ...]:
    """A write that should have been answered by now."""
    waits = f": it waits for {write.waits_for}" if write.waits_for else ""
    detail = f"it has been under way for {write.age_s:.0f} s{waits}"
    return (
        Reading(name="canary_ok", value=0.0, detail=detail, since=write.since),
        Reading(name="canary_stuck_s", value=write.age_s, detail=detail, since=write.since),
    )
