"""Which statement takes the time, and what became of its plan, its index, its table."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

from stanch.diagnose.ask import YES_NO, clue_on, clue_on_figures
from stanch.diagnose.evidence import Evidence, value_of
from stanch.diagnose.figures import Figures
from stanch.diagnose.history import Course, History
from stanch.diagnose.inside import Activity, Changes
from stanch.facts.workings import Doing
from stanch.model.changes import NotedChange
from stanch.model.host import ProcessorUse
from stanch.model.readings import Reading
from stanch.model.shown import shortened

NO_WORK = frozenset({"Lock", "Client", "Timeout", "Activity"})
"""Waits of sessions that are active and use nothing."""
LEADS_SHARE = 0.5
LEADS_MIN = 3
SLOWER_TIMES = 3.0
"""As the rule `statement_slower` has it."""
STALE_SHARE = 0.5
STALE_ROWS_MIN = 10_000
ROWS_A_SCAN_MIN = 10_000
SCANS_MIN = 10
QUERY_CHARS_MAX = 90
CHANGED_S = 2 * 3600.0
IDLE_SHARE_MAX = 0.1
WAITED_MIN = 0.5
FORCED = "force_generic_plan"

_LIVE = re.compile(r"^(\d{1,18}) live")
_SCANS = re.compile(r"^(\d{1,18}) scans")
_INDEX_GONE = re.compile(r"(?i)is gone; it was: (partitioned )?index\b|\bdrop index\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Leading:
    """The statement that most sessions at work are running."""

    query_id: str
    query: str
    application_name: str
    usename: str
    sessions: int
    at_work: int
    oldest_pid: int
    oldest_query_s: float

    @property
    def shown(self) -> str:
        """Its beginning, as long as a sentence bears."""
        return shortened(self.query, QUERY_CHARS_MAX)


def processors_short(evidence: Evidence) -> bool | None:
    """No processor is idle, and the server's processes wait for one most of the time in which they
    want one; None where nobody could look."""
    use = value_of(evidence.machine)
    if use is None or use.server_waited_share is None:
        return None
    return use.idle <= IDLE_SHARE_MAX * use.processors and use.server_waited_share >= WAITED_MIN


def at_work(activity: Activity) -> tuple[Doing, ...]:
    """Client sessions that use the machine: on a processor, or waiting for it."""
    return tuple(
        one
        for one in activity.doings
        if one.backend_type == "client backend"
        and one.state == "active"
        and one.wait_type not in NO_WORK
    )


def longest_of_leading(evidence: Evidence) -> Doing | None:
    """Who has been at the leading statement for longest."""
    seen, lead = value_of(evidence.activity), leading(evidence)
    if seen is None or lead is None:
        return None
    return next((one for one in at_work(seen) if one.oldest_pid == lead.oldest_pid), None)


def leading(evidence: Evidence) -> Leading | None:
    """The statement of most sessions at work; None where statements carry no id."""
    seen = value_of(evidence.activity)
    if seen is None:
        return None
    doings = at_work(seen)
    by_id: dict[str, list[Doing]] = defaultdict(list)
    for one in doings:
        if one.query_id:
            by_id[one.query_id].append(one)
    if not by_id:
        return None
    query_id, found = min(
        by_id.items(), key=lambda item: (-sum(d.sessions for d in item[1]), item[0])
    )
    oldest = max(found, key=lambda d: (d.oldest_query_s or 0.0, d.oldest_pid))
    return Leading(
        query_id=query_id,
        query=oldest.query,
        application_name=oldest.application_name,
        usename=oldest.usename,
        sessions=sum(d.sessions for d in found),
        at_work=sum(d.sessions for d in doings),
        oldest_pid=oldest.oldest_pid,
        oldest_query_s=oldest.oldest_query_s or 0.0,
    )


def _one_leads(activity: Activity, evidence: Evidence) -> YES_NO:
    total = sum(one.sessions for one in at_work(activity))
    if total < LEADS_MIN:
        return False, f"{total} sessions are at work"
    lead = leading(evidence)
    if lead is None:
        return "statements carry no id (compute_query_id is off, or version 13)"
    said = f"{lead.sessions} of {lead.at_work} sessions at work run {lead.shown}"
    return lead.sessions >= LEADS_MIN and lead.sessions >= LEADS_SHARE * lead.at_work, said


def _is_new(history: History, evidence: Evidence) -> YES_NO:
    known = {c.subject for c in history.named("statement_calls_total") if c.usual is not None}
    if not known:
        return "no statement was recorded before (pg_stat_statements)"
    lead = leading(evidence)
    if lead is None:
        return "which statement leads is not known"
    if lead.query_id in known:
        return False, "the statement that leads is an old one"
    return True, f"{lead.shown} was not among the {len(known)} statements recorded before"


def slowest(history: History) -> Course | None:
    """The statement that became slowest against what is usual for it."""
    told = [c for c in history.named("statement_slowdown_times") if c.now is not None]
    return max(told, key=lambda c: (c.now or 0.0, c.subject), default=None)


def _slower(history: History, _evidence: Evidence) -> YES_NO:
    found = slowest(history)
    if found is None or found.now is None:
        return "how long statements take is not recorded (pg_stat_statements)"
    said = f"statement {found.subject or '(any)'} takes {found.now:.1f} times as long as usual"
    return found.now >= SLOWER_TIMES, said


def live_rows(one: Reading) -> int | None:
    """Rows of a table as the detail beside another number of it tells."""
    found = _LIVE.match(one.detail)
    return int(found[1]) if found else None


def stale_table(figures: Figures) -> Reading | None:
    """The table whose statistics are furthest behind its rows."""
    stale = [
        one
        for one in figures.named("table_unanalyzed_rows")
        if one.value is not None
        and one.value >= STALE_ROWS_MIN
        and one.value >= STALE_SHARE * (live_rows(one) or 0)
    ]
    return max(stale, key=lambda one: (one.value or 0.0, one.subject), default=None)


def _stale(figures: Figures, _evidence: Evidence) -> YES_NO:
    found = stale_table(figures)
    if found is None:
        return False, "no table has changed by half since it was analyzed"
    return True, f"{found.value:.0f} rows of {found.subject} changed unseen: {found.detail[:120]}"


def whole_read_table(evidence: Evidence) -> Reading | None:
    """The table that the leading statement names, where it is read whole again and again."""
    figures, lead = value_of(evidence.figures), leading(evidence)
    if figures is None or lead is None:
        return None
    for one in figures.named("table_seq_rows_total"):
        scans = _SCANS.match(one.detail)
        if scans is None or int(scans[1]) < SCANS_MIN or one.value is None:
            continue
        name = re.escape(one.subject.rpartition(".")[2])
        is_named = re.search(rf"(?i)(?<![\w$]){name}(?![\w$])", lead.query) is not None
        if is_named and one.value / int(scans[1]) >= ROWS_A_SCAN_MIN:
            return one
    return None


def _read_whole(_found: tuple[Reading, ...], evidence: Evidence) -> YES_NO:
    if leading(evidence) is None:
        return "which statement leads is not known"
    table = whole_read_table(evidence)
    if table is None:
        return False, "the statement that leads reads no large table whole"
    return True, f"{table.subject} is read whole: {table.detail[:120]}"


def gone_index(evidence: Evidence) -> NotedChange | None:
    """The newest index that is known to have been dropped in the hours before."""
    changes = value_of(evidence.changes)
    gone = [
        one
        for one in (changes.changes if changes else ())
        if _INDEX_GONE.search(one.told)
        and "which the server refused" not in one.told
        and (evidence.at - one.at).total_seconds() <= CHANGED_S
    ]
    return max(gone, key=lambda one: one.at, default=None)


def _index_gone(_changes: Changes, evidence: Evidence) -> YES_NO:
    found = gone_index(evidence)
    if found is None:
        return False, "no index is known to have been dropped"
    return True, f"dropped: {found.what[:100]}, {found.told[:120]}", found.at


def invalid_index(figures: Figures) -> Reading | None:
    """An index that exists and is not used, and that nobody is building."""
    if figures.value("progress", "create index"):
        return None
    return next(iter(figures.named("index_invalid")), None)


def _index_invalid(figures: Figures, _evidence: Evidence) -> YES_NO:
    found = invalid_index(figures)
    if found is None:
        return False, "no index is invalid, or one is being built"
    return True, f"index {found.subject} of {found.detail} is invalid: it is kept up, never used"


def _waits_for_processor(use: ProcessorUse, evidence: Evidence) -> YES_NO:
    short = processors_short(evidence)
    if short is None or use.server_waited_share is None:
        return "how long the server's processes wait for a processor is not counted"
    waited = f"the server's processes wait {use.server_waited_share:.0%} of it for a processor"
    return short, f"of {use.processors} processors {use.idle:.1f} are idle; {waited}"


def _forced(figures: Figures, _evidence: Evidence) -> YES_NO:
    for one in figures.named("role_settings"):
        if f"plan_cache_mode={FORCED}" in one.detail.replace(" ", ""):
            return True, f"plan_cache_mode is {FORCED} for {one.subject}"
    mode = figures.setting("plan_cache_mode")
    if mode is None:
        return "plan_cache_mode was not read"
    return mode == FORCED, f"plan_cache_mode is {mode}"


one_leads = clue_on(
    "one_leads",
    "Do most sessions at work run one statement?",
    lambda e: e.activity,
    _one_leads,
)
statement_new = clue_on(
    "statement_new",
    "Is that statement one that was never recorded before?",
    lambda e: e.history,
    _is_new,
    reads=("statement_calls_total",),
)
statement_slower = clue_on(
    "statement_slower",
    "Does a statement take several times as long as usual?",
    lambda e: e.history,
    _slower,
    reads=("statement_slowdown_times",),
)
stats_stale = clue_on(
    "stats_stale",
    "Has a table changed by half since it was analyzed?",
    lambda e: e.figures,
    _stale,
    reads=("table_unanalyzed_rows",),
)
read_whole = clue_on_figures(
    "read_whole",
    "Does the statement that leads name a large table that is read whole?",
    "table_seq_rows_total",
    _read_whole,
)
index_gone = clue_on(
    "index_gone",
    "Was an index dropped right before?",
    lambda e: e.changes,
    _index_gone,
)
index_invalid = clue_on(
    "index_invalid",
    "Is an index invalid that nobody is building?",
    lambda e: e.figures,
    _index_invalid,
    reads=("index_invalid", "progress"),
)
waits_for_processor = clue_on(
    "waits_for_processor",
    "Is no processor idle, while the server's processes mostly wait for one?",
    lambda e: e.machine,
    _waits_for_processor,
)
plan_forced = clue_on(
    "plan_forced",
    "Are generic plans forced (plan_cache_mode)?",
    lambda e: e.figures,
    _forced,
    reads=("setting", "role_settings"),
)
