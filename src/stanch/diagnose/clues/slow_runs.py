"""Statements that run for seconds on a processor, or take many times their own mean: and why."""

from __future__ import annotations

import re
from collections import defaultdict

from stanch.diagnose.ask import YES_NO, clue_on, clue_on_course
from stanch.diagnose.cause import Answer, Clue
from stanch.diagnose.clues.pace import against_usual
from stanch.diagnose.clues.twice import heavy_scans, looked_for, names_table, searches, whole_read
from stanch.diagnose.clues.work import (
    NO_WORK,
    SLOWER_TIMES,
    at_work,
    leading,
    live_rows,
    processors_short,
)
from stanch.diagnose.clues.work import statement_slower as recorded_slower
from stanch.diagnose.evidence import Evidence, value_of
from stanch.diagnose.figures import Figures
from stanch.diagnose.history import Course
from stanch.diagnose.inside import Activity
from stanch.facts.pace import Pace, StatementPace
from stanch.facts.workings import Doing
from stanch.model.readings import Reading
from stanch.model.shown import shortened, span

LONG_S = 1.5
RUNS_MIN = 2
"""One session at a long statement is a report; several at the same one are an application."""
STALE_ROWS_MIN = 1000
STALE_SHARE = 0.3
"""Autovacuum analyzes a table after a tenth of its rows has changed."""
CALLS_MIN = 50
"""Before so many calls nobody knows what is usual for a statement."""
NEW_CALLS_MIN = 3
SLOW_MS = 5.0
RUNS_TIMES = 10.0
"""A call that has not ended was slow by chance now and then."""
CALLS_TIMES_MAX = 3.0
"""What is called more often than that waits for its turn: that is load, and all statements do."""
TOGETHER_S = 5.0
OLDER_S = 1.0
OLDER_TIMES = 5.0
COST_MAX = 40.0
"""Ten times the usual cost of a page by chance."""
QUERY_CHARS_MAX = 90

_PARAMETER = re.compile(r"\$\d")
_LITERAL = re.compile(r"'…'|(?<![\w$])\?")
_READS = re.compile(r"(?i)^\W*(select|with|declare|fetch)\b")
_PLANNER_OFF = re.compile(r"(?i)\benable_\w{3,30}\s?=\s?(?:off|false|no|0)\b")
_COST = re.compile(r"(?i)\b(?:random|seq)_page_cost\s?=\s?(\d{1,12}(?:\.\d+)?)")
_PLANS = (
    *("enable_bitmapscan", "enable_hashjoin", "enable_indexonlyscan", "enable_indexscan"),
    *("enable_mergejoin", "enable_nestloop", "enable_seqscan"),
)


# --- what runs for long -------------------------------------------------------------------------


def long_run(evidence: Evidence) -> Doing | None:
    """The statement that several sessions have been at for long, on a processor."""
    activity = value_of(evidence.activity)
    groups: dict[tuple[str, str], list[Doing]] = defaultdict(list)
    for one in at_work(activity) if activity else ():
        groups[one.query_id, one.query].append(one)
    long = [
        (sum(one.sessions for one in same), max(same, key=lambda one: one.oldest_query_s or 0.0))
        for same in groups.values()
        if max(one.oldest_query_s or 0.0 for one in same) >= LONG_S
    ]
    many = [(n, one) for n, one in long if n >= RUNS_MIN]
    best = max(many, key=lambda pair: (pair[0], pair[1].oldest_query_s or 0.0), default=None)
    return best[1] if best else None


def stale_in(evidence: Evidence, query: str) -> Reading | None:
    """The table of a statement whose statistics are furthest behind its rows."""
    figures = value_of(evidence.figures)
    stale = [
        one
        for one in (figures.named("table_unanalyzed_rows") if figures else ())
        if one.value is not None
        and one.value >= STALE_ROWS_MIN
        and one.value >= STALE_SHARE * (live_rows(one) or 0)
        and names_table(query, one.subject)
    ]
    return max(stale, key=lambda one: (one.value or 0.0, one.subject), default=None)


def _slow_on_stale(_activity: Activity, evidence: Evidence) -> YES_NO:
    run = long_run(evidence)
    if run is None or not _READS.match(run.query):
        return ""
    table = stale_in(evidence, run.query)
    age = span(run.oldest_query_s or 0.0)
    if table is None:
        return False, f"what runs for {age} rests on statistics that are not old"
    return (
        True,
        f"{shortened(run.query, QUERY_CHARS_MAX)} runs for {age}, and {table.value:.0f} rows of "
        f"{table.subject} changed unseen: {table.detail[:100]}",
    )


def _worked_harder(evidence: Evidence) -> set[str]:
    """Tables of which more is read than before, and those of a statement that runs for long."""
    whole, heavy, run = whole_read(evidence), heavy_scans(evidence), long_run(evidence)
    figures = value_of(evidence.figures)
    unknown = figures.named("table_columns_unknown") if figures else ()
    named = {
        one.subject for one in unknown if run is not None and names_table(run.query, one.subject)
    }
    return named | {table.name for table in (whole, heavy[0] if heavy else None) if table}


def unknown_column(evidence: Evidence) -> tuple[str, str, str] | None:
    """Table, column and statement, where rows of a table that is worked harder than before are
    looked for by a column that the planner has no statistics of."""
    figures, tables = value_of(evidence.figures), _worked_harder(evidence)
    for one in figures.named("table_columns_unknown") if figures else ():
        columns = {column.casefold() for column in one.detail.split(", ")}
        for query in searches(evidence, one.subject) if one.subject in tables else ():
            fits = sorted(looked_for(query) & columns)
            if fits:
                return one.subject, fits[0], query
    return None


def _planned_blind(figures: Figures, evidence: Evidence) -> YES_NO:
    found = unknown_column(evidence)
    if found is not None:
        table, column, query = found
        said = f"there are no statistics of {column} of {table}, by which"
        return True, f"{said} {shortened(query, QUERY_CHARS_MAX)} looks"
    if not figures.named("table_columns_unknown"):
        return False, "no column is without statistics, of those that may be read"
    return False, "nothing that takes longer looks by a column without statistics"


def _parameters(_activity: Activity, evidence: Evidence) -> YES_NO:
    run, lead = long_run(evidence), leading(evidence)
    query = run.query if run else lead.query if lead else ""
    if _PARAMETER.search(query):
        return True, f"parameters are sent apart: {shortened(query, QUERY_CHARS_MAX)}"
    if _LITERAL.search(query):
        return False, f"it has its values in its text: {shortened(query, QUERY_CHARS_MAX)}"
    return "" if not query else "whether the statement has parameters cannot be seen"


def _never_ended(_activity: Activity, evidence: Evidence) -> YES_NO:
    run, pace, short = long_run(evidence), value_of(evidence.pace), processors_short(evidence)
    if run is None:
        return False, f"no statement keeps several sessions busy for {span(LONG_S)}"
    if pace is None or not pace.statements or not run.query_id:
        return "which statements have ended before was not read (pg_stat_statements)"
    if short is None:
        return "who uses the processors was not read"
    if stale_in(evidence, run.query) is not None:
        return ""
    calls = sum(one.calls.before for one in pace.statements if one.query_id == run.query_id)
    age, text = span(run.oldest_query_s or 0.0), shortened(run.query, QUERY_CHARS_MAX)
    if calls >= NEW_CALLS_MIN:
        return False, f"what runs for {age} has ended {calls:.0f} times before: {text}"
    left = "and no processor is left" if short else "and there are processors left"
    return short, f"what runs for {age} has hardly ended before, {left}: {text}"


def _runs_together(_activity: Activity, evidence: Evidence) -> YES_NO:
    """Where nobody could look twice, what runs for so long on all processors is most often new."""
    run, short = long_run(evidence), processors_short(evidence)
    if run is None or short is None or value_of(evidence.pace) is not None:
        return ""
    age, text = span(run.oldest_query_s or 0.0), shortened(run.query, QUERY_CHARS_MAX)
    if _PARAMETER.search(run.query) or stale_in(evidence, run.query) or forbidden_plans(evidence):
        return ""
    left = "and no processor is left" if short else "and there are processors left"
    return short and (run.oldest_query_s or 0.0) >= TOGETHER_S, f"{text} runs for {age}, {left}"


def _long_prepared(_activity: Activity, evidence: Evidence) -> YES_NO:
    run = long_run(evidence)
    if run is None:
        return False, f"no statement keeps several sessions on a processor for {span(LONG_S)}"
    age = span(run.oldest_query_s or 0.0)
    said = f"several sessions run for up to {age}: {shortened(run.query, QUERY_CHARS_MAX)}"
    return _PARAMETER.search(run.query) is not None, said


def _grew_old(now: float, usual: float, course: Course, _evidence: Evidence) -> YES_NO:
    said = f"the longest statement runs for {span(now)}, usually {span(usual)}"
    return now >= OLDER_S and now >= OLDER_TIMES * max(usual, 0.01), said


# --- what takes longer than its own mean --------------------------------------------------------


def slower_than_mean(evidence: Evidence) -> tuple[str, float] | None:
    """The statement that takes most times as long as in all its calls before, and how many; None
    where none was called often enough to know."""
    pace = value_of(evidence.pace)
    if pace is None:
        return None
    known = [one for one in pace.statements if one.calls.before >= CALLS_MIN]
    told = [(one.query_id, _times(one, pace, evidence)) for one in known]
    return max(told, key=lambda pair: (pair[1], pair[0]), default=None)


def _times(one: StatementPace, pace: Pace, evidence: Evidence) -> float:
    mean_ms = max(one.ms.before / one.calls.before, 0.001)
    if pace.rate(one.calls) > CALLS_TIMES_MAX * pace.mean(one.calls):
        return 1.0
    activity = value_of(evidence.activity)
    runs_ms = 1000 * max(
        (
            doing.oldest_query_s or 0.0
            for doing in (activity.doings if activity else ())
            if doing.query_id == one.query_id
            and doing.state == "active"
            and doing.wait_type not in NO_WORK
        ),
        default=0.0,
    )
    ended = one.ms.by / one.calls.by if one.calls.by >= NEW_CALLS_MIN else 0.0
    running = runs_ms if runs_ms >= max(1000 * OLDER_S, RUNS_TIMES * mean_ms) else 0.0
    return max((ms / mean_ms for ms in (ended, running) if ms >= SLOW_MS), default=1.0)


def _slower(evidence: Evidence) -> Answer:
    """By the recording, which knows what is usual; else by what the server itself has counted."""
    recorded = recorded_slower.ask(evidence)
    found = None if recorded.yes else slower_than_mean(evidence)
    if found is None or (recorded.yes is False and found[1] < SLOWER_TIMES):
        return recorded
    text = f"statement {found[0]} takes {found[1]:.1f} times as long as in all its calls before"
    return Answer(yes=found[1] >= SLOWER_TIMES, text=text)


# --- what forbids plans -------------------------------------------------------------------------


def forbidden_plans(evidence: Evidence) -> str:
    """The setting that keeps the planner from what it would choose, and for whom; else empty."""
    figures = value_of(evidence.figures)
    if figures is None:
        return ""
    for one in figures.named("role_settings"):
        off = _PLANNER_OFF.search(one.detail)
        if off is not None:
            return f"{off[0]} for {one.subject}"
        if any(float(cost[1]) >= COST_MAX for cost in _COST.finditer(one.detail)):
            return f"{one.detail[:100]} for {one.subject}"
    for name in _PLANS:
        if figures.setting(name) == "off":
            return f"{name} = off for all"
    cost = figures.setting("random_page_cost") or ""
    is_number = re.fullmatch(r"\d{1,12}(\.\d+)?", cost) is not None
    return f"random_page_cost = {cost} for all" if is_number and float(cost) >= COST_MAX else ""


def _planner_forced(_figures: Figures, evidence: Evidence) -> YES_NO:
    found = forbidden_plans(evidence)
    return (True, found) if found else (False, "no setting forbids the planner anything")


slow_on_stale = clue_on(
    "slow_on_stale",
    "Does a statement that runs for seconds in several sessions rest on old statistics?",
    lambda e: e.activity,
    _slow_on_stale,
)
never_ended = clue_on(
    "never_ended",
    "Does a statement that has hardly ever ended before keep the processors busy, for seconds?",
    lambda e: e.activity,
    _never_ended,
)
runs_together = clue_on(
    "runs_together",
    "Have several sessions been at one statement for long, while no processor is left?",
    lambda e: e.activity,
    _runs_together,
)
planned_blind = clue_on(
    "planned_blind",
    "Is more read than before by a statement that looks by a column without statistics?",
    lambda e: e.figures,
    _planned_blind,
    reads=("table_columns_unknown",),
)
has_parameters = clue_on(
    "has_parameters",
    "Does the statement that runs have parameters, and no values in its text?",
    lambda e: e.activity,
    _parameters,
)
long_prepared = clue_on(
    "long_prepared",
    "Do several sessions run a statement with parameters for seconds, on a processor?",
    lambda e: e.activity,
    _long_prepared,
)
queries_grew_old = clue_on_course(
    "queries_grew_old",
    "Does the longest statement run many times as long as usual?",
    ("oldest_query_age_s", ""),
    against_usual(_grew_old),
)
statement_slower = Clue(
    id="statement_slower",
    question=recorded_slower.question,
    ask=_slower,
    reads=recorded_slower.reads,
)
planner_forced = clue_on(
    "planner_forced",
    "Does a setting forbid the planner scans or joins, or price them out?",
    lambda e: e.figures,
    _planner_forced,
    reads=("role_settings", "setting"),
)
