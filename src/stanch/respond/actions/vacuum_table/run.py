"""Remove the dead rows of one table, or freeze its old ones; never rewrite it."""

from __future__ import annotations

from stanch.facts.maintained import MaintainedTable, vacuum_statement
from stanch.model.diagnosis import Missing
from stanch.model.plans import PlannedStep, Refusal
from stanch.respond import tending
from stanch.respond.actions.vacuum_table.guards import GUARDS, may_vacuum
from stanch.respond.actions.vacuum_table.planning import PLANNING
from stanch.respond.guarding import no
from stanch.respond.tending.run import free_bytes, read_table, tend
from stanch.steps.action import Action, ActReport, Param, Permit, Risk, Verification
from stanch.steps.world import World


async def check(step: PlannedStep, world: World) -> Refusal | None:
    """Look again at that table, at who holds it back, and at the room there is."""
    seen = await _table(step, world)
    return seen if isinstance(seen, Refusal) else None


async def act(step: PlannedStep, world: World, permit: Permit) -> ActReport | Refusal:
    """Vacuum it. Raises: ActionFailed."""
    seen = await _table(step, world)
    if isinstance(seen, Refusal):
        return seen
    assert world.visits is not None
    refusal = permit()
    if refusal is not None:
        return refusal
    sql = vacuum_statement(seen, to_freeze=step.param("to_freeze") is True)
    return await tend(step, world.visits, sql, seen)


async def verify(step: PlannedStep, world: World) -> Verification:
    """Was it vacuumed to its end since the diagnosis? Before 15 that is told late."""
    seen = await read_table(step, world)
    if isinstance(seen, Missing):
        return Verification(ok=False, pending=True, detail=f"cannot be read: {seen.reason}")
    if seen is None:
        return Verification(ok=False, detail="there is no table with that oid any more")
    left = f"{seen.dead_rows} dead rows, age {seen.xid_age}"
    if tending.is_newer(step.param("vacuumed_at"), seen.vacuumed):
        return Verification(ok=True, detail=f"vacuumed at {seen.vacuumed}; {left}")
    return Verification(ok=False, detail=f"no vacuum of it has ended since; {left}")


async def _table(step: PlannedStep, world: World) -> MaintainedTable | Refusal:
    if world.visits is None:
        lifts = "`acting_dsn` for this target; `stanch grants` prints the role."
        return no("acting_session", "there is no session to vacuum with", lifts=lifts)
    return may_vacuum(step, await read_table(step, world), free_bytes=await free_bytes(world))


VACUUM_TABLE = Action(
    name="vacuum_table",
    sentence="Remove the dead rows of one table, or freeze its old ones; never rewrite it.",
    params=(
        *tending.PARAMS,
        Param(
            name="vacuumed_at",
            kind="moment",
            doc="When that was done last; missing: never.",
            identity=True,
            required=False,
        ),
        Param(
            name="to_freeze",
            kind="flag",
            doc="To give back ids as soon as can be: its indexes are left as they are.",
            required=False,
        ),
    ),
    guards=GUARDS,
    risks=(
        Risk(
            what="vacuuming a table",
            guards=(
                "same_table",
                "on_primary",
                "still_needed",
                "lock_free",
                "not_held_back",
                "ends_in_time",
                "room",
            ),
        ),
    ),
    stands_on="analyze and vacuum tables",
    planning=PLANNING,
    check=check,
    act=act,
    verify=verify,
)
