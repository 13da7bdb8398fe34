"""What sessions queue for, beyond who stands at the head: schema changes, prepared, advisory."""

from __future__ import annotations

from collections import Counter

from stanch.diagnose.ask import (
    YES_NO,
    clue_on,
    clue_on_figures,
)
from stanch.diagnose.clues.sessions import IDLE, IDLE_IN_TRANSACTION, chain_of, many_wait
from stanch.diagnose.evidence import Evidence, value_of
from stanch.diagnose.inside import Activity, Chain, Chains, Sessions
from stanch.facts.workings import Held
from stanch.model.readings import Reading
from stanch.model.shown import span

QUEUE_MIN = 2
"""The schema change itself, and somebody behind it."""
PREPARED = "prepared:"
PREPARED_OLD_S = 300.0
"""Without anybody who waits, it may be a slow coordinator's for so long."""
PREPARED_OLD_XIDS = 1_000_000
"""Nor does a slow one let so many transactions pass, however busy the server is."""
PREPARED_BLOCKS_S = 5.0
"""A coordinator ends what it prepared within seconds."""
ADVISORY_IDLE_S = 60.0
ADVISORY_MANY = 1000
CANDIDATE_S = 600.0
"""Whoever waits for its turn to lead does so for as long as another leads; a migration cannot."""
NOTIFIERS_MIN = 3
"""Each commit that notifies takes the lock for a moment: two meet now and then."""


# --- schema changes that wait ---------------------------------------------------------------------


def waiting_change(evidence: Evidence) -> Held | None:
    """The session that waits for a table of its own, longest first as the server lists them."""
    seen = value_of(evidence.activity)
    if seen is None:
        return None
    return next((h for h in seen.held if h.lock_type == "relation" and not h.granted), None)


def _change_waits(_activity: Activity, evidence: Evidence) -> YES_NO:
    found = waiting_change(evidence)
    if found is None:
        return False, "nobody waits for exclusive access to a table"
    on = f' to table "{found.relation}"' if found.relation else ""
    return True, f"session {found.pid} waits for exclusive access{on}"


def _queue_behind(_chains: Chains, evidence: Evidence) -> YES_NO:
    chain = chain_of(evidence)
    if chain is None:
        return False, "no queue is long or old enough to matter"
    said = f"{chain.waiters} sessions wait, the longest for {span(chain.oldest_wait_s)}"
    return chain.waiters >= QUEUE_MIN, said


def _change_waits_by_title(sessions: Sessions, evidence: Evidence) -> YES_NO:
    if sessions.changes_waiting is None or value_of(evidence.activity) is not None:
        return ""  # The locks themselves are known, and tell more.
    if not sessions.changes_waiting:
        return False, "no process that waits for a lock shows a schema change as its title"
    queue = sessions.waiting - len(sessions.changes_waiting)
    said = f"{sessions.changes_waiting[0]} waits for a lock, and {queue} other sessions wait too"
    return queue >= QUEUE_MIN and many_wait(sessions), said


change_waits = clue_on(
    "change_waits",
    "Does somebody wait for exclusive access to a table?",
    lambda e: e.activity,
    _change_waits,
)
queue_behind = clue_on(
    "queue_behind",
    "Does a queue stand that is longer than that one session?",
    lambda e: e.chains,
    _queue_behind,
)

change_waits_by_title = clue_on(
    "change_waits_by_title",
    "Where nobody can ask for locks: does a process show a schema change that waits, among others?",
    lambda e: e.sessions,
    _change_waits_by_title,
)


# --- prepared transactions ------------------------------------------------------------------------


def prepared_root(evidence: Evidence) -> Chain | None:
    """The prepared transaction that others wait for, where it is older than a living one's.

    One that outlived a restart has lost the coordinator's session, however young it is.
    """
    chains, sessions = value_of(evidence.chains), value_of(evidence.sessions)
    found = chains.chains if chains else ()
    figures, old_s = value_of(evidence.figures), PREPARED_BLOCKS_S
    clock_s = figures.value("server_clock_s") if figures else None
    if clock_s is not None and sessions is not None and sessions.postmaster_start is not None:
        up_s = clock_s - sessions.postmaster_start.timestamp()
        # A clock that was set back tells nothing.
        old_s = min(old_s, up_s) if up_s > 0 else old_s
    prepared = (c for c in found if not c.root_pid)
    return next((c for c in prepared if c.root_in_state_s >= old_s), None)


def prepared_age_s(evidence: Evidence) -> float | None:
    figures = value_of(evidence.figures)
    return figures.value("prepared_xact_age_s") if figures else None


def prepared_oldest(evidence: Evidence) -> Reading | None:
    """The oldest one, with how many transactions have begun since it was prepared."""
    figures = value_of(evidence.figures)
    told = figures.named("horizon_age_xids") if figures else ()
    prepared = [f for f in told if f.subject.startswith(PREPARED) and f.value is not None]
    return max(prepared, key=lambda f: (f.value or 0.0, f.subject), default=None)


def _prepared_old(found: tuple[Reading, ...], evidence: Evidence) -> YES_NO:
    if not any(one.value for one in found):
        return False, "no transaction is prepared"
    oldest = prepared_oldest(evidence)
    if oldest is not None and (oldest.value or 0.0) >= PREPARED_OLD_XIDS:
        xids = oldest.value or 0.0
        return True, f"{xids / 1e6:.1f} million transactions have begun since one was prepared"
    age_s = prepared_age_s(evidence)
    if age_s is None:
        return "how old it is was not read"
    if age_s < PREPARED_OLD_S and prepared_root(evidence) is not None:
        return ""
    return age_s >= PREPARED_OLD_S, f"a prepared transaction has waited for {span(age_s)}"


def _prepared_blocks(_chains: Chains, evidence: Evidence) -> YES_NO:
    root = prepared_root(evidence)
    if root is None:
        return False, "nobody waits for a prepared transaction"
    gid = f' "{root.prepared_gid}"' if root.prepared_gid else ""
    return True, f"{root.waiters} sessions wait for the prepared transaction{gid}"


prepared_old = clue_on_figures(
    "prepared_old",
    "Has a prepared transaction waited longer than a coordinator leaves it?",
    "prepared_xacts",
    _prepared_old,
)
prepared_blocks = clue_on(
    "prepared_blocks",
    "Is an old prepared transaction at the root of a queue (blocker 0)?",
    lambda e: e.chains,
    _prepared_blocks,
)


# --- advisory locks -------------------------------------------------------------------------------


def advisory_holders(evidence: Evidence) -> tuple[Held, ...]:
    """Who holds advisory locks without doing anything, most locks first."""
    seen = value_of(evidence.activity)
    if seen is None:
        return ()
    root = advisory_root(evidence)
    quiet = [
        held
        for held in seen.held
        if held.lock_type == "advisory"
        and held.granted
        and held.state in (IDLE, *IDLE_IN_TRANSACTION)
        # Whoever others wait for already need not be idle for long.
        and ((held.state_s or 0.0) >= ADVISORY_IDLE_S or (root and root.root_pid == held.pid))
    ]
    return tuple(sorted(quiet, key=lambda h: (-h.locks, -(h.state_s or 0.0), h.pid)))


def advisory_root(evidence: Evidence) -> Chain | None:
    """A root that is idle outside a transaction: only an advisory lock outlives one."""
    chain = chain_of(evidence)
    return chain if chain is not None and chain.root_state == IDLE else None


def _advisory_held(_activity: Activity, evidence: Evidence) -> YES_NO:
    found = advisory_holders(evidence)
    if not found:
        return False, "no idle session holds an advisory lock"
    one = found[0]
    since = span(one.state_s or 0.0)
    return True, f"session {one.pid} holds {one.locks} advisory locks and has been idle for {since}"


def _advisory_many(activity: Activity, _evidence: Evidence) -> YES_NO:
    held = Counter[int]()
    for one in activity.held:
        if one.lock_type == "advisory" and one.granted:
            held[one.pid] += one.locks
    if not held:
        return False, "nobody holds an advisory lock"
    pid, locks = min(held.items(), key=lambda item: (-item[1], item[0]))
    return locks >= ADVISORY_MANY, f"session {pid} holds {locks} advisory locks"


def _advisory_waits(activity: Activity, evidence: Evidence) -> YES_NO:
    waiting = {h.pid for h in activity.held if h.lock_type == "advisory" and not h.granted}
    root = advisory_root(evidence)
    if len(waiting) == 1 and root is not None and root.oldest_wait_s < CANDIDATE_S:
        return "one session waits for an advisory lock, as one does for its turn to lead"
    return len(waiting) > 1, f"{len(waiting)} sessions wait for an advisory lock"


def _root_outside(_chains: Chains, evidence: Evidence) -> YES_NO:
    root = advisory_root(evidence)
    if root is None:
        return False, "no session that is idle outside a transaction blocks others"
    return True, f"session {root.root_pid} is idle outside a transaction and blocks {root.waiters}"


advisory_held = clue_on(
    "advisory_held",
    "Does a session hold advisory locks while it does nothing?",
    lambda e: e.activity,
    _advisory_held,
)
advisory_many = clue_on(
    "advisory_many",
    "Does one session hold advisory locks by the thousand?",
    lambda e: e.activity,
    _advisory_many,
)
advisory_waits = clue_on(
    "advisory_waits",
    "Do several sessions wait for advisory locks?",
    lambda e: e.activity,
    _advisory_waits,
)
root_outside = clue_on(
    "root_outside",
    "Is the root of the chain idle outside a transaction?",
    lambda e: e.chains,
    _root_outside,
)


# --- commits that send notifications --------------------------------------------------------------


def notifiers(activity: Activity) -> tuple[int, Held | None]:
    """How many wait to commit what they notify of, and who commits at this moment."""
    found = [held for held in activity.held if held.lock_type == "object"]
    waiting = {held.pid for held in found if not held.granted}
    return len(waiting), next((held for held in found if held.granted), None)


def _notifiers_queue(activity: Activity, _evidence: Evidence) -> YES_NO:
    waiting, first = notifiers(activity)
    if not waiting:
        return False, "no commit waits to send its notifications"
    behind = f" behind process {first.pid}" if first else ""
    return waiting >= NOTIFIERS_MIN, f"{waiting} commits wait to send their notifications{behind}"


notifiers_queue = clue_on(
    "notifiers_queue",
    "Do commits wait for each other to send their notifications (NOTIFY)?",
    lambda e: e.activity,
    _notifiers_queue,
)
