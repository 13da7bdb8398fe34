"""A counter of errors made of counts over one span after the other, without holes or overlaps."""

from __future__ import annotations

from datetime import datetime

from stanch.facts.log_counts import Span
from stanch.model.diagnosis import Missing
from stanch.model.readings import Reading
from stanch.policy.quoting import printable

LAG_S = 30
"""Lines younger than this may be on their way into the store."""
FIRST_S = 60
CATCH_UP_S_MAX = 300
"""After a longer silence of the store what was logged in it is left out."""


class LogErrors:
    """What one store counted for one service, look after look."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._until_s: int | None = None
        self._total = 0.0

    def due(self, at: datetime) -> Span | None:
        """What has to be counted next; None where no second has passed since the last count."""
        until_s = int(at.timestamp()) - LAG_S
        since_s = self._until_s
        behind_s = None if since_s is None else until_s - since_s
        if since_s is None or behind_s is None or not -FIRST_S <= behind_s <= CATCH_UP_S_MAX:
            return Span(since_s=until_s - FIRST_S, until_s=until_s)
        return Span(since_s=since_s, until_s=until_s) if behind_s > 0 else None

    def counted(self, span: Span, count: float) -> tuple[Reading, ...]:
        """The span is done with: the next one begins where it ended."""
        self._until_s = span.until_s
        self._total += count
        seconds = span.until_s - span.since_s
        return (self._reading(self._total, f"{count:g} lines in {seconds} s"),)

    def none(self, missing: Missing) -> tuple[Reading, ...]:
        """It did not count; the next span begins where this one did."""
        return (self._reading(None, printable(missing.reason)),)

    def _reading(self, value: float | None, detail: str) -> Reading:
        return Reading(name="log_errors_total", value=value, subject=self._service, detail=detail)
