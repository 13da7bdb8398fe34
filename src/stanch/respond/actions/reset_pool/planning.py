"""What renewing the connections of a pool would touch. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from stanch.model.diagnosis import CauseFinding, Scalar
from stanch.respond.pooling.guards import withheld
from stanch.respond.telling import named
from stanch.steps.action import Planning


def preview(params: Mapping[str, Scalar], cause: CauseFinding) -> str:
    database, pooler = named(params.get("database"), "?"), named(params.get("pooler"), "?")
    backend = named(params.get("backend_pid"), "?")
    return (
        f"Renew the server connections of the pool {database} of pooler {pooler}, each once its "
        f"transaction has ended, because of backend {backend}: no work is lost, no client is "
        "thrown off."
    )


PLANNING = Planning(preview=preview, withheld=withheld)
