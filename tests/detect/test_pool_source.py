"""A pooler that runs full and then falls silent, from its pools to what people are told."""

from __future__ import annotations

from datetime import timedelta

from samplings import ORDERS, T0, TARGET
from stanch.detect.engine import Detector
from stanch.detect.in_force import plan_for
from stanch.detect.tracker import Cleared, Raised, Tracks, step
from stanch.facts.pools import Pool
from stanch.model.diagnosis import Missing
from stanch.model.readings import Reading
from stanch.model.samples import Sample
from stanch.watch.pools.readings import PoolReadings

FULL = Pool(name="app/web", usage_pct=100.0, waiting=3.0, max_wait_s=16.0)
WELL = Pool(name="app/web", usage_pct=10.0, waiting=0.0, max_wait_s=0.0)
SILENT = Missing(what="pools", reason="no session within 3 s")


class Looks:
    """One look every five seconds, judged as in a watch."""

    def __init__(self) -> None:
        self.made = PoolReadings("bouncer")
        self._detector = Detector(plan_for(TARGET))
        self._tracks: Tracks = {}
        self._at = T0

    def take(self, *looks: tuple[Reading, ...]) -> tuple[set[str], set[str]]:
        """What was raised and what was cleared."""
        raised, cleared = set[str](), set[str]()
        for readings in looks:
            self._at += timedelta(seconds=5)
            sample = Sample(target=ORDERS, at=self._at, readings=readings)
            found = self._detector.conditions(sample, self._tracks)
            self._tracks, changes = step(
                self._tracks, found, target=ORDERS, at=self._at, clear_hold_s=3.0
            )
            raised |= {c.symptom.key for c in changes if isinstance(c, Raised)}
            cleared |= {c.key for c in changes if isinstance(c, Cleared)}
        return raised, cleared


def test_a_full_pool_stands_while_its_pooler_is_silent_and_is_over_when_it_is_seen_to_be() -> None:
    pool = {f"{kind}:bouncer/app/web" for kind in ("pool_exhausted", "pool_wait_long")}
    pool.add("pool_waiting:bouncer/app/web")
    source = "health_check_failing:pool source bouncer"
    looks = Looks()
    assert looks.take(*[looks.made.of([FULL])] * 5) == (pool, set())
    assert looks.take(*[looks.made.none(SILENT)] * 5) == ({source}, set())
    assert looks.take(*[looks.made.of([WELL])] * 3) == (set(), {*pool, source})


def test_a_pooler_that_misses_one_look_is_no_news() -> None:
    looks = Looks()
    well, missed = looks.made.of([WELL]), looks.made.none(SILENT)
    assert looks.take(well, missed, well, well, missed, well) == (set(), set())
