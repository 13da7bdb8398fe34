"""What pausing a pool would touch. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from stanch.model.diagnosis import CauseFinding, Scalar
from stanch.respond.pooling.guards import withheld
from stanch.respond.telling import named
from stanch.steps.action import Planning


def preview(params: Mapping[str, Scalar], cause: CauseFinding) -> str:
    database, pooler = named(params.get("database"), "?"), named(params.get("pooler"), "?")
    return (
        f"Pause the pool {database} of pooler {pooler}: its transactions end by themselves, then "
        "its clients wait until somebody resumes it. Where they do not end in time it is resumed."
    )


PLANNING = Planning(preview=preview, withheld=withheld, loses_work=lambda _cause: True)
"""A pool left paused is an outage: a person decides, and stays until it is resumed."""
