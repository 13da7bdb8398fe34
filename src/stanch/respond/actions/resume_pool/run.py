"""Let the clients of a paused pool go on."""

from __future__ import annotations

from stanch.facts.pooler import command as text_of
from stanch.model.diagnosis import Missing
from stanch.model.plans import PlannedStep, Refusal
from stanch.respond.actions.resume_pool.guards import GUARDS, may_resume
from stanch.respond.actions.resume_pool.planning import PLANNING
from stanch.respond.pooling.guards import PARAMS
from stanch.respond.pooling.run import command, opened, pooler_of, told
from stanch.steps.action import Action, ActReport, Permit, Risk, Verification
from stanch.steps.world import World


async def check(step: PlannedStep, world: World) -> Refusal | None:
    """Look again whether it is that pooler, and paused."""
    async with opened(step, world) as pool:
        return pool if isinstance(pool, Refusal) else may_resume(pool.database)


async def act(step: PlannedStep, world: World, permit: Permit) -> ActReport | Refusal:
    """RESUME of the one database. Raises: ActionFailed."""
    async with opened(step, world) as pool:
        if isinstance(pool, Refusal):
            return pool
        refusal = may_resume(pool.database) or permit()
        if refusal is not None:
            return refusal
        name = pool.database.name
        done = f"resumed {name}, for which {pool.pooler.waiting(name)} clients waited"
        return await command(pool.control, text_of("RESUME", name), before=told(pool), done=done)


async def verify(step: PlannedStep, world: World) -> Verification:
    """Is it paused no more?"""
    seen = await pooler_of(step, world)
    if isinstance(seen, Missing):
        return Verification(ok=False, pending=True, detail=f"cannot be read: {seen.reason}")
    database = seen.database(str(step.param("database")))
    if database is None or database.paused is None:
        return Verification(ok=False, pending=True, detail="the pooler does not tell of it")
    if database.paused:
        return Verification(ok=False, detail=f"{database.name} is still paused")
    return Verification(ok=True, detail=f"{database.name} is not paused")


RESUME_POOL = Action(
    name="resume_pool",
    sentence="Let the clients of a paused pool go on (RESUME of one database of a PgBouncer).",
    params=PARAMS,
    guards=GUARDS,
    risks=(
        Risk(
            what="resuming a pool that somebody paused",
            guards=("same_pooler", "known_database", "is_paused"),
        ),
    ),
    stands_on="change the pooler",
    planning=PLANNING,
    check=check,
    act=act,
    verify=verify,
)
