"""Sections about sessions: how many, who is long, who waits."""

from __future__ import annotations

from collections.abc import Sequence

from stanch.facts.blocking import BlockingChain
from stanch.facts.health.work import LongSession
from stanch.model.shown import span
from stanch.model.vitals import SessionVitals, Vitals
from stanch.watch.health.report import Judgement, Line, Section, judged, part

USED_LOOK, USED_DANGER = 0.8, 0.9
XACT_LOOK_S, XACT_DANGER_S = 60.0, 3600.0
IDLE_LOOK_S, IDLE_DANGER_S = 60.0, 1800.0
WAIT_LOOK_S, WAIT_DANGER_S = 5.0, 60.0
GROUPS_SHOWN = 5
CHAINS_SHOWN = 5
STATE_ORDER = ("active", "idle in transaction", "idle in transaction (aborted)", "idle")


def connections_section(vitals: Vitals) -> Section:
    """Slots used against those there are, by state, and limits of roles and databases."""
    usable = vitals.settings.usable_connections
    held = vitals.sessions.client_backends if vitals.sessions else vitals.backends
    used = held / usable if usable else 1.0
    judgement = judged(used, look=USED_LOOK, danger=USED_DANGER)
    bad = judgement is not Judgement.OK
    lines = [
        Line(
            what="connections",
            value=f"{held} of {usable} that applications may have ({part(used)})",
            judgement=judgement,
            why="Once they are used up nobody new is let in." if bad else "",
            do="Find who holds idle ones below; put a pooler in front, or end leaked sessions."
            if bad
            else "",
            share=min(1.0, used),
            figures={
                "connections": held,
                "usable_connections": usable,
                "max_connections": vitals.settings.max_connections,
            },
        )
    ]
    if vitals.sessions is not None:
        lines += _states(vitals.sessions) + _limits(vitals.sessions) + _groups(vitals.sessions)
    note = "" if vitals.sees_sessions else "Other roles' sessions are hidden: GRANT pg_monitor."
    return Section(id="connections", title="Connections", lines=tuple(lines), note=note)


def _states(sessions: SessionVitals) -> list[Line]:
    total = max(1, sessions.client_backends)
    ranked = sorted(
        sessions.by_state,
        key=lambda s: STATE_ORDER.index(s[0]) if s[0] in STATE_ORDER else len(STATE_ORDER),
    )
    return [
        Line(what=state, value=str(n), share=n / total, figures={"sessions": n})
        for state, n in ranked
    ]


def _limits(sessions: SessionVitals) -> list[Line]:
    return [
        Line(
            what=f"limit of {limit.scope} {limit.name}",
            value=f"{limit.used} of {limit.allowed}",
            judgement=Judgement.DANGER if limit.hit else Judgement.LOOK,
            why="It is kept out at its own limit while others still get in.",
            do=f"ALTER {limit.scope.upper()} … CONNECTION LIMIT, or fewer sessions.",
            share=min(1.0, limit.used / max(1, limit.allowed)),
            figures={"connections": limit.used, "limit": limit.allowed},
        )
        for limit in sessions.limits
    ]


def _groups(sessions: SessionVitals) -> list[Line]:
    total = max(1, sessions.client_backends)
    return [
        Line(
            what=f"{group.application_name or '(no name)'}: {group.usename} in {group.datname}",
            value=f"{group.sessions} {group.state}",
            share=group.sessions / total,
            figures={"sessions": group.sessions, "oldest_state_age_s": group.oldest_state_age_s},
        )
        for group in sessions.groups[:GROUPS_SHOWN]
    ]


def long_section(sessions: Sequence[LongSession]) -> Section:
    """Transactions that have been open for longest, working or idle."""
    lines = tuple(_long(session) for session in sessions)
    quiet = Line(what="transactions", value="none is older than a second")
    return Section(id="long", title="Long transactions", lines=lines or (quiet,))


def _long(session: LongSession) -> Line:
    idle = session.state.startswith("idle in transaction")
    if idle:
        idle_s = session.state_age_s or 0.0
        judgement = judged(idle_s, look=IDLE_LOOK_S, danger=IDLE_DANGER_S)
        value = f"idle in its transaction for {span(idle_s)}, open for {span(session.xact_age_s)}"
        why = "It keeps its locks and every row version since it began, and does nothing."
        do = "Ask its owner, else end it; idle_in_transaction_session_timeout ends such by itself."
    else:
        judgement = judged(session.xact_age_s, look=XACT_LOOK_S, danger=XACT_DANGER_S)
        running = f", this statement {span(session.query_age_s)}" if session.query_age_s else ""
        value = f"open for {span(session.xact_age_s)}{running}"
        why = "VACUUM can free nothing that changed since it began."
        do = "See whether it is meant to take so long; pg_cancel_backend ends the statement alone."
    if session.wait_event and not session.wait_event.startswith("Client:"):
        value += f", waits for {session.wait_event}"
    bad = judgement is not Judgement.OK
    name = session.application_name or "(no name)"
    return Line(
        what=f"{session.pid} {name}: {session.usename} in {session.datname}",
        value=value,
        judgement=judgement,
        why=why if bad else "",
        do=do if bad else "",
        detail=session.query,
        figures={
            "pid": session.pid,
            "xact_age_s": session.xact_age_s,
            "query_age_s": session.query_age_s,
            "state_age_s": session.state_age_s,
        },
    )


def blocked_section(chains: Sequence[BlockingChain]) -> Section:
    """Who stands at the head of each queue for a lock."""
    lines = [_chain(chain) for chain in chains[:CHAINS_SHOWN]]
    if not lines:
        lines = [Line(what="waiting for a lock", value="nobody")]
    rest = len(chains) - CHAINS_SHOWN
    note = f"{rest} shorter queues are not shown." if rest > 0 else ""
    return Section(id="blocked", title="Blocked sessions", lines=tuple(lines), note=note)


def _chain(chain: BlockingChain) -> Line:
    judgement = judged(chain.oldest_wait_s, look=WAIT_LOOK_S, danger=WAIT_DANGER_S)
    root = chain.root
    if chain.prepared:
        head, do = "a prepared transaction", "COMMIT PREPARED or ROLLBACK PREPARED ends the queue."
    elif root is None:
        head, do = f"session {chain.root_pid}", "Look again: it was gone by the time it was read."
    else:
        head = f"{root.pid} {root.application_name or '(no name)'}: {root.usename}, {root.state}"
        do = f"Ask its owner, else SELECT pg_terminate_backend({root.pid}); not those that wait."
    count = len(chain.waiters)
    bad = judgement is not Judgement.OK
    return Line(
        what=f"behind {head}",
        value=f"{count} waiting, the longest for {span(chain.oldest_wait_s)}",
        judgement=judgement,
        why="They wait for a lock that this one holds or asks for." if bad else "",
        do=do if bad else "",
        detail=root.query if root is not None else "",
        figures={
            "root_pid": chain.root_pid,
            "waiting": count,
            "oldest_wait_s": chain.oldest_wait_s,
        },
    )
