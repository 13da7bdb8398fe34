"""A bounded past of one number: at most so many points, however often it is read."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

POINTS_MAX = 30
GAP_STEPS = 6
"""A silence longer than so many steps of the window starts it again."""

Points = deque[tuple[float, float]]


@dataclass(slots=True)
class Window:
    """The last value of each step, oldest first; times are seconds since 1970."""

    span_s: float
    points: Points = field(default_factory=Points)
    _filled_at: float = 0.0
    _last_at: float = 0.0

    @property
    def step_s(self) -> float:
        return self.span_s / POINTS_MAX

    def add(self, at_s: float, value: float) -> bool:
        """Take one value; True where it made a new point. A gap or a step back starts again."""
        gap_s = max(GAP_STEPS * self.step_s, 60.0)
        if self.points and not 0.0 <= at_s - self._last_at <= max(gap_s, self.span_s / 2):
            self.points.clear()
        self._last_at = at_s
        if self.points and at_s - self._filled_at < self.step_s:
            self.points[-1] = (at_s, value)
            return False
        self._filled_at = at_s
        self.points.append((at_s, value))
        # One point beyond the edge stays, so that the span is covered and not almost.
        while len(self.points) > 2 and at_s - self.points[1][0] >= self.span_s:
            self.points.popleft()
        return True

    def due(self, at_s: float) -> bool:
        """Whether a value now would make a new point."""
        return not self.points or not 0.0 <= at_s - self._filled_at < self.step_s

    def clear(self) -> None:
        self.points.clear()

    @property
    def covered_s(self) -> float:
        """How far back it reaches."""
        return self.points[-1][0] - self.points[0][0] if self.points else 0.0

    def mean(self, since_s: float) -> float | None:
        """Mean of the points from a moment on; None where there is none."""
        values = [value for at, value in self.points if at >= since_s]
        return sum(values) / len(values) if values else None
