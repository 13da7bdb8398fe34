"""Why every connection is taken: leaked, waiting, or really at work."""

from __future__ import annotations

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC, Facts, chain_facts
from stanch.diagnose.causes.ids import CONNECTIONS_BEHIND_LOCK, CONNECTIONS_LEAKED, CONNECTIONS_LOAD
from stanch.diagnose.clues import sessions, wire
from stanch.diagnose.clues.sessions import chain_of, largest_idlers, whose
from stanch.diagnose.evidence import Evidence, value_of
from stanch.model.changes import ItemKind
from stanch.model.shown import span
from stanch.model.symptoms import SymptomKind

NEVER_RAISE = "Do not raise max_connections: it takes a restart and moves the same problem up."
NEVER_RESTART = "Do not restart the server: everything in flight is lost and the cause stays."
SYMPTOMS = (SymptomKind.CONNECTIONS_HIGH, SymptomKind.CONNECTIONS_EXHAUSTED)


def _exhausted() -> tuple[Weigh, ...]:
    return (
        Weigh(clue=sessions.near_limit, yes=2.5, no=-6.0, now=True),
        Weigh(clue=wire.turned_away, yes=2.0, no=0.0, now=True),
        Weigh(clue=sessions.refused_logged, yes=0.5, no=0.0),
    )


def _facts(evidence: Evidence) -> Facts:
    seen = value_of(evidence.sessions)
    idlers = largest_idlers(seen) if seen else None
    return (
        ("server_running", True),
        ("application_name", idlers.application_name if idlers else None),
        ("usename", idlers.usename if idlers else None),
        ("idle_sessions", idlers.sessions if idlers else None),
        ("oldest_idle_s", round(idlers.oldest_idle_s, 1) if idlers else None),
        ("client_backends", seen.client_backends if seen else None),
        ("max_connections", seen.max_connections if seen else None),
        ("reserved_connections", seen.reserved if seen else None),
    )


def _whose_leak(evidence: Evidence) -> str:
    seen = value_of(evidence.sessions)
    idlers = largest_idlers(seen) if seen else None
    return whose(idlers) if idlers else ""


def _tell_leaked(evidence: Evidence) -> str:
    seen = value_of(evidence.sessions)
    idlers = largest_idlers(seen) if seen else None
    if seen is None or idlers is None:
        return "Idle sessions hold the connections."
    age = f", idle for up to {span(idlers.oldest_idle_s)}" if idlers.oldest_idle_s else ""
    return (
        f"{idlers.sessions} of {seen.client_backends} connections are idle sessions of "
        f"{whose(idlers)}{age}."
    )


def _tell_behind_lock(evidence: Evidence) -> str:
    seen = value_of(evidence.sessions)
    if seen is None:
        return "Sessions that wait for a lock hold the connections."
    return f"{seen.waiting} of {seen.client_backends} connections wait for a lock."


def _tell_load(evidence: Evidence) -> str:
    seen = value_of(evidence.sessions)
    if seen is None:
        return "Sessions at work hold the connections."
    active = sum(g.sessions for g in seen.groups if g.state == sessions.ACTIVE) - seen.waiting
    return f"{active} of {seen.client_backends} connections are at work: more load than slots."


connections_leaked = Cause(
    id=CONNECTIONS_LEAKED,
    section=Section.ACCESS,
    sentence="An application opens connections and does not give them back.",
    onset=Onset.CREEPING,
    impact="At once for every new login; sessions that are open go on.",
    family="connections",
    prior=-3.0,
    weighs=(
        *_exhausted(),
        Weigh(clue=sessions.leaking, yes=4.0, no=-4.0, now=True),
        Weigh(clue=sessions.idle_long, yes=1.0, no=-0.5, now=True),
        Weigh(clue=sessions.waiting, yes=-2.0, no=0.5, now=True),
        Weigh(clue=sessions.busy, yes=-3.0, no=0.5, now=True),
    ),
    tell=_tell_leaked,
    facts=_facts,
    subject=_whose_leak,
    apart={
        CONNECTIONS_LOAD: "What state are most sessions in (pg_stat_activity.state): idle or "
        "active?",
        CONNECTIONS_BEHIND_LOCK: "How many sessions have wait_event_type = 'Lock' in "
        "pg_stat_activity?",
    },
    symptoms=SYMPTOMS,
    follows_change=(
        ItemKind.DEPLOY,
        ItemKind.ROLLOUT,
        ItemKind.SETTING,
    ),
    safe_first="End the longest idle sessions of that one application, then have it mended.",
    never=(NEVER_RAISE, NEVER_RESTART, "Do not end sessions of other applications with it."),
    forbids=("start_server", "set_aside_lock_file"),
    runbook="connections-exhausted",
    source=f"{DOC}runtime-config-connection.html",
)

connections_behind_lock = Cause(
    id=CONNECTIONS_BEHIND_LOCK,
    section=Section.ACCESS,
    sentence="Sessions pile up behind a lock until no connection is left.",
    onset=Onset.AT_ONCE,
    impact="At once for every new login, and for whoever waits.",
    family="connections",
    prior=-3.0,
    weighs=(
        *_exhausted(),
        Weigh(clue=sessions.waiting, yes=4.0, no=-5.0, now=True),
        Weigh(clue=sessions.chain, yes=1.5, no=-2.0, now=True),
        Weigh(clue=sessions.leaking, yes=-2.0, no=0.5, now=True),
    ),
    tell=_tell_behind_lock,
    facts=lambda e: (*_facts(e), *chain_facts(chain_of(e))),
    apart={
        CONNECTIONS_LOAD: "How many of the active sessions have wait_event_type = 'Lock' in "
        "pg_stat_activity?",
    },
    symptoms=(*SYMPTOMS, SymptomKind.SESSIONS_BLOCKED),
    follows_change=(
        ItemKind.DEPLOY,
        ItemKind.RELATION,
        ItemKind.OBJECT,
    ),
    safe_first="Find the session at the root of the waiting and end that one only.",
    never=(NEVER_RAISE, NEVER_RESTART, "Do not end the waiting sessions: they come back."),
    forbids=("end_idle_sessions", "start_server", "set_aside_lock_file"),
    runbook="blocking-chain",
    source=f"{DOC}explicit-locking.html",
)

connections_load = Cause(
    id=CONNECTIONS_LOAD,
    section=Section.ACCESS,
    sentence="More work arrives than the connections can carry; all of them are busy.",
    onset=Onset.AT_ONCE,
    impact="At once for every new login; the others are slow.",
    family="connections",
    prior=-3.0,
    weighs=(
        *_exhausted(),
        Weigh(clue=sessions.busy, yes=4.0, no=-5.0, now=True),
        Weigh(clue=sessions.waiting, yes=-3.0, no=0.5, now=True),
        Weigh(clue=sessions.leaking, yes=-3.0, no=0.5, now=True),
    ),
    tell=_tell_load,
    facts=_facts,
    symptoms=SYMPTOMS,
    follows_change=(
        ItemKind.DEPLOY,
        ItemKind.ROLLOUT,
    ),
    safe_first="Slow down the source of the load (a pooler, a rate limit, a job put off).",
    never=(NEVER_RAISE, NEVER_RESTART, "Do not end sessions at random: their work starts again."),
    forbids=("end_idle_sessions", "start_server", "set_aside_lock_file"),
    runbook="",
    source=f"{DOC}runtime-config-connection.html",
)
