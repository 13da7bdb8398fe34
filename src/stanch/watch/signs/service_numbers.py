"""Request rate, error rate and latency from a service's own JSON: numbers of now, and counters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from stanch.facts.json_path import number_at
from stanch.model.diagnosis import Missing
from stanch.model.readings import Reading
from stanch.model.shown import shortened
from stanch.policy.quoting import printable
from stanch.policy.signs import JsonSigns

GAP_S_MAX = 300.0
"""Two answers further apart make no rate: nobody knows what became of the counter between them."""
REASON_CHARS_MAX = 200

NOT_YET = "a counter tells a rate from its second answer on"
NO_REQUESTS = "no requests between two answers"

Numbers = Mapping[str, float | Missing]


@dataclass(frozen=True, slots=True)
class Counted:
    """Counters at one moment; those that could be read."""

    at_s: float
    values: Mapping[str, float]


class ServiceNumbers:
    """Makes readings of what one service says, answer after answer.

    Never: zero for what is not known; a rate across a reset.
    """

    def __init__(self, signs: JsonSigns) -> None:
        self._signs = signs
        self._before: Counted | None = None

    def of(self, answer: object, *, at_s: float) -> tuple[Reading, ...]:
        """`at_s` counts up steadily, whatever the wall clock does."""
        told = {name: self._gauge(name, answer) for name in self._signs.gauges}
        told |= self._by_counters(answer, at_s)
        return tuple(self._reading(name, number) for name, number in told.items())

    def none(self, missing: Missing) -> tuple[Reading, ...]:
        """It did not answer. The counters stay as last seen: a rate over a longer time is one."""
        return tuple(self._reading(name, missing) for name in self._names())

    def _names(self) -> list[str]:
        counters = self._signs.counters
        return [*self._signs.gauges, *(READING_OF[name] for name in counters)]

    def _gauge(self, name: str, answer: object) -> float | Missing:
        path, factor = self._signs.gauges[name]
        number = number_at(answer, path)
        if isinstance(number, Missing):
            return number
        if name == "error_rate_pct" and number * factor > 100:
            return _missing(f"what is at {path} is more than all requests")
        return number * factor

    def _by_counters(self, answer: object, at_s: float) -> dict[str, float | Missing]:
        paths = self._signs.counters
        if not paths:
            return {}
        found: Numbers = {name: number_at(answer, path) for name, path in paths.items()}
        values = {name: n for name, n in found.items() if not isinstance(n, Missing)}
        before, now = self._before, Counted(at_s, values)
        if "requests" not in values:
            return {READING_OF[name]: found["requests"] for name in paths}
        self._before = now
        why_not = _why_no_rate(before, now)
        if before is None or why_not is not None:
            return {READING_OF[name]: why_not or _missing(NOT_YET) for name in paths}
        grown = {name: values[name] - before.values[name] for name in _both(before, now)}
        return {READING_OF[n]: self._rate(n, found[n], grown, at_s - before.at_s) for n in paths}

    def _rate(
        self, name: str, now: float | Missing, grown: Mapping[str, float], elapsed_s: float
    ) -> float | Missing:
        if isinstance(now, Missing):
            return now
        if name not in grown:
            return _missing(NOT_YET)
        if name == "requests":
            return grown[name] / elapsed_s
        if not grown["requests"]:
            return _missing(NO_REQUESTS)
        share = grown[name] / grown["requests"]
        if name == "latency":
            return share * self._signs.latency_factor
        return 100 * share if share <= 1 else _missing("more errors were counted than requests")

    def _reading(self, name: str, told: float | Missing) -> Reading:
        if not isinstance(told, Missing) and not math.isfinite(told):
            told = _missing("the number is too large")
        missing = isinstance(told, Missing)
        return Reading(
            name=name,
            value=None if missing else told,
            subject=self._signs.name,
            detail=shortened(printable(told.reason), REASON_CHARS_MAX) if missing else "",
        )


READING_OF: Mapping[str, str] = {
    "requests": "request_rate",
    "errors": "error_rate_pct",
    "latency": "latency_s",
}
"""What each counter becomes."""


def _why_no_rate(before: Counted | None, now: Counted) -> Missing | None:
    if before is None:
        return _missing(NOT_YET)
    if not 0 < now.at_s - before.at_s <= GAP_S_MAX:
        return _missing("the answer before is too long ago for a rate")
    if any(now.values[name] < before.values[name] for name in _both(before, now)):
        return _missing("a counter went down: it began again")
    return None


def _both(before: Counted, now: Counted) -> list[str]:
    return [name for name in now.values if name in before.values]


def _missing(reason: str) -> Missing:
    return Missing(what="number", reason=reason)
