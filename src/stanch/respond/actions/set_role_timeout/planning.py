"""What setting a role's timeout would touch. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from stanch.model.diagnosis import CauseFinding, Scalar
from stanch.model.plans import PlannedStep, Refusal
from stanch.model.shown import span
from stanch.policy.policy import TargetPolicy
from stanch.policy.quoting import printable
from stanch.respond.actions.set_role_timeout.guards import PERSON, wrong_value
from stanch.respond.guarding import no
from stanch.respond.telling import named
from stanch.steps.action import Planning


def preview(params: Mapping[str, Scalar], _cause: CauseFinding) -> str:
    role, setting = named(params.get("role"), "?"), named(params.get("setting"), "?")
    seconds, database = params.get("seconds"), params.get("database")
    length = span(seconds) if isinstance(seconds, int | float) else "?"
    where = f" in {named(database, '')}" if database else ""
    return (
        f"Let new sessions of {role}{where} start with {setting} = {length}. Sessions that are "
        "open keep what they have, and each may set another for itself."
    )


def withheld(step: PlannedStep, _cause: CauseFinding, _target: TargetPolicy) -> Refusal | None:
    wrong = wrong_value(str(step.param("setting")), step.param("seconds"))
    return no("allowed", printable(wrong), lifts=PERSON) if wrong else None


PLANNING = Planning(preview=preview, withheld=withheld)
