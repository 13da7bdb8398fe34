"""End idle sessions of the one application that leaks them, until there is headroom again."""

from __future__ import annotations

from stanch.facts.sessions import (
    END_SESSION_SQL,
    IdleSession,
    end_session_parameters,
    parse_end,
)
from stanch.model.diagnosis import Missing
from stanch.model.plans import PlannedStep, Refusal, StepOutcome
from stanch.model.ports.server import ServerActor
from stanch.model.symptoms import SymptomKind
from stanch.policy.quoting import printable
from stanch.respond.actions.end_idle_sessions.guards import (
    GUARDS,
    Choice,
    choose,
    over_headroom,
)
from stanch.respond.actions.end_idle_sessions.planning import PLANNING
from stanch.respond.guarding import no
from stanch.respond.reading.run import read_idle, read_vitals
from stanch.steps.action import Action, ActReport, Param, Permit, Risk, Verification
from stanch.steps.world import World

END_DEADLINE_S = 2.0


async def check(step: PlannedStep, world: World) -> Refusal | None:
    """Look at every session again."""
    choice = await _choose(step, world)
    return choice if isinstance(choice, Refusal) else None


async def act(step: PlannedStep, world: World, permit: Permit) -> ActReport | Refusal:
    """End one session after the other, each only if it is still idle since the same moment.

    The permit is asked before each; stopping half-way leaves fewer idle sessions and nothing else.
    """
    assert world.actor is not None
    choice = await _choose(step, world)
    if isinstance(choice, Refusal):
        return choice
    ended: list[IdleSession] = []
    stopped: Refusal | None = None
    for session in choice.sessions:
        stopped = permit()
        if stopped is not None:
            break
        outcome = await _end(world.actor, session)
        if outcome == "in_doubt":
            detail = f"{len(ended)} ended; no answer about pid {session.pid}"
            return ActReport(outcome=StepOutcome.IN_DOUBT, detail=detail, before=_listed(ended))
        if outcome == "refused":
            break
        if outcome == "ended":
            ended.append(session)
    return _report(ended, choice=choice, stopped=stopped)


def _report(
    ended: list[IdleSession], *, choice: Choice, stopped: Refusal | None
) -> ActReport | Refusal:
    if not ended:
        return stopped or no("something_to_end", "none was still idle, or none may be ended")
    spared = ", ".join(f"{count} {reason}" for reason, count in choice.spared)
    left = f"; left alone: {spared}" if spared else ""
    early = f"; stopped early: {stopped.reason}" if stopped else ""
    detail = f"ended {len(ended)} idle sessions of {choice.wanted} over the mark{left}{early}"
    return ActReport(detail=detail, before=_listed(ended))


async def verify(step: PlannedStep, world: World) -> Verification:
    """Is there headroom again?"""
    vitals = await read_vitals(world)
    if isinstance(vitals, Missing) or vitals.sessions is None:
        return Verification(ok=False, pending=True, detail="the sessions cannot be counted")
    used, usable = vitals.sessions.client_backends, vitals.settings.usable_connections
    high = usable * world.target.limit(SymptomKind.CONNECTIONS_HIGH) / 100.0
    detail = f"{used} of {usable} connections in use"
    if used < high:
        return Verification(ok=True, detail=detail)
    return Verification(ok=False, detail=f"{detail}, {over_headroom(vitals, world.target)} over")


async def _choose(step: PlannedStep, world: World) -> Choice | Refusal:
    if world.reader is None or world.actor is None:
        lifts = "`acting_dsn` for this target; `stanch grants` prints the role."
        return no("acting_session", "there is no session that may end others", lifts=lifts)
    vitals = await read_vitals(world)
    idle = await read_idle(world)
    return choose(step, target=world.target, vitals=vitals, idle=idle)


async def _end(actor: ServerActor, session: IdleSession) -> str:
    """`ended`, `changed` (it is another session now), `refused` or `in_doubt`."""
    parameters = end_session_parameters(
        session.pid, session.backend_start, idle_since=session.idle_since
    )
    acted = await actor.execute(END_SESSION_SQL, parameters, deadline_s=END_DEADLINE_S)
    if acted.outcome == "in_doubt":
        return "in_doubt"
    if acted.outcome != "done" or not acted.rows:
        return "refused"
    outcome = parse_end(acted.rows[0].get("outcome"))
    return "ended" if outcome.matched and outcome.signalled else "changed"


def _listed(sessions: list[IdleSession]) -> str:
    lines = (
        f"pid {s.pid}, started {s.backend_start.isoformat()}, {printable(s.usename)}"
        f"@{printable(s.datname)}, {printable(s.application_name)!r}, idle {s.idle_s:.0f} s"
        for s in sessions
    )
    return "\n".join(lines)


END_IDLE_SESSIONS = Action(
    name="end_idle_sessions",
    sentence="End idle sessions of the one application that leaks them.",
    params=(
        Param(
            name="application_name",
            kind="text",
            doc="The application that leaks; empty where it gives no name.",
            identity=True,
            required=False,
        ),
        Param(name="usename", kind="text", doc="The role it logs in as.", identity=True),
    ),
    guards=GUARDS,
    risks=(Risk(what="ending sessions", guards=("still_leaking", "acting_session")),),
    stands_on="end sessions",
    planning=PLANNING,
    check=check,
    act=act,
    verify=verify,
)
