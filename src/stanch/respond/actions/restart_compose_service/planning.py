"""What restarting a service beside the server would end, as far as policy says. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from stanch.model.diagnosis import CauseFinding, Scalar
from stanch.respond.actions.restart_compose_service.guards import withheld
from stanch.respond.telling import named
from stanch.steps.action import Planning


def preview(params: Mapping[str, Scalar], _cause: CauseFinding) -> str:
    service = named(params.get("service"), "?")
    return (
        f"Restart every running container of the Compose service {service}, one after the other; "
        "what each of them is doing ends, and it has its own time to stop."
    )


PLANNING = Planning(preview=preview, withheld=withheld, loses_work=lambda _cause: True)
"""Requests that it is serving may be lost: a person decides, whatever policy allows."""
