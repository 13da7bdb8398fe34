"""Renew the server connections of a pool as they are released; nobody's work is lost."""

from __future__ import annotations

from stanch.facts.pooler import command as text_of
from stanch.model.diagnosis import Missing
from stanch.model.plans import PlannedStep, Refusal
from stanch.respond.actions.reset_pool.guards import GUARDS, may_reset
from stanch.respond.actions.reset_pool.planning import PLANNING
from stanch.respond.pooling.guards import PARAMS
from stanch.respond.pooling.run import Opened, command, opened, pooler_of, server_room, told
from stanch.steps.action import Action, ActReport, Param, Permit, Risk, Verification
from stanch.steps.world import World


async def check(step: PlannedStep, world: World) -> Refusal | None:
    """Look again whether it is that pooler, at work, and leads to the watched server."""
    async with opened(step, world) as pool:
        return pool if isinstance(pool, Refusal) else await _refused(step, world, pool)


async def act(step: PlannedStep, world: World, permit: Permit) -> ActReport | Refusal:
    """RECONNECT of the one database. Raises: ActionFailed."""
    async with opened(step, world) as pool:
        if isinstance(pool, Refusal):
            return pool
        refusal = await _refused(step, world, pool) or permit()
        if refusal is not None:
            return refusal
        name = pool.database.name
        pids = [str(link.pid) for link in pool.pooler.links if link.database == name]
        done = f"{name} renews its {len(pids)} server connections as they are released"
        before = f"{told(pool)}; backends {', '.join(pids)}"
        return await command(pool.control, text_of("RECONNECT", name), before=before, done=done)


async def verify(step: PlannedStep, world: World) -> Verification:
    """Is the connection that was named gone? One in a transaction goes when that has ended."""
    seen = await pooler_of(step, world)
    if isinstance(seen, Missing):
        return Verification(ok=False, pending=True, detail=f"cannot be read: {seen.reason}")
    name, pid = str(step.param("database")), step.param("backend_pid")
    old = [x for x in seen.links if x.database == name and (x.pid == pid or x.to_be_closed)]
    if any(link.pid == pid and not link.to_be_closed for link in old):
        return Verification(ok=False, detail=f"{name} still has the connection of backend {pid}")
    rest = f"; {len(old)} close when their transactions end" if old else ""
    return Verification(ok=True, detail=f"{name} has let its old connections go{rest}")


async def _refused(step: PlannedStep, world: World, pool: Opened) -> Refusal | None:
    return may_reset(step, pool.database, pool.pooler, await server_room(pool, world))


RESET_POOL = Action(
    name="reset_pool",
    sentence="Renew the server connections of a pool, each once its transaction has ended "
    "(RECONNECT of one database of a PgBouncer).",
    params=(
        *PARAMS,
        Param(name="backend_pid", kind="count", doc="The backend that has to go.", identity=True),
        Param(name="backend_start", kind="moment", doc="When it began.", identity=True),
    ),
    guards=GUARDS,
    risks=(
        Risk(
            what="renewing the server connections of a pool",
            guards=(
                "same_pooler",
                "known_database",
                "leads_here",
                "its_connection",
                "not_paused",
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
