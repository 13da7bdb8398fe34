"""Counts by address in bounded memory: exact while there are few, never too low for the largest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

SOURCES_MAX: Final = 256
TOP: Final = 5


@dataclass(slots=True)
class SourceCounts:
    """The addresses that were counted most.

    Once it is full, a newcomer takes the place of the smallest and inherits its count, so whoever
    has more than 1/256 of all is in it whatever else comes.
    """

    counts: dict[str, int] = field(default_factory=dict[str, int])
    total: int = 0
    full: bool = False
    """More addresses came than are kept: a count may be too high, never too low."""

    def add(self, source: str, times: int = 1) -> None:
        self.total += times
        if source in self.counts:
            self.counts[source] += times
            return
        inherited = 0
        if len(self.counts) >= SOURCES_MAX:
            self.full = True
            smallest = min(self.counts, key=self.counts.__getitem__)
            inherited = self.counts.pop(smallest)
        self.counts[source] = inherited + times

    def top(self) -> str:
        """The largest in words, such as `192.0.2.7: 31, 192.0.2.9: 4`; empty where there is none.

        At most five; `about` where counts may be too high.
        """
        largest = sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))[:TOP]
        about = "about " if self.full else ""
        return ", ".join(f"{source}: {about}{count}" for source, count in largest)
