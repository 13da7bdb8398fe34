"""How far an archive of WAL is behind what the server believes archived."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from stanch.facts.wal_names import segments_missing, wal_file
from stanch.model.backups import Archived
from stanch.model.diagnosis import Missing
from stanch.model.readings import Reading

GAP: Final = "archive_gap_segments"


def gap_reading(place: str, newest: Sequence[str], archived: Archived | Missing) -> Reading:
    """`newest`: of each repository that should hold everything, its newest file."""

    def told(value: float | None, detail: str) -> Reading:
        return Reading(name=GAP, value=value, subject=place, detail=detail)

    if isinstance(archived, Missing):
        return told(None, archived.reason)
    server = wal_file(archived.last_wal, segment_bytes=archived.segment_bytes)
    if server is None:
        return told(None, "the server has archived no WAL file")
    gaps: list[tuple[int, str]] = []
    for held in newest:
        known = wal_file(held, segment_bytes=archived.segment_bytes)
        missing = None if known is None else segments_missing(server, known)
        if missing is not None:
            gaps.append((missing, held))
    if not gaps:
        return told(None, "the repository names no WAL file of this timeline")
    worst, held = max(gaps)
    said = f"the server archived {archived.last_wal}, the repository ends at {held}"
    return told(float(worst), said if worst else "")
