"""What calling a hook would touch, as far as policy says. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from stanch.model.diagnosis import CauseFinding, Scalar
from stanch.respond.actions.call_hook.guards import withheld
from stanch.respond.telling import named
from stanch.steps.action import Planning


def preview(params: Mapping[str, Scalar], cause: CauseFinding) -> str:
    hook = named(params.get("hook"), "?")
    return f"Send the request that policy names as the hook {hook}, once, and look at what it did."


PLANNING = Planning(preview=preview, withheld=withheld, loses_work=lambda _cause: True)
"""What it does is for whoever answers it to know: a person decides, whatever policy allows."""
