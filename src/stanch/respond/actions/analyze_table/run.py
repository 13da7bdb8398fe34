"""Make the statistics of one table anew."""

from __future__ import annotations

from stanch.facts.maintained import MaintainedTable, analyze_statement
from stanch.model.diagnosis import Missing
from stanch.model.plans import PlannedStep, Refusal
from stanch.respond import tending
from stanch.respond.actions.analyze_table.guards import GUARDS, may_analyze
from stanch.respond.actions.analyze_table.planning import PLANNING
from stanch.respond.guarding import no
from stanch.respond.tending.run import read_table, tend
from stanch.steps.action import Action, ActReport, Param, Permit, Risk, Verification
from stanch.steps.world import World


async def check(step: PlannedStep, world: World) -> Refusal | None:
    """Look again at that table."""
    seen = await _table(step, world)
    return seen if isinstance(seen, Refusal) else None


async def act(step: PlannedStep, world: World, permit: Permit) -> ActReport | Refusal:
    """Analyze it. Raises: ActionFailed."""
    seen = await _table(step, world)
    if isinstance(seen, Refusal):
        return seen
    assert world.visits is not None
    refusal = permit()
    if refusal is not None:
        return refusal
    return await tend(step, world.visits, analyze_statement(seen), seen)


async def verify(step: PlannedStep, world: World) -> Verification:
    """Are its statistics newer than those of the diagnosis? Before 15 that is told late."""
    seen = await read_table(step, world)
    if isinstance(seen, Missing):
        return Verification(ok=False, pending=True, detail=f"cannot be read: {seen.reason}")
    if seen is None:
        return Verification(ok=False, detail="there is no table with that oid any more")
    if tending.is_newer(step.param("analyzed_at"), seen.analyzed):
        return Verification(ok=True, detail=f"analyzed at {seen.analyzed}")
    return Verification(ok=False, detail="its statistics are those of before")


async def _table(step: PlannedStep, world: World) -> MaintainedTable | Refusal:
    if world.visits is None:
        lifts = "`acting_dsn` for this target; `stanch grants` prints the role."
        return no("acting_session", "there is no session to analyze with", lifts=lifts)
    return may_analyze(step, await read_table(step, world))


ANALYZE_TABLE = Action(
    name="analyze_table",
    sentence="Make the statistics of one table anew.",
    params=(
        *tending.PARAMS,
        Param(
            name="analyzed_at",
            kind="moment",
            doc="When that was done last; missing: never.",
            identity=True,
            required=False,
        ),
    ),
    guards=GUARDS,
    risks=(
        Risk(
            what="analyzing a table",
            guards=("same_table", "on_primary", "still_needed", "lock_free"),
        ),
    ),
    stands_on="analyze and vacuum tables",
    planning=PLANNING,
    check=check,
    act=act,
    verify=verify,
)
