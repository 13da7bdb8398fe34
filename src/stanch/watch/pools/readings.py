"""Readings of pools, by the names that rules read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stanch.facts.pools import Pool
from stanch.model.diagnosis import Missing
from stanch.model.readings import Reading

POOLS_MAX = 200
"""Of one pooler so many are told, the fullest first."""


class PoolReadings:
    """Makes readings of what one source says, look after look."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._known: tuple[str, ...] = ()

    def of(self, pools: Sequence[Pool]) -> tuple[Reading, ...]:
        """The source answered, so it is well; a pool that it no longer names is gone."""
        fullest = sorted(pools, key=_fullness, reverse=True)[:POOLS_MAX]
        self._known = tuple(pool.name for pool in fullest)
        told = [reading for pool in fullest for reading in self._pool(pool)]
        return (self._answers(1.0, ""), *told)

    def none(self, missing: Missing) -> tuple[Reading, ...]:
        """It did not answer: what its pools do now is not known, and nothing has become good."""
        unknown = [r for name in self._known for r in self._pool(Pool(name=name))]
        return (self._answers(0.0, missing.reason), *unknown)

    def _answers(self, value: float, detail: str) -> Reading:
        return Reading(
            name="health_check_ok", value=value, subject=f"pool source {self._source}",
            detail=detail,
        )  # fmt: skip

    def _pool(self, pool: Pool) -> Iterator[Reading]:
        subject = f"{self._source}/{pool.name}"
        for name, value in (
            ("pool_usage_pct", pool.usage_pct),
            ("pool_waiting", pool.waiting),
            ("pool_max_wait_s", pool.max_wait_s),
        ):
            yield Reading(name=name, value=value, subject=subject, detail=pool.detail)
        # For whoever acts on it; no rule reads them.
        if pool.size is not None:
            yield Reading(name="pool_size", value=pool.size, subject=subject)
        if pool.paused is not None:
            yield Reading(name="pool_paused", value=float(pool.paused), subject=subject)


def _fullness(pool: Pool) -> tuple[float, float]:
    return (pool.waiting or 0.0, pool.usage_pct or 0.0)
