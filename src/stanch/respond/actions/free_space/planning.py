"""What freeing space would touch, and when there is nothing to free. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from stanch.model.diagnosis import CauseFinding, Scalar
from stanch.model.plans import PlannedStep, Refusal
from stanch.policy.policy import TargetPolicy
from stanch.respond.guarding import no
from stanch.respond.telling import named
from stanch.steps.action import Planning


def preview(params: Mapping[str, Scalar], cause: CauseFinding) -> str:
    volume = named(params.get("volume"), "the volume")
    free, total = cause.fact("free_bytes"), cause.fact("total_bytes")
    left = f"{free} of {total} bytes are free" if isinstance(free, int) else "it is full"
    return (
        f"Delete ballast on {volume}, then old server logs, then old dumps that policy lets go, "
        f"one file at a time; {left}."
    )


def withheld(_step: PlannedStep, _cause: CauseFinding, target: TargetPolicy) -> Refusal | None:
    """Policy names nothing that may go."""
    if target.free_space.any:
        return None
    lifts = "`free_space` for this target: a ballast file, or old server logs."
    return no("known_safe", "policy names nothing that is safe to delete", lifts=lifts)


PLANNING = Planning(preview=preview, withheld=withheld, unasked=(("without_dumps", True),))
