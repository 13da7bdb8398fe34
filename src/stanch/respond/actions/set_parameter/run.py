"""Set or reset one parameter of the whole server, by reload."""

from __future__ import annotations

from stanch.facts.parameters import PARAMETER_SQL, RELOAD_SQL, Parameter, parse_parameter
from stanch.model.diagnosis import Missing
from stanch.model.plans import PlannedStep, Refusal, StepOutcome
from stanch.policy.quoting import printable
from stanch.respond.actions.set_parameter.guards import GUARDS, Change, may_change
from stanch.respond.actions.set_parameter.parameters import same_value
from stanch.respond.actions.set_parameter.planning import PLANNING
from stanch.respond.changing.run import Change as Sent
from stanch.respond.changing.run import acting_database, no_session, send, visit
from stanch.steps.action import Action, ActReport, Param, Permit, Risk, Verification
from stanch.steps.world import World

RIGHTS = "`stanch grants` prints the right for each parameter; before 15 it takes a superuser."


async def check(step: PlannedStep, world: World) -> Refusal | None:
    """Look again what it is, where that comes from, and what a reload would bring."""
    seen = await _may(step, world)
    return seen if isinstance(seen, Refusal) else None


async def act(step: PlannedStep, world: World, permit: Permit) -> ActReport | Refusal:
    """Write it, look how the server reads that, and reload; or put back what was there.

    ALTER SYSTEM runs in no transaction and takes no condition: between the last look and it lie
    some milliseconds in which somebody else's ALTER SYSTEM of the same parameter would be lost.
    """
    change = await _may(step, world)
    if isinstance(change, Refusal):
        return change
    refusal = permit()
    if refusal is not None:
        return refusal
    doubt = await _send(world, change.sql, change)
    if doubt is not None:
        return doubt
    wrong = await _misread(world, change)
    if wrong:
        return await _put_back(world, change, wrong)
    refusal = permit()
    if refusal is not None:
        detail = f"written, but not reloaded: {refusal.reason}; the next reload brings it"
        return ActReport(outcome=StepOutcome.FAILED, detail=detail, before=change.before)
    doubt = await _send(world, RELOAD_SQL, change)
    return doubt or ActReport(detail=change.told, before=change.before)


async def verify(step: PlannedStep, world: World) -> Verification:
    """Is it in force? The server takes a moment to read its files."""
    seen = await _parameter(step, world)
    if isinstance(seen, Missing):
        return Verification(ok=False, pending=True, detail=f"cannot be read: {seen.reason}")
    if seen is None:
        return Verification(ok=False, detail="this server has no such parameter")
    value = step.param("value")
    wanted = str(value) if value else seen.beneath
    there = seen.written is None if not value else seen.written is not None
    if there and same_value(wanted, seen.setting, unit=seen.unit):
        return Verification(ok=True, detail=printable(f"{seen.name} is {seen.setting}"))
    return Verification(ok=False, detail=printable(f"{seen.name} is still {seen.setting}"))


# --- parts --------------------------------------------------------------------------------------


async def _may(step: PlannedStep, world: World) -> Change | Refusal:
    if (refusal := no_session(world)) is not None:
        return refusal
    seen = await _parameter(step, world)
    return may_change(step, seen, target=world.target, cluster=world.cluster)


async def _parameter(step: PlannedStep, world: World) -> Parameter | Missing | None:
    return await _read(str(step.param("parameter")), world)


async def _read(name: str, world: World) -> Parameter | Missing | None:
    asked = (PARAMETER_SQL, {"name": name})
    return await visit(world, await acting_database(world), asked, parse_parameter)


async def _send(world: World, sql: str, change: Change) -> ActReport | None:
    """Raises: ActionFailed, where the server said no."""
    told = Sent(sql=sql, on=change.name, done=change.told, before=change.before, rights=RIGHTS)
    return await send(world, await acting_database(world), told)


async def _misread(world: World, change: Change) -> str:
    """What the server would not read in its files now; empty where it reads all of them."""
    seen = await _read(change.name, world)
    if isinstance(seen, Missing) or seen is None:
        return "what was written cannot be read again"
    return seen.errors[0] if seen.errors else ""


async def _put_back(world: World, change: Change, wrong: str) -> ActReport:
    """Nothing was reloaded: what is in force has not changed, and the file is as it was."""
    doubt = await _send(world, change.undo, change)
    if doubt is not None:
        return doubt
    detail = printable(f"the server would not read it ({wrong}); put back, and nothing reloaded")
    return ActReport(outcome=StepOutcome.FAILED, detail=detail, before=change.before)


SET_PARAMETER = Action(
    name="set_parameter",
    sentence="Set or reset one parameter of the whole server by ALTER SYSTEM and a reload.",
    params=(
        Param(name="parameter", kind="text", doc="Its name.", identity=True),
        Param(
            name="value",
            kind="text",
            doc="What it is to be; left out: as if ALTER SYSTEM had never set it.",
            required=False,
        ),
        Param(name="was", kind="text", doc="What it was when the plan was made.", identity=True),
    ),
    guards=GUARDS,
    risks=(
        Risk(
            what="a setting that loses data, harms, or is undone by its manager",
            guards=("allowed", "by_reload", "not_managed", "same_server"),
        ),
        Risk(
            what="bringing edits of others into force",
            guards=("still_so", "files_readable", "nothing_else_waits"),
        ),
    ),
    stands_on="change settings",
    planning=PLANNING,
    check=check,
    act=act,
    verify=verify,
)
