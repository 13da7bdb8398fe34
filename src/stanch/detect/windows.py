"""A bounded past of one number: at most so many points, however often it is read."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

POINTS_MAX = 30
GAP_STEPS = 6
"""A silence longer than so many steps of the window starts it again."""


def _numbers() -> array[float]:
    return array("d")


@dataclass(slots=True)
class Window:
    """The last value of each step, oldest first; times are seconds since 1970.

    Cost: 0.3 kB, and 16 bytes a point; thousands of them are kept, so none is made of objects.
    """

    span_s: float
    _times: array[float] = field(default_factory=_numbers)
    _values: array[float] = field(default_factory=_numbers)
    _filled_at: float = 0.0
    _last_at: float = 0.0

    @property
    def step_s(self) -> float:
        return self.span_s / POINTS_MAX

    @property
    def points(self) -> Sequence[tuple[float, float]]:
        """Each point's time and value."""
        return tuple(zip(self._times, self._values, strict=True))

    @property
    def first(self) -> float | None:
        """The oldest value; None while there is none."""
        return self._values[0] if self._values else None

    @property
    def last(self) -> float | None:
        """The newest value; None while there is none."""
        return self._values[-1] if self._values else None

    def add(self, at_s: float, value: float) -> bool:
        """Take one value; True where it made a new point. A gap or a step back starts again."""
        gap_s = max(GAP_STEPS * self.step_s, 60.0)
        if self._times and not 0.0 <= at_s - self._last_at <= max(gap_s, self.span_s / 2):
            self.clear()
        self._last_at = at_s
        same_step = bool(self._times) and at_s - self._filled_at < self.step_s
        # What was seen first stays: a storm may come before its step is over.
        if same_step and len(self._times) > 1:
            self._times[-1], self._values[-1] = at_s, value
            return False
        if not same_step:
            self._filled_at = at_s
        self._times.append(at_s)
        self._values.append(value)
        # One point beyond the edge stays, so that the span is covered and not almost.
        while len(self._times) > 2 and at_s - self._times[1] >= self.span_s:
            del self._times[0], self._values[0]
        return True

    def due(self, at_s: float) -> bool:
        """Whether a value now would make a new point."""
        return len(self._times) < 2 or not 0.0 <= at_s - self._filled_at < self.step_s

    def clear(self) -> None:
        del self._times[:], self._values[:]

    @property
    def covered_s(self) -> float:
        """How far back it reaches."""
        return self._times[-1] - self._times[0] if self._times else 0.0

    def mean(self, since_s: float) -> float | None:
        """Mean of the points from a moment on; None where there is none."""
        values = [value for at, value in self.points if at >= since_s]
        return sum(values) / len(values) if values else None
