"""Cancel one running statement; its session lives on."""

from __future__ import annotations

from stanch.facts.running import (
    CANCEL_SQL,
    RUNNING_SQL,
    RunningStatement,
    cancel_parameters,
    parse_running,
)
from stanch.model.diagnosis import Missing
from stanch.model.plans import PlannedStep, Refusal
from stanch.policy.quoting import printable
from stanch.respond.actions.cancel_statement.guards import GUARDS, may_cancel
from stanch.respond.actions.cancel_statement.planning import PLANNING
from stanch.respond.guarding import no
from stanch.respond.reading.run import ask
from stanch.respond.sessions import same_moment
from stanch.respond.signalling.run import Signal, send
from stanch.steps.action import Action, ActReport, Param, Permit, Risk, Verification
from stanch.steps.world import World


async def check(step: PlannedStep, world: World) -> Refusal | None:
    """Look again what that session runs."""
    seen = await _statement(step, world)
    return seen if isinstance(seen, Refusal) else None


async def act(step: PlannedStep, world: World, permit: Permit) -> ActReport | Refusal:
    """Cancel it, on condition that it is still the same statement of the same session."""
    seen = await _statement(step, world)
    if isinstance(seen, Refusal):
        return seen
    assert world.actor is not None
    assert seen.backend_start is not None
    assert seen.query_start is not None
    parameters = cancel_parameters(
        seen.pid,
        seen.backend_start,
        seen.query_start,
        while_waiting=step.param("while_waiting") is True,
    )
    ran = f", which ran for {seen.query_age_s:.0f} s" if seen.query_age_s is not None else ""
    signal = Signal(
        sql=CANCEL_SQL,
        parameters=parameters,
        pid=seen.pid,
        verb="cancel",
        unless="same_statement",
        done=f"cancelled the statement of pid {seen.pid}{ran}",
        before=_told(seen),
    )
    return await send(signal, world.actor, permit)


async def verify(step: PlannedStep, world: World) -> Verification:
    """Does that statement run no more? A long clean-up after it is still under way."""
    seen = await _running(step, world)
    if isinstance(seen, Missing):
        return Verification(ok=False, pending=True, detail=f"cannot be read: {seen.reason}")
    if seen is None or not same_moment(step.param("backend_start"), seen.backend_start):
        return Verification(ok=True, detail="its session is gone")
    same = same_moment(step.param("query_start"), seen.query_start)
    if same and seen.state == "active":
        return Verification(ok=False, detail=f"pid {seen.pid} still runs it")
    return Verification(ok=True, detail=f"pid {seen.pid} does not run it any more")


async def _statement(step: PlannedStep, world: World) -> RunningStatement | Refusal:
    if world.reader is None or world.actor is None:
        lifts = "`acting_dsn` for this target; `stanch grants` prints the role."
        return no("acting_session", "there is no session that may cancel others", lifts=lifts)
    return may_cancel(step, await _running(step, world), target=world.target)


async def _running(step: PlannedStep, world: World) -> RunningStatement | Missing | None:
    pid = step.param("pid")
    assert isinstance(pid, int)
    return await ask(world, (RUNNING_SQL, {"pid": pid}), parse_running, what="the statement")


def _told(seen: RunningStatement) -> str:
    return printable(
        f"pid {seen.pid}, {seen.usename}@{seen.datname}, {seen.application_name!r}, "
        f"for {seen.query_age_s or 0:.0f} s: {seen.query}"
    )


CANCEL_STATEMENT = Action(
    name="cancel_statement",
    sentence="Cancel one running statement; its session lives on, its transaction has failed.",
    params=(
        Param(name="pid", kind="count", doc="The session that runs it.", identity=True),
        Param(name="backend_start", kind="moment", doc="When the session began.", identity=True),
        Param(name="query_start", kind="moment", doc="When the statement began.", identity=True),
        Param(
            name="while_waiting",
            kind="flag",
            doc="Only while it waits for a lock and has done nothing yet.",
            required=False,
        ),
    ),
    guards=GUARDS,
    risks=(
        Risk(
            what="cancelling a running statement",
            guards=(
                "still_running",
                "same_statement",
                "still_waiting",
                "ordinary_client",
                "not_protected",
            ),
        ),
    ),
    stands_on="end sessions",
    planning=PLANNING,
    check=check,
    act=act,
    verify=verify,
)
