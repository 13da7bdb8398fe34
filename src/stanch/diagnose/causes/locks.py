"""Sessions that wait for another session, told from the one at the root."""

from __future__ import annotations

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC, Facts, chain_facts, root_name
from stanch.diagnose.causes.connections import NEVER_RESTART
from stanch.diagnose.causes.ids import (
    BLOCKING_CHAIN,
    CONNECTIONS_BEHIND_LOCK,
    DDL_LOCK_QUEUE,
    IDLE_IN_TRANSACTION,
    POOL_EXHAUSTED,
    STATEMENT_TIMEOUTS,
    SUBTRANSACTION_OVERFLOW,
    VACUUM_HELD_BACK,
)
from stanch.diagnose.clues import sessions
from stanch.diagnose.clues.sessions import IDLE_POOL_S, OLD_IDLE_S, chain_of, forgotten, idle_root
from stanch.diagnose.evidence import Evidence
from stanch.diagnose.inside import Chain
from stanch.facts.selected import BoundSession, bound_text
from stanch.model.changes import ItemKind
from stanch.model.shown import span
from stanch.model.symptoms import SymptomKind


def _tell_chain(evidence: Evidence) -> str:
    chain = chain_of(evidence)
    if chain is None:
        return "Sessions wait behind another session."
    waited = span(chain.oldest_wait_s)
    state = f" ({chain.root_state})" if chain.root_state else ""
    return (
        f"{chain.waiters} sessions wait behind {root_name(chain)}{state}, the longest for {waited}."
    )


def _idle_facts(evidence: Evidence) -> Facts:
    """Transactions that were forgotten and block nobody, exactly enough to end them alone."""
    root, found = idle_root(evidence), forgotten(evidence)
    bound = [
        BoundSession(pid=one.root_pid, backend_start=one.root_backend_start)
        for one in found
        if one.root_backend_start is not None
    ]
    if root is None or not bound:
        return (("idle_to_end", False),)
    old = root.root_in_state_s >= OLD_IDLE_S
    return (
        ("idle_to_end", True),
        ("idle_sessions", bound_text(bound)),
        ("idle_usename", root.root_usename),
        ("idle_application", root.root_application),
        ("idle_for_s_min", OLD_IDLE_S if old else IDLE_POOL_S),
        ("idle_oldest_s", round(root.root_in_state_s, 1)),
    )


def _tell_idle(evidence: Evidence) -> str:
    root = idle_root(evidence)
    if root is None:
        crowd = sessions.idle_crowd.ask(evidence)
        if crowd.yes:
            return f"{crowd.text} each: it waits for something else meanwhile."
        waits = sessions.idle_before_waiters.ask(evidence)
        seen = f": {waits.text}" if waits.yes else ""
        return f"A session sits idle in an open transaction{seen}."
    since = span(root.root_in_state_s)
    blocks = f" and blocks {root.waiters} others" if root.waiters else ", holding vacuum back"
    name = root_name(root)
    return f"{name[0].upper()}{name[1:]} has been {root.root_state} for {since}{blocks}."


def _pid(chain: Chain | None) -> str:
    return "" if chain is None else f"pid {chain.root_pid}"


blocking_chain = Cause(
    id=BLOCKING_CHAIN,
    section=Section.LOCKS,
    sentence="One session holds a lock that others wait for, directly or one behind the other.",
    onset=Onset.AT_ONCE,
    impact="At once for whoever waits; within minutes for all, when the connections run out.",
    family="chain",
    prior=-3.0,
    weighs=(
        Weigh(clue=sessions.chain, yes=6.0, no=-6.0, now=True),
        Weigh(clue=sessions.waiting, yes=1.0, no=0.0, now=True),
    ),
    tell=_tell_chain,
    facts=lambda e: (("server_running", True), *chain_facts(chain_of(e))),
    subject=lambda e: _pid(chain_of(e)),
    apart={
        IDLE_IN_TRANSACTION: "Is the session at the root of pg_blocking_pids() active or "
        "idle in transaction?",
    },
    symptoms=(SymptomKind.SESSIONS_BLOCKED,),
    brings_about=(CONNECTIONS_BEHIND_LOCK, POOL_EXHAUSTED, STATEMENT_TIMEOUTS),
    follows_change=(
        ItemKind.RELATION,
        ItemKind.OBJECT,
        ItemKind.DEPLOY,
        ItemKind.ROLLOUT,
    ),
    safe_first="Look at what the root session does; cancel a waiting schema change first, end the "
    "root only when its work may be lost.",
    never=(
        "Do not end the waiting sessions: they are victims and come back.",
        "Do not end a backup or a dump at the root: cancel the schema change that waits for it.",
        NEVER_RESTART,
    ),
    forbids=("start_server", "set_aside_lock_file"),
    runbook="blocking-chain",
    source=f"{DOC}functions-info.html#FUNCTIONS-INFO-SESSION",
)

idle_in_transaction = Cause(
    id=IDLE_IN_TRANSACTION,
    section=Section.LOCKS,
    sentence="A session opened a transaction and went silent; its locks and its snapshot stay.",
    onset=Onset.CREEPING,
    impact="At once for whoever waits behind it; over hours for all, because vacuum cleans "
    "nothing.",
    family="idle",
    prior=-3.0,
    weighs=(
        Weigh(clue=sessions.root_is_idle, yes=6.5, no=-2.0, now=True),
        Weigh(clue=sessions.old_idle, yes=5.5, no=-1.0, now=True),
        # Each for seconds, again and again: while a service is called, say.
        Weigh(clue=sessions.idle_crowd, yes=8.5, no=0.0, now=True),
        Weigh(clue=sessions.idle_before_waiters, yes=4.5, no=0.0, now=True),
        # Of minutes, or of seconds in which vacuum came and had to leave what died.
        Weigh(clue=sessions.idle_keeper, yes=7.5, no=0.0, now=True),
    ),
    tell=_tell_idle,
    facts=lambda e: (("server_running", True), *chain_facts(idle_root(e)), *_idle_facts(e)),
    subject=lambda e: _pid(idle_root(e)),
    symptoms=(SymptomKind.SESSIONS_BLOCKED,),
    brings_about=(
        BLOCKING_CHAIN,
        CONNECTIONS_BEHIND_LOCK,
        DDL_LOCK_QUEUE,
        POOL_EXHAUSTED,
        SUBTRANSACTION_OVERFLOW,
        VACUUM_HELD_BACK,
    ),
    follows_change=(
        ItemKind.DEPLOY,
        ItemKind.ROLLOUT,
    ),
    safe_first="End that one session (its uncommitted work is rolled back) after looking at who "
    "it belongs to; for a backup or a dump cancel the schema change that waits for it instead. An "
    "application that does so in most of its sessions has to call others outside of transactions.",
    never=(
        "Do not end a backup or a dump: its work so far is lost.",
        "Do not use pg_cancel_backend: it answers true and frees nothing in an idle session.",
        "Do not end the sessions that wait for it.",
        NEVER_RESTART,
    ),
    forbids=("start_server", "set_aside_lock_file"),
    runbook="blocking-chain",
    source=f"{DOC}runtime-config-client.html#GUC-IDLE-IN-TRANSACTION-SESSION-TIMEOUT",
)
