"""Build one invalid index anew, beside those who use its table."""

from __future__ import annotations

from stanch.facts.rebuilt import REBUILT_SQL, RebuiltIndex, parse_rebuilt, rebuild_statement
from stanch.model.diagnosis import Missing
from stanch.model.errors import ActionFailed
from stanch.model.plans import PlannedStep, Refusal, StepOutcome
from stanch.model.ports.server import Acted
from stanch.policy.quoting import printable
from stanch.respond.actions.rebuild_index.guards import GUARDS, may_rebuild
from stanch.respond.actions.rebuild_index.planning import PLANNING
from stanch.respond.changing.run import visit
from stanch.respond.guarding import no
from stanch.respond.tending.run import CANCELED, MARGIN_S, free_bytes
from stanch.steps.action import Action, ActReport, Param, Permit, Risk, Verification
from stanch.steps.world import World


async def check(step: PlannedStep, world: World) -> Refusal | None:
    """Look again at that index, at its table and at the oldest transaction."""
    seen = await _index(step, world)
    return seen if isinstance(seen, Refusal) else None


async def act(step: PlannedStep, world: World, permit: Permit) -> ActReport | Refusal:
    """Build it anew. Raises: ActionFailed, with what it left behind."""
    seen = await _index(step, world)
    if isinstance(seen, Refusal):
        return seen
    assert world.visits is not None
    refusal = permit()
    if refusal is not None:
        return refusal
    limit_s = step.deadline_s - MARGIN_S
    sql = rebuild_statement(seen)
    # It waits for transactions, not in front of anybody: ended early, it would leave half an index.
    acted = await world.visits.execute(
        str(step.param("database")), sql, deadline_s=limit_s, lock_wait_s=limit_s
    )
    if acted.outcome == "done":
        return ActReport(detail=printable(sql), before=_told(seen))
    return await _cut_short(step, world, acted, seen)


async def _cut_short(
    step: PlannedStep, world: World, acted: Acted, seen: RebuiltIndex
) -> ActReport:
    """Raises: ActionFailed, where it is known that it came to its end without success."""
    if acted.outcome == "in_doubt" and acted.sqlstate != CANCELED:
        return ActReport(outcome=StepOutcome.IN_DOUBT, detail=acted.detail, before=_told(seen))
    left = await _read(step, world)
    behind = left.left_behind if isinstance(left, RebuiltIndex) else "not known"
    what = f"it was not built: {printable(acted.detail or acted.outcome)}"
    hint = f"DROP INDEX CONCURRENTLY what it left behind: {printable(behind)}." if behind else ""
    raise ActionFailed(what, on=printable(seen.quoted), hint=hint)


async def verify(step: PlannedStep, world: World) -> Verification:
    """Is it valid? A half-built second one is told."""
    seen = await _read(step, world)
    if isinstance(seen, Missing):
        return Verification(ok=False, pending=True, detail=f"cannot be read: {seen.reason}")
    if seen is None:
        return Verification(ok=False, detail="there is no such index any more")
    behind = (
        f"; left behind, to be dropped: {printable(seen.left_behind)}" if seen.left_behind else ""
    )
    name = printable(seen.quoted)
    if seen.valid:
        return Verification(ok=True, detail=f"{name} is valid{behind}")
    if seen.locked:
        told = f"{name} is not valid yet: {printable(seen.locked)}"
        return Verification(ok=False, pending=True, detail=told)
    return Verification(ok=False, detail=f"{name} is invalid{behind}")


async def _index(step: PlannedStep, world: World) -> RebuiltIndex | Refusal:
    if world.visits is None:
        lifts = "`acting_dsn` for this target; `stanch grants` prints the role."
        return no("acting_session", "there is no session to build with", lifts=lifts)
    return may_rebuild(step, await _read(step, world), free_bytes=await free_bytes(world))


async def _read(step: PlannedStep, world: World) -> RebuiltIndex | Missing | None:
    table_oid = step.param("table_oid")
    assert isinstance(table_oid, int)
    given = {
        "table_oid": table_oid,
        "schema": str(step.param("index_schema")),
        "name": str(step.param("index_name")),
    }
    database = str(step.param("database"))
    return await visit(world, database, (REBUILT_SQL, given), parse_rebuilt, what="the index")


def _told(seen: RebuiltIndex) -> str:
    return printable(f"{seen.definition}; oid {seen.oid}, invalid, unique: {seen.unique}")


REBUILD_INDEX = Action(
    name="rebuild_index",
    sentence="Build one invalid index anew, beside those who use its table.",
    params=(
        Param(name="database", kind="text", doc="The database of the index.", identity=True),
        Param(name="index_oid", kind="count", doc="Its oid.", identity=True),
        Param(name="index_schema", kind="text", doc="Its schema.", identity=True),
        Param(name="index_name", kind="text", doc="Its name.", identity=True),
        Param(name="table_oid", kind="count", doc="The oid of its table.", identity=True),
    ),
    guards=GUARDS,
    risks=(
        Risk(
            what="building an index anew",
            guards=tuple(guard.name for guard in GUARDS if guard.name != "acting_session"),
        ),
    ),
    stands_on="rebuild indexes",
    planning=PLANNING,
    check=check,
    act=act,
    verify=verify,
)
