"""Where a number is heading: a robust slope, and when it reaches what must not be reached."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from statistics import median

Point = tuple[float, float]

POINTS_MIN = 8
AGREEMENT_MIN = 0.8
"""So large a share of all pairs has to rise or fall together for a trend to be one; in a saw with
two teeth it is three quarters."""


def slope_per_s(points: Sequence[Point]) -> float | None:
    """The Theil-Sen slope: the median of the slopes between all pairs of points.

    More than a quarter of the points may be wild without moving it far. None where there are too
    few points, or where they do not agree on a direction: a saw, a step, noise.
    """
    if len(points) < POINTS_MIN:
        return None
    slopes = [
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for earlier, later in combinations(points, 2)
        if later[0] > earlier[0]
    ]
    if not slopes:
        return None
    slope = median(slopes)
    if slope == 0.0:
        return 0.0
    agreeing = sum(1 for s in slopes if (s > 0) == (slope > 0) and s != 0.0)
    return slope if agreeing >= AGREEMENT_MIN * len(slopes) else None


def seconds_until(points: Sequence[Point], toward: float) -> float | None:
    """How long until the trend reaches `toward`; None where it never does, or there is no trend.

    It starts from the newest value, not from the line: what is free now is known.
    """
    slope = slope_per_s(points)
    if slope is None or slope == 0.0:
        return None
    left = toward - points[-1][1]
    if left == 0.0:
        return 0.0
    seconds = left / slope
    return seconds if seconds > 0.0 else None
