"""Readings of one login that got in: how long each layer took."""

from __future__ import annotations

from stanch.model.reach import Reach
from stanch.model.readings import Reading


def reach_readings(reach: Reach) -> tuple[Reading, ...]:
    """Nothing of a login that failed: what it took says how it failed, not how fast the way is."""
    if not reach.answers:
        return ()
    return tuple(
        Reading(name="layer_ms", value=layer.ms, subject=layer.name, detail=layer.detail)
        for layer in reach.layers
    )
