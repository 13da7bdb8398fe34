"""WAL file names as numbers: how far one is behind another."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = re.compile(r"([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})")
_XLOG_ID_BYTES = 0x1_0000_0000
SEGMENT_BYTES_MIN = 1024 * 1024


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
    return WalFile(timeline=timeline, segment=high * (_XLOG_ID_BYTES // segment_bytes) + low)


def segments_missing(server: WalFile, repository: WalFile) -> int | None:
    """WAL files that the server believes archived and the repository does not have.

    None where the repository is on a later timeline: then it is the server that is behind. A later
    timeline of which the repository has nothing yet is at least one file.
    """
    if repository.timeline > server.timeline:
        return None
    behind = max(0, server.segment - repository.segment)
    return behind if repository.timeline == server.timeline else max(1, behind)
