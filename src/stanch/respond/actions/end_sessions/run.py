"""End the sessions that a plan names, while they are still what they were picked for."""

from __future__ import annotations

from collections.abc import Sequence

from stanch.facts.selected import (
    END_SELECTED_SQL,
    SELECTED_SQL,
    SelectedSession,
    end_selected_parameters,
    parse_selected,
    selected_parameters,
)
from stanch.facts.sessions import IdleSession
from stanch.model.diagnosis import Missing
from stanch.model.errors import ActionFailed
from stanch.model.plans import PlannedStep, Refusal, StepOutcome
from stanch.policy.quoting import printable
from stanch.respond.actions.end_sessions.guards import (
    GUARDS,
    IDLE,
    Choice,
    Selector,
    choose,
    selector_of,
)
from stanch.respond.actions.end_sessions.planning import PLANNING
from stanch.respond.guarding import no
from stanch.respond.reading.run import ask, read_idle
from stanch.respond.signalling.run import Signal, send
from stanch.steps.action import Action, ActReport, Param, Permit, Risk, Verification
from stanch.steps.world import World

MOVED_ON = "still_selected"


async def check(step: PlannedStep, world: World) -> Refusal | None:
    """Look at each of the named sessions again."""
    choice = await _choose(step, world)
    return choice if isinstance(choice, Refusal) else None


async def act(step: PlannedStep, world: World, permit: Permit) -> ActReport | Refusal:
    """End one session after the other, each only if it has done nothing since the look.

    The permit is asked before each; stopping half-way leaves the others as they are.
    Raises: ActionFailed, where the server did not let us end the first one.
    """
    choice = await _choose(step, world)
    if isinstance(choice, Refusal):
        return choice
    assert world.actor is not None
    ended: list[SelectedSession] = []
    stopped: Refusal | None = None
    for session in choice.sessions:
        try:
            answer = await send(_signal(session), world.actor, permit)
        except ActionFailed as error:
            if not ended:
                raise
            stopped = no("acting_session", printable(str(error)))
            break
        if isinstance(answer, Refusal):
            stopped = answer
            if answer.guard == MOVED_ON:
                continue
            break
        if answer.outcome is StepOutcome.IN_DOUBT:
            detail = f"{len(ended)} ended; no answer about pid {session.pid}"
            before = _listed([*ended, session])
            return ActReport(outcome=StepOutcome.IN_DOUBT, detail=detail, before=before)
        ended.append(session)
    return _report(ended, choice=choice, stopped=stopped)


def _signal(session: SelectedSession) -> Signal:
    assert session.backend_start is not None
    assert session.state_change is not None
    parameters = end_selected_parameters(
        session.pid,
        session.backend_start,
        state=session.state,
        state_change=session.state_change,
    )
    return Signal(
        sql=END_SELECTED_SQL,
        parameters=parameters,
        pid=session.pid,
        verb="end",
        unless=MOVED_ON,
        done=f"ended pid {session.pid}",
        before=_told(session),
    )


def _report(
    ended: Sequence[SelectedSession], *, choice: Choice, stopped: Refusal | None
) -> ActReport | Refusal:
    if not ended:
        return stopped or no(MOVED_ON, "none of them was still as it was picked")
    spared = ", ".join(f"{count} {reason}" for reason, count in choice.spared)
    left = f"; left alone: {spared}" if spared else ""
    why = f"; not all: {stopped.reason}" if stopped else ""
    detail = f"ended {len(ended)} of {len(choice.sessions)} sessions{left}{why}"
    return ActReport(detail=detail, before=_listed(ended))


async def verify(step: PlannedStep, world: World) -> Verification:
    """Is none of them left that might have been ended?"""
    choice = await _choose(step, world)
    if isinstance(choice, Choice):
        pids = ", ".join(str(session.pid) for session in choice.sessions)
        return Verification(ok=False, detail=f"still there: pid {pids}")
    gone = choice.guard in (MOVED_ON, "not_protected") and "cannot be read" not in choice.reason
    return Verification(ok=gone, pending=not gone, detail=choice.reason)


async def _choose(step: PlannedStep, world: World) -> Choice | Refusal:
    if world.reader is None or world.actor is None:
        lifts = "`acting_dsn` for this target; `stanch grants` prints the role."
        return no("acting_session", "there is no session that may end others", lifts=lifts)
    selector = selector_of(dict(step.params))
    if isinstance(selector, Refusal):
        return selector
    seen = await _seen(selector, world)
    idle: Sequence[IdleSession] | Missing = ()
    if not isinstance(seen, Missing) and any(session.state == IDLE for session in seen):
        idle = await read_idle(world)
    return choose(step, seen, idle, target=world.target)


async def _seen(selector: Selector, world: World) -> tuple[SelectedSession, ...] | Missing:
    asked = (SELECTED_SQL, selected_parameters(selector.bound))
    return await ask(world, asked, parse_selected, what="the sessions")


def _listed(sessions: Sequence[SelectedSession]) -> str:
    return "\n".join(_told(session) for session in sessions)


def _told(session: SelectedSession) -> str:
    began = session.backend_start.isoformat() if session.backend_start else "?"
    wrote = ", had written" if session.has_written else ""
    return printable(
        f"pid {session.pid}, started {began}, {session.usename}@{session.datname}, "
        f"{session.application_name!r}, {session.state} for {session.state_age_s or 0:.0f} s"
        f"{wrote}, last: {session.query}"
    )


END_SESSIONS = Action(
    name="end_sessions",
    sentence="End the sessions that are named, while they are still what they were picked for.",
    params=(
        Param(
            name="sessions",
            kind="text",
            doc="Which: each by its pid and when it began, as `4711@2026-03-14T07:00:00+00:00`.",
            identity=True,
        ),
        Param(name="at_most", kind="count", doc="More than so many are never ended (50)."),
        Param(
            name="state",
            kind="text",
            doc="`idle`, `idle in transaction` (aborted or not) or `active`.",
            required=False,
        ),
        Param(
            name="older_than_s",
            kind="seconds",
            doc="For longer than this in that state.",
            required=False,
        ),
        Param(name="usename", kind="text", doc="Their role.", required=False),
        Param(name="application_name", kind="text", doc="Their application.", required=False),
        Param(name="datname", kind="text", doc="Their database.", required=False),
        Param(name="client_addr", kind="text", doc="Their client's address.", required=False),
    ),
    guards=GUARDS,
    risks=(
        Risk(
            what="ending sessions that were picked",
            guards=("selector", "few_enough", "still_selected", "not_protected"),
        ),
    ),
    stands_on="end sessions",
    planning=PLANNING,
    check=check,
    act=act,
    verify=verify,
)
