"""Of any number of backups the newest and the oldest; of those between their number and size."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from stanch.model.backups import Backup

KEPT_MAX: Final = 300


@dataclass(slots=True)
class Newest:
    """Takes backups in any order and keeps no more than it needs."""

    oldest: Backup | None = None
    _heap: list[tuple[datetime, str, Backup]] = field(
        default_factory=list[tuple[datetime, str, Backup]]
    )
    """Its top is the oldest of those that are kept."""
    _out: int = 0
    _out_bytes: int = 0

    def add(self, backup: Backup) -> None:
        if self.oldest is None or _key(backup) < _key(self.oldest):
            self.oldest = backup
        one = (*_key(backup), backup)
        if len(self._heap) < KEPT_MAX:
            heapq.heappush(self._heap, one)
            return
        _, _, gone = heapq.heappushpop(self._heap, one)
        self._out, self._out_bytes = self._out + 1, self._out_bytes + gone.size_bytes

    def newest_first(self) -> list[Backup]:
        """The oldest is the last, whatever lies between."""
        kept = [backup for _, _, backup in sorted(self._heap, key=lambda o: o[:2], reverse=True)]
        return kept if self._keeps_oldest or self.oldest is None else [*kept, self.oldest]

    @property
    def between(self) -> tuple[int, int]:
        """Number and size of those that `newest_first` leaves out."""
        if self._keeps_oldest or self.oldest is None:
            return self._out, self._out_bytes
        return self._out - 1, self._out_bytes - self.oldest.size_bytes

    @property
    def _keeps_oldest(self) -> bool:
        return self._out == 0


def _key(backup: Backup) -> tuple[datetime, str]:
    return backup.at, backup.name
