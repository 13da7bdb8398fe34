"""What is usual outlives the process that learned it, and damage costs a cold start only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import structlog

from samplings import ORDERS, Watched, told
from stanch.detect.usual import HOURS, WEEKS_KEPT, Baseline
from stanch.incident.projection import IncidentProjection
from stanch.model.ids import WriterId
from stanch.model.symptoms import SymptomKind
from stanch.service.clock import SteadyClock
from stanch.service.record.baselines import Baselines, Learned
from stanch.store.sql import SqlStore
from stanch.store.timelines import InlineStore
from timelines import POLICY

WEEK_S = 7 * 86_400.0
RULE = SymptomKind.HEALTH_CHECK_SLOW
SERIES = (RULE, "shop")


@pytest.fixture
async def store() -> AsyncIterator[InlineStore]:
    projection = IncidentProjection(lambda policy_hash: POLICY, lambda: POLICY)
    kept = InlineStore(
        SqlStore.in_memory(projection, writer_id=WriterId("w"), lease_clock_us=lambda: 0)
    )
    yield kept
    await kept.close()


def three_weeks() -> Watched:
    """A check that takes 10 ms at this hour; the last hour is over, another has begun."""
    watched = Watched()
    for week in range(3):
        for minute in range(64):
            watched.look(week * WEEK_S + 60 * minute, told("health_check_ms", 10, "shop"))
    return watched


def learned(watched: Watched) -> list[Learned]:
    return [Learned(ORDERS, *series) for series in watched.detector.learned()]


def clock() -> SteadyClock:
    return SteadyClock()


async def again(store: InlineStore) -> Watched:
    """The same target under a new process."""
    baselines = Baselines(store, clock())
    await baselines.load([ORDERS])
    return Watched(usual=baselines.of(ORDERS))


async def test_after_a_restart_a_verdict_is_there_at_once(store: InlineStore) -> None:
    await Baselines(store, clock()).stop(learned(three_weeks()))
    watched = await again(store)
    for look in range(3):
        watched.look(3 * WEEK_S + 10 * look, told("health_check_ms", 55, "shop"))
    assert watched.raised == ["health_check_slow:shop"]
    assert "usually 10 ms" in watched.symptoms[0].detail


async def test_without_what_was_kept_the_same_looks_are_a_cold_start(store: InlineStore) -> None:
    watched = await again(store)
    for look in range(30):
        watched.look(3 * WEEK_S + 10 * look, told("health_check_ms", 55, "shop"))
    assert watched.raised == []


async def test_only_what_has_finished_an_hour_is_written_and_only_once(store: InlineStore) -> None:
    baselines, watched = Baselines(store, clock()), three_weeks()
    fresh = [one for one in learned(watched) if one.baseline.unstored]
    assert await baselines.write(fresh) == 1
    assert [one for one in learned(watched) if one.baseline.unstored] == []
    watched.look(2 * WEEK_S + 3 * 3600, told("health_check_ms", 10, "shop"))
    [one] = [one for one in learned(watched) if one.baseline.unstored]
    assert (one.kind, one.subject) == SERIES


async def test_the_hour_in_hand_survives_a_clean_stop(store: InlineStore) -> None:
    watched = Watched()
    for minute in range(10):
        watched.look(60 * minute, told("health_check_ms", 10 + minute, "shop"))
    await Baselines(store, clock()).stop(learned(watched))
    later = await again(store)
    later.look(3600, told("health_check_ms", 10, "shop"))
    [(_, _, baseline)] = later.detector.learned()
    assert [list(baseline.seen(hour)) for hour in range(HOURS) if baseline.seen(hour)] == [[14.5]]


@pytest.mark.parametrize("damage", ["x'00'", "42", "'text'", "zeroblob(5600)"])
async def test_damaged_rows_are_a_cold_start_and_one_line(store: InlineStore, damage: str) -> None:
    kept = learned(three_weeks())
    await Baselines(store, clock()).stop([*kept, kept[0]._replace(subject="other")])
    sql = f"UPDATE usual SET content = {damage}"
    await store.write(lambda tx: tx.conn.exec_driver_sql(sql))
    with structlog.testing.capture_logs() as logs:
        watched = await again(store)
    assert [(line["series"], line["log_level"]) for line in logs] == [(2, "warning")]
    for look in range(9):
        watched.look(3 * WEEK_S + 10 * look, told("health_check_ms", 55, "shop"))
    assert watched.raised == []


async def test_every_changed_byte_is_found() -> None:
    [one] = learned(three_weeks())
    content = one.baseline.stored()
    for place in range(0, len(content), 97):
        broken = bytearray(content)
        broken[place] ^= 0x10
        with pytest.raises(ValueError, match="checksum"):
            Baseline.from_stored(bytes(broken))


async def test_rows_of_rules_that_are_no_more_are_passed_over(store: InlineStore) -> None:
    await Baselines(store, clock()).stop(learned(three_weeks()))
    sql = "UPDATE usual SET rule = 'of_another_release'"
    await store.write(lambda tx: tx.conn.exec_driver_sql(sql))
    with structlog.testing.capture_logs() as logs:
        watched = await again(store)
    assert (logs, list(watched.detector.learned())) == ([], [])


def test_a_thousand_subjects_take_the_room_of_forty() -> None:
    """Services come and go; what was not heard of for a day gives way."""
    watched = Watched()
    for day in range(3):
        readings = tuple(
            told("health_check_ms", 5.0, f"{day}-{n}").readings[0] for n in range(1000)
        )
        watched.look(day * 2 * 86_400.0, replace(told("x", None), readings=readings))
    subjects = [subject for _, subject, _ in watched.detector.learned()]
    assert len(subjects) == 40
    assert {subject[0] for subject in subjects} == {"2"}


def test_a_full_baseline_stays_small() -> None:
    baseline = Baseline()
    for hour in range(HOURS * (WEEKS_KEPT + 1)):
        for minute in (0, 20, 40):
            baseline.learn((hour * 60 + minute) * 60.0, 1.5)
    assert len(baseline.stored()) < 5_700
    usual = baseline.usual(0.0)
    assert usual is not None
    assert (usual.median, usual.weeks) == (1.5, WEEKS_KEPT)


class Hanging(InlineStore):
    """A store on a disk that answers no more."""

    async def write(self, op: Any) -> Any:
        await asyncio.Event().wait()


async def test_a_store_that_hangs_does_not_hold_up_the_end(store: InlineStore) -> None:
    with structlog.testing.capture_logs() as logs:
        await Baselines(Hanging(store.store), clock(), at_the_end_s=0.05).stop(
            learned(three_weeks())
        )
    assert [line["event"] for line in logs] == ["what is usual was not all kept"]
