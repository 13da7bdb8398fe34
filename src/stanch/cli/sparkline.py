"""Numbers over time as one line of block characters."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
MISSING = " "

Point = tuple[float, float]
"""Seconds and value."""


def buckets(
    points: Iterable[Point],
    *,
    begin_s: float,
    end_s: float,
    cells: int,
    pick: Callable[[Sequence[float]], float],
) -> list[float | None]:
    """One value for each cell of time; None where nothing was seen."""
    held: list[list[float]] = [[] for _ in range(cells)]
    width_s = max(end_s - begin_s, 0.001) / cells
    for at_s, value in points:
        if begin_s <= at_s <= end_s:
            held[min(cells - 1, int((at_s - begin_s) / width_s))].append(value)
    return [pick(values) if values else None for values in held]


def sparkline(values: Sequence[float | None]) -> str:
    """Heights from zero to the largest; a cell without a value stays empty."""
    known = [value for value in values if value is not None]
    top = max(known, default=0.0)
    return "".join(MISSING if value is None else _block(value, top) for value in values)


def _block(value: float, top: float) -> str:
    if top <= 0 or value <= 0:
        return BLOCKS[0]
    return BLOCKS[min(len(BLOCKS) - 1, math.ceil(value / top * len(BLOCKS)) - 1)]


def rates(points: Sequence[Point], *, gap_s: float = 30.0) -> list[Point]:
    """Change a second between neighbours; a counter that fell began anew and says nothing."""
    found: list[Point] = []
    for (before_s, before), (at_s, value) in itertools.pairwise(points):
        passed_s = at_s - before_s
        if 0 < passed_s <= gap_s and value >= before:
            found.append((at_s, (value - before) / passed_s))
    return found
