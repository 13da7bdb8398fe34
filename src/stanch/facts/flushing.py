"""How far WAL is on disk: the statement, what its answer means, and what many answers tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from stanch.facts.reading import read_object
from stanch.facts.sql import load
from stanch.model.readings import Reading

FLUSHING_SQL: Final = load("flushing")
WAITS_FOR_FLUSH: Final = frozenset({"WALSYNC", "WALWRITE", "WALINITSYNC", "WALINITWRITE"})
"""In capitals: versions write them in other letters."""
LOOKS_S_MIN = 0.3
"""A shorter time says nothing about how long a flush takes."""
MOVES_ENOUGH = 5
"""A flush that ended as often as this, while somebody looked, is none that hangs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flushed:
    """One look."""

    at_s: float
    """On any clock that only goes forward."""
    position: float | None
    """In bytes; None: a standby, which flushes nothing of its own."""
    waiting: int
    """Sessions and server processes that wait for WAL to be written or flushed."""


def parse_flushing(payload: str, *, at_s: float) -> Flushed:
    """Raises: ProbeFailed, where the answer is not what the statement gives."""
    answer = read_object(payload, "flushing")
    position, waiting = answer.number_or_none("flushed"), answer.whole("waiting")
    return Flushed(at_s=at_s, position=position, waiting=waiting)


class FlushLooks:
    """Looks at one server, one after the other."""

    def __init__(self) -> None:
        self._first: Flushed | None = None
        self._last: Flushed | None = None
        self._stands_since_s = 0.0
        self._longest_s = 0.0
        self._moves = 0

    def add(self, seen: Flushed) -> None:
        """Somebody who waited at one look still waits at the next where the position is the same,
        however late we were in between: what he waited for has not been flushed."""
        before, self._last = self._last, seen
        if before is None:
            self._first = seen
        if before is None or not before.waiting or before.position != seen.position:
            self._stands_since_s = seen.at_s
            self._moves += before is not None
        self._longest_s = max(self._longest_s, seen.at_s - self._stands_since_s)

    @property
    def is_enough(self) -> bool:
        return self._moves >= MOVES_ENOUGH

    def told(self) -> tuple[Reading, ...]:
        """For how long no flush ended although somebody waited, and how much was flushed."""
        first, last = self._first, self._last
        if first is None or last is None or first.position is None or last.position is None:
            return ()
        seconds = last.at_s - first.at_s
        if seconds < LOOKS_S_MIN:
            return ()
        rate = (last.position - first.position) / seconds
        return (
            Reading(name="wal_flush_stood_s", value=round(self._longest_s, 3)),
            Reading(name="wal_flushed_bytes_per_s", value=round(max(0.0, rate))),
        )
