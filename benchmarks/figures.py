"""One figure a line, as JSON: what every benchmark here prints and the report reads."""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured thing."""

    bench: str
    case: str
    value: float
    """The median of the readings, or the one reading there is."""
    unit: str
    median: float
    p99: float
    """Nearest rank: with fewer than a hundred readings, the largest of them."""
    max: float
    n: int
    target: float | None = None
    """What the value has to stay below, where the design says so."""
    target_p99: float | None = None
    peer: str = ""
    """Whose figure this is, or beside whose it stands; empty for ours alone."""
    ratio: float | None = None
    """Peer's value to ours where ours is better the smaller it is."""
    note: str = ""

    def line(self) -> str:
        """The JSON line."""
        return json.dumps(asdict(self), ensure_ascii=False)


def figure(
    bench: str,
    case: str,
    readings: Sequence[float],
    unit: str,
    *,
    target: float | None = None,
    target_p99: float | None = None,
    peer: str = "",
    ratio: float | None = None,
    note: str = "",
) -> Figure:
    """A figure from readings; at least one."""
    assert readings, f"{bench} {case}: nothing was measured"
    ordered = sorted(readings)
    median = statistics.median(ordered)
    rank = max(1, math.ceil(0.99 * len(ordered)))
    return Figure(
        bench=bench,
        case=case,
        value=_short(median),
        unit=unit,
        median=_short(median),
        p99=_short(ordered[rank - 1]),
        max=_short(ordered[-1]),
        n=len(ordered),
        target=target,
        target_p99=target_p99,
        peer=peer,
        ratio=None if ratio is None else _short(ratio),
        note=note,
    )


def tell(found: Figure) -> None:
    """Print it at once, so that a run that is broken off keeps what it has."""
    print(found.line(), flush=True)


def say(words: str) -> None:
    """What goes on, for whoever waits; not part of the result."""
    print(words, file=sys.stderr, flush=True)


def _short(value: float) -> float:
    """Four significant digits."""
    if value == 0:
        return 0.0
    return round(value, max(0, 3 - math.floor(math.log10(abs(value)))))
