"""What the WAL files of an archive mean: whether a restore could replay all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from stanch.facts.wal_holes import Stretch, common, holes, newest_wal
from stanch.facts.wal_names import wal_file, wal_name
from stanch.model.backups import Archived, WalHeld
from stanch.model.diagnosis import Missing
from stanch.model.readings import Reading
from stanch.model.shown import moment
from stanch.watch.backups.gap import GAP, gap_reading

HOLES: Final = "archive_holes"
SEEN_MISSING: Final = "archive_missed_bytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hole:
    """The first hole of one repository that two looks in a row have found."""

    repository: str
    files: int
    """Missing in all."""
    first: str
    """The first file that is missing."""
    before: str
    """The file before it; empty: there can be none."""
    resumes: str
    """The oldest kept backup that began behind every hole; empty: none did, or none is known."""


@dataclass(slots=True, kw_only=True)
class ArchiveReadings:
    """Makes the readings of one archive, one walk after another.

    A file counts as missing when two walks in a row have not found it: several are archived at
    once, in any order, and one may be on its way or being renamed.
    """

    place: str
    tells_gap: bool
    """False: the tool's own list tells how far the archive reaches."""
    unsure: bool = False
    """Something was missing for the first time: worth another walk soon."""
    _segment_bytes: int = 0
    _before: Mapping[str, Sequence[Stretch]] = field(default_factory=dict[str, Sequence[Stretch]])

    def none(self, reason: str) -> tuple[Reading, ...]:
        """The readings of a walk that saw nothing."""
        self.unsure = False
        names = (HOLES, SEEN_MISSING, *((GAP,) if self.tells_gap else ()))
        return tuple(Reading(name=n, value=None, subject=self.place, detail=reason) for n in names)

    def found(
        self, walked: Sequence[WalHeld], archived: Archived | Missing
    ) -> tuple[Hole, ...] | Missing:
        """The holes of each repository that has some."""
        if isinstance(archived, Archived):
            self._segment_bytes = archived.segment_bytes
        if not self._segment_bytes:
            assert isinstance(archived, Missing)
            return archived
        now = {one.repository: holes(one, segment_bytes=self._segment_bytes) for one in walked}
        certain = {
            name: common(gaps, self._before.get(name, ())) for name, gaps in now.items() if gaps
        }
        self.unsure = any(gaps and certain[name] != gaps for name, gaps in now.items())
        self._before = now
        return tuple(
            self._hole(one, gaps) for one in walked if (gaps := certain.get(one.repository))
        )

    def of(
        self,
        walked: Sequence[WalHeld],
        archived: Archived | Missing,
        *,
        found: Sequence[Hole] | Missing,
        when: Mapping[str, datetime],
    ) -> tuple[Reading, ...]:
        """`when`: by repository, when the file before its hole was archived."""
        told: list[Reading] = []
        if isinstance(found, Missing):
            told.append(self._reading("", None, found.reason))
            told.append(Reading(name=SEEN_MISSING, value=None, subject=self.place))
        else:
            known = {hole.repository: hole for hole in found}
            for one in walked:
                hole = known.get(one.repository)
                said = "" if hole is None else _said(hole, when.get(one.repository))
                told.append(self._reading(one.repository, hole.files if hole else 0, said))
                told.append(self._seen_missing(one.repository))
        if self.tells_gap and self._segment_bytes:
            ends = [newest_wal(one, segment_bytes=self._segment_bytes) for one in walked]
            told.append(gap_reading(self.place, ends, archived))
        return tuple(told)

    def _hole(self, held: WalHeld, gaps: Sequence[Stretch]) -> Hole:
        first, size = gaps[0], self._segment_bytes
        return Hole(
            repository=held.repository,
            files=sum(gap.files for gap in gaps),
            first=wal_name(first.timeline, first.first, segment_bytes=size),
            before=wal_name(first.timeline, first.first - 1, segment_bytes=size)
            if first.first
            else "",
            resumes=_resumes(held, gaps[-1].last, size),
        )

    def _seen_missing(self, repository: str) -> Reading:
        """What this walk alone has missed: for whoever asks before the next one."""
        missed = sum(gap.files for gap in self._before.get(repository, ())) * self._segment_bytes
        subject = f"{self.place} {repository}".rstrip()
        return Reading(name=SEEN_MISSING, value=float(missed), subject=subject)

    def _reading(self, repository: str, value: float | None, detail: str) -> Reading:
        subject = f"{self.place} {repository}".rstrip()
        return Reading(name=HOLES, value=value, subject=subject, detail=detail)


def _resumes(held: WalHeld, last: int, segment_bytes: int) -> str:
    for needed in held.needed or ():
        begin = wal_file(needed.first, segment_bytes=segment_bytes)
        if begin is not None and begin.segment > last:
            return needed.backup
    return ""


def _said(hole: Hole, when: datetime | None) -> str:
    more = f" and {hole.files - 1} more are missing" if hole.files > 1 else " is missing"
    end = f"a restore of an older backup ends at {moment(when)}" if when else ""
    end = end or f"a restore of an older backup ends at {hole.before or hole.first}"
    if hole.resumes:
        return f"{hole.first}{more}: {end}; from the backup {hole.resumes} on nothing is missing"
    return f"{hole.first}{more}: {end}, and no newer one is known to begin behind it"
