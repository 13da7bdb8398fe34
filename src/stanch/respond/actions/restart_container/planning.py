"""What restarting the server's container would end. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from stanch.model.containers import FAST_SHUTDOWN
from stanch.model.diagnosis import CauseFinding, Scalar
from stanch.respond.containers.guards import withheld
from stanch.respond.telling import named
from stanch.steps.action import Planning


def preview(params: Mapping[str, Scalar], cause: CauseFinding) -> str:
    name = named(cause.fact("container_name") or params.get("container_id"), "its container")
    return (
        f"Restart container {name}: {FAST_SHUTDOWN} ends every session and what it did not commit; "
        "nobody is served until the server has started again."
    )


PLANNING = Planning(preview=preview, withheld=withheld, loses_work=lambda _cause: True)
"""Every session ends: a person decides, whatever policy allows."""
