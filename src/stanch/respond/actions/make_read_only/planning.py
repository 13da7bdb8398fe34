"""What making a database read-only would touch. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from stanch.model.diagnosis import CauseFinding, Scalar
from stanch.respond.telling import named
from stanch.steps.action import Planning


def preview(params: Mapping[str, Scalar], _cause: CauseFinding) -> str:
    return (
        f"Let new sessions in database {named(params.get('database'), '?')} begin read-only: their "
        "writes fail. A brake and no lock: open sessions go on to write until they are closed, and "
        "each may switch it off for itself."
    )


def stops_writes(_cause: CauseFinding) -> bool:
    """Writes of the application fail: a person decides, whatever policy allows."""
    return True


PLANNING = Planning(preview=preview, loses_work=stops_writes)
