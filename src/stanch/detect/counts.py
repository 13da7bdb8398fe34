"""Judges of numbers that stay as they are until something happens: a counter, and how many."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from stanch.detect.look import SUBJECTS_MAX, UNKNOWN, Look
from stanch.model.rules import Direction, RuleSettings


@dataclass(slots=True)
class _Last:
    value: float
    changed_at: float | None = None


@dataclass(slots=True)
class Changed:
    """Bad for a while after a change; the first value ever seen is none."""

    direction: Direction
    last: dict[str, _Last] = field(default_factory=dict[str, _Last])

    def look(
        self,
        subject: str,
        value: float | None,
        at_s: float,
        *,
        settings: RuleSettings,
        standing: bool,
    ) -> Look:
        known = self.last.get(subject)
        if value is None:
            return UNKNOWN
        if known is None:
            if len(self.last) < SUBJECTS_MAX:
                # One that stood before we began is told for as long as if it came now.
                self.last[subject] = _Last(value, at_s if standing else None)
            return Look(standing, value)
        anew = self._counts(known.value, value)
        if anew:
            known.changed_at = at_s
        known.value = value
        recently = known.changed_at is not None and at_s - known.changed_at < settings.limit
        return Look(recently, value, anew=anew)

    def _counts(self, before: float, after: float) -> bool:
        match self.direction:
            case Direction.UP:
                return after > before
            case Direction.DOWN:
                return after < before
            case Direction.ANY:
                return after != before

    def due(self, value: float | None, at_s: float) -> bool:
        known = self.last.get("")
        return value is not None and (known is None or known.value != value)


@dataclass(slots=True)
class _Count:
    usual: float
    """As many as there should be."""
    last: float
    since_s: float = 0.0
    """When one was last seen to leave."""
    missed: float | None = None
    """As many as there were before the lower number was taken for the usual one; kept while the
    symptom stands. Infinite: how many there were is not known."""


@dataclass(slots=True)
class Fewer:
    """Bad while there are fewer than there were, until as many are back; the first number is usual.

    After the limit, or once somebody knows better, the lower number is the usual one.
    """

    known: dict[str, _Count] = field(default_factory=dict[str, _Count])

    def expect(self, subject: str, *, usual: float, last: float, since_s: float) -> None:
        """What an earlier process told is missing, and has not seen come back."""
        self.known[subject] = _Count(usual=usual, last=last, since_s=since_s)

    def give_up(self, subject: str) -> None:
        """Take what there is for the usual number: nobody waits for the rest."""
        count = self.known.get(subject)
        if count is not None and count.last < count.usual:
            count.usual, count.missed = count.last, count.usual

    def forget(self) -> None:
        """Count anew: what was counted until now was something else."""
        self.known.clear()

    def look(
        self,
        subject: str,
        value: float | None,
        at_s: float,
        *,
        settings: RuleSettings,
        standing: bool,
    ) -> Look:
        if value is None:
            return UNKNOWN
        count = self.known.get(subject)
        if count is None:
            if len(self.known) < SUBJECTS_MAX:
                missed = inf if standing else None
                self.known[subject] = _Count(usual=value, last=value, missed=missed)
            return Look(False, value, lapsed=standing)
        left, count.last = value < count.last, value
        if left:
            count.since_s = at_s
        if value < count.usual and at_s - count.since_s >= settings.limit:
            self.give_up(subject)
        if value < count.usual:
            count.missed = None
            return Look(True, value, usual=count.usual, anew=left)
        count.usual = value
        if not standing or (count.missed is not None and value >= count.missed):
            count.missed = None
        missed = count.missed
        known = None if missed == inf else missed
        return Look(False, value, usual=known, lapsed=missed is not None)

    def due(self, value: float | None, at_s: float) -> bool:
        count = self.known.get("")
        if value is None or count is None:
            return value is not None
        return value != count.usual or count.missed is not None
