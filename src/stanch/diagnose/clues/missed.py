"""What many statements suddenly ask for and do not find: tables, columns, databases."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta

from stanch.diagnose.ask import YES_NO, clue_on
from stanch.diagnose.clues.twice import times_more
from stanch.diagnose.evidence import Evidence, value_of
from stanch.diagnose.outside import Log, LogCount, LogEvent
from stanch.model.diagnosis import Missing
from stanch.model.shown import shortened, span

BURST_WITHIN_S = 600.0
"""The newest complaint is at most this old."""
BURST_LINES_MIN = 5
SILENT_BEFORE = 3.0
"""So many times the usual gap between two complaints it was silent before the first: what asked for
a table that never was has asked for it since the log begins."""
SILENT_BEFORE_S_MIN = 1.0
TAKEN_BEFORE = timedelta(minutes=1)
FORCED_BEFORE = timedelta(seconds=10)
FAILING_TIMES = 3.0
NEW_WITHIN = timedelta(seconds=3)
"""A new version asks for everything soon after it has logged in."""

_QUOTED = r'"((?:[^"]|"")*)"'
MISSING = {
    "no_such_table": re.compile(rf"relation {_QUOTED} does not exist"),
    "no_such_column": re.compile(r"column (\S{1,130}) "),
    "no_such_database": re.compile(rf"database {_QUOTED} does not exist"),
}


def plain(name: str) -> str:
    """The last part of a name, as the catalogs have it."""
    last = re.findall(r'"(?:[^"]|"")*"|[^."\s]+', name.strip())
    if not last:
        return ""
    part = last[-1]
    return part[1:-1].replace('""', '"') if part.startswith('"') else part.casefold()


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """What many statements asked for and did not find."""

    name: str
    lines: int
    first_at: datetime
    last_at: datetime
    who: tuple[str, ...]
    """Who asked, as far as the log says."""
    is_new: bool
    """The log that was read reaches back to when nobody complained."""

    @property
    def database(self) -> str:
        """Of the first who asked; empty where the log does not say."""
        return database_of(self.who[0]) if self.who else ""


def database_of(who: str) -> str:
    """The database of a session as log events name it, `user@database (application)`."""
    return who.partition("@")[2].partition(" (")[0]


def missed(evidence: Evidence, kind: str) -> Missed | None:
    """What of one kind most statements did not find lately."""
    log = value_of(evidence.log)
    if log is None:
        return None
    by_name: dict[str, list[LogEvent]] = defaultdict(list)
    for event in log.events:
        found = MISSING[kind].search(event.text)
        if event.kind == kind and found is not None and event.at is not None:
            by_name[found[1].replace('""', '"')].append(event)
    most = min(by_name.items(), key=lambda item: (-len(item[1]), item[0]), default=None)
    if most is None:
        return None
    # Of a flood only the newest lines are kept; all of them were counted.
    counted = log.count(kind) if len(by_name) == 1 else None
    return _missed(most[0], most[1], log, counted)


def _missed(name: str, events: list[LogEvent], log: Log, counted: LogCount | None) -> Missed:
    times = sorted(event.at for event in events if event.at is not None)
    lines = max(len(times), counted.lines if counted else 0)
    first = min(times[0], counted.first_at) if counted and counted.first_at else times[0]
    last = times[-1]
    gap_s = (last - first).total_seconds() / max(1, lines - 1)
    before_s = (first - log.begins_at).total_seconds() if log.begins_at else 0.0
    return Missed(
        name=name,
        lines=lines,
        first_at=first,
        last_at=last,
        who=tuple(sorted({event.who for event in events if event.who})),
        is_new=before_s >= max(SILENT_BEFORE_S_MIN, SILENT_BEFORE * gap_s),
    )


def began_with_it(log: Log, evidence: Evidence, kind: str, since: datetime) -> tuple[int, int]:
    """How many of the sessions that missed something had only just begun as it was missed first,
    and how many were there long before; only of those that are left and among the youngest."""
    figures = evidence.figures
    if isinstance(figures, Missing):
        return 0, 0
    asked = {str(event.pid) for event in log.events if event.kind == kind and event.pid}
    began = [
        figures.at - timedelta(seconds=one.value)
        for one in figures.value.named("session_age_s")
        if one.subject in asked and one.value is not None
    ]
    new = sum(at >= since - NEW_WITHIN for at in began)
    return new, len(began) - new


def forced_before(log: Log, found: Missed) -> datetime | None:
    """When a checkpoint was forced right before: DROP DATABASE does so, whoever logs what."""
    forced = [e.at for e in log.events if e.kind == "checkpoint_forced" and e.at is not None]
    right = [at for at in forced if timedelta() <= found.first_at - at <= FORCED_BEFORE]
    return max(right, default=None)


def _is_new(log: Log, evidence: Evidence, kind: str, found: Missed) -> bool:
    """Nobody complained before, by the log; where that begins with it, by who complains, by what
    was dropped right before, or by how much more fails than ever."""
    if found.is_new:
        return True
    new, old = began_with_it(log, evidence, kind, found.first_at)
    if new and not old:
        return True
    taken = [event.at for event in log.events if event.kind == "object_dropped" and event.at]
    if any(timedelta() <= found.first_at - at <= TAKEN_BEFORE for at in taken):
        return True
    if kind == "no_such_database" and forced_before(log, found) is not None:
        return True
    pace = value_of(evidence.pace)
    fails = pace is not None and pace.rollbacks.by >= BURST_LINES_MIN
    return pace is not None and fails and times_more(pace, pace.rollbacks) >= FAILING_TIMES


def burst(log: Log, evidence: Evidence, kind: str, what: str) -> YES_NO:
    if not log.records_read:
        return f"nothing of use in {log.path}"
    found = missed(evidence, kind)
    if found is None:
        return False, f"nobody misses a {what}"
    age_s = (evidence.at - found.last_at).total_seconds()
    said = (
        f"{found.lines} statements missed {what} {shortened(found.name, 80)}, the first at "
        f"{found.first_at:%H:%M:%S} UTC"
    )
    if age_s > BURST_WITHIN_S or found.lines < BURST_LINES_MIN:
        return False, f"{said}, the last {span(age_s)} ago"
    if not _is_new(log, evidence, kind, found):
        return False, f"{said}, as long as the log goes back"
    return True, said, found.first_at


def _by_several(_log: Log, evidence: Evidence) -> YES_NO:
    found = missed(evidence, "no_such_table")
    if found is None or not found.who:
        return ""
    several = len(found.who) > 1
    return several, f"{len(found.who)} of role, database and application: {found.who[0]}" + (
        ", …" if several else ""
    )


relations_missed = clue_on(
    "relations_missed",
    "Did many statements begin to miss the same table at once (42P01)?",
    lambda e: e.log,
    lambda log, e: burst(log, e, "no_such_table", "table"),
)
columns_missed = clue_on(
    "columns_missed",
    "Did many statements begin to miss the same column at once (42703)?",
    lambda e: e.log,
    lambda log, e: burst(log, e, "no_such_column", "column"),
)
missed_by_several = clue_on(
    "missed_by_several",
    "Is it missed by more than one role or application?",
    lambda e: e.log,
    _by_several,
)
