"""What the backups of one place mean: their age, their size, how far they reach back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Final

from stanch.model.backups import Archived, Backup, BackupsSeen
from stanch.model.diagnosis import Missing
from stanch.model.readings import Reading
from stanch.model.shown import moment
from stanch.watch.backups.gap import GAP, gap_reading

COMPARED_MAX: Final = 10
COMPARED_MIN: Final = 3
"""Of fewer backups nobody can say what is usual."""
NAMES: Final = (
    "backup_age_s",
    "backup_failed",
    "backup_verification_failed",
    "backup_size_ratio",
    "backup_retention_short_days",
    "backup_latest_wrong",
    "backup_uploads_left",
)
UNUSABLE: Final = "backup_unusable_s"
UPLOAD_LEFT_S: Final = 86_400.0
"""An upload that is older is not the one of today's backup."""
AHEAD_S: Final = 3_600.0
"""Clocks differ; by more than this somebody's is wrong."""
_DAY_S: Final = 86_400.0


def dated_ahead(backup: Backup, at: datetime) -> bool:
    """Whether its time cannot be right."""
    return (backup.at - at).total_seconds() > AHEAD_S


@dataclass(slots=True, kw_only=True)
class PlaceReadings:
    """Makes the readings of one place, one look after another."""

    place: str
    keep_days: float
    """How far back it was promised to reach."""
    _oldest: datetime | None = None
    """The oldest good backup of the first look."""
    _removed: bool = False
    _tells_gap: bool = False

    def none(self, reason: str) -> tuple[Reading, ...]:
        """The readings of a look that saw nothing."""
        names = (*NAMES, UNUSABLE, *((GAP,) if self._tells_gap else ()))
        return tuple(self._reading(name, None, reason) for name in names)

    def of(
        self, seen: BackupsSeen, archived: Archived | Missing, *, at: datetime
    ) -> tuple[Reading, ...]:
        good = sorted((b for b in seen.backups if b.is_good), key=lambda b: b.at)
        told = (
            self._age(good, at),
            self._failed(seen, good),
            self._verified(seen),
            self._size(good),
            self._retention(good, at),
            self._reading("backup_latest_wrong", float(bool(seen.latest_fault)), seen.latest_fault),
            self._uploads(seen, at),
            self._unusable(seen, at),
        )
        self._tells_gap = seen.archived is not None
        if seen.archived is None:
            return told
        return (*told, gap_reading(self.place, seen.archived, archived))

    def _age(self, good: Sequence[Backup], at: datetime) -> Reading:
        if not good:
            return self._reading("backup_age_s", None, "there is no good backup")
        # One whose time lies ahead would be the newest for as long, whether others follow or not.
        past = [backup for backup in good if not dated_ahead(backup, at)]
        if not past:
            said = f"{good[-1].name} is dated {moment(good[-1].at)}, which is yet to come"
            return self._reading("backup_age_s", None, said)
        age_s = max(0.0, (at - past[-1].at).total_seconds())
        return self._reading("backup_age_s", age_s, past[-1].name)

    def _failed(self, seen: BackupsSeen, good: Sequence[Backup]) -> Reading:
        ended = sorted((b for b in seen.backups if not b.running), key=lambda b: b.at)
        if seen.problem:
            return self._reading("backup_failed", 1.0, seen.problem)
        if not good and not seen.running and not any(b.running for b in seen.backups):
            reason = ended[-1].fault if ended else "there is no backup"
            return self._reading("backup_failed", 1.0, reason)
        fault = f"{ended[-1].name}: {ended[-1].fault}" if ended and ended[-1].fault else ""
        return self._reading("backup_failed", float(bool(fault)), fault)

    def _unusable(self, seen: BackupsSeen, at: datetime) -> Reading:
        """How long the newest one that ended has lain there and is not whole; 0: it is, or a run
        left nothing behind."""
        ended = [b for b in seen.backups if not b.running]
        newest = max(ended, key=lambda b: b.at, default=None)
        if newest is None or not newest.fault:
            return self._reading(UNUSABLE, 0.0, "")
        age_s = max(1.0, (at - newest.at).total_seconds())
        return self._reading(UNUSABLE, age_s, f"{newest.name}: {newest.fault}")

    def _verified(self, seen: BackupsSeen) -> Reading:
        """Of the newest that was tested; an untested one says neither."""
        name = "backup_verification_failed"
        tested = [b for b in seen.backups if b.verified is not None and not b.running]
        if not tested:
            return self._reading(name, None, "no backup was tested")
        newest = max(tested, key=lambda b: b.at)
        said = "" if newest.verified else f"{newest.name}: {newest.fault or 'its test failed'}"
        return self._reading(name, float(not newest.verified), said)

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
        """By how many days the oldest good backup is younger than what was promised."""
        name = "backup_retention_short_days"
        if not good:
            return self._reading(name, None, "there is no good backup")
        oldest = good[0]
        self._removed |= self._oldest is not None and oldest.at > self._oldest
        self._oldest = oldest.at
        days = max(0.0, (at - oldest.at).total_seconds() / _DAY_S)
        short = max(0.0, self.keep_days - days)
        if short and not self._removed:
            # It reaches back less, and nothing was ever seen to be removed.
            return self._reading(name, None, "the place may be younger than what was promised")
        said = f"it reaches back {days:.1f} of {self.keep_days:g} days, to {oldest.name}"
        return self._reading(name, short, said if short else "")

    def _uploads(self, seen: BackupsSeen, at: datetime) -> Reading:
        name, left = "backup_uploads_left", seen.uploads
        if left is None or (at - left.oldest_at).total_seconds() < UPLOAD_LEFT_S:
            return self._reading(name, 0.0, "")
        said = f"the oldest, {left.oldest_name}, was begun {moment(left.oldest_at)}"
        return self._reading(name, float(left.count), said)

    def _reading(self, name: str, value: float | None, detail: str) -> Reading:
        return Reading(name=name, value=value, subject=self.place, detail=detail)
