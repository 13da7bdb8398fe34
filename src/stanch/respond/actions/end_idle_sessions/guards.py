"""Which idle sessions may be ended, and how many. Pure: from readings taken right before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stanch.facts.sessions import IdleSession
from stanch.model.diagnosis import Missing
from stanch.model.plans import PlannedStep, Refusal
from stanch.model.symptoms import SymptomKind
from stanch.model.vitals import Vitals
from stanch.policy.policy import TargetPolicy
from stanch.respond.guarding import no, unknown
from stanch.respond.idle import spared_because
from stanch.respond.sessions import is_protected
from stanch.steps.action import Guard

ENDED_MAX = 200
"""At most this many sessions in one run; whoever leaks more than that is a case for people."""

HEADROOM_BELOW_HIGH_PCT = 10.0
"""Ends sessions until the share in use is this far below the mark at which it counts as high."""

GUARDS = (
    Guard(name="acting_session", asks="Is there a session to look with and one to act with?"),
    Guard(name="not_protected", asks="Is it not an application policy protects, nor Stanch?"),
    Guard(name="still_leaking", asks="Are there still too few free connections?"),
    Guard(name="something_to_end", asks="Is there an idle session whose end loses nothing?"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The sessions that may be ended, longest idle first, and the number wanted."""

    sessions: tuple[IdleSession, ...]
    wanted: int
    spared: tuple[tuple[str, int], ...]
    """Why the others are left alone, with how many."""


def choose(
    step: PlannedStep,
    *,
    target: TargetPolicy,
    vitals: Vitals | Missing,
    idle: Sequence[IdleSession] | Missing,
) -> Choice | Refusal:
    """Which sessions to end, or the first reason to end none."""
    application = str(step.param("application_name") or "")
    if is_protected(application, target):
        return no("not_protected", f"{application!r} is protected by policy or is Stanch itself")
    if isinstance(vitals, Missing):
        return unknown("still_leaking", vitals)
    if vitals.sessions is None:
        return no("still_leaking", "sessions cannot be counted", lifts="GRANT pg_monitor.")
    wanted = over_headroom(vitals, target)
    if wanted <= 0:
        return no("still_leaking", "there is headroom again", lifts="Nothing is needed.")
    if isinstance(idle, Missing):
        return unknown("something_to_end", idle)
    return _among(idle, step=step, target=target, wanted=wanted)


def over_headroom(vitals: Vitals, target: TargetPolicy) -> int:
    """How many connections are in use above the share at which there is headroom again."""
    if vitals.sessions is None:
        return 0
    usable = max(1, vitals.settings.usable_connections)
    share = max(10.0, target.limit(SymptomKind.CONNECTIONS_HIGH) - HEADROOM_BELOW_HIGH_PCT) / 100.0
    return vitals.sessions.client_backends - int(usable * share)


def _among(
    idle: Sequence[IdleSession], *, step: PlannedStep, target: TargetPolicy, wanted: int
) -> Choice | Refusal:
    application = str(step.param("application_name") or "")
    leaking = [
        session
        for session in idle
        if session.application_name == application and session.usename == step.param("usename")
    ]
    free: list[IdleSession] = []
    spared: dict[str, int] = {}
    for session in leaking:
        reason = spared_because(session, target)
        if reason:
            spared[reason] = spared.get(reason, 0) + 1
        else:
            free.append(session)
    if not free:
        why = ", ".join(f"{reason} {count}" for reason, count in sorted(spared.items()))
        reason = f"none of its {len(leaking)} idle sessions may be ended ({why or 'none is idle'})"
        return no("something_to_end", reason, lifts="A person who knows what they are for.")
    free.sort(key=lambda session: (session.idle_since, session.pid))
    return Choice(
        sessions=tuple(free[: min(wanted, ENDED_MAX)]),
        wanted=wanted,
        spared=tuple(sorted(spared.items())),
    )
