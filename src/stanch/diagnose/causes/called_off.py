"""Statements that the server itself ends: deadlocks, timeouts, no room for another lock."""

from __future__ import annotations

from datetime import datetime

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC
from stanch.diagnose.causes.connections import NEVER_RAISE, NEVER_RESTART
from stanch.diagnose.causes.ids import (
    BLOCKING_CHAIN,
    CONNECTION_STORM,
    DEADLOCK_STORM,
    LOCK_TABLE_FULL,
    OOM_KILLED,
    STATEMENT_TIMEOUTS,
)
from stanch.diagnose.causes.queues import RUNS
from stanch.diagnose.clues import called_off, queues
from stanch.diagnose.clues.called_off import timeouts
from stanch.diagnose.evidence import Evidence, value_of
from stanch.model.changes import ItemKind
from stanch.model.symptoms import SymptomKind


def _tell_deadlocks(evidence: Evidence) -> str:
    log = value_of(evidence.log)
    count = log.count("deadlock") if log else None
    if count is None:
        return "Transactions deadlock one after the other."
    who = f", most of {count.who[0][0][:100]}" if count.who else ""
    return f"{count.lines} deadlocks in the part of the log that was read{who}."


def _first_deadlock(evidence: Evidence) -> datetime | None:
    log = value_of(evidence.log)
    count = log.count("deadlock") if log else None
    return count.first_at if count else None


deadlock_storm = Cause(
    id=DEADLOCK_STORM,
    section=Section.LOCKS,
    sentence="Transactions lock the same rows in different order; the server ends one of each.",
    onset=Onset.AT_ONCE,
    impact="At once for those whose transaction is ended; the server itself is well.",
    prior=-3.0,
    weighs=(
        Weigh(clue=called_off.deadlocks_logged, yes=5.0, no=-2.5),
        Weigh(clue=called_off.deadlocks_rise, yes=4.0, no=-2.0, now=True),
    ),
    over_once=called_off.deadlocks_ceased,
    tell=_tell_deadlocks,
    facts=lambda e: (("server_running", True),),
    began=_first_deadlock,
    apart={
        BLOCKING_CHAIN: "Does the same session still wait after deadlock_timeout (1 s), or was one "
        "of the two ended with 40P01?",
        STATEMENT_TIMEOUTS: "Is the SQLSTATE of the failed statements 40P01 or 57014/55P03?",
    },
    symptoms=(SymptomKind.DEADLOCKS, SymptomKind.LOG_ERRORS),
    follows_change=(
        ItemKind.DEPLOY,
        ItemKind.ROLLOUT,
        ItemKind.RELATION,
    ),
    safe_first="Take back the version that came right before, or let the application repeat with a "
    "pause; then have both statements lock in the same order.",
    never=(
        "Do not lower deadlock_timeout: every short wait then costs a check of all locks.",
        NEVER_RESTART,
    ),
    forbids=("end_blocking_session", "end_idle_sessions", *RUNS),
    runbook="",
    source=f"{DOC}explicit-locking.html#LOCKING-DEADLOCKS",
    shown_by=((called_off.deadlocks_logged, True), (called_off.deadlocks_rise, True)),
)


def _tell_lock_table(evidence: Evidence) -> str:
    figures, log = value_of(evidence.figures), value_of(evidence.log)
    used = figures.value("lock_slots_used") if figures else None
    count = log.count("lock_table_full") if log else None
    many = f"{count.lines} statement{'s' if count.lines > 1 else ''}" if count else ""
    times = f"{many} failed for it" if many else "statements fail for it"
    who = f", most of {count.who[0][0][:100]}" if count and count.who else ""
    held = f"; {used:.0f} locks are held now" if used is not None else ""
    return f"The table of locks is full: {times}{who}{held}."


lock_table_full = Cause(
    id=LOCK_TABLE_FULL,
    section=Section.LOCKS,
    sentence="The shared table of locks has no room left: transactions hold more locks (on tables, "
    "partitions, large objects, advisory) than max_locks_per_transaction reckons with.",
    onset=Onset.AT_ONCE,
    impact="At once for every statement that needs one more lock, of whichever session.",
    prior=-3.0,
    weighs=(
        Weigh(clue=called_off.lock_table_logged, yes=5.0, no=-2.0),
        Weigh(clue=called_off.lock_slots_used, yes=3.0, no=-0.5, now=True),
        Weigh(clue=queues.advisory_many, yes=0.5, no=0.0, now=True),
    ),
    over_once=called_off.lock_table_ceased,
    tell=_tell_lock_table,
    facts=lambda e: (
        ("server_running", True),
        ("lock_slots_used", f.value("lock_slots_used") if (f := value_of(e.figures)) else None),
        (
            "max_locks_per_transaction",
            f.setting("max_locks_per_transaction") if (f := value_of(e.figures)) else None,
        ),
    ),
    apart={
        OOM_KILLED: "Does the message say shared memory with the hint max_locks_per_transaction, "
        "or does the kernel log show a kill?",
    },
    symptoms=(SymptomKind.LOG_ERRORS,),
    follows_change=(
        ItemKind.DEPLOY,
        ItemKind.ROLLOUT,
        ItemKind.SETTING,
    ),
    brings_about=(CONNECTION_STORM,),
    safe_first="End the one transaction that holds most locks in pg_locks (a dump of very many "
    "tables, a change of every partition), or let it finish; then raise "
    "max_locks_per_transaction at the next restart.",
    never=(
        "Do not raise shared_buffers or buy memory: the table of locks is another one.",
        NEVER_RAISE,
    ),
    forbids=("end_idle_sessions", *RUNS),
    runbook="",
    source=f"{DOC}runtime-config-locks.html#GUC-MAX-LOCKS-PER-TRANSACTION",
    shown_by=((called_off.lock_table_logged, True), (called_off.lock_slots_used, True)),
)


def _tell_timeouts(evidence: Evidence) -> str:
    statements, locks = timeouts(evidence)
    if not statements + locks:
        return "Statements are called off by a timeout."
    which = (
        f"{statements} by statement_timeout"
        if statements >= locks
        else f"{locks} by lock_timeout: they waited for locks"
    )
    return f"{statements + locks} statements were called off in the last two minutes, {which}."


def _first_timeout(evidence: Evidence) -> datetime | None:
    log = value_of(evidence.log)
    kinds = ("statement_timeout", "lock_timeout")
    counts = [log.count(kind) for kind in kinds] if log else []
    return min((c.first_at for c in counts if c and c.first_at), default=None)


statement_timeouts = Cause(
    id=STATEMENT_TIMEOUTS,
    section=Section.LOCKS,
    sentence="Statements are called off by statement_timeout or lock_timeout: either the limit "
    "became too tight for them, or they became too slow for it.",
    onset=Onset.AT_ONCE,
    impact="At once for whoever sent them; retries add to the load.",
    prior=-3.0,
    weighs=(Weigh(clue=called_off.timeouts_logged, yes=4.5, no=-4.0),),
    over_once=called_off.timeouts_ceased,
    tell=_tell_timeouts,
    facts=lambda e: (
        ("server_running", True),
        ("statement_timeouts", timeouts(e)[0]),
        ("lock_timeouts", timeouts(e)[1]),
    ),
    began=_first_timeout,
    apart={
        BLOCKING_CHAIN: "Does the log say lock timeout (55P03), and does somebody hold that lock "
        "now?",
    },
    symptoms=(SymptomKind.LOG_ERRORS, SymptomKind.ERROR_RATE_RAISED, SymptomKind.ERROR_RATE_HIGH),
    follows_change=(
        ItemKind.SETTING,
        ItemKind.ROLE,
        ItemKind.DATABASE,
        ItemKind.DEPLOY,
        ItemKind.ROLLOUT,
    ),
    safe_first="See which timeout it is: for lock_timeout look who holds the lock; for "
    "statement_timeout look whether one statement is slow (its plan, its index) or all are "
    "(load); take back what was changed right before.",
    never=(
        "Do not set the timeout to 0: what it stopped then piles up until no connection is left.",
        NEVER_RESTART,
    ),
    forbids=("end_idle_sessions", *RUNS),
    runbook="",
    source=f"{DOC}runtime-config-client.html#GUC-STATEMENT-TIMEOUT",
    shown_by=((called_off.timeouts_logged, True),),
)
