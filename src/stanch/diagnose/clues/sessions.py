"""Who holds the connections, who waits for whom."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from stanch.diagnose.ask import YES_NO, clue_on
from stanch.diagnose.clues.vacuum import holder_pid, rows_holder
from stanch.diagnose.evidence import Evidence, value_of
from stanch.diagnose.figures import Figures
from stanch.diagnose.inside import Chain, Chains, Sessions
from stanch.diagnose.outside import Log
from stanch.model.shown import shortened, span

NEAR_LIMIT_SHARE = 0.9
"""From this share of the usable slots on, connections are the story."""
LEAK_SHARE = 0.5
"""One application's idle sessions from this share of all client sessions on."""
LEAK_SESSIONS_MIN = 5
WAITING_SHARE = 0.3
WAITING_MIN = 3
BUSY_SHARE = 0.5
WAIT_S_MIN = 2.0
"""Shorter waits happen on every healthy server."""
WAITERS_MANY = 3
WAIT_MANY_S_MIN = 0.5
OLD_IDLE_S = 300.0
"""A transaction idle this long holds vacuum back even where it blocks nobody."""
RECENT_S = 60.0

IDLE = "idle"
IDLE_IN_TRANSACTION = ("idle in transaction", "idle in transaction (aborted)")
ACTIVE = "active"


@dataclass(frozen=True, slots=True, kw_only=True)
class Idlers:
    """One application's idle sessions."""

    application_name: str
    usename: str
    sessions: int
    oldest_idle_s: float


def largest_idlers(sessions: Sessions) -> Idlers | None:
    """The application (and role) with the most idle sessions."""
    found: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
    for group in sessions.groups:
        if group.state == IDLE:
            key = (group.application_name, group.usename)
            found[key].append((group.sessions, group.oldest_state_s))
    if not found:
        return None
    (application, usename), rows = min(
        found.items(), key=lambda item: (-sum(n for n, _ in item[1]), item[0])
    )
    return Idlers(
        application_name=application,
        usename=usename,
        sessions=sum(n for n, _ in rows),
        oldest_idle_s=max(s for _, s in rows),
    )


def whose(idlers: Idlers) -> str:
    """How an application is called in a sentence."""
    if idlers.application_name:
        return f'application "{idlers.application_name}" (role {idlers.usename})'
    return f'role "{idlers.usename}" (no application name)'


def chain_of(evidence: Evidence) -> Chain | None:
    """The chain with the most waiters that is long enough to matter."""
    chains = value_of(evidence.chains)
    return next((c for c in chains.chains if matters(c)), None) if chains else None


def matters(chain: Chain) -> bool:
    return chain.oldest_wait_s >= WAIT_S_MIN or (
        chain.waiters >= WAITERS_MANY and chain.oldest_wait_s >= WAIT_MANY_S_MIN
    )


def idle_root(evidence: Evidence) -> Chain | None:
    """The root that is idle in a transaction: of the chain, else the oldest that blocks nobody."""
    chain = chain_of(evidence)
    if chain is not None and chain.root_state in IDLE_IN_TRANSACTION:
        return chain
    chains = value_of(evidence.chains)
    if chains is None:
        return None
    for other in chains.chains:
        if matters(other) and other.root_state in IDLE_IN_TRANSACTION:
            return other
    old = next((c for c in chains.old_idle if c.root_in_state_s >= OLD_IDLE_S), None)
    return old or _keeper(chains, evidence)


def forgotten(evidence: Evidence) -> tuple[Chain, ...]:
    """Where the idle root blocks nobody: it, and those of the same role and application that have
    been idle for as long."""
    root, chains = idle_root(evidence), value_of(evidence.chains)
    if root is None or root.waiters or chains is None:
        return ()
    if root.root_in_state_s < OLD_IDLE_S:
        return (root,)
    return tuple(
        one
        for one in chains.old_idle
        if one.root_in_state_s >= OLD_IDLE_S
        and (one.root_usename, one.root_application) == (root.root_usename, root.root_application)
    )


def _keeper(chains: Chains, evidence: Evidence) -> Chain | None:
    """The one that has made vacuum leave rows, however young."""
    holder = rows_holder(evidence)
    pid = holder_pid(holder) if holder is not None else None
    return next((c for c in chains.old_idle if c.root_pid == pid), None)


IDLE_CROWD_MIN, IDLE_CROWD_SHARE = 5, 0.5
"""Between two statements of a transaction an application needs milliseconds."""
IDLE_POOL_MIN, IDLE_POOL_S = 3, 5.0
"""A pool of so few that all wait for so long at once is one that serves nobody."""


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole} client sessions"


def _near_limit(sessions: Sessions, _evidence: Evidence) -> YES_NO:
    usable = sessions.usable
    if not usable:
        return "the limit of connections was not read"
    said = f"{sessions.client_backends} of {usable} usable connections are taken"
    return sessions.client_backends >= NEAR_LIMIT_SHARE * usable, said


def _leaking(sessions: Sessions, _evidence: Evidence) -> YES_NO:
    idlers, total = largest_idlers(sessions), sessions.client_backends
    if idlers is None:
        return False, "no client session is idle"
    said = f"{_share(idlers.sessions, total)} are idle ones of {whose(idlers)}"
    enough = idlers.sessions >= LEAK_SESSIONS_MIN and idlers.sessions >= LEAK_SHARE * total
    return enough, said


def _idle_long(sessions: Sessions, _evidence: Evidence) -> YES_NO:
    idlers = largest_idlers(sessions)
    if idlers is None:
        return False, "no client session is idle"
    if idlers.oldest_idle_s <= 0:
        return "how long they have been idle was not read"
    return idlers.oldest_idle_s >= RECENT_S, f"idle for up to {span(idlers.oldest_idle_s)}"


def _waiting(sessions: Sessions, _evidence: Evidence) -> YES_NO:
    said = f"{_share(sessions.waiting, sessions.client_backends)} wait for a lock"
    return many_wait(sessions), said


def many_wait(sessions: Sessions) -> bool:
    """A large part of the sessions waits for a lock."""
    share = WAITING_SHARE * sessions.client_backends
    return sessions.waiting >= WAITING_MIN and sessions.waiting >= share


def _busy(sessions: Sessions, _evidence: Evidence) -> YES_NO:
    total = sessions.client_backends
    active = sum(g.sessions for g in sessions.groups if g.state == ACTIVE)
    busy = max(0, active - sessions.waiting)
    said = f"{_share(busy, total)} work and wait for no lock"
    return busy > 0 and busy >= BUSY_SHARE * total, said


def _refused_logged(log: Log, evidence: Evidence) -> YES_NO:
    if not log.events:
        return f"nothing of use in {log.path}"
    recent = [
        event
        for event in log.events
        if event.kind == "too_many_clients"
        and event.at is not None
        and (evidence.at - event.at).total_seconds() <= RECENT_S
    ]
    if not recent:
        return False, "no login refused for want of connections in the log of the last minute"
    return True, f"{len(recent)} logins refused in the last minute", recent[-1].at


def _chain(_chains: Chains, evidence: Evidence) -> YES_NO:
    chain = chain_of(evidence)
    if chain is None:
        return False, "nobody waits for another session long enough to matter"
    who = f"session {chain.root_pid}" if chain.root_pid else "a prepared transaction"
    waited = f"the longest for {span(chain.oldest_wait_s)}"
    return True, f"{chain.waiters} sessions wait behind {who}, {waited}"


def _idle_root(_chains: Chains, evidence: Evidence) -> YES_NO:
    chain = chain_of(evidence)
    root = idle_root(evidence)
    if root is None or not root.waiters:
        if chain is None:
            return False, "no session that is idle in a transaction blocks others"
        return False, f"the root of the chain is {chain.root_state or 'of unknown state'}"
    since = span(root.root_in_state_s)
    return True, f"session {root.root_pid} blocks {root.waiters}, {root.root_state} for {since}"


def _old_idle(_chains: Chains, evidence: Evidence) -> YES_NO:
    root = idle_root(evidence)
    if root is None or root.root_in_state_s < OLD_IDLE_S:
        return False, f"no transaction has been idle for {span(OLD_IDLE_S)}"
    return True, f"session {root.root_pid} has been idle in a transaction for " + span(
        root.root_in_state_s
    )


def _idle_crowd(figures: Figures, _evidence: Evidence) -> YES_NO:
    found = next(iter(figures.named("idle_in_xact_sessions")), None)
    if found is None or found.value is None or not found.detail.isdecimal():
        return ""
    idle, all_of = round(found.value), int(found.detail)
    whose = f'application "{shortened(found.subject, 60)}"' if found.subject else "one application"
    said = f"{idle} of {all_of} sessions of {whose} have been idle in a transaction for over 1 s"
    crowd = idle >= IDLE_CROWD_MIN and idle >= IDLE_CROWD_SHARE * all_of
    return (True, said) if crowd else _idle_pool(figures) or (False, said)


def _idle_pool(figures: Figures) -> YES_NO:
    """As few sessions as a small pool has, but not one of them at work for seconds."""
    for found in figures.named("idle_in_xact_all_s"):
        many = found.detail.isdecimal() and int(found.detail) >= IDLE_POOL_MIN
        # Sessions without a name are of anybody, and no pool.
        if found.subject and many and (found.value or 0.0) >= IDLE_POOL_S:
            whose = shortened(found.subject, 60)
            since = span(found.value or 0.0)
            return True, (
                f'all {found.detail} sessions of application "{whose}" have been idle in a '
                f"transaction for over {since}"
            )
    return ""


def _idle_keeper(chains: Chains, evidence: Evidence) -> YES_NO:
    keeper = _keeper(chains, evidence)
    if keeper is None:
        return False, "no idle transaction is known to have made vacuum leave rows"
    since = span(keeper.root_in_state_s)
    return True, f"session {keeper.root_pid} is the oldest view, {keeper.root_state} for {since}"


def _idle_before_waiters(sessions: Sessions, evidence: Evidence) -> YES_NO:
    if value_of(evidence.chains) is not None:
        return ""  # Who blocks whom is known, and tells more.
    idle = sum(g.sessions for g in sessions.groups if g.state in IDLE_IN_TRANSACTION)
    said = f"{sessions.waiting} sessions wait for a lock, and {idle} are idle in a transaction"
    return idle > 0 and many_wait(sessions), said


near_limit = clue_on(
    "near_limit", "Are nearly all usable connections taken?", lambda e: e.sessions, _near_limit
)
leaking = clue_on(
    "leaking",
    "Do idle sessions of one application hold most connections?",
    lambda e: e.sessions,
    _leaking,
)
idle_long = clue_on(
    "idle_long",
    "Have they been idle longer than a pool would leave them?",
    lambda e: e.sessions,
    _idle_long,
)
waiting = clue_on(
    "waiting",
    "Does a large part of the sessions wait for a lock?",
    lambda e: e.sessions,
    _waiting,
)
busy = clue_on("busy", "Is most of the sessions really at work?", lambda e: e.sessions, _busy)
refused_logged = clue_on(
    "refused_logged",
    "Does the log show logins refused for want of connections (53300)?",
    lambda e: e.log,
    _refused_logged,
)
chain = clue_on("chain", "Do sessions wait behind another one?", lambda e: e.chains, _chain)
root_is_idle = clue_on(
    "root_is_idle",
    "Is the root of the chain idle in a transaction?",
    lambda e: e.chains,
    _idle_root,
)
idle_before_waiters = clue_on(
    "idle_before_waiters",
    "Where nobody can ask who blocks whom: is a session idle in a transaction, and many wait?",
    lambda e: e.sessions,
    _idle_before_waiters,
)
idle_keeper = clue_on(
    "idle_keeper",
    "Is it an idle transaction for which vacuum had to leave dead rows?",
    lambda e: e.chains,
    _idle_keeper,
    reads=("table_dead_rows_left", "table_vacuum_age_s", "horizon_held_s"),
)
idle_crowd = clue_on(
    "idle_crowd",
    "Do most sessions of an application sit idle in a transaction for a second and longer?",
    lambda e: e.figures,
    _idle_crowd,
    reads=("idle_in_xact_sessions", "idle_in_xact_all_s"),
)
old_idle = clue_on(
    "old_idle",
    "Has a transaction been idle for minutes?",
    lambda e: e.chains,
    _old_idle,
)
