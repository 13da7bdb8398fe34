"""What stopping the server would end. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from stanch.model.diagnosis import CauseFinding, Scalar
from stanch.respond.turning.telling import what_ends, which
from stanch.steps.action import Planning


def preview(params: Mapping[str, Scalar], cause: CauseFinding) -> str:
    return f"Stop {which(params, cause)}, by a fast shutdown: {what_ends(cause)}."


def loses_work(_cause: CauseFinding) -> bool:
    return True


PLANNING = Planning(preview=preview, loses_work=loses_work)
