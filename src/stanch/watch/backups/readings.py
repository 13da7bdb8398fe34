"""What the backups of one place mean: their age, their size, how far they reach back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Final

from stanch.facts.wal_names import segments_missing, wal_file
from stanch.model.backups import Archived, Backup, BackupsSeen
from stanch.model.diagnosis import Missing
from stanch.model.readings import Reading

COMPARED_MAX: Final = 10
COMPARED_MIN: Final = 3
"""Of fewer backups nobody can say what is usual."""
YOUNG_DAYS: Final = 7.0
"""A place that reaches back less, and in which nothing was ever removed, may just be new."""
NAMES: Final = (
    "backup_age_s",
    "backup_failed",
    "backup_size_ratio",
    "backup_retention_days",
    "backup_latest_wrong",
    "archive_gap_segments",
)
_DAY_S: Final = 86_400.0


@dataclass(slots=True, kw_only=True)
class PlaceReadings:
    """Makes the readings of one place, one look after another."""

    place: str
    _oldest: datetime | None = None
    """The oldest good backup of the first look."""
    _removed: bool = False

    def none(self, reason: str) -> tuple[Reading, ...]:
        """The readings of a look that saw nothing."""
        return tuple(self._reading(name, None, reason) for name in NAMES)

    def of(
        self, seen: BackupsSeen, archived: Archived | Missing, *, at: datetime
    ) -> tuple[Reading, ...]:
        good = sorted((b for b in seen.backups if b.is_good), key=lambda b: b.at)
        return (
            self._age(good, at),
            self._failed(seen.backups, good),
            self._size(good),
            self._retention(good, at),
            self._reading("backup_latest_wrong", float(bool(seen.latest_fault)), seen.latest_fault),
            *self._gap(seen, archived),
        )

    def _age(self, good: Sequence[Backup], at: datetime) -> Reading:
        if not good:
            return self._reading("backup_age_s", None, "there is no good backup")
        newest = good[-1]
        age_s = max(0.0, (at - newest.at).total_seconds())
        return self._reading("backup_age_s", age_s, newest.name)

    def _failed(self, backups: Sequence[Backup], good: Sequence[Backup]) -> Reading:
        ended = sorted((b for b in backups if not b.running), key=lambda b: b.at)
        if not good and not any(b.running for b in backups):
            reason = ended[-1].fault if ended else "there is no backup"
            return self._reading("backup_failed", 1.0, reason)
        fault = f"{ended[-1].name}: {ended[-1].fault}" if ended and ended[-1].fault else ""
        return self._reading("backup_failed", float(bool(fault)), fault)

    def _size(self, good: Sequence[Backup]) -> Reading:
        newest = good[-1] if good else None
        kind = newest.kind if newest is not None else ""
        before = [b.size_bytes for b in good[:-1] if b.kind == kind][-COMPARED_MAX:]
        usual = median(before) if len(before) >= COMPARED_MIN else 0.0
        if newest is None or usual <= 0:
            return self._reading("backup_size_ratio", None, "too few backups to compare with")
        detail = f"{newest.name}: {newest.size_bytes} bytes, usually {usual:.0f}"
        return self._reading("backup_size_ratio", newest.size_bytes / usual, detail)

    def _retention(self, good: Sequence[Backup], at: datetime) -> Reading:
        name = "backup_retention_days"
        if not good:
            return self._reading(name, None, "there is no good backup")
        oldest = good[0]
        self._removed |= self._oldest is not None and oldest.at > self._oldest
        self._oldest = oldest.at
        days = max(0.0, (at - oldest.at).total_seconds() / _DAY_S)
        if days < YOUNG_DAYS and not self._removed:
            return self._reading(name, None, "the place may be younger than what was promised")
        return self._reading(name, days, oldest.name)

    def _gap(self, seen: BackupsSeen, archived: Archived | Missing) -> Iterator[Reading]:
        if seen.archived is None:
            return
        name = "archive_gap_segments"
        if isinstance(archived, Missing):
            yield self._reading(name, None, archived.reason)
            return
        server = wal_file(archived.last_wal, segment_bytes=archived.segment_bytes)
        if server is None:
            yield self._reading(name, None, "the server has archived no WAL file")
            return
        gaps: list[tuple[int, str]] = []
        for held in seen.archived:
            known = wal_file(held, segment_bytes=archived.segment_bytes)
            missing = None if known is None else segments_missing(server, known)
            if missing is not None:
                gaps.append((missing, held))
        if not gaps:
            yield self._reading(name, None, "the repository names no WAL file of this timeline")
            return
        worst, held = max(gaps)
        said = f"the server archived {archived.last_wal}, the repository ends at {held}"
        yield self._reading(name, float(worst), said if worst else "")

    def _reading(self, name: str, value: float | None, detail: str) -> Reading:
        return Reading(name=name, value=value, subject=self.place, detail=detail)
