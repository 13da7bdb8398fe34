"""Let new transactions in one database begin read-only: a brake, and no lock."""

from __future__ import annotations

from stanch.facts.starting_with import READ_ONLY_SQL, ReadOnly, parse_read_only
from stanch.model.diagnosis import Missing
from stanch.model.plans import PlannedStep, Refusal
from stanch.policy.quoting import printable
from stanch.respond.actions.make_read_only.guards import GUARDS, ON, may_brake
from stanch.respond.actions.make_read_only.planning import PLANNING
from stanch.respond.changing.run import Change, acting_database, change_once, no_session, visit
from stanch.steps.action import Action, ActReport, Param, Permit, Risk, Verification
from stanch.steps.world import World

RIGHTS = "Only the database's owner may (`stanch grants` prints how the acting role gets there)."


async def check(step: PlannedStep, world: World) -> Refusal | None:
    """Look again how transactions in it begin."""
    seen = await _may(step, world)
    return seen if isinstance(seen, Refusal) else None


async def act(step: PlannedStep, world: World, permit: Permit) -> ActReport | Refusal:
    """Set it, on condition that nothing that is set for the database has changed."""
    seen = await _may(step, world)
    if isinstance(seen, Refusal):
        return seen
    before = "nothing" if seen.own is None else seen.own
    change = Change(
        sql=seen.statement,
        on=printable(f"database {seen.database}"),
        done=printable(f"new sessions in {seen.database} begin read-only; open ones may write"),
        before=printable(
            f"default_transaction_read_only of {seen.database}: {before}; way back: {seen.undo};"
        ),
        rights=RIGHTS,
    )
    return await change_once(world, await acting_database(world), change, permit)


async def verify(step: PlannedStep, world: World) -> Verification:
    """Is it set? Open sessions show nothing of it."""
    seen = await _database(step, world)
    if isinstance(seen, Missing):
        return Verification(ok=False, pending=True, detail=f"cannot be read: {seen.reason}")
    if seen is not None and seen.own is not None and seen.own.casefold() in ON:
        return Verification(ok=True, detail="new sessions begin read-only")
    return Verification(ok=False, detail="new sessions begin as before")


async def _may(step: PlannedStep, world: World) -> ReadOnly | Refusal:
    if (refusal := no_session(world)) is not None:
        return refusal
    return may_brake(await _database(step, world), cluster=world.cluster)


async def _database(step: PlannedStep, world: World) -> ReadOnly | Missing | None:
    asked = (READ_ONLY_SQL, {"database": str(step.param("database"))})
    return await visit(world, await acting_database(world), asked, parse_read_only)


MAKE_READ_ONLY = Action(
    name="make_read_only",
    sentence="Let new sessions in one database begin read-only: a brake on writes, and no lock.",
    params=(Param(name="database", kind="text", doc="Its name.", identity=True),),
    guards=GUARDS,
    risks=(
        Risk(
            what="stopping the writes of an application",
            guards=("same_server", "ordinary_database", "still_so"),
        ),
    ),
    stands_on="make a database read-only",
    planning=PLANNING,
    check=check,
    act=act,
    verify=verify,
)
