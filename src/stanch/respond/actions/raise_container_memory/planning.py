"""What raising a container's memory limit would change. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from stanch.model.diagnosis import CauseFinding, Scalar
from stanch.model.shown import human_bytes
from stanch.respond.actions.raise_container_memory.guards import withheld
from stanch.respond.telling import named
from stanch.steps.action import Planning


def preview(params: Mapping[str, Scalar], cause: CauseFinding) -> str:
    name = named(cause.fact("container_name") or params.get("container_id"), "the container")
    old, new = _size(params.get("limit_bytes")), _size(params.get("memory_bytes"))
    return (
        f"Raise the memory limit of container {name} from {old} to {new}, without a restart; its "
        "Compose file stays as it is, and the next `up` puts the old limit back."
    )


def _size(value: Scalar) -> str:
    return human_bytes(value) if isinstance(value, int) else "?"


PLANNING = Planning(preview=preview, withheld=withheld)
