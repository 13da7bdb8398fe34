"""Queues of their own shape: behind a schema change, a prepared transaction, an advisory lock."""

from __future__ import annotations

from datetime import datetime, timedelta

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC, Facts, chain_facts, identity_facts, root_name
from stanch.diagnose.causes.connections import NEVER_RESTART
from stanch.diagnose.causes.ids import (
    ADVISORY_LOCK_LEAK,
    BLOCKING_CHAIN,
    COMMITS_BEHIND_NOTIFY,
    CONNECTIONS_BEHIND_LOCK,
    CONNECTIONS_LOAD,
    DDL_LOCK_QUEUE,
    IDLE_IN_TRANSACTION,
    LOCK_TABLE_FULL,
    POOL_EXHAUSTED,
    PREPARED_TRANSACTION_ORPHANED,
    STATEMENT_TIMEOUTS,
    VACUUM_HELD_BACK,
)
from stanch.diagnose.clues import queues, sessions
from stanch.diagnose.clues.queues import (
    advisory_holders,
    advisory_root,
    notifiers,
    notifiers_queue,
    prepared_age_s,
    prepared_oldest,
    prepared_root,
    waiting_change,
)
from stanch.diagnose.clues.sessions import chain_of
from stanch.diagnose.evidence import Evidence, value_of
from stanch.facts.workings import Held
from stanch.model.changes import ItemKind
from stanch.model.shown import span
from stanch.model.symptoms import SymptomKind

RUNS = ("start_server", "set_aside_lock_file")
"""Actions for a server that is down: refused wherever it is seen to run."""


def _waiting_since(evidence: Evidence) -> datetime | None:
    chain = chain_of(evidence)
    return evidence.at - timedelta(seconds=chain.oldest_wait_s) if chain else None


def _tell_change(evidence: Evidence) -> str:
    change, chain = waiting_change(evidence), chain_of(evidence)
    if change is None:
        told = queues.change_waits_by_title.ask(evidence)
        seen = f": {told.text}" if told.yes else ""
        return f"A schema change waits for its lock, and others may queue behind it{seen}."
    who = f' (application "{change.application_name[:60]}")' if change.application_name else ""
    table = f' table "{change.relation[:60]}"' if change.relation else " a table"
    behind = ""
    if chain is not None:
        behind = (
            f" behind {root_name(chain)[:120]}, and {max(0, chain.waiters - 1)} others queue with "
            "it"
        )
    return f"Session {change.pid}{who} waits for exclusive access to{table}{behind}."


def _change_statement(change: Held | None) -> Facts:
    """The statement that waits, exactly enough to cancel it and no other."""
    if change is None or change.backend_start is None or change.query_start is None:
        return ()
    return identity_facts(change.pid, change.backend_start, change.query_start)


def _change_facts(evidence: Evidence) -> Facts:
    change = waiting_change(evidence)
    return (
        ("server_running", True),
        ("ddl_pid", change.pid if change else None),
        ("ddl_application", change.application_name if change else None),
        ("relation", change.relation if change else None),
        *_change_statement(change),
        *chain_facts(chain_of(evidence)),
    )


ddl_lock_queue = Cause(
    id=DDL_LOCK_QUEUE,
    section=Section.LOCKS,
    sentence="A schema change waits for exclusive access to a table; everybody who wants the table "
    "queues behind it, even those who only read.",
    onset=Onset.AT_ONCE,
    impact="At once for all who use that table; within minutes for all, when the connections run "
    "out.",
    prior=-3.0,
    weighs=(
        Weigh(clue=queues.change_waits, yes=4.5, no=-6.0, now=True),
        Weigh(clue=queues.queue_behind, yes=2.0, no=-4.0, now=True),
        Weigh(clue=queues.change_waits_by_title, yes=6.5, no=-2.0, now=True),
        Weigh(clue=sessions.waiting, yes=0.5, no=0.0, now=True),
    ),
    tell=_tell_change,
    facts=_change_facts,
    subject=lambda e: f"pid {change.pid}" if (change := waiting_change(e)) is not None else "",
    began=_waiting_since,
    apart={
        BLOCKING_CHAIN: "Does one of the waiters ask for AccessExclusiveLock in pg_locks (granted "
        "= f)?",
        ADVISORY_LOCK_LEAK: "Is what they wait for in pg_locks a relation or an advisory lock?",
    },
    symptoms=(SymptomKind.SESSIONS_BLOCKED, SymptomKind.CONNECTIONS_HIGH),
    brings_about=(BLOCKING_CHAIN, CONNECTIONS_BEHIND_LOCK, POOL_EXHAUSTED, STATEMENT_TIMEOUTS),
    follows_change=(
        ItemKind.DEPLOY,
        ItemKind.ROLLOUT,
        ItemKind.RELATION,
        ItemKind.OBJECT,
    ),
    safe_first="Cancel the schema change (pg_cancel_backend on its pid): the queue behind it goes "
    "on at once. Run it again with lock_timeout set and in a quiet moment.",
    never=(
        "Do not end the backup or report in front of it: its work so far is lost, and the schema "
        "change can be repeated.",
        "Do not end the sessions that queue: they come back.",
        NEVER_RESTART,
    ),
    forbids=("end_idle_sessions", *RUNS),
    runbook="waiting-schema-change",
    source=f"{DOC}explicit-locking.html#LOCKING-TABLES",
    shown_by=((queues.change_waits, True), (queues.change_waits_by_title, True)),
)


def _prepared_gid(evidence: Evidence) -> str:
    root, oldest = prepared_root(evidence), prepared_oldest(evidence)
    if root is not None:
        return root.prepared_gid
    return oldest.subject.removeprefix(queues.PREPARED) if oldest is not None else ""


def _tell_prepared(evidence: Evidence) -> str:
    root, age_s = prepared_root(evidence), prepared_age_s(evidence)
    gid = _prepared_gid(evidence)[:80]
    name = f' "{gid}"' if gid else ""
    since = root.root_in_state_s if root else age_s or 0.0
    blocks = f" and blocks {root.waiters} sessions" if root else ", holding vacuum back"
    return f"The prepared transaction{name} has waited {span(since)} to be ended{blocks}."


def _prepared_facts(evidence: Evidence) -> Facts:
    return (
        ("server_running", True),
        ("prepared_xact_age_s", prepared_age_s(evidence)),
        *chain_facts(prepared_root(evidence)),
    )


def _prepared_since(evidence: Evidence) -> datetime | None:
    root, age_s = prepared_root(evidence), prepared_age_s(evidence)
    since = root.root_in_state_s if root else age_s
    return None if since is None else evidence.at - timedelta(seconds=since)


prepared_transaction_orphaned = Cause(
    id=PREPARED_TRANSACTION_ORPHANED,
    section=Section.LOCKS,
    sentence="A prepared transaction (two-phase commit) was never ended by its coordinator: it "
    "belongs to no session, keeps its locks and its snapshot, and outlives every restart.",
    onset=Onset.CREEPING,
    impact="At once for whoever wants the same rows; over days for all, because vacuum cleans "
    "nothing.",
    prior=-3.0,
    weighs=(
        Weigh(clue=queues.prepared_old, yes=5.0, no=-3.0, now=True),
        Weigh(clue=queues.prepared_blocks, yes=5.0, no=-0.5, now=True),
    ),
    tell=_tell_prepared,
    facts=_prepared_facts,
    subject=_prepared_gid,
    began=_prepared_since,
    apart={
        IDLE_IN_TRANSACTION: "Does pg_blocking_pids() name a process, or 0 for a prepared "
        "transaction?",
        BLOCKING_CHAIN: "Is there a row in pg_prepared_xacts that is older than a few minutes?",
    },
    symptoms=(SymptomKind.PREPARED_TRANSACTION_OLD, SymptomKind.SESSIONS_BLOCKED),
    brings_about=(BLOCKING_CHAIN, DDL_LOCK_QUEUE, VACUUM_HELD_BACK),
    safe_first="Ask the coordinator (the application server) what became of it, by its gid in "
    "pg_prepared_xacts; only then ROLLBACK PREPARED or COMMIT PREPARED.",
    never=(
        "Do not guess between COMMIT PREPARED and ROLLBACK PREPARED: the other half may have "
        "been decided elsewhere.",
        "Do not restart the server for it: a prepared transaction is still there afterwards.",
    ),
    forbids=("end_blocking_session", "end_idle_sessions", *RUNS),
    runbook="",
    source=f"{DOC}sql-prepare-transaction.html",
    shown_by=((queues.prepared_old, True), (queues.prepared_blocks, True)),
)


def _tell_advisory(evidence: Evidence) -> str:
    holders, root = advisory_holders(evidence), advisory_root(evidence)
    if not holders and root is None:
        return "A session keeps advisory locks that nobody gives back."
    if not holders:
        return f"{root_name(root)[:150]} is idle and blocks others." if root else ""
    one = holders[0]
    who = f' (application "{one.application_name[:60]}")' if one.application_name else ""
    locks = f"{one.locks} advisory lock{'s' if one.locks > 1 else ''}"
    blocks = f" and blocks {root.waiters} sessions" if root else ""
    return f"Session {one.pid}{who} holds {locks}, idle for {span(one.state_s or 0.0)}{blocks}."


def _advisory_facts(evidence: Evidence) -> Facts:
    holders = advisory_holders(evidence)
    return (
        ("server_running", True),
        ("holder_pid", holders[0].pid if holders else None),
        ("advisory_locks", holders[0].locks if holders else None),
        *chain_facts(advisory_root(evidence)),
    )


advisory_lock_leak = Cause(
    id=ADVISORY_LOCK_LEAK,
    section=Section.LOCKS,
    sentence="A session took advisory locks and does nothing with them: taken for the session, "
    "they outlive the transaction, and a pooler hands the session on with them.",
    onset=Onset.CREEPING,
    impact="At once for whoever wants the same lock; where they pile up, for all, when the table "
    "of locks is full.",
    prior=-3.5,
    weighs=(
        Weigh(clue=queues.advisory_held, yes=1.5, no=-4.0, now=True),
        Weigh(clue=queues.root_outside, yes=2.5, no=-0.5, now=True),
        Weigh(clue=queues.advisory_waits, yes=2.0, no=-1.0, now=True),
        Weigh(clue=queues.advisory_many, yes=3.5, no=0.0, now=True),
    ),
    tell=_tell_advisory,
    facts=_advisory_facts,
    subject=lambda e: f"pid {found[0].pid}" if (found := advisory_holders(e)) else "",
    apart={
        BLOCKING_CHAIN: "Is the locktype that the waiters wait for in pg_locks advisory?",
        IDLE_IN_TRANSACTION: "Is the holder idle outside a transaction, with an advisory lock in "
        "pg_locks?",
    },
    symptoms=(SymptomKind.SESSIONS_BLOCKED,),
    brings_about=(BLOCKING_CHAIN, LOCK_TABLE_FULL),
    follows_change=(
        ItemKind.DEPLOY,
        ItemKind.ROLLOUT,
    ),
    safe_first="Find out what the lock stands for, then end the one session that holds it.",
    never=(
        NEVER_RESTART,
        "Do not end it where it chooses a leader: two of them may then work at once.",
    ),
    forbids=RUNS,
    runbook="blocking-chain",
    source=f"{DOC}explicit-locking.html#ADVISORY-LOCKS",
    shown_by=((queues.root_outside, True), (queues.advisory_many, True)),
)

# --- commits that send notifications --------------------------------------------------------------


def _tell_notifiers(evidence: Evidence) -> str:
    seen = value_of(evidence.activity)
    waiting, first = notifiers(seen) if seen is not None else (0, None)
    ahead = f" Process {first.pid} is at it now." if first else ""
    return f"{waiting} commits that send notifications wait for each other, one at a time.{ahead}"


def _notifiers_facts(evidence: Evidence) -> Facts:
    seen = value_of(evidence.activity)
    waiting, first = notifiers(seen) if seen is not None else (0, None)
    return (
        ("server_running", True),
        ("commits_waiting", waiting),
        ("commits_now_pid", first.pid if first else None),
    )


commits_behind_notify = Cause(
    id=COMMITS_BEHIND_NOTIFY,
    section=Section.LOCKS,
    sentence="Transactions that used NOTIFY commit one at a time, whatever they wrote: each holds "
    "one lock of the whole server until its commit is on disk, and on a synchronous standby.",
    onset=Onset.AT_ONCE,
    impact="At once for whoever writes where a trigger notifies; within seconds for all of a pool.",
    prior=-3.0,
    weighs=(Weigh(clue=notifiers_queue, yes=7.0, no=-8.0, now=True),),
    shown_by=((notifiers_queue, True),),
    tell=_tell_notifiers,
    facts=_notifiers_facts,
    apart={
        BLOCKING_CHAIN: "Do sessions wait for a table or a row, or to commit (pg_locks: object 0 "
        "of class 1262)?",
    },
    symptoms=(
        SymptomKind.SESSIONS_BLOCKED,
        SymptomKind.CONNECTIONS_HIGH,
        SymptomKind.CONNECTIONS_EXHAUSTED,
        SymptomKind.POOL_EXHAUSTED,
        SymptomKind.SLOW_QUERY,
    ),
    brings_about=(
        BLOCKING_CHAIN,
        CONNECTIONS_BEHIND_LOCK,
        CONNECTIONS_LOAD,
        POOL_EXHAUSTED,
        STATEMENT_TIMEOUTS,
    ),
    follows_change=(ItemKind.DEPLOY, ItemKind.ROLLOUT, ItemKind.RELATION, ItemKind.OBJECT),
    safe_first="See what the one that commits waits for (pg_stat_activity: SyncRep, WALSync) and "
    "mend that; then have fewer transactions notify: once for many rows, or by a worker that "
    "reads a queue table, in place of a trigger on each row.",
    never=(
        "Do not end the sessions that wait, nor the one at the head: the next commit holds the "
        "same lock.",
        NEVER_RESTART,
    ),
    forbids=("start_server", "set_aside_lock_file", "end_blocking_session"),
    runbook="",
    source=f"{DOC}sql-notify.html",
)
