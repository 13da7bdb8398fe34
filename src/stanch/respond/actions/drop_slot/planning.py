"""What dropping a slot would touch, and which slots no guard will let go. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from stanch.model.diagnosis import CauseFinding, Scalar
from stanch.model.plans import PlannedStep, Refusal
from stanch.policy.policy import TargetPolicy
from stanch.respond.actions.drop_slot.guards import managed
from stanch.respond.telling import named
from stanch.steps.action import Planning

OF_LOGICAL: Final = (
    "its subscriber misses every change from there on and has to copy its tables anew"
)
OF_PHYSICAL: Final = (
    "a standby that used it has to be rebuilt from a base backup, unless the archive has its WAL"
)


def preview(params: Mapping[str, Scalar], cause: CauseFinding) -> str:
    slot, kind = named(params.get("slot"), "?"), params.get("slot_type")
    kept = cause.fact("retained_bytes")
    much = f"{kept} bytes of" if isinstance(kept, int) else "an unknown amount of"
    since = named(params.get("unused_since"), "an unknown moment")
    if kind == "logical":
        plugin, database = named(params.get("plugin"), "?"), named(params.get("database"), "?")
        what, anew = f"logical slot {slot} ({plugin}, database {database})", OF_LOGICAL
    else:
        what, anew = f"physical slot {slot}", OF_PHYSICAL
    return (
        f"Drop the {what}, without a consumer since {since}: it holds {much} WAL, which the next "
        f"checkpoints remove. It cannot be undone: {anew}."
    )


def withheld(step: PlannedStep, _cause: CauseFinding, target: TargetPolicy) -> Refusal | None:
    """Slots that somebody else makes and drops."""
    return managed(str(step.param("slot") or ""), target)


def loses_work(_cause: CauseFinding) -> bool:
    """Always: nobody gets the WAL back."""
    return True


PLANNING = Planning(
    preview=preview,
    ranges=(("retained_bytes", 1, None),),
    withheld=withheld,
    loses_work=loses_work,
)
