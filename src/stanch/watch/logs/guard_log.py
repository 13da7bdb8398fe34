"""What auth.log, fail2ban and UFW told since we first looked: counts, and the largest sources."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from stanch.facts.auth_log import GuardClass, GuardLine, guard_line
from stanch.model.readings import Reading
from stanch.watch.logs.sources import SOURCES_MAX, SourceCounts

LINE_BYTES_MAX: Final = 4096
PIDS_KEPT: Final = 64
"""Of connections whose failure was told, so that their end does not count once more."""

NAMES: Final = {
    GuardClass.AUTH_FAILED: "auth_failures_total",
    GuardClass.BANNED: "bans_total",
    GuardClass.BLOCKED: "blocked_total",
}


@dataclass(slots=True)
class GuardLog:
    """Fed bytes in the order they were written; the lines say themselves which log they are of."""

    path: str = ""
    """The subject of its readings."""
    by_class: dict[GuardClass, SourceCounts] = field(
        default_factory=lambda: {guard_class: SourceCounts() for guard_class in GuardClass}
    )
    _rest: bytes = b""
    _cutting: bool = False
    _failed_pids: deque[int] = field(default_factory=lambda: deque[int](maxlen=PIDS_KEPT))

    def begin(self, path: str, *, anew: bool, pending: bytes = b"") -> None:
        """Say whether the next bytes begin a file."""
        if anew:
            self._rest, self._cutting = b"", False
        self.feed(pending)

    def feed(self, content: bytes) -> None:
        *whole, rest = content.split(b"\n")
        for piece in whole:
            line = self._rest if self._cutting else self._rest + piece
            self._rest, self._cutting = b"", False
            if line:
                self._take(guard_line(line[:LINE_BYTES_MAX].decode("utf-8", "replace")))
        if not self._cutting:
            self._rest = (self._rest + rest)[: LINE_BYTES_MAX + 1]
            self._cutting = len(self._rest) > LINE_BYTES_MAX

    def settle(self) -> None:
        """Every whole line is counted already."""

    @property
    def pending(self) -> bytes:
        return self._rest

    def _take(self, line: GuardLine | None) -> None:
        if line is None:
            return
        if line.pid is not None:
            if line.abandoned and line.pid in self._failed_pids:
                return
            self._failed_pids.append(line.pid)
        self.by_class[line.guard_class].add(line.source, line.times)

    # --- told and kept ---

    def readings(self, unseen: str = "") -> Iterator[Reading]:
        """The counts, each with its largest sources. `unseen`: why nobody knows."""
        for guard_class, name in NAMES.items():
            counts = self.by_class[guard_class]
            yield Reading(
                name=name,
                subject=self.path,
                value=None if unseen else counts.total,
                detail=unseen or counts.top(),
            )

    def kept(self) -> dict[str, Any]:
        return {
            guard_class.value: [counts.total, counts.full, counts.counts]
            for guard_class, counts in self.by_class.items()
        }

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Take up what `kept` gave. Raises KeyError, TypeError, ValueError: it is none of ours."""
        by_class: dict[GuardClass, SourceCounts] = {}
        for guard_class in GuardClass:
            total, full, counts = kept[guard_class.value]
            known = {str(name)[:64]: int(n) for name, n in list(counts.items())[:SOURCES_MAX]}
            by_class[guard_class] = SourceCounts(counts=known, total=int(total), full=bool(full))
        self.by_class = by_class
