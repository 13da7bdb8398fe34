"""Drop one replication slot that nobody uses; its consumer has to be built anew."""

from __future__ import annotations

from stanch.facts.sessions import parse_end
from stanch.facts.slots import (
    DROP_SLOT_SQL,
    SLOT_SQL,
    ReplicationSlot,
    drop_parameters,
    parse_slot,
)
from stanch.model.diagnosis import Missing
from stanch.model.errors import ActionFailed
from stanch.model.plans import PlannedStep, Refusal, StepOutcome
from stanch.policy.quoting import printable
from stanch.respond.actions.drop_slot.guards import GUARDS, may_drop
from stanch.respond.actions.drop_slot.planning import PLANNING
from stanch.respond.guarding import no
from stanch.respond.reading.run import ask
from stanch.steps.action import Action, ActReport, Param, Permit, Risk, Verification
from stanch.steps.world import World

DROP_DEADLINE_S = 5.0
RIGHTS = "The acting role needs the attribute REPLICATION: ALTER ROLE ... REPLICATION."


async def check(step: PlannedStep, world: World) -> Refusal | None:
    """Look again at that slot."""
    seen = await _slot(step, world)
    return seen if isinstance(seen, Refusal) else None


async def act(step: PlannedStep, world: World, permit: Permit) -> ActReport | Refusal:
    """Drop it, on condition that it is still the same, unused, and where it stood.

    Raises: ActionFailed, where the server did not let us.
    """
    seen = await _slot(step, world)
    if isinstance(seen, Refusal):
        return seen
    assert world.actor is not None
    refusal = permit()
    if refusal is not None:
        return refusal
    before, on = printable(seen.row), f"slot {printable(seen.name)}"
    acted = await world.actor.execute(
        DROP_SLOT_SQL, drop_parameters(seen), deadline_s=DROP_DEADLINE_S
    )
    if acted.outcome == "in_doubt":
        return ActReport(outcome=StepOutcome.IN_DOUBT, detail=acted.detail, before=before)
    if acted.outcome != "done" or not acted.rows:
        hint = RIGHTS if acted.sqlstate == "42501" else ""
        what = f"the server did not drop it: {acted.detail or acted.outcome}"
        raise ActionFailed(what, on=on, hint=hint)
    if not parse_end(acted.rows[0].get("outcome")).matched:
        return no("same_slot", f"{on} was just used or became another; nothing was touched")
    return ActReport(detail=f"dropped {on}, which stood at {seen.restart_lsn}", before=before)


async def verify(step: PlannedStep, world: World) -> Verification:
    """Is that slot gone?"""
    seen = await _read(step, world)
    if isinstance(seen, Missing):
        return Verification(ok=False, pending=True, detail=f"cannot be read: {seen.reason}")
    if seen is None:
        return Verification(ok=True, detail="there is no slot of that name any more")
    return Verification(ok=False, detail=f"a slot {printable(seen.name)} is there")


async def _slot(step: PlannedStep, world: World) -> ReplicationSlot | Refusal:
    if world.reader is None or world.actor is None:
        lifts = "`acting_dsn` for this target; `stanch grants` prints the role."
        return no("acting_session", "there is no session that may drop a slot", lifts=lifts)
    return may_drop(step, await _read(step, world), target=world.target, peers=world.peers)


async def _read(step: PlannedStep, world: World) -> ReplicationSlot | Missing | None:
    asked = (SLOT_SQL, {"slot": str(step.param("slot"))})
    return await ask(world, asked, parse_slot, what="the slot")


DROP_SLOT = Action(
    name="drop_slot",
    sentence="Drop one replication slot that nobody uses; its consumer has to be built anew.",
    params=(
        Param(name="slot", kind="text", doc="Its name.", identity=True),
        Param(name="slot_type", kind="text", doc="physical or logical.", identity=True),
        Param(name="restart_lsn", kind="text", doc="From where it keeps WAL.", identity=True),
        Param(name="plugin", kind="text", doc="Of a logical one.", identity=True, required=False),
        Param(name="database", kind="text", doc="Of a logical one.", identity=True, required=False),
        Param(
            name="confirmed_flush_lsn",
            kind="text",
            doc="How far the consumer of a logical one got.",
            identity=True,
            required=False,
        ),
        Param(name="unused_since", kind="moment", doc="Since when nobody was seen at it."),
    ),
    guards=GUARDS,
    risks=(
        Risk(
            what="dropping a replication slot",
            guards=(
                "same_slot",
                "not_used",
                "long_unused",
                "on_primary",
                "not_managed",
            ),
        ),
    ),
    stands_on="drop replication slots",
    planning=PLANNING,
    check=check,
    act=act,
    verify=verify,
)
