"""What is usual at this hour of the week: learned, robust, and silent until it knows.

An hour's median is one observation; of every hour of the week the last eight are kept. Less than
three of them is a cold start and no verdict. Times are seconds since 1970, hours are UTC.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

HOURS = 168
WEEKS_KEPT = 8
WEEKS_MIN = 3
SAMPLES_MAX = 60
"""A reading a minute is enough for the median of an hour."""
SAMPLES_MIN = 5
"""Fewer are no observation of that hour."""
SPREADS = 5.0
"""A value counts as unusual only so many spreads above the median."""
SPREAD_SHARE_MIN = 0.1
"""Hours that were all alike are taken to vary by this share of the median."""
EPOCH_TO_MONDAY_H = 72
"""1970 began on a Thursday; hour 0 of the week is Monday's first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """What one hour of the week is like."""

    median: float
    spread: float
    weeks: int

    def is_beyond(self, value: float, factor: float) -> bool:
        """So many times the median, and clear of its spread."""
        return value >= self.median * factor and value >= self.median + SPREADS * self.spread


@dataclass(slots=True)
class Baseline:
    """The memory of one reading of one subject; `rows` and `from_rows` carry it over a restart."""

    cells: dict[int, list[float]] = field(default_factory=dict[int, list[float]])
    _hour: int = -1
    _taken_at: float = 0.0
    _samples: list[float] = field(default_factory=list[float])

    def learn(self, at_s: float, value: float) -> None:
        """Take one value; a finished hour becomes one observation."""
        hour = int(at_s // 3600)
        if hour != self._hour:
            self._finish()
            self._hour, self._samples, self._taken_at = hour, [], float("-inf")
        if at_s - self._taken_at >= 3600 / SAMPLES_MAX and len(self._samples) < SAMPLES_MAX:
            self._taken_at = at_s
            self._samples.append(value)

    def _finish(self) -> None:
        if self._hour < 0 or len(self._samples) < SAMPLES_MIN:
            return
        cell = self.cells.setdefault(hour_of_week(self._hour), [])
        cell.append(median(self._samples))
        del cell[:-WEEKS_KEPT]

    def usual(self, at_s: float) -> Usual | None:
        """What this hour of the week is like; None until it was seen in three weeks."""
        seen = self.cells.get(hour_of_week(int(at_s // 3600)), ())
        if len(seen) < WEEKS_MIN:
            return None
        middle = median(seen)
        deviation = 1.4826 * median(abs(value - middle) for value in seen)
        spread = max(deviation, SPREAD_SHARE_MIN * abs(middle))
        return Usual(median=middle, spread=spread, weeks=len(seen))

    def rows(self) -> tuple[tuple[int, tuple[float, ...]], ...]:
        """Hour of the week and its observations, oldest first: what is worth storing."""
        return tuple((hour, tuple(seen)) for hour, seen in sorted(self.cells.items()))

    @classmethod
    def from_rows(cls, rows: Sequence[tuple[int, Sequence[float]]]) -> Baseline:
        """A baseline as it was stored; rows that make no sense are left out."""
        cells = {
            hour: [float(value) for value in seen][-WEEKS_KEPT:]
            for hour, seen in rows
            if 0 <= hour < HOURS
        }
        return cls(cells=cells)


def hour_of_week(hour: int) -> int:
    """0 is Monday's first hour; `hour` counts since 1970."""
    return (hour + EPOCH_TO_MONDAY_H) % HOURS


@dataclass(slots=True)
class Recent:
    """The median of the last minutes, so that one slow answer is not "slower than usual"."""

    span_s: float
    values: deque[tuple[float, float]] = field(default_factory=deque[tuple[float, float]])

    def add(self, at_s: float, value: float) -> float | None:
        """The median with this value; None with fewer than three values in the span."""
        if self.values and at_s < self.values[-1][0]:
            self.values.clear()
        self.values.append((at_s, value))
        while self.values and (
            at_s - self.values[0][0] > self.span_s or len(self.values) > 2 * SAMPLES_MAX
        ):
            self.values.popleft()
        return median(v for _, v in self.values) if len(self.values) >= 3 else None
