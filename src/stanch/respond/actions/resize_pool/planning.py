"""What letting a pool grow would touch. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from stanch.model.diagnosis import CauseFinding, Scalar
from stanch.model.plans import PlannedStep, Refusal
from stanch.policy.policy import TargetPolicy
from stanch.respond.actions.resize_pool.guards import wanted
from stanch.respond.guarding import no
from stanch.respond.pooling.guards import withheld as no_way_to_it
from stanch.respond.telling import named
from stanch.steps.action import Planning


def preview(params: Mapping[str, Scalar], cause: CauseFinding) -> str:
    pooler, setting = named(params.get("pooler"), "?"), named(params.get("setting"), "?")
    before, after = named(params.get("from_size"), "?"), named(params.get("size"), "?")
    return (
        f"Raise {setting} of pooler {pooler} from {before} to {after}, for all its pools, until it "
        "reloads or restarts."
    )


def withheld(step: PlannedStep, cause: CauseFinding, target: TargetPolicy) -> Refusal | None:
    refusal = no_way_to_it(step, cause, target)
    if refusal is not None:
        return refusal
    if not all(isinstance(step.param(name), int) for name in ("from_size", "size")):
        return no("setting", "how large the pool is was not told")
    what = wanted(step)
    return what if isinstance(what, Refusal) else None


PLANNING = Planning(preview=preview, withheld=withheld)
