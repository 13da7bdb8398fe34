"""The same statement, slower: an index that is missing, another plan, one plan for all."""

from __future__ import annotations

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC, Facts
from stanch.diagnose.causes.connections import NEVER_RESTART
from stanch.diagnose.causes.ids import BAD_QUERY, GENERIC_PLAN, MISSING_INDEX, PLAN_FLIP
from stanch.diagnose.causes.queues import RUNS
from stanch.diagnose.causes.work import (
    DOWNSTREAM,
    FAMILY,
    NEVER_HARDWARE,
    SLOWED,
    leading_query,
    leading_words,
    statement_facts,
)
from stanch.diagnose.clues import pace, slow_runs, twice, work
from stanch.diagnose.clues.tending import index_facts, table_facts
from stanch.diagnose.clues.work import (
    gone_index,
    invalid_index,
    slowest,
    stale_table,
    whole_read_table,
)
from stanch.diagnose.evidence import Evidence, value_of
from stanch.model.changes import ItemKind
from stanch.model.shown import shortened
from stanch.model.symptoms import SymptomKind


def _slow_query_id(evidence: Evidence) -> str:
    history = value_of(evidence.history)
    found = slowest(history) if history else None
    if found is not None and found.subject:
        return f"query {found.subject}"
    own = slow_runs.slower_than_mean(evidence)
    return f"query {own[0]}" if own and own[1] >= work.SLOWER_TIMES else leading_query(evidence)


def _table_read_whole(evidence: Evidence) -> str:
    """The table that is read whole: as two looks saw it, else by all that was ever counted."""
    now = twice.whole_read(evidence)
    table = None if now else whole_read_table(evidence)
    return now.name if now else table.subject if table else ""


def _tell_index(evidence: Evidence) -> str:
    figures, gone = value_of(evidence.figures), gone_index(evidence)
    invalid = invalid_index(figures) if figures else None
    now, table = twice.whole_reads_new.ask(evidence), _table_read_whole(evidence)
    whole = f"; {table[:80]} is read whole" if table else ""
    if gone is not None:
        return f"An index is missing: {gone.what[:80]}, {gone.told[:80]}{whole}."
    if invalid is not None:
        return f"Index {invalid.subject[:80]} of {invalid.detail[:60]} is invalid{whole}."
    read = f"{table[:80]} is read whole" if table else "a large table is read whole"
    return f"An index is missing: {now.text if now.yes else read}.{leading_words(evidence)}"


def _invalid_facts(evidence: Evidence) -> Facts:
    table = _table_read_whole(evidence)
    return index_facts(evidence, table) if table else ()


missing_index = Cause(
    id=MISSING_INDEX,
    section=Section.WORK,
    sentence="A statement that many run finds its rows by reading a whole table, because the index "
    "for it was dropped, is invalid, or was never made.",
    onset=Onset.AT_ONCE,
    impact="At once for that statement; within minutes for all, when processors or disks are full.",
    family=FAMILY,
    prior=-3.0,
    weighs=(
        Weigh(clue=work.index_gone, yes=3.5, no=-0.5),
        Weigh(clue=work.index_invalid, yes=2.5, no=0.0, now=True),
        Weigh(clue=twice.invalid_would_serve, yes=3.5, no=0.0, now=True),
        Weigh(clue=work.read_whole, yes=2.0, no=-2.0, now=True),
        Weigh(clue=twice.whole_reads_new, yes=4.0, no=-1.0, now=True),
        Weigh(clue=twice.whole_reads_hurt, yes=3.5, no=0.0, now=True),
        Weigh(clue=twice.index_ignored, yes=-4.0, no=1.0, now=True),
        Weigh(clue=twice.all_rows_wanted, yes=-6.0, no=0.0, now=True),
        Weigh(clue=slow_runs.planner_forced, yes=-2.0, no=0.0, now=True),
        Weigh(clue=work.one_leads, yes=0.5, no=-1.0, now=True),
        Weigh(clue=slow_runs.statement_slower, yes=1.0, no=-0.5, now=True),
        Weigh(clue=pace.piled_up, yes=1.5, no=-1.5, now=True),
        Weigh(clue=pace.more_done, yes=-2.0, no=0.5, now=True),
    ),
    tell=_tell_index,
    facts=lambda e: (
        *statement_facts(e),
        ("table", _table_read_whole(e) or None),
        ("index", gone.what if (gone := gone_index(e)) else None),
        *(known := _invalid_facts(e)),
        ("index_to_rebuild", bool(known)),
    ),
    subject=lambda e: _table_read_whole(e) or leading_query(e),
    began=lambda e: gone.at if (gone := gone_index(e)) else None,
    apart={
        PLAN_FLIP: "Does the index that the statement needs exist and is it valid (pg_index."
        "indisvalid)?",
        BAD_QUERY: "Did the same statement use an index before?",
    },
    symptoms=(*SLOWED, SymptomKind.INDEX_INVALID),
    brings_about=DOWNSTREAM,
    follows_change=(
        ItemKind.RELATION,
        ItemKind.OBJECT,
    ),
    safe_first="CREATE INDEX CONCURRENTLY (an invalid one: REINDEX INDEX CONCURRENTLY); meanwhile "
    "limit whoever runs the statement.",
    never=(
        "Do not use plain CREATE INDEX: it shuts out everybody who writes to the table.",
        NEVER_HARDWARE,
        NEVER_RESTART,
    ),
    forbids=("end_idle_sessions", *RUNS),
    runbook="invalid-index",
    source=f"{DOC}sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY",
    shown_by=(
        (work.index_gone, True),
        (work.index_invalid, True),
        (work.read_whole, True),
        (twice.whole_reads_new, True),
        (twice.whole_reads_hurt, True),
    ),
)


def _flip_why(evidence: Evidence) -> str:
    """What made the planner choose so, as far as it shows; empty where it does not."""
    figures = value_of(evidence.figures)
    clues = (
        slow_runs.planned_blind,
        slow_runs.planner_forced,
        twice.index_ignored,
        slow_runs.slow_on_stale,
    )
    said = [answer.text for clue in clues if (answer := clue.ask(evidence)).yes]
    stale = stale_table(figures) if figures and not said else None
    if stale is not None:
        said = [f"{stale.value:.0f} rows of {stale.subject[:80]} changed since it was analyzed"]
    return "; ".join(shortened(text, 180) for text in said)


def _tell_flip(evidence: Evidence) -> str:
    slower, why = slow_runs.statement_slower.ask(evidence), _flip_why(evidence)
    times = (
        f"{slower.text[:1].upper()}{slower.text[1:]}"
        if slower.yes
        else "The planner may have chosen another plan"
    )
    return f"{times}{'; ' if why else ''}{why}.{leading_words(evidence)}"


def _flip_table(evidence: Evidence) -> str | None:
    figures, now, run = (
        value_of(evidence.figures),
        twice.whole_read(evidence),
        slow_runs.long_run(evidence),
    )
    stale = slow_runs.stale_in(evidence, run.query) if run else None
    stale = stale or (stale_table(figures) if figures else None)
    blind = slow_runs.unknown_column(evidence)
    if now is None and blind is not None:
        return blind[0]
    return now.name if now else stale.subject if stale else None


def _statistics_facts(evidence: Evidence) -> Facts:
    """The table whose statistics are to be made anew, where that is what is wrong."""
    figures, run = value_of(evidence.figures), slow_runs.long_run(evidence)
    stale = slow_runs.stale_in(evidence, run.query) if run else None
    stale = stale or (stale_table(figures) if figures else None)
    blind = slow_runs.unknown_column(evidence)
    known = table_facts(evidence, blind[0] if blind else stale.subject if stale else None)
    rows = stale.value if stale and not blind else None
    return (*known, ("unanalyzed_rows", rows), ("statistics_old", bool(known)))


plan_flip = Cause(
    id=PLAN_FLIP,
    section=Section.WORK,
    sentence="The planner chose another, slower plan for the same statement, most often because "
    "the statistics of a table are old or gone (after a bulk load, after pg_upgrade).",
    onset=Onset.AT_ONCE,
    impact="At once for that statement; within minutes for all, when processors or disks are full.",
    family=FAMILY,
    prior=-3.0,
    weighs=(
        Weigh(clue=slow_runs.statement_slower, yes=3.0, no=-2.5, now=True),
        Weigh(clue=work.stats_stale, yes=2.0, no=-0.5, now=True),
        Weigh(clue=slow_runs.slow_on_stale, yes=4.0, no=-0.5, now=True),
        Weigh(clue=slow_runs.planned_blind, yes=5.0, no=0.0, now=True),
        Weigh(clue=twice.all_rows_wanted, yes=-4.0, no=0.0, now=True),
        Weigh(clue=twice.index_ignored, yes=2.5, no=0.0, now=True),
        Weigh(clue=slow_runs.planner_forced, yes=3.0, no=0.0, now=True),
        Weigh(clue=twice.scans_heavier, yes=1.0, no=0.0, now=True),
        Weigh(clue=slow_runs.queries_grew_old, yes=1.0, no=-0.5, now=True),
        Weigh(clue=work.one_leads, yes=0.5, no=0.0, now=True),
        Weigh(clue=pace.piled_up, yes=1.0, no=-1.0, now=True),
        Weigh(clue=pace.more_done, yes=-1.5, no=0.5, now=True),
        Weigh(clue=twice.busier, yes=-1.0, no=0.0, now=True),
        Weigh(clue=work.plan_forced, yes=-2.5, no=0.0, now=True),
        Weigh(clue=work.index_gone, yes=-3.0, no=0.0),
        Weigh(clue=work.index_invalid, yes=-1.0, no=0.0, now=True),
        Weigh(clue=work.statement_new, yes=-3.0, no=0.5, now=True),
    ),
    tell=_tell_flip,
    facts=lambda e: (
        *statement_facts(e),
        ("table", _flip_table(e)),
        *_statistics_facts(e),
    ),
    subject=_slow_query_id,
    symptoms=SLOWED,
    brings_about=DOWNSTREAM,
    follows_change=(
        ItemKind.SETTING,
        ItemKind.ROLE,
        ItemKind.DATABASE,
        ItemKind.SERVER,
        ItemKind.RELATION,
    ),
    safe_first="ANALYZE the tables of that statement: it takes no lock that keeps anybody out.",
    never=(
        "Do not turn off enable_seqscan for all: it makes other plans worse.",
        NEVER_HARDWARE,
        NEVER_RESTART,
    ),
    forbids=("end_idle_sessions", *RUNS),
    runbook="old-statistics",
    source=f"{DOC}planner-stats.html",
    shown_by=(
        (slow_runs.statement_slower, True),
        (work.stats_stale, True),
        (slow_runs.slow_on_stale, True),
        (slow_runs.planned_blind, True),
        (twice.index_ignored, True),
    ),
)


_SLOW = (slow_runs.statement_slower, twice.scans_heavier, slow_runs.long_prepared)
"""What it does to statements, by whichever shows it."""


def _tell_generic(evidence: Evidence) -> str:
    forced = work.plan_forced.ask(evidence)
    slow = next(
        (a for c in _SLOW if (a := c.ask(evidence)).yes), slow_runs.statement_slower.ask(evidence)
    )
    why = forced.text if forced.yes else "a prepared statement keeps one plan for all parameters"
    how = f"; {slow.text}" if slow.yes else ""
    return f"{why[0].upper()}{why[1:]}{how}."


generic_plan = Cause(
    id=GENERIC_PLAN,
    section=Section.WORK,
    sentence="A prepared statement runs with one generic plan for all parameters, which is slow "
    "for some of them; the same statement with literals is quick.",
    onset=Onset.AT_ONCE,
    impact="At once for that statement, from its sixth execution in a session on.",
    family=FAMILY,
    prior=-3.0,
    weighs=(
        # Without it the sixth execution in a session does the same.
        Weigh(clue=work.plan_forced, yes=2.5, no=-0.5, now=True),
        Weigh(clue=slow_runs.statement_slower, yes=3.0, no=-3.0, now=True),
        Weigh(clue=slow_runs.has_parameters, yes=0.5, no=-4.0, now=True),
        Weigh(clue=slow_runs.long_prepared, yes=1.0, no=0.0, now=True),
        Weigh(clue=twice.scans_heavier, yes=1.5, no=-0.5, now=True),
        Weigh(clue=slow_runs.queries_grew_old, yes=1.5, no=-0.5, now=True),
        Weigh(clue=work.one_leads, yes=0.5, no=0.0, now=True),
        Weigh(clue=work.stats_stale, yes=-1.5, no=0.0, now=True),
        Weigh(clue=slow_runs.slow_on_stale, yes=-3.0, no=0.5, now=True),
        Weigh(clue=twice.whole_reads_new, yes=-2.0, no=0.0, now=True),
        Weigh(clue=work.index_gone, yes=-2.0, no=0.0),
        Weigh(clue=pace.more_done, yes=-1.5, no=0.5, now=True),
        Weigh(clue=twice.busier, yes=-1.0, no=0.0, now=True),
        Weigh(clue=work.statement_new, yes=-3.0, no=0.5, now=True),
    ),
    tell=_tell_generic,
    facts=statement_facts,
    subject=_slow_query_id,
    apart={
        PLAN_FLIP: "Is the statement quick when its parameters are written as literals (EXPLAIN "
        "ANALYZE)?",
    },
    symptoms=SLOWED,
    brings_about=DOWNSTREAM,
    follows_change=(
        ItemKind.SETTING,
        ItemKind.ROLE,
        ItemKind.DATABASE,
        ItemKind.DEPLOY,
        ItemKind.ROLLOUT,
    ),
    safe_first="Set plan_cache_mode = force_custom_plan for that role: it holds for new sessions.",
    never=(
        "Do not turn off prepared statements in every driver: parsing then costs everybody.",
        NEVER_RESTART,
    ),
    forbids=("end_idle_sessions", *RUNS),
    runbook="",
    source=f"{DOC}runtime-config-query.html#GUC-PLAN-CACHE-MODE",
    shown_by=((work.plan_forced, True), (slow_runs.long_prepared, True)),
)
