"""Which of the named sessions may be ended. Pure: from readings taken right before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stanch.facts.selected import BoundSession, SelectedSession, parse_bound
from stanch.facts.sessions import IdleSession
from stanch.model.diagnosis import Missing, Scalar
from stanch.model.plans import PlannedStep, Refusal
from stanch.policy.policy import TargetPolicy
from stanch.respond.guarding import no, unknown
from stanch.respond.idle import spared_because
from stanch.respond.sessions import IDLE_STATES, spared
from stanch.steps.action import Guard

ENDED_MAX = 50
"""More than that is no list that anybody reads before approving it."""

IDLE, IN_TRANSACTION, ACTIVE = "idle", "idle in transaction", "active"
STATES: Mapping[str, frozenset[str]] = {
    IDLE: frozenset({IDLE}),
    IN_TRANSACTION: IDLE_STATES,
    ACTIVE: frozenset({ACTIVE}),
}
"""What may be asked for, and the states of pg_stat_activity that it means."""
ANY_STATE = frozenset[str]().union(*STATES.values())

GUARDS = (
    Guard(name="acting_session", asks="Is there a session to look with and one to act with?"),
    Guard(name="selector", asks="Does it name sessions, and narrow them by more than a state?"),
    Guard(name="few_enough", asks="Are no more sessions named than may be ended at once?"),
    Guard(name="still_selected", asks="Is one of them still there, and as it was picked?"),
    Guard(
        name="not_protected",
        asks="Is it no backup, nothing policy protects, no superuser, no replication, not Stanch?",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """What a session has to be; None: anything. Compared exactly, never as a pattern."""

    state: str | None
    older_than_s: float | None
    """Seconds in its state: idle for so long, or in the same statement."""
    usename: str | None
    application_name: str | None
    datname: str | None
    client_addr: str | None
    bound: tuple[BoundSession, ...]
    at_most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The sessions that may be ended, longest in their state first."""

    sessions: tuple[SelectedSession, ...]
    spared: tuple[tuple[str, int], ...]
    """Why others of those named are left alone, with how many."""


def selector_of(params: Mapping[str, Scalar]) -> Selector | Refusal:
    """What a step asks for, or why nobody may be ended by it."""
    bound, at_most = parse_bound(str(params.get("sessions") or "")), params.get("at_most")
    if bound is None:
        return no("selector", "the sessions are not named by pid and start", lifts="A new plan.")
    state, older = params.get("state"), params.get("older_than_s")
    if state is not None and state not in STATES:
        return no("selector", f"{state!r} is no state to pick by", lifts=", ".join(STATES))
    texts = ("usename", "application_name", "datname", "client_addr")
    by = {name: _text(params.get(name)) for name in texts}
    if not any(by.values()) and not (isinstance(older, int | float) and older > 0):
        reason = "it names neither a role, an application, a database, an address nor an age"
        return no("selector", reason, lifts="One of them in the runbook.")
    if not isinstance(at_most, int) or at_most > ENDED_MAX or len(bound) > at_most:
        reason = f"{len(bound)} sessions are named, {at_most} may be ended, and never {ENDED_MAX}+"
        return no("few_enough", reason, lifts="Fewer sessions at once.")
    return Selector(
        state=str(state) if state is not None else None,
        older_than_s=float(older) if isinstance(older, int | float) else None,
        bound=bound,
        at_most=at_most,
        **by,
    )


def _text(value: Scalar) -> str | None:
    return None if value is None else str(value)


def choose(
    step: PlannedStep,
    seen: Sequence[SelectedSession] | Missing,
    idle: Sequence[IdleSession] | Missing,
    *,
    target: TargetPolicy,
) -> Choice | Refusal:
    """Which sessions to end, or the first reason to end none.

    `idle`: those that are idle outside of a transaction, with what their end would lose.
    """
    selector = selector_of(dict(step.params))
    if isinstance(selector, Refusal):
        return selector
    if isinstance(seen, Missing):
        return unknown("still_selected", seen)
    left = [session for session in seen if is_meant(session, selector)]
    if not left:
        reason = f"none of the {len(selector.bound)} named is still there as it was picked"
        return no("still_selected", reason, lifts="Nothing is needed.")
    why = {s.pid: _kept(s, idle, target) for s in left}
    free = [session for session in left if not why[session.pid]]
    kept = tuple(sorted(Counter(reason for reason in why.values() if reason).items()))
    if not free:
        told = ", ".join(f"{count} {reason}" for reason, count in kept)
        lifts = "A person who knows what they are for."
        return no("not_protected", f"none of them may be ended ({told})", lifts=lifts)
    free.sort(key=lambda session: (-(session.state_age_s or 0.0), session.pid))
    return Choice(sessions=tuple(free), spared=kept)


def is_meant(session: SelectedSession, selector: Selector) -> bool:
    """One of those named, and still all that was asked for. What is hidden is not."""
    began, age_s = session.backend_start, session.state_age_s
    if not any(b.pid == session.pid and b.backend_start == began for b in selector.bound):
        return False
    if session.state not in (STATES[selector.state] if selector.state else ANY_STATE):
        return False
    if session.state_change is None:
        return False
    if selector.older_than_s is not None and (age_s is None or age_s < selector.older_than_s):
        return False
    wanted = (
        (selector.usename, session.usename),
        (selector.application_name, session.application_name),
        (selector.datname, session.datname),
        (selector.client_addr, session.client_addr),
    )
    return all(want is None or want == have for want, have in wanted)


def _kept(
    session: SelectedSession, idle: Sequence[IdleSession] | Missing, target: TargetPolicy
) -> str:
    """Why it is left alone; empty where it may be ended."""
    if session.backend_type != "client backend" or session.replicates:
        return "replication or a worker"
    if session.superuser is not False:
        return "superuser"
    if spared(session.application_name, target) is not None:
        return "protected"
    if session.state != IDLE:
        return ""
    if isinstance(idle, Missing):
        return "not known what it holds"
    same = (s for s in idle if s.pid == session.pid and s.idle_since == session.state_change)
    found = next(same, None)
    return "not known what it holds" if found is None else spared_because(found, target)
