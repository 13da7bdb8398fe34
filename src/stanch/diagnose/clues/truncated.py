"""Signs of a table that was emptied with TRUNCATE, and of large ones that are gone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

from stanch.diagnose.ask import YES_NO, clue_on
from stanch.diagnose.cause import Answer, Clue
from stanch.diagnose.clues.loss import names_of, removals
from stanch.diagnose.clues.missed import missed, plain
from stanch.diagnose.clues.rows import UNTOLD_S
from stanch.diagnose.evidence import Evidence, value_of
from stanch.diagnose.figures import Figures
from stanch.diagnose.history import Course, History
from stanch.diagnose.outside import Log
from stanch.model.changes import ItemKind
from stanch.model.readings import Reading as Figure
from stanch.model.shown import shortened, span

LOST_BYTES_MIN = 1024 * 1024
READ_OFTEN_MIN = 1000
AGAIN_AFTER = timedelta(minutes=2)
"""A suite of tests truncates many times, and all of it is one mishap."""

Cut = tuple[str, datetime | None, str]
"""Table, when, and by which words or signs."""
NONE: Cut = ("", None, "")


def truncated(evidence: Evidence) -> Cut:
    """The table that was truncated last, by what was said, else by the statistics alone."""
    said = said_truncated(evidence)
    return said if said[0] else _emptied(evidence)


def said_truncated(evidence: Evidence) -> Cut:
    """By the log, by the changes that were noted, or by what a session ran last."""
    found = [(event.at, name, event.text) for event, name in removals(evidence, "table_truncated")]
    noted = value_of(evidence.changes)
    found += [
        (change.at, plain(change.what), change.told)
        for change in (noted.changes if noted else ())
        if change.kind == ItemKind.RELATION.value and "ran truncate" in change.told.casefold()
    ]
    found += [*_ran_last(evidence)]
    last = max(found, key=lambda f: (f[0] or evidence.at, f[1]), default=None)
    return NONE if last is None else (last[1], last[0], last[2])


def _ran_last(evidence: Evidence) -> Iterator[tuple[datetime, str, str]]:
    figures = value_of(evidence.figures)
    for figure in figures.named("last_statement") if figures else ():
        if figure.value is not None and figure.detail.casefold().startswith("truncate"):
            at = evidence.at - timedelta(seconds=figure.value)
            for name in names_of(figure.detail):
                yield at, name, f"{figure.detail} by {figure.subject}"


def _emptied(evidence: Evidence) -> Cut:
    """The table whose rows are gone and that was changed lately: one that is asked for, else the
    largest."""
    figures = value_of(evidence.figures)
    if figures is None:
        return NONE
    found = [
        (figures.value("table_sessions", lost.subject) or 0.0, lost.value or 0.0, age_s, lost)
        for lost in _gone_rows(figures)
        for age_s in [figures.value("table_changed_age_s", lost.subject)]
        if age_s is not None and age_s <= evidence.lookback_s
    ]
    if not found:
        return NONE
    _, _, age_s, lost = max(found, key=lambda one: (one[0] >= 1, one[1], one[3].subject))
    return plain(lost.subject), evidence.at - timedelta(seconds=age_s), _gone(lost)


def _gone_rows(figures: Figures) -> tuple[Figure, ...]:
    """Tables that lost their rows: the statistics say so, or the file does and it is no rewrite."""
    in_new_file = figures.named("table_rows_in_new_file")
    return (*figures.named("table_rows_vanished"), *(f for f in in_new_file if f.detail))


def _gone(figure: Figure) -> str:
    if figure.name == "table_rows_in_new_file":
        return f"{figure.subject} has a new file; {figure.value:.0f} rows were in it"
    return f"{figure.subject} is empty; {figure.value:.0f} rows were put in, never deleted"


def _truncated(evidence: Evidence) -> Answer:
    name, at, words = said_truncated(evidence)
    if name:
        return Answer(yes=True, text=shortened(words, 200), at=at)
    log, figures = value_of(evidence.log), value_of(evidence.figures)
    logs_it = figures is not None and figures.setting("log_statement") in ("mod", "all")
    if log is not None and log.records_read and logs_it:
        return Answer(yes=False, text="the log has no such statement, and would have it")
    return Answer(yes=None, text="no such statement is known; few servers log it (log_statement)")


def _before_too(_log: Log, evidence: Evidence) -> YES_NO:
    name, _, _ = said_truncated(evidence)
    if not name:
        return ""
    times = {event.at for event, other in removals(evidence, "table_truncated") if other == name}
    told = sorted(at for at in times if at is not None)
    again = len(told) > 1 and told[-1] - told[0] >= AGAIN_AFTER
    return again, f"{name} was truncated {len(times)} times in the log that was read"


def _vanished(figures: Figures, evidence: Evidence) -> YES_NO:
    name, _, _ = truncated(evidence)
    if not figures.named("tables"):
        return "table_rows_vanished was not told"
    for figure in _gone_rows(figures):
        if not name or plain(figure.subject) == name:
            return True, _gone(figure)
    if _is_untold(figures, evidence):
        return "the session that did it has not told the statistics yet"
    return False, "no table is empty that rows were put into"


def _much_read(figures: Figures, evidence: Evidence) -> YES_NO:
    name, _, _ = truncated(evidence)
    said, is_known = "", False
    for figure in figures.named("table_rows_vanished"):
        if plain(figure.subject) == name:
            scans, is_known = sum(int(n) for n in re.findall(r"\d{1,15}", figure.detail)), True
            said = f"{figure.subject} was read {scans} times; what is filled and emptied is not"
            if scans >= READ_OFTEN_MIN:
                return True, said
    for figure in figures.named("table_sessions"):
        if plain(figure.subject) == name and figure.value is not None:
            is_known = True
            if figure.value >= 1:
                return True, f"{figure.value:.0f} sessions ask for rows of {figure.subject} now"
            said = said or f"no session asks for rows of {figure.subject}"
    return (False, said) if is_known else ""


def _is_untold(figures: Figures, evidence: Evidence) -> bool:
    """The statement was run so lately that the statistics may not have it yet, and the catalog has
    an empty file for the table."""
    name, at, _ = said_truncated(evidence)
    if not name or at is None or (evidence.at - at).total_seconds() >= UNTOLD_S:
        return False
    return any(plain(f.subject) == name for f in figures.named("table_rows_in_new_file"))


def _emptied_lately(figures: Figures, evidence: Evidence) -> YES_NO:
    """A table that is emptied every night lies there empty all day."""
    name, _, _ = truncated(evidence)
    vanished = [f for f in _gone_rows(figures) if plain(f.subject) == name]
    if not vanished:
        return (True, f"{name} has a new and empty file") if _is_untold(figures, evidence) else ""
    age_s = figures.value("table_changed_age_s", vanished[0].subject)
    if age_s is None:
        return "when its file was changed last was not told"
    said = f"{_gone(vanished[0])}; its file or definition was changed about {span(age_s)} ago"
    return age_s <= evidence.lookback_s, said


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
table_truncated = Clue(id="table_truncated", question="Was a table truncated?", ask=_truncated)
truncated_before = clue_on(
    "truncated_before", "Is that table truncated again and again?", lambda e: e.log, _before_too
)
table_vanished = clue_on(
    "table_vanished",
    "Is a table empty into which rows were put, and from which none was deleted?",
    lambda e: e.figures,
    _vanished,
    reads=("tables", "table_rows_vanished", "table_rows_in_new_file"),
)
table_much_read = clue_on(
    "table_much_read",
    "Is that table read so much that it is no table for passing through?",
    lambda e: e.figures,
    _much_read,
    reads=("table_rows_vanished", "table_sessions"),
)
table_emptied_lately = clue_on(
    "table_emptied_lately",
    "Was that table emptied within what is looked back over?",
    lambda e: e.figures,
    _emptied_lately,
    reads=("table_rows_vanished", "table_changed_age_s", "table_rows_in_new_file"),
)
