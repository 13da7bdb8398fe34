"""Wakes to claims to calls, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

import pytest

from stanch.model.errors import StaleDecision, StoreCorrupt, StoreError, StoreUnavailable
from stanch.model.ids import IncidentId
from stanch.model.timeline import Claim, Lane
from stanch.service.engine import AT_ONCE, STORE_RETRY_S, Engine
from stanch.testing.virtual_time import EPOCH, VirtualClock, run_virtually


class Wakes:
    """A table of wakes without timelines."""

    def __init__(self) -> None:
        self.due: dict[tuple[Lane, str], datetime] = {}
        self.held: set[tuple[Lane, str]] = set()
        self.broken = False
        self.failing: type[StoreError] = StoreUnavailable
        self.claims = 0
        self.asked = 0
        self.epoch = 0

    def add(self, lane: Lane, name: str, seconds: float) -> None:
        self.due[lane, name] = EPOCH + timedelta(seconds=seconds)

    async def next_due(self, lane: Lane) -> datetime | None:
        self._check()
        self.asked += 1
        free = [at for key, at in self.due.items() if key[0] is lane and key not in self.held]
        return min(free, default=None)

    async def claim(
        self, lane: Lane, *, at: datetime, lease_s: float, limit: int
    ) -> Sequence[Claim]:
        self._check()
        self.claims += 1
        ready = sorted(
            (due, name)
            for (of_lane, name), due in self.due.items()
            if of_lane is lane and due <= at and (lane, name) not in self.held
        )[:limit]
        self.held |= {(lane, name) for _, name in ready}
        self.epoch += 1
        return [
            Claim(incident_id=IncidentId(name), lane=lane, owner="o", epoch=self.epoch, due_at=due)
            for due, name in ready
        ]

    async def release(self, claim: Claim, *, retry_at: datetime | None = None) -> None:
        self._check()
        key = (claim.lane, str(claim.incident_id))
        self.held.discard(key)
        if retry_at is None:
            self.due.pop(key, None)
        else:
            self.due[key] = retry_at

    def _check(self) -> None:
        if self.broken:
            raise self.failing("the disk is gone", on="memory")


Work = Callable[[Claim], Awaitable[datetime | None]]


class Bench:
    """An engine over a table, and what it did when."""

    def __init__(self, work: Work | None = None) -> None:
        self.wakes = Wakes()
        self.clock = VirtualClock()
        self.done: list[tuple[float, Lane, str]] = []
        self.unavailable: list[float] = []
        self._more = work
        self.engine = Engine(
            self.wakes,  # pyright: ignore[reportArgumentType]
            self.clock,
            self._work,
            on_unavailable=self._note_unavailable,
        )

    async def _work(self, claim: Claim) -> datetime | None:
        self.done.append((_now_s(), claim.lane, str(claim.incident_id)))
        return await self._more(claim) if self._more else None

    async def _note_unavailable(self) -> None:
        self.unavailable.append(_now_s())

    async def run(self, seconds: float, *later: tuple[float, Callable[[], None]]) -> None:
        loop = asyncio.get_running_loop()
        for at_s, do in later:
            loop.call_later(at_s, do)
        running = asyncio.create_task(self.engine.run())
        await asyncio.sleep(seconds)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def _now_s() -> float:
    return round(asyncio.get_running_loop().time(), 3)


def test_work_is_done_at_the_moment_it_is_due_and_not_before() -> None:
    bench = Bench()
    bench.wakes.add(Lane.CLOCK, "a", 40.0)
    run_virtually(bench.run(60))
    [(at_s, lane, name)] = bench.done
    assert (lane, name) == (Lane.CLOCK, "a")
    assert 40.0 <= at_s < 40.01


def test_a_poke_makes_it_look_at_once_at_what_an_append_made_due() -> None:
    bench = Bench()

    def append() -> None:
        bench.wakes.add(Lane.ACT, "a", 0.0)
        bench.engine.poke()

    run_virtually(bench.run(10, (3.0, append)))
    [(at_s, _, _)] = bench.done
    assert 3.0 <= at_s < 3.01


def test_without_anything_due_nothing_is_claimed() -> None:
    bench = Bench()
    run_virtually(bench.run(600, (100.0, bench.engine.poke)))
    assert bench.wakes.claims == 0


def test_an_hour_of_acting_does_not_hold_up_a_page() -> None:
    async def slow(claim: Claim) -> datetime | None:
        if claim.lane is Lane.ACT:
            await asyncio.sleep(3_600)
        return None

    bench = Bench(slow)
    bench.wakes.add(Lane.ACT, "a", 1.0)
    bench.wakes.add(Lane.DELIVER, "a", 2.0)
    run_virtually(bench.run(10))
    assert [(lane, name) for _, lane, name in bench.done] == [
        (Lane.ACT, "a"),
        (Lane.DELIVER, "a"),
    ]


def test_a_lane_does_no_more_at_once_than_it_may_and_goes_on_when_one_ends() -> None:
    most = 0

    async def counted(claim: Claim) -> datetime | None:
        nonlocal most
        most = max(most, bench.engine.working[Lane.ACT])
        await asyncio.sleep(1)
        return None

    bench = Bench(counted)
    many = AT_ONCE[Lane.ACT] * 2 + 1
    for n in range(many):
        bench.wakes.add(Lane.ACT, f"i{n:03}", 0.0)
    run_virtually(bench.run(10))
    assert most == AT_ONCE[Lane.ACT]
    assert len(bench.done) == many
    assert max(at_s for at_s, _, _ in bench.done) < 3.0
    # A full lane waits for the end of something under way; it does not ask the store meanwhile.
    assert bench.wakes.asked < 5 * many


def test_work_that_made_no_event_is_looked_at_again_when_it_said() -> None:
    async def later(claim: Claim) -> datetime | None:
        return EPOCH + timedelta(seconds=30) if len(bench.done) == 1 else None

    bench = Bench(later)
    bench.wakes.add(Lane.CLOCK, "a", 1.0)
    run_virtually(bench.run(60))
    assert [round(at_s) for at_s, _, _ in bench.done] == [1, 30]


def test_a_stale_decision_gives_the_lease_back_and_is_nobodys_failure() -> None:
    async def stale(claim: Claim) -> datetime | None:
        raise StaleDecision("somebody was quicker", on=claim.incident_id)

    bench = Bench(stale)
    bench.wakes.add(Lane.CLOCK, "a", 1.0)
    run_virtually(bench.run(10))
    assert len(bench.done) == 1
    assert bench.wakes.held == set()
    assert bench.engine.working[Lane.CLOCK] == 0


@pytest.mark.parametrize("failing", [StoreUnavailable, StoreCorrupt])
def test_without_a_store_it_says_so_about_once_a_second_and_goes_on_when_it_is_back(
    failing: type[StoreError],
) -> None:
    bench = Bench()
    bench.wakes.failing = failing
    bench.wakes.add(Lane.CLOCK, "a", 1.0)
    bench.wakes.broken = True
    run_virtually(bench.run(60, (30.0, lambda: setattr(bench.wakes, "broken", False))))
    assert 28 <= len(bench.unavailable) <= 31
    [(at_s, _, _)] = bench.done
    assert 30.0 <= at_s <= 30.0 + STORE_RETRY_S + 0.01


def test_a_store_that_fails_under_the_work_puts_only_that_work_off() -> None:
    async def failing(claim: Claim) -> datetime | None:
        if len(bench.done) == 1:
            raise StoreUnavailable("the disk is full", on="memory")
        return None

    bench = Bench(failing)
    bench.wakes.add(Lane.CLOCK, "a", 1.0)
    run_virtually(bench.run(10))
    [first, second] = [at_s for at_s, _, _ in bench.done]
    assert STORE_RETRY_S <= second - first <= STORE_RETRY_S + 0.01
    # What was due may be a page: it leaves from memory, although the claim itself went well.
    assert len(bench.unavailable) == 1


def test_told_to_stop_it_finishes_what_is_under_way_and_claims_nothing_more() -> None:
    finished: list[str] = []

    async def slow(claim: Claim) -> datetime | None:
        await asyncio.sleep(5)
        finished.append(str(claim.incident_id))
        return None

    bench = Bench(slow)
    bench.wakes.add(Lane.ACT, "a", 1.0)
    bench.wakes.add(Lane.ACT, "b", 3.0)

    async def main() -> None:
        asyncio.get_running_loop().call_later(2.0, bench.engine.stop)
        await bench.engine.run()

    _, ended_s = run_virtually(main())
    assert finished == ["a"]
    assert 6.0 <= ended_s < 7.0
