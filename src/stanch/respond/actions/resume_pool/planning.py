"""What resuming a pool would touch. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from stanch.model.diagnosis import CauseFinding, Scalar
from stanch.respond.pooling.guards import withheld
from stanch.respond.telling import named
from stanch.steps.action import Planning


def preview(params: Mapping[str, Scalar], cause: CauseFinding) -> str:
    database, pooler = named(params.get("database"), "?"), named(params.get("pooler"), "?")
    return (
        f"Resume the pool {database} of pooler {pooler}: its waiting clients go on at once, "
        "to whatever server it leads to now."
    )


PLANNING = Planning(preview=preview, withheld=withheld)
