"""Why the machine has more to do, or the same takes longer: traffic, plans, indexes, statements."""

from __future__ import annotations

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC, Facts, running_facts
from stanch.diagnose.causes.connections import NEVER_RAISE, NEVER_RESTART
from stanch.diagnose.causes.ids import (
    BAD_QUERY,
    CONNECTIONS_LOAD,
    GENERIC_PLAN,
    LOAD_SPIKE,
    LWLOCK_CONTENTION,
    MISSING_INDEX,
    PLAN_FLIP,
    POOL_EXHAUSTED,
    STATEMENT_TIMEOUTS,
)
from stanch.diagnose.causes.queues import RUNS
from stanch.diagnose.clues import contention, pace, pools, slow_runs, twice, work
from stanch.diagnose.clues.work import (
    leading,
)
from stanch.diagnose.evidence import Evidence
from stanch.model.changes import ItemKind
from stanch.model.symptoms import SymptomKind

FAMILY = "work"
DOWNSTREAM = (CONNECTIONS_LOAD, POOL_EXHAUSTED, STATEMENT_TIMEOUTS, LWLOCK_CONTENTION)
NEVER_HARDWARE = "Do not add hardware for it: the statement takes whatever there is."
SLOWED = (SymptomKind.STATEMENT_SLOWER, SymptomKind.SLOW_QUERY, SymptomKind.LATENCY_UNUSUAL)


def leading_words(evidence: Evidence) -> str:
    """The leading statement, as the end of a sentence; empty where it is not known."""
    lead = leading(evidence)
    if lead is None:
        return ""
    return f" {lead.sessions} of {lead.at_work} sessions at work run: {lead.shown}"


def statement_facts(evidence: Evidence) -> Facts:
    lead = leading(evidence)
    return (
        ("server_running", True),
        ("query_id", lead.query_id if lead else None),
        ("query", lead.query if lead else None),
        ("application_name", lead.application_name if lead else None),
        ("usename", lead.usename if lead else None),
        ("sessions", lead.sessions if lead else None),
    )


def leading_query(evidence: Evidence) -> str:
    lead = leading(evidence)
    return f"query {lead.query_id}" if lead else ""


def _tell_spike(evidence: Evidence) -> str:
    said = pace.more_done.ask(evidence)
    said = said if said.yes else twice.busier.ask(evidence)
    more = f": {said.text}" if said.yes else ""
    busy = pace.piled_up.ask(evidence)
    busy = busy if busy.yes else twice.crowd.ask(evidence)
    work_now = f"; {busy.text}" if busy.yes else ""
    return f"More work arrives than usual{more}{work_now}."


load_spike = Cause(
    id=LOAD_SPIKE,
    section=Section.WORK,
    sentence="More requests arrive than usual, each as quick as ever, until processors or disks "
    "are full.",
    onset=Onset.AT_ONCE,
    impact="Within minutes for all: everything becomes slower.",
    family=FAMILY,
    prior=-3.0,
    weighs=(
        Weigh(clue=pace.more_done, yes=4.0, no=-5.0, now=True),
        Weigh(clue=pace.far_more_done, yes=2.0, no=0.0, now=True),
        # Whoever never watched knows the mean of months: a day has its own ups and downs.
        Weigh(clue=twice.busier, yes=2.0, no=-1.0, now=True),
        Weigh(clue=twice.crowd, yes=2.0, no=-0.5, now=True),
        Weigh(clue=pace.piled_up, yes=2.5, no=-4.0, now=True),
        Weigh(clue=pools.sessions_grown, yes=1.5, no=0.0, now=True),
        Weigh(clue=pace.many_on_processor, yes=1.0, no=-0.5, now=True),
        Weigh(clue=pace.cpu_full, yes=1.0, no=-0.5, now=True),
        Weigh(clue=work.waits_for_processor, yes=2.5, no=0.0, now=True),
        Weigh(clue=slow_runs.statement_slower, yes=-2.0, no=0.5, now=True),
        Weigh(clue=slow_runs.long_prepared, yes=-1.5, no=0.0, now=True),
        Weigh(clue=twice.whole_reads_new, yes=-3.0, no=0.0, now=True),
        Weigh(clue=work.statement_new, yes=-2.0, no=0.5, now=True),
        Weigh(clue=twice.logins_fast, yes=-3.0, no=0.0, now=True),
        # None of them is as quick as ever: what arrives meets itself.
        Weigh(clue=contention.lwlock_lasts, yes=-9.0, no=0.0, now=True),
        Weigh(clue=contention.subtrans_looked_up, yes=-8.0, no=0.0, now=True),
    ),
    tell=_tell_spike,
    facts=statement_facts,
    apart={
        PLAN_FLIP: "Did the calls rise and the mean time stay, or the other way round "
        "(pg_stat_statements)?",
        MISSING_INDEX: "Are there more commits a second than usual?",
        BAD_QUERY: "Is the statement that leads an old one, only called more often?",
    },
    symptoms=(SymptomKind.LOAD_HIGH, SymptomKind.LATENCY_UNUSUAL, SymptomKind.CONNECTIONS_HIGH),
    brings_about=DOWNSTREAM,
    follows_change=(
        ItemKind.DEPLOY,
        ItemKind.ROLLOUT,
    ),
    safe_first="Limit the source (rate limit, smaller pool, a job put off): fewer at once get more "
    "done.",
    never=(NEVER_RESTART, NEVER_RAISE),
    forbids=("end_idle_sessions", *RUNS),
    runbook="",
    source=f"{DOC}monitoring-stats.html#MONITORING-PG-STAT-DATABASE-VIEW",
    shown_by=((pace.more_done, True), (twice.busier, True)),
)


def _tell_bad(evidence: Evidence) -> str:
    lead = leading(evidence)
    if lead is None:
        return "A statement that is new takes most of the machine."
    who = f' (application "{lead.application_name[:60]}")' if lead.application_name else ""
    new = " that was never recorded before" if work.statement_new.ask(evidence).yes else ""
    if not new and slow_runs.never_ended.ask(evidence).yes:
        new = " that has hardly ever ended before"
    return (
        f"A statement{new} takes the machine: {lead.sessions} of "
        f"{lead.at_work} sessions at work{who} run {lead.shown}."
    )


bad_query = Cause(
    id=BAD_QUERY,
    section=Section.WORK,
    sentence="A statement that is new, most often with a version just put out, or that wants every "
    "row of a large table again and again, takes most of the machine.",
    onset=Onset.AT_ONCE,
    impact="Within minutes for all: everything else waits for processors or disks.",
    family=FAMILY,
    prior=-3.0,
    weighs=(
        Weigh(clue=work.statement_new, yes=3.5, no=-5.0, now=True),
        Weigh(clue=work.one_leads, yes=1.5, no=-3.0, now=True),
        Weigh(clue=pace.piled_up, yes=2.0, no=-3.0, now=True),
        Weigh(clue=pace.more_done, yes=-0.5, no=0.0, now=True),
        Weigh(clue=twice.all_rows_wanted, yes=5.0, no=0.0, now=True),
        Weigh(clue=slow_runs.never_ended, yes=4.5, no=0.0, now=True),
        Weigh(clue=slow_runs.runs_together, yes=2.2, no=0.0, now=True),
        Weigh(clue=work.index_gone, yes=-1.0, no=0.0),
    ),
    tell=_tell_bad,
    facts=lambda e: (
        *statement_facts(e),
        ("oldest_pid", lead.oldest_pid if (lead := leading(e)) else None),
        *running_facts(work.longest_of_leading(e) or slow_runs.long_run(e)),
    ),
    subject=leading_query,
    apart={
        PLAN_FLIP: "Was the statement (its query id) among those of yesterday?",
        GENERIC_PLAN: "Is the statement new, or an old one that became slow through the driver "
        "only?",
    },
    symptoms=(*SLOWED, SymptomKind.LOAD_HIGH),
    brings_about=DOWNSTREAM,
    follows_change=(
        ItemKind.DEPLOY,
        ItemKind.ROLLOUT,
        ItemKind.IMAGE,
    ),
    safe_first="Cancel its sessions (pg_cancel_backend) and switch the feature off, or take the "
    "version back.",
    never=(NEVER_HARDWARE, NEVER_RAISE, NEVER_RESTART),
    forbids=("end_idle_sessions", *RUNS),
    runbook="runaway-statement",
    source=f"{DOC}pgstatstatements.html",
    shown_by=(
        (work.statement_new, True),
        (twice.all_rows_wanted, True),
        (slow_runs.never_ended, True),
        (slow_runs.runs_together, True),
    ),
)
