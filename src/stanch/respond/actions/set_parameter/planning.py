"""What changing a parameter would touch. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from stanch.model.diagnosis import CauseFinding, Scalar
from stanch.model.plans import PlannedStep, Refusal
from stanch.policy.policy import TargetPolicy
from stanch.policy.quoting import printable
from stanch.respond.actions.set_parameter.parameters import PARAMETERS, unfit
from stanch.respond.guarding import no
from stanch.respond.telling import named
from stanch.steps.action import Planning


def preview(params: Mapping[str, Scalar], _cause: CauseFinding) -> str:
    name, was = named(params.get("parameter"), "?"), named(params.get("was"), "not known")
    value = params.get("value")
    what = f"Set {name} to {named(value, '?')}" if value else f"Reset {name}"
    return (
        f"{what} for the whole server, by ALTER SYSTEM and a reload; it is {was} now, and that is "
        "kept for the way back."
    )


def withheld(step: PlannedStep, _cause: CauseFinding, target: TargetPolicy) -> Refusal | None:
    if target.patroni is not None:
        lifts = "Whoever manages it changes it there (`patronictl edit-config`)."
        return no("not_managed", "Patroni writes its settings and would undo it", lifts=lifts)
    name, value = str(step.param("parameter")), step.param("value")
    allowed = PARAMETERS.get(name)
    wrong = ""
    if allowed is None or (allowed.words and value):
        wrong = unfit(name, str(value), "", unit="")
    return no("allowed", printable(wrong), lifts="A person does it.") if wrong else None


PLANNING = Planning(preview=preview, withheld=withheld)
