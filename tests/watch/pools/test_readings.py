"""Readings of pools: what is gone, what is not known, and how many are told."""

from __future__ import annotations

from dataclasses import replace

from stanch.facts.pools import Pool
from stanch.model.diagnosis import Missing
from stanch.model.readings import Reading
from stanch.watch.pools.readings import POOLS_MAX, PoolReadings

FULL = Pool(name="app/web", usage_pct=100.0, waiting=3.0, max_wait_s=2.0, detail="10 of 10")
SILENT = Missing(what="pools", reason="no session within 3 s")


def values(readings: tuple[Reading, ...]) -> dict[tuple[str, str], float | None]:
    return {(r.name, r.subject): r.value for r in readings}


def test_each_pool_is_told_under_the_name_of_its_source() -> None:
    assert values(PoolReadings("bouncer").of([FULL])) == {
        ("health_check_ok", "pool source bouncer"): 1.0,
        ("pool_usage_pct", "bouncer/app/web"): 100.0,
        ("pool_waiting", "bouncer/app/web"): 3.0,
        ("pool_max_wait_s", "bouncer/app/web"): 2.0,
    }


def test_a_pooler_also_tells_how_large_a_pool_may_be_and_whether_it_is_paused() -> None:
    told = values(PoolReadings("bouncer").of([replace(FULL, size=10.0, paused=False)]))
    assert told["pool_size", "bouncer/app/web"] == 10.0
    assert told["pool_paused", "bouncer/app/web"] == 0.0
    paused = values(PoolReadings("bouncer").of([replace(FULL, paused=True)]))
    assert paused["pool_paused", "bouncer/app/web"] == 1.0


def test_when_the_source_falls_silent_its_pools_are_not_known_and_not_well() -> None:
    made = PoolReadings("bouncer")
    made.of([FULL])
    assert values(made.none(SILENT)) == {
        ("health_check_ok", "pool source bouncer"): 0.0,
        ("pool_usage_pct", "bouncer/app/web"): None,
        ("pool_waiting", "bouncer/app/web"): None,
        ("pool_max_wait_s", "bouncer/app/web"): None,
    }


def test_a_pool_that_the_source_no_longer_names_is_gone() -> None:
    made = PoolReadings("bouncer")
    made.of([FULL])
    assert values(made.of([])) == {("health_check_ok", "pool source bouncer"): 1.0}


def test_of_very_many_pools_those_where_most_wait_are_told() -> None:
    idle = [Pool(name=f"app/{n}", usage_pct=0.0, waiting=0.0) for n in range(10_000)]
    told = values(PoolReadings("bouncer").of([*idle, FULL]))
    assert told["pool_waiting", "bouncer/app/web"] == 3.0
    assert len(told) == 1 + 3 * POOLS_MAX
