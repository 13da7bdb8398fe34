"""Let a pool open more server connections, as far as the server has some left."""

from __future__ import annotations

from stanch.facts.pooler import set_command
from stanch.model.diagnosis import Missing
from stanch.model.plans import PlannedStep, Refusal
from stanch.respond.actions.resize_pool.guards import GUARDS, Wanted, effective, may_resize, wanted
from stanch.respond.actions.resize_pool.planning import PLANNING
from stanch.respond.pooling.guards import PARAMS
from stanch.respond.pooling.run import Opened, command, opened, pooler_of, server_room, told
from stanch.steps.action import Action, ActReport, Param, Permit, Risk, Verification
from stanch.steps.world import World


async def check(step: PlannedStep, world: World) -> Refusal | None:
    """Look again at the pooler, its limits, and what the server has left."""
    async with opened(step, world) as pool:
        if isinstance(pool, Refusal):
            return pool
        what = await _wanted(step, world, pool)
        return what if isinstance(what, Refusal) else None


async def act(step: PlannedStep, world: World, permit: Permit) -> ActReport | Refusal:
    """SET of one setting of the pooler, from the value that was just read. Raises: ActionFailed."""
    async with opened(step, world) as pool:
        if isinstance(pool, Refusal):
            return pool
        what = await _wanted(step, world, pool)
        if isinstance(what, Refusal):
            return what
        refusal = permit()
        if refusal is not None:
            return refusal
        before = (
            f"{what.setting} was {what.from_size}; SET {what.setting} = '{what.from_size}' takes "
            f"it back; {told(pool)}"
        )
        done = (
            f"{what.setting} is {what.size} until the pooler reloads or restarts; to keep it, "
            f"write {what.setting} = {what.size} into pgbouncer.ini"
        )
        text = set_command(what.setting, what.size)
        return await command(pool.control, text, before=before, done=done)


async def verify(step: PlannedStep, world: World) -> Verification:
    """Does the new limit hold, for the pooler and for that database?"""
    what = wanted(step)
    if isinstance(what, Refusal):
        return Verification(ok=False, detail=what.reason)
    seen = await pooler_of(step, world)
    if isinstance(seen, Missing):
        return Verification(ok=False, pending=True, detail=f"cannot be read: {seen.reason}")
    database = seen.database(str(step.param("database")))
    if database is None:
        return Verification(ok=False, pending=True, detail="the pooler does not tell of it")
    now, holds = seen.setting(what.setting), effective(what.setting, database)
    if (now, holds) != (what.size, what.size):
        return Verification(
            ok=False, detail=f"{what.setting} is {now}, for {database.name} {holds}"
        )
    waiting = seen.waiting(database.name)
    return Verification(ok=True, detail=f"{what.setting} is {now}; {waiting} clients wait")


async def _wanted(step: PlannedStep, world: World, pool: Opened) -> Wanted | Refusal:
    return may_resize(step, pool.database, pool.pooler, await server_room(pool, world))


RESIZE_POOL = Action(
    name="resize_pool",
    sentence="Let the pools of a PgBouncer open more server connections (SET, until it reloads).",
    params=(
        *PARAMS,
        Param(name="setting", kind="text", doc="Which limit of the pooler is raised."),
        Param(name="from_size", kind="count", doc="What it is before.", identity=True),
        Param(name="size", kind="count", doc="What it is afterwards: at most twice as many."),
    ),
    guards=GUARDS,
    risks=(
        Risk(
            what="letting a pool open more server connections",
            guards=(
                "same_pooler",
                "leads_here",
                "setting",
                "unchanged",
                "bounded",
                "is_the_limit",
                "at_work",
                "server_has_room",
            ),
        ),
    ),
    stands_on="change the pooler",
    planning=PLANNING,
    check=check,
    act=act,
    verify=verify,
)
