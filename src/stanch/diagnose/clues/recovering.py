"""How long a recovery has lasted, how fast it is, and how long it will still take."""

from __future__ import annotations

import re
from datetime import datetime

from stanch.diagnose.ask import YES_NO, clue_on
from stanch.diagnose.clues.ending import ending
from stanch.diagnose.clues.left_wal import lsn_bytes
from stanch.diagnose.evidence import Evidence, value_of
from stanch.diagnose.outside import Log
from stanch.model.shown import span

RECOVERY_LONG_S = 30.0
"""A recovery that lasts as long as this is taken for a hang by whoever waits for it."""
PACED_S_MIN = 10.0
"""In less than this nobody can tell how fast it is; the server itself tells of nothing sooner."""

_BEGINS = frozenset({"interrupted_recovery", "reinitializing"})
_PROGRESS = re.compile(
    r"redo in progress, elapsed time: (?P<s>\d{1,7}\.\d\d) s, current LSN: (?P<lsn>[0-9A-F/]{3,17})"
)
_STARTS = re.compile(r"redo starts at (?P<lsn>[0-9A-F/]{3,17})")
_TITLE = re.compile(r"recovering (?P<segment>[0-9A-F]{24})\b")

Point = tuple[datetime, int]
"""A moment, and how far replay was then, in bytes."""


def recovery_began(evidence: Evidence) -> datetime | None:
    """When the recovery that is under way began, as far as the log tells."""
    at = None
    for event in ending(evidence):
        begins = event.kind in _BEGINS or event.text.startswith("redo starts at")
        if event.kind == "starting":
            at = None
        elif begins and event.at is not None:
            at = at or event.at
    return at


def recovering_for_s(evidence: Evidence) -> float | None:
    """How long it has lasted."""
    began = recovery_began(evidence)
    return None if began is None else max(0.0, (evidence.at - began).total_seconds())


def replayed(evidence: Evidence) -> tuple[Point, ...]:
    """How far it was by its own word; the server tells every ten seconds from version 15 on
    (log_startup_progress_interval), and never on a standby."""
    return _told(evidence, _PROGRESS)


def _told(evidence: Evidence, words: re.Pattern[str]) -> tuple[Point, ...]:
    found: list[Point] = []
    for event in ending(evidence):
        match = words.match(event.text)
        position = lsn_bytes(match["lsn"]) if match is not None else None
        if event.kind == "starting":
            found.clear()
        elif position is not None and event.at is not None:
            found.append((event.at, position))
    return tuple(found)


def _in_title(evidence: Evidence) -> tuple[Point, ...]:
    """The segment in the startup process's title: where replay is now, or up to one further."""
    processes, kept = value_of(evidence.processes), value_of(evidence.retention)
    found = _TITLE.search(processes.recovering) if processes else None
    if found is None or kept is None:
        return ()
    high, low = int(found["segment"][8:16], 16), int(found["segment"][16:], 16)
    return ((evidence.at, (high << 32) + low * kept.wal_segment_bytes),)


def _points(evidence: Evidence) -> tuple[Point, ...]:
    """By its own word where it tells at least twice, which is exact; else by all there is."""
    told = replayed(evidence)
    if len(told) >= 2:
        return told
    found = (*_told(evidence, _STARTS), *told, *_in_title(evidence))
    return tuple(sorted(found))


def replay_bytes_per_s(evidence: Evidence) -> float | None:
    seen = _points(evidence)
    if len(seen) < 2:
        return None
    (first_at, first), (last_at, last) = seen[0], seen[-1]
    seconds = (last_at - first_at).total_seconds()
    return None if seconds <= 0 else max(0.0, (last - first) / seconds)


def wal_left_bytes(evidence: Evidence) -> int | None:
    """WAL that is still to be replayed, at most two segments more than there is."""
    seen, retention = _points(evidence), value_of(evidence.retention)
    if not seen or retention is None or retention.wal_end_bytes is None:
        return None
    return max(0, retention.wal_end_bytes - max(position for _, position in seen))


def recovery_left_s(evidence: Evidence) -> float | None:
    """How long it will still take, at the pace it has."""
    left, pace, seen = wal_left_bytes(evidence), replay_bytes_per_s(evidence), _points(evidence)
    if left is None or not pace:
        return None
    return max(0.0, left / pace - (evidence.at - seen[-1][0]).total_seconds())


def _long(log: Log, evidence: Evidence) -> YES_NO:
    if not log.events:
        return f"nothing of use in {log.path}"
    lasts_s, began = recovering_for_s(evidence), recovery_began(evidence)
    if lasts_s is None:
        return "the log does not say since when it recovers"
    left_s = recovery_left_s(evidence) if lasts_s >= PACED_S_MIN else None
    said = f"it recovers for {span(lasts_s)}"
    if left_s is None:
        return lasts_s >= RECOVERY_LONG_S, said, began
    return lasts_s + left_s >= RECOVERY_LONG_S, f"{said}, and needs {span(left_s)} more", began


def _advances(log: Log, evidence: Evidence) -> YES_NO:
    seen = replayed(evidence)
    if len(seen) < 2:
        return ""
    last_at, last = seen[-1]
    if last > seen[-2][1]:
        return True, "the position it tells of moves on", last_at
    return False, "the position it tells of has not moved between two lines", last_at


recovery_long = clue_on(
    "recovery_long",
    f"Has it been recovering for {RECOVERY_LONG_S:g} s or longer, or will it at this pace?",
    lambda e: e.log,
    _long,
)
recovery_advances = clue_on(
    "recovery_advances",
    "Does the position that it tells of in its log move on?",
    lambda e: e.log,
    _advances,
)
