"""Signs that all rows of a table were deleted or written anew."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from stanch.diagnose.ask import YES_NO, clue_on, clue_on_course
from stanch.diagnose.cause import Answer, Clue
from stanch.diagnose.clues.loss import SAID_WITHIN_S
from stanch.diagnose.clues.missed import plain
from stanch.diagnose.evidence import Evidence, value_of
from stanch.diagnose.figures import Figures
from stanch.diagnose.history import Course
from stanch.model.shown import shortened

ROWS_MIN = 1000
DIED_TIMES_MAX = 1.5
"""Dead rows for each that is lost: a DELETE leaves one, what is taken and then deleted two."""
UNTOLD_S = 12.0
"""So long a session that is idle may keep to itself what its last statement did (ten seconds)."""
TURNOVER_MAX = 3.0
"""A queue deletes, and a counter updates, many times the rows it holds; one statement only once."""
REWRITTEN_TIMES_MAX = 1.6
"""Small updates come to all rows of a table in time, each to some of them twice."""
UNVACUUMED_SHARE_MIN = 0.4
REWRITTEN_SHARE_MIN = 0.8
SAME_SHARE = 0.25
"""A second of watching is a little longer or shorter than one."""
CASCADED_SHARE_MIN = 0.3
CHANGED_SHARE_MIN = 0.4
JUMP_TIMES = 20.0
JUMP_ROWS_S_MIN = 500.0

_RAN = re.compile(r"(?:statement|execute [^:]{1,80}): (?P<sql>[\s\S]*)")
_DELETE = re.compile(r"(?i)delete\s+from\s+(?:only\s+)?(?P<table>[^\s;]+)\s*(?P<rest>[\s\S]*)")
_UPDATE = re.compile(r"(?i)update\s+(?:only\s+)?(?P<table>[^\s;]+)\s+(?P<rest>[\s\S]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkedOver:
    """A table of whose rows most were deleted or written anew since they were counted last."""

    name: str
    before: float
    live: float
    dead: float
    deleted: float
    updated: float
    changes: float | None
    """That were committed since the table was analysed last."""

    @property
    def is_emptied(self) -> bool:
        lost = self.before - self.live
        return (
            lost * 2 >= self.before
            and self.deleted * 2 >= self.before
            and self.deleted <= TURNOVER_MAX * self.before
            and UNVACUUMED_SHARE_MIN * lost <= self.dead <= DIED_TIMES_MAX * lost
        )

    @property
    def is_rewritten(self) -> bool:
        return self._wrote_most and not self.is_undone

    @property
    def is_undone(self) -> bool:
        """Written, and hardly a change counts: rolled back, or analysed since."""
        few = self.changes is not None and self.changes < CHANGED_SHARE_MIN * self.before
        return self._wrote_most and few

    @property
    def _wrote_most(self) -> bool:
        wrote = min(self.updated, self.dead)
        return (
            wrote >= REWRITTEN_SHARE_MIN * self.before
            and self.updated <= REWRITTEN_TIMES_MAX * self.before
            and self.live * 2 >= self.before
        )


def worked_over(evidence: Evidence) -> tuple[WorkedOver, ...]:
    """Most rows first."""
    figures = value_of(evidence.figures)
    if figures is None:
        return ()
    found = [
        WorkedOver(
            name=figure.subject,
            before=figure.value or 0.0,
            live=figures.value("table_live_rows", figure.subject) or 0.0,
            dead=figures.value("table_dead_rows", figure.subject) or 0.0,
            deleted=figures.value("table_deleted_rows_total", figure.subject) or 0.0,
            updated=figures.value("table_updated_rows_total", figure.subject) or 0.0,
            changes=figures.value("table_changes_since_analyze", figure.subject),
        )
        for figure in figures.named("table_rows_before")
        if (figure.value or 0.0) >= ROWS_MIN
    ]
    return tuple(sorted(found, key=lambda table: (-table.before, table.name)))


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeWrite:
    """One statement over all rows of a table."""

    table: str
    text: str
    at: datetime | None = None
    who: str = ""
    pid: int | None = None
    """Of the session that is still at it."""


def whole_write(evidence: Evidence, verb: str) -> WholeWrite | None:
    """The newest DELETE or UPDATE without WHERE that runs, that a session ran last, or that the log
    shows."""
    return _running(evidence, verb) or _ran_last(evidence, verb) or _logged(evidence, verb)


def _running(evidence: Evidence, verb: str) -> WholeWrite | None:
    activity = value_of(evidence.activity)
    for doing in activity.doings if activity else ():
        table = _whole(doing.query, verb)
        if doing.state == "active" and table and doing.backend_type == "client backend":
            who = f"{doing.usename}@{doing.datname} ({doing.application_name})"
            return WholeWrite(table=table, text=doing.query, who=who, pid=doing.oldest_pid)
    return None


def _ran_last(evidence: Evidence, verb: str) -> WholeWrite | None:
    """Of a session that is idle now; a table of a few rows is written whole every second."""
    figures = value_of(evidence.figures)
    for figure in figures.named("last_statement") if figures else ():
        table = _whole(figure.detail, verb)
        if figures is None or figure.value is None or not table:
            continue
        rows, done = _rows_known(figures, table), _done_ever(figures, table, verb)
        if rows >= ROWS_MIN and done <= TURNOVER_MAX * rows:
            at = evidence.at - timedelta(seconds=figure.value)
            return WholeWrite(table=table, text=figure.detail, at=at, who=figure.subject)
    return None


def _rows_known(figures: Figures, table: str) -> float:
    """Living and dead ones of the largest table of that name, as the statistics have them."""
    found: dict[str, float] = {}
    for name in ("table_live_rows", "table_dead_rows"):
        for figure in figures.named(name):
            if plain(figure.subject) == plain(table):
                found[figure.subject] = found.get(figure.subject, 0.0) + (figure.value or 0.0)
    return max(found.values(), default=0.0)


def _done_ever(figures: Figures, table: str, verb: str) -> float:
    """Rows of it that were ever deleted or updated: what is done every hour is no accident."""
    told = figures.named(f"table_{verb}d_rows_total")
    return max((f.value or 0.0 for f in told if plain(f.subject) == plain(table)), default=0.0)


def _is_untold(evidence: Evidence, verb: str) -> bool:
    """A statement was run so lately that the statistics may not have it yet."""
    ran = _ran_last(evidence, verb)
    if ran is None or ran.at is None:
        return False
    return (evidence.at - ran.at).total_seconds() < UNTOLD_S


def _logged(evidence: Evidence, verb: str) -> WholeWrite | None:
    log = value_of(evidence.log)
    for event in reversed(log.events if log else ()):
        if event.kind != f"whole_table_{verb}d":
            continue
        if event.at and (evidence.at - event.at).total_seconds() > SAID_WITHIN_S:
            continue
        ran = _RAN.search(event.text)
        table = _whole(ran["sql"], verb) if ran is not None else ""
        if table:
            return WholeWrite(table=table, text=event.text, at=event.at, who=event.who)
    return None


def _whole(sql: str, verb: str) -> str:
    """The table of a statement over all of its rows; empty where it is none, or not all is seen."""
    found = (_DELETE if verb == "delete" else _UPDATE).match(sql.strip())
    if found is None or sql.rstrip().endswith("…"):
        return ""
    rest = found["rest"].casefold()
    narrowed = re.search(r"\bwhere\b(?!\s+(true|(\S{1,130})\s?=\s?\2)\s*;?\s*$)", rest)
    joined = verb == "delete" and re.search(r"\busing\b", rest)
    return "" if narrowed or joined else found["table"]


def table_of(evidence: Evidence, verb: str) -> str:
    """The table that it is about: as the statistics name it, else as the statement does."""
    said = whole_write(evidence, verb)
    fitting = [t for t in worked_over(evidence) if _fits(t, verb)]
    same = [t.name for t in fitting if said is not None and plain(t.name) == plain(said.table)]
    names = same or ([said.table] if said else [t.name for t in fitting])
    if names:
        return names[0]
    at_once = deleted_at_once(evidence) if verb == "delete" else updated_at_once(evidence)
    return at_once[0] if at_once else ""


def database_of_tables(evidence: Evidence) -> str:
    """The database whose tables were read; empty where none were."""
    figures = value_of(evidence.figures)
    told = next(iter(figures.named("tables")), None) if figures else None
    return told.subject if told is not None else ""


def of_table(evidence: Evidence, verb: str) -> WorkedOver | None:
    name = plain(table_of(evidence, verb))
    fitting = (t for t in worked_over(evidence) if _fits(t, verb))
    return next((t for t in fitting if plain(t.name) == name), None)


def _fits(table: WorkedOver, verb: str) -> bool:
    return table.is_emptied if verb == "delete" else table.is_rewritten


def _statistics(figures: Figures, evidence: Evidence, verb: str) -> YES_NO:
    if not figures.named("tables"):
        return "table_rows_before was not told"
    found = next((t for t in worked_over(evidence) if _fits(t, verb)), None)
    if found is None and _is_untold(evidence, verb):
        return "the session that did it has not told the statistics yet"
    undone = next((t for t in worked_over(evidence) if t.is_undone), None)
    if found is None and verb == "update" and undone is not None:
        return f"what was updated in {undone.name} was rolled back, or counted by an ANALYZE since"
    if found is None:
        return False, f"of no table most rows were {verb}d once"
    if verb == "delete":
        said = f"of {found.before:.0f} rows {found.live:.0f} are left"
    else:
        said = f"of {found.before:.0f} rows {found.updated:.0f} were written anew"
    return True, f"{found.name}: {said}, {found.dead:.0f} old ones still lie there"


def _statement(evidence: Evidence, verb: str) -> Answer:
    found = whole_write(evidence, verb)
    if found is None:
        seen = value_of(evidence.activity), value_of(evidence.log)
        said = "no such statement runs, and none is in the log (log_statement = mod)"
        reason = "neither sessions nor the log could be read"
        return Answer(yes=False, text=said) if any(seen) else Answer(yes=None, text=reason)
    now = "runs now: " if found.pid is not None else ""
    by = f" by {shortened(found.who, 80)}" if found.who else ""
    return Answer(yes=True, text=f"{now}{shortened(found.text, 150)}{by}", at=found.at)


def _top(course: Course) -> float:
    return max(course.high or 0.0, course.lead or 0.0, course.peak or 0.0)


def _jump(course: Course, evidence: Evidence, verb: str) -> YES_NO:
    if course.usual is None:
        return "what is usual is not known yet"
    top = _top(course)
    said = f"up to {top:.0f} rows a second, where {course.usual:.0f} are usual"
    has_jumped = top >= max(JUMP_ROWS_S_MIN, JUMP_TIMES * course.usual)
    if not has_jumped and _is_untold(evidence, verb):
        return "the session that did it has not told the statistics yet"
    return has_jumped, said


def updated_at_once(evidence: Evidence) -> tuple[str, float] | None:
    """The table of which as many rows were updated in a second of the watch as it has, none of
    them ever before; and how many. What vacuum has cleared since leaves this trace alone."""
    figures, history = value_of(evidence.figures), value_of(evidence.history)
    course = history.of("rows_updated_total") if history else None
    if figures is None or course is None:
        return None
    top = _top(course)
    for one in figures.named("table_live_rows"):
        rows, ever = one.value or 0.0, figures.value("table_updated_rows_total", one.subject)
        same = rows >= ROWS_MIN and abs(top - rows) <= SAME_SHARE * rows
        written = ever is not None and REWRITTEN_SHARE_MIN * rows <= ever
        if same and written and (ever or 0.0) <= REWRITTEN_TIMES_MAX * rows:
            return one.subject, top
    return None


def deleted_at_once(evidence: Evidence) -> tuple[str, float] | None:
    """The table of which all that was ever deleted was so in a second of the watch, and was most
    of it; and how many. With it go rows of the tables that refer to it. Where the dead ones still
    lie there, they tell more of it."""
    figures, history = value_of(evidence.figures), value_of(evidence.history)
    course = history.of("rows_deleted_total") if history else None
    if figures is None or course is None:
        return None
    top = _top(course)
    for one in figures.named("table_deleted_rows_total"):
        ever, left = one.value or 0.0, figures.value("table_live_rows", one.subject)
        alone = top * CASCADED_SHARE_MIN <= ever <= top * (1 + SAME_SHARE)
        emptied = left is not None and left * 2 <= ever
        dead = figures.value("table_dead_rows", one.subject) or 0.0
        if ever >= ROWS_MIN and alone and emptied and dead * 2 <= ever:
            return one.subject, ever
    return None


def _like_a_table(course: Course, evidence: Evidence, verb: str) -> YES_NO:
    jumped = _jump(course, evidence, verb)
    if isinstance(jumped, str) or not jumped[0]:
        return jumped
    found = deleted_at_once(evidence) if verb == "delete" else updated_at_once(evidence)
    if found is None:
        return False, f"{jumped[1]}, which is no whole table"
    how = "more than it has left" if verb == "delete" else "as many as it has"
    return True, f"{found[1]:.0f} rows of {found[0]} at once, {how}, and never before"


rows_lost = clue_on(
    "rows_lost",
    "Are most rows of a table deleted since they were last counted, and not yet vacuumed?",
    lambda e: e.figures,
    lambda f, e: _statistics(f, e, "delete"),
    reads=("tables", "table_rows_before", "table_live_rows", "table_deleted_rows_total"),
)
rows_rewritten = clue_on(
    "rows_rewritten",
    "Were nearly all rows of a table written anew since they were last counted?",
    lambda e: e.figures,
    lambda f, e: _statistics(f, e, "update"),
    reads=(
        *("tables", "table_rows_before", "table_dead_rows", "table_updated_rows_total"),
        "table_changes_since_analyze",
    ),
)


delete_of_all = Clue(
    id="delete_of_all",
    question="Is there a DELETE without WHERE, running or in the log?",
    ask=lambda e: _statement(e, "delete"),
)
update_of_all = Clue(
    id="update_of_all",
    question="Is there an UPDATE without WHERE, running or in the log?",
    ask=lambda e: _statement(e, "update"),
)
deletes_jumped = clue_on_course(
    "deletes_jumped",
    "Were far more rows deleted at once than usual?",
    ("rows_deleted_total", ""),
    lambda course, e: _jump(course, e, "delete"),
)
updates_jumped = clue_on_course(
    "updates_jumped",
    "Were far more rows updated at once than usual?",
    ("rows_updated_total", ""),
    lambda course, e: _jump(course, e, "update"),
)
updates_like_a_table = clue_on_course(
    "updates_like_a_table",
    "Were as many rows updated at once as a table has, none of which ever was before?",
    ("rows_updated_total", ""),
    lambda course, e: _like_a_table(course, e, "update"),
)
deletes_like_a_table = clue_on_course(
    "deletes_like_a_table",
    "Were most rows of a table deleted at once, of which none ever was before?",
    ("rows_deleted_total", ""),
    lambda course, e: _like_a_table(course, e, "delete"),
)
