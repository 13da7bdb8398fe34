"""Hold the clients of a pool back while what is behind it changes."""

from __future__ import annotations

from stanch.facts.pooler import command as text_of
from stanch.model.diagnosis import Missing
from stanch.model.errors import ActionFailed
from stanch.model.plans import PlannedStep, Refusal, StepOutcome
from stanch.policy.quoting import printable
from stanch.respond.actions.pause_pool.guards import GUARDS, may_pause
from stanch.respond.actions.pause_pool.planning import PLANNING
from stanch.respond.pooling.guards import PARAMS
from stanch.respond.pooling.run import (
    COMMAND_DEADLINE_S,
    RIGHTS,
    Opened,
    opened,
    pooler_of,
    server_room,
    told,
)
from stanch.steps.action import Action, ActReport, Permit, Risk, Verification
from stanch.steps.world import World

LEFT_FOR_RESUME_S = 2 * COMMAND_DEADLINE_S
"""Of the step's deadline so much is kept to look and to resume it again."""
WAIT_S_MIN = 0.5


async def check(step: PlannedStep, world: World) -> Refusal | None:
    """Look again whether it is that pooler, at work, and leads to the watched server."""
    async with opened(step, world) as pool:
        return pool if isinstance(pool, Refusal) else await _refused(step, world, pool)


async def act(step: PlannedStep, world: World, permit: Permit) -> ActReport | Refusal:
    """PAUSE of the one database; where its transactions do not end in time, RESUME.

    Unit: waits for them as long as the step's deadline says, less what a RESUME takes.
    Raises: ActionFailed, where it was not paused and clients go on.
    """
    async with opened(step, world) as pool:
        if isinstance(pool, Refusal):
            return pool
        refusal = await _refused(step, world, pool) or permit()
        if refusal is not None:
            return refusal
        name, before = pool.database.name, told(pool)
        wait_s = max(step.deadline_s - LEFT_FOR_RESUME_S, WAIT_S_MIN)
        acted = await pool.control.execute(text_of("PAUSE", name), deadline_s=wait_s)
        if acted.outcome == "done":
            return ActReport(detail=f"paused {name}; its clients wait", before=before)
        if acted.outcome == "in_doubt":
            return await _resumed(pool, wait_s, before=before)
        what = f"the pooler did not pause it: {printable(acted.detail) or acted.outcome}"
        raise ActionFailed(what, on=name, hint=RIGHTS)


async def verify(step: PlannedStep, world: World) -> Verification:
    """Is it paused, with no transaction left? One that is still about to be is under way."""
    seen = await pooler_of(step, world)
    if isinstance(seen, Missing):
        return Verification(ok=False, pending=True, detail=f"cannot be read: {seen.reason}")
    name = str(step.param("database"))
    database = seen.database(name)
    if database is None or database.paused is None:
        return Verification(ok=False, pending=True, detail="the pooler does not tell of it")
    if not database.paused:
        return Verification(ok=False, detail=f"{name} is not paused")
    if (left := seen.in_use(name)) > 0:
        return Verification(
            ok=False, detail=f"{name} is about to be paused, {left} connections are still in use"
        )
    return Verification(ok=True, detail=f"{name} is paused, {seen.waiting(name)} clients wait")


async def _refused(step: PlannedStep, world: World, pool: Opened) -> Refusal | None:
    room = await server_room(pool, world)
    return may_pause(pool.database, pool.pooler, room, deadline_s=step.deadline_s)


async def _resumed(pool: Opened, waited_s: float, *, before: str) -> ActReport:
    """Nobody is left waiting for a pause that did not come about. Raises: ActionFailed."""
    name = pool.database.name
    # The permit is not asked: this takes back what was begun under it.
    acted = await pool.control.execute(text_of("RESUME", name), deadline_s=COMMAND_DEADLINE_S)
    gone_on = "is not paused" in acted.detail
    if acted.outcome == "done" or gone_on:
        what = f"its transactions did not end within {waited_s:.1f} s; it was resumed"
        raise ActionFailed(what, on=name, hint="Find what holds them up, and try again.")
    detail = f"{name} may be paused, and RESUME was not answered: {printable(acted.detail)}"
    return ActReport(outcome=StepOutcome.IN_DOUBT, detail=detail, before=before)


PAUSE_POOL = Action(
    name="pause_pool",
    sentence="Hold the clients of a pool back (PAUSE of one database of a PgBouncer) until it is "
    "resumed; transactions end by themselves.",
    params=PARAMS,
    guards=GUARDS,
    risks=(
        Risk(
            what="pausing a pool",
            guards=(
                "same_pooler",
                "known_database",
                "leads_here",
                "not_paused",
                "clients_wait_longer",
            ),
        ),
    ),
    stands_on="change the pooler",
    planning=PLANNING,
    check=check,
    act=act,
    verify=verify,
)
