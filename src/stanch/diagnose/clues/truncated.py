"""Signs of a table that was emptied with TRUNCATE, and of large ones that are gone."""

from __future__ import annotations

import re
from datetime import datetime

from stanch.diagnose.ask import YES_NO, clue_on
from stanch.diagnose.clues.loss import removals
from stanch.diagnose.clues.missed import missed, plain
from stanch.diagnose.evidence import Evidence, value_of
from stanch.diagnose.figures import Figures
from stanch.diagnose.history import Course, History
from stanch.diagnose.outside import Log
from stanch.model.changes import ItemKind
from stanch.model.shown import shortened

LOST_BYTES_MIN = 1024 * 1024
READ_OFTEN_MIN = 1000


def truncated(evidence: Evidence) -> tuple[str, datetime | None, str]:
    """The table that was truncated last, when, and by which words; empty names where none was."""
    found = [(event.at, name, event.text) for event, name in removals(evidence, "table_truncated")]
    noted = value_of(evidence.changes)
    found += [
        (change.at, plain(change.what), change.told)
        for change in (noted.changes if noted else ())
        if change.kind == ItemKind.RELATION.value and "ran truncate" in change.told.casefold()
    ]
    last = max(found, key=lambda f: (f[0] or evidence.at, f[1]), default=None)
    return ("", None, "") if last is None else (last[1], last[0], last[2])


def _truncated(_log: Log, evidence: Evidence) -> YES_NO:
    name, at, words = truncated(evidence)
    if not name:
        return False, "no such statement is known; few servers log it (log_statement = mod)"
    return True, shortened(words, 200), at


def _before_too(_log: Log, evidence: Evidence) -> YES_NO:
    name, _, _ = truncated(evidence)
    if not name:
        return ""
    times = {event.at for event, other in removals(evidence, "table_truncated") if other == name}
    return len(times) > 1, f"{name} was truncated {len(times)} times in the log that was read"


def _vanished(figures: Figures, evidence: Evidence) -> YES_NO:
    name, _, _ = truncated(evidence)
    if not figures.named("tables"):
        return "table_rows_vanished was not told"
    for figure in figures.named("table_rows_vanished"):
        if not name or plain(figure.subject) == name:
            said = f"{figure.subject} is empty; {figure.value:.0f} rows were put in, never deleted"
            return True, said
    return False, "no table is empty that rows were put into"


def _much_read(figures: Figures, evidence: Evidence) -> YES_NO:
    name, _, _ = truncated(evidence)
    for figure in figures.named("table_rows_vanished"):
        if plain(figure.subject) == name:
            scans = sum(int(n) for n in re.findall(r"\d{1,15}", figure.detail))
            said = f"{figure.subject} was read {scans} times; what is filled and emptied is not"
            return scans >= READ_OFTEN_MIN, said
    return ""


def _lost_size(history: History, evidence: Evidence) -> YES_NO:
    told = history.named("table_size_bytes")
    if not any(course.now for course in told):
        return "table_size_bytes is not recorded"
    dropped = missed(evidence, "no_such_table")
    name = plain(dropped.name) if dropped else truncated(evidence)[0]
    lost = [c for c in told if _has_lost(c) and (not name or plain(c.subject) == name)]
    if not lost:
        return False, "no large table has become small"
    first = max(lost, key=lambda c: (c.usual or 0.0, c.subject))
    return True, f"{first.subject} had {(first.usual or 0) / 2**20:.0f} MiB and has none now"


def _has_lost(course: Course) -> bool:
    usual = course.usual or 0.0
    return usual >= LOST_BYTES_MIN and (course.now is None or course.now < usual / 10)


table_size_lost = clue_on(
    "table_size_lost",
    "Has a large table become small, or is it not there any more?",
    lambda e: e.history,
    _lost_size,
    reads=("table_size_bytes",),
)
table_truncated = clue_on("table_truncated", "Was a table truncated?", lambda e: e.log, _truncated)
truncated_before = clue_on(
    "truncated_before", "Is that table truncated again and again?", lambda e: e.log, _before_too
)
table_vanished = clue_on(
    "table_vanished",
    "Is a table empty into which rows were put, and from which none was deleted?",
    lambda e: e.figures,
    _vanished,
    reads=("tables", "table_rows_vanished"),
)
table_much_read = clue_on(
    "table_much_read",
    "Was that table read so often that it is no table for passing through?",
    lambda e: e.figures,
    _much_read,
    reads=("table_rows_vanished",),
)
