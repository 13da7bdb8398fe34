"""What starting the server would touch, and when nobody is to be asked for it. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from stanch.model.diagnosis import CauseFinding, Scalar
from stanch.model.plans import PlannedStep, Refusal
from stanch.policy.policy import TargetPolicy
from stanch.respond.guarding import no
from stanch.respond.telling import named
from stanch.steps.action import Planning

CLEAN_STATES = frozenset({"shut down", "shut down in recovery"})


def preview(params: Mapping[str, Scalar], cause: CauseFinding) -> str:
    directory = named(params.get("data_directory"), "its data directory")
    manager = named(cause.fact("manager"), "its manager")
    recovery = "" if cause.fact("control_state") == "shut down" else "; it recovers first"
    return f"Start the server of {directory} through {manager}{recovery}."


def withheld(_step: PlannedStep, cause: CauseFinding, target: TargetPolicy) -> Refusal | None:
    """A clean stop that policy does not undo."""
    if target.desired == "running":
        return None
    clean = cause.fact("control_state") in CLEAN_STATES
    if not clean and cause.id != "stopped_cleanly":
        return None
    lifts = "`desired: running` for this target, or a person who starts it."
    reason = "it was stopped cleanly, and nothing says that it should be running"
    return no("clean_stop_unordered", reason, lifts=lifts)


PLANNING = Planning(preview=preview, withheld=withheld)
