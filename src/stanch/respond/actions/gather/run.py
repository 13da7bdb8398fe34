"""Read and keep what a runbook asks for, before anything is done. Touches nothing."""

from __future__ import annotations

from collections.abc import Mapping

from stanch.model.diagnosis import CauseFinding, Scalar
from stanch.model.plans import PlannedStep, Refusal
from stanch.respond.gathering.run import as_text, gather
from stanch.respond.telling import named
from stanch.steps.action import Action, ActReport, Param, Permit, Planning, Verification
from stanch.steps.world import World

TELLING_S = 1.0


async def check(_step: PlannedStep, _world: World) -> Refusal | None:
    """Nothing is touched, so there is nothing to guard."""
    return None


async def act(step: PlannedStep, world: World, _permit: Permit) -> ActReport | Refusal:
    """What cannot be read is told as missing; a rescue does not wait for it."""
    names = [name.strip() for name in str(step.param("what")).split(",")]
    # Told before the step is over time: then nothing of it would be kept.
    within_s = max(step.deadline_s / 2, step.deadline_s - TELLING_S)
    found = await gather(names, world, deadline_s=within_s)
    missed = [one.name for one in found if one.missing]
    detail = f"read {', '.join(one.name for one in found if not one.missing) or 'nothing'}"
    if missed:
        detail += f"; not {', '.join(missed)}"
    return ActReport(detail=detail, before=as_text(found))


async def verify(_step: PlannedStep, _world: World) -> Verification:
    """It has no effect to look for."""
    return Verification(ok=True, detail="nothing was touched")


def preview(params: Mapping[str, Scalar], _cause: CauseFinding) -> str:
    return f"Read and keep {named(params.get('what'), 'nothing')}."


GATHER = Action(
    name="gather",
    sentence="Read and keep what the runbook names; nothing is touched.",
    params=(Param(name="what", kind="text", doc="What is read, by name, with commas."),),
    guards=(),
    risks=(),
    stands_on="watch",
    planning=Planning(preview=preview),
    reads_only=True,
    check=check,
    act=act,
    verify=verify,
)
