"""What is missing in an archive of WAL between its oldest kept backup and its newest file.

Pure: names in, missing stretches out. A restore replays one file after the other, along the
timelines that lead to the newest one; it ends at the first file that is not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from stanch.facts.wal_names import SEGMENT_BYTES_MIN, XLOG_ID_BYTES, wal_file, wal_name
from stanch.model.backups import WalHeld


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Stretch:
    """WAL files of one timeline that follow each other, by number; `last` is among them."""

    timeline: int
    first: int
    last: int

    @property
    def files(self) -> int:
        return self.last - self.first + 1


def newest_wal(held: WalHeld, *, segment_bytes: int) -> str:
    """The last file of the newest timeline; empty: there is none."""
    stretches = held_stretches(held, segment_bytes=segment_bytes)
    if not stretches:
        return ""
    last = stretches[-1]
    return wal_name(last.timeline, last.last, segment_bytes=segment_bytes)


def held_stretches(held: WalHeld, *, segment_bytes: int) -> tuple[Stretch, ...]:
    """What is there, joined across the directories that hold it."""
    assert segment_bytes >= SEGMENT_BYTES_MIN
    each = XLOG_ID_BYTES // segment_bytes
    found: list[Stretch] = []
    for run in held.runs:
        first, last = run.high * each + run.first, run.high * each + run.last
        before = found[-1] if found else None
        if before and (before.timeline, before.last + 1) == (run.timeline, first):
            found[-1] = Stretch(timeline=run.timeline, first=before.first, last=last)
        else:
            found.append(Stretch(timeline=run.timeline, first=first, last=last))
    return tuple(found)


def holes(held: WalHeld, *, segment_bytes: int) -> tuple[Stretch, ...]:
    """What a restore would look for and not find.

    Not a hole: what lies before the oldest kept backup, the ends of timelines that were left, and
    everything between two backups, which is how `repo-retention-archive` thins an archive out.
    """
    there = held_stretches(held, segment_bytes=segment_bytes)
    if not there:
        return _all_needed(held, segment_bytes=segment_bytes)
    path = _path(held, there, segment_bytes=segment_bytes)
    missing = [
        gap
        for wanted in _from_oldest(held, path, segment_bytes=segment_bytes)
        for gap in lacking(wanted, there)
    ]
    kept = _kept(held, segment_bytes=segment_bytes)
    stops, starts = {last for _, last in kept}, {first for first, _ in kept}
    found: list[Stretch] = []
    for group in _joined(missing):
        if not (group[0].first - 1 in stops and group[-1].last + 1 in starts):
            found += group
    return tuple(found)


def _joined(gaps: Sequence[Stretch]) -> Iterator[list[Stretch]]:
    """Those that go on where the one before ends, also across timelines."""
    group: list[Stretch] = []
    for gap in gaps:
        if group and group[-1].last + 1 != gap.first:
            yield group
            group = []
        group.append(gap)
    if group:
        yield group


def lacking(wanted: Stretch, there: Sequence[Stretch]) -> Iterator[Stretch]:
    """What of one stretch is not among others, which are in order."""
    at = wanted.first
    for one in there:
        if one.timeline != wanted.timeline or one.last < at:
            continue
        if one.first > wanted.last:
            break
        if one.first > at:
            yield Stretch(timeline=wanted.timeline, first=at, last=one.first - 1)
        at = one.last + 1
    if at <= wanted.last:
        yield Stretch(timeline=wanted.timeline, first=at, last=wanted.last)


def common(some: Sequence[Stretch], others: Sequence[Stretch]) -> tuple[Stretch, ...]:
    """What is in both."""
    found = (
        Stretch(timeline=a.timeline, first=max(a.first, b.first), last=min(a.last, b.last))
        for a in some
        for b in others
        if a.timeline == b.timeline
    )
    return tuple(sorted(one for one in found if one.first <= one.last))


def _path(held: WalHeld, there: Sequence[Stretch], *, segment_bytes: int) -> tuple[Stretch, ...]:
    """What a restore to the newest file replays, a stretch a timeline.

    The file in which a timeline was left is begun anew on the next one, so of the old timeline only
    those before it count.
    """
    newest = there[-1]
    ends: list[tuple[int, int]] = [
        (branch.timeline, branch.end_bytes // segment_bytes) for branch in held.branches
    ]
    if not ends:
        # Without a history, a timeline begins where its first file is.
        timelines = sorted({one.timeline for one in there})
        first_of = {t: min(s.first for s in there if s.timeline == t) for t in timelines}
        ends = [(t, first_of[after]) for t, after in pairwise(timelines)]
    found: list[Stretch] = []
    begin = 0
    for timeline, end in ends:
        if end > begin:
            found.append(Stretch(timeline=timeline, first=begin, last=end - 1))
        begin = max(begin, end)
    found.append(Stretch(timeline=newest.timeline, first=begin, last=newest.last))
    return tuple(found)


def _from_oldest(
    held: WalHeld, path: Sequence[Stretch], *, segment_bytes: int
) -> Iterator[Stretch]:
    """The part of the path from the oldest kept backup on."""
    there = held_stretches(held, segment_bytes=segment_bytes)
    kept = _kept(held, segment_bytes=segment_bytes)
    if held.needed is not None and not kept:
        return
    begin = min(first for first, _ in kept) if kept else None
    if begin is None:
        timelines = {one.timeline for one in path}
        begin = min((one.first for one in there if one.timeline in timelines), default=0)
    for one in path:
        if one.last >= begin:
            yield Stretch(timeline=one.timeline, first=max(one.first, begin), last=one.last)


def _all_needed(held: WalHeld, *, segment_bytes: int) -> tuple[Stretch, ...]:
    """What the kept backups need, where nothing at all is there."""
    found: list[Stretch] = []
    for needed in held.needed or ():
        first = wal_file(needed.first, segment_bytes=segment_bytes)
        last = wal_file(needed.last, segment_bytes=segment_bytes)
        if first is not None and last is not None and first.segment <= last.segment:
            found.append(Stretch(timeline=first.timeline, first=first.segment, last=last.segment))
    return tuple(sorted(found))


def _kept(held: WalHeld, *, segment_bytes: int) -> tuple[tuple[int, int], ...]:
    """First and last file of each kept backup."""
    found: list[tuple[int, int]] = []
    for needed in held.needed or ():
        first = wal_file(needed.first, segment_bytes=segment_bytes)
        last = wal_file(needed.last, segment_bytes=segment_bytes)
        if first is not None and last is not None:
            found.append((first.segment, last.segment))
    return tuple(found)
