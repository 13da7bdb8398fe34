"""What a restart of the server would end, and what it brings into force. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from stanch.model.diagnosis import CauseFinding, Scalar
from stanch.respond.telling import named
from stanch.respond.turning.telling import what_ends, which
from stanch.steps.action import Planning


def preview(params: Mapping[str, Scalar], cause: CauseFinding) -> str:
    settings = cause.fact("settings")
    brings = f" It brings into force: {named(settings, '')}." if settings else ""
    return f"Restart {which(params, cause)}: {what_ends(cause)}.{brings}"


def loses_work(_cause: CauseFinding) -> bool:
    return True


PLANNING = Planning(preview=preview, loses_work=loses_work)
