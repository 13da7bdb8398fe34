"""WAL file names as numbers: how far one is behind another, and which follow each other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from stanch.model.backups import Branch, WalRun

_NAME = re.compile(r"([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})")
# pgBackRest puts a checksum behind the name; others add how it is packed and encrypted.
_PACKED = r"(?:-[0-9a-f]{40})?(?:\.(?:gz|bz2|xz|zst|lz4|lzo|br|gpg|age|enc))*"
_WHOLE = re.compile(_NAME.pattern + _PACKED)
_HISTORY = re.compile(r"([0-9A-F]{8})\.history" + _PACKED)
_HISTORY_LINE = re.compile(r"\s*(\d{1,10})\s+([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})(?:\s|$)")
XLOG_ID_BYTES = 0x1_0000_0000
SEGMENT_BYTES_MIN = 1024 * 1024
LOW_MAX = XLOG_ID_BYTES // SEGMENT_BYTES_MIN - 1
TIMELINES_MAX = 1000
SPANS_MAX = 20_000
"""Of four gigabytes each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WalFile:
    timeline: int
    segment: int
    """Counted from the beginning of WAL."""


def wal_file(name: str, *, segment_bytes: int) -> WalFile | None:
    """By its name; `.partial` and `.backup` count as the file they belong to, others are none."""
    match = _NAME.match(name)
    if match is None or segment_bytes < SEGMENT_BYTES_MIN:
        return None
    timeline, high, low = (int(part, 16) for part in match.groups())
    return WalFile(timeline=timeline, segment=high * (XLOG_ID_BYTES // segment_bytes) + low)


def wal_name(timeline: int, segment: int, *, segment_bytes: int) -> str:
    """The name of a WAL file."""
    high, low = divmod(segment, XLOG_ID_BYTES // segment_bytes)
    return f"{timeline:08X}{high:08X}{low:08X}"


def segments_missing(server: WalFile, repository: WalFile) -> int | None:
    """WAL files that the server believes archived and the repository does not have.

    None where the repository is on a later timeline: then it is the server that is behind. A later
    timeline of which the repository has nothing yet is at least one file.
    """
    if repository.timeline > server.timeline:
        return None
    behind = max(0, server.segment - repository.segment)
    return behind if repository.timeline == server.timeline else max(1, behind)


@dataclass(slots=True)
class WalNames:
    """Takes the names of an archive one after the other and keeps which were there.

    A bit a file, so an archive of any size fits. What is not a whole WAL file is left out: files
    still being written or renamed (`.tmp`, `.part`), `.partial` and `.backup` files.
    """

    histories: set[str] = field(default_factory=set[str])
    """Names of history files."""
    _bits: dict[tuple[int, int], int] = field(default_factory=dict[tuple[int, int], int])

    def add(self, name: str) -> str:
        """The first sixteen digits of a whole WAL file, which say where it lies; else empty."""
        match = _WHOLE.fullmatch(name)
        if match is None:
            if _HISTORY.fullmatch(name) and len(self.histories) < TIMELINES_MAX:
                self.histories.add(name)
            return ""
        timeline, high, low = (int(part, 16) for part in match.groups())
        key = timeline, high
        if low > LOW_MAX or (key not in self._bits and self.too_many):
            return ""
        self._bits[key] = self._bits.get(key, 0) | 1 << low
        return name[:16]

    @property
    def too_many(self) -> bool:
        """There may be more than could be kept, so nothing can be said about holes."""
        return len(self._bits) >= SPANS_MAX

    @property
    def newest_timeline(self) -> int:
        """0: there is no WAL file."""
        return max((timeline for timeline, _ in self._bits), default=0)

    def history(self) -> str:
        """The name of the newest timeline's history file; empty: there is none."""
        begin = f"{self.newest_timeline:08X}.history"
        return next((name for name in sorted(self.histories) if name.startswith(begin)), "")

    def runs(self) -> tuple[WalRun, ...]:
        return tuple(
            WalRun(timeline=timeline, high=high, first=first, last=last)
            for (timeline, high), bits in sorted(self._bits.items())
            for first, last in _runs(bits)
        )


def _runs(bits: int) -> Iterator[tuple[int, int]]:
    at = 0
    while bits:
        gap = (bits & -bits).bit_length() - 1
        bits >>= gap
        at += gap
        length = (~bits & (bits + 1)).bit_length() - 1
        yield at, at + length - 1
        bits >>= length
        at += length


def parse_history(text: str) -> tuple[Branch, ...]:
    """The timelines before the one whose history file this is, oldest first."""
    found: list[Branch] = []
    for line in text.splitlines()[:TIMELINES_MAX]:
        match = _HISTORY_LINE.match(line)
        if match is not None:
            position = int(match[2], 16) << 32 | int(match[3], 16)
            found.append(Branch(timeline=int(match[1]), end_bytes=position))
    return tuple(found)
