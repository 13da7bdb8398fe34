"""Readings of one login that got in: how long each layer took, how long the certificate holds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from stanch.model.reach import Reach
from stanch.model.readings import Reading

DAY_S = 86_400.0


def reach_readings(reach: Reach, *, at: datetime) -> tuple[Reading, ...]:
    """Nothing of a login that failed: what it took says how it failed, not how fast the way is."""
    return tuple(_readings(reach, at)) if reach.answers else ()


def _readings(reach: Reach, at: datetime) -> Iterator[Reading]:
    for layer in reach.layers:
        yield Reading(name="layer_ms", value=layer.ms, subject=layer.name, detail=layer.detail)
    if (ends := reach.certificate_ends) is not None:
        days = (ends - at).total_seconds() / DAY_S
        detail = f"it ends on {ends:%Y-%m-%d}"
        yield Reading(name="tls_days_left", value=days, detail=detail)
