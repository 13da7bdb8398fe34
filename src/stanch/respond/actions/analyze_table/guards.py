"""When a table may be analyzed. Pure: from a reading taken right before."""

from __future__ import annotations

from stanch.facts.maintained import MaintainedTable
from stanch.model.diagnosis import Missing
from stanch.model.plans import PlannedStep, Refusal
from stanch.respond import tending

GUARDS = tending.GUARDS


def may_analyze(
    step: PlannedStep, seen: MaintainedTable | Missing | None
) -> Refusal | MaintainedTable:
    """The table that may be analyzed, or the first reason to leave it."""
    return tending.may_tend(step, seen, last="analyzed")
