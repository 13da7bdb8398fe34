"""Samples to incidents, over a real store in memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from stanch.incident.due import due
from stanch.incident.state import Incident, Status
from stanch.incident.work import Job
from stanch.model import events as e
from stanch.model.errors import StoreCorrupt, StoreError, StoreUnavailable
from stanch.model.host import Volume, VolumeUse
from stanch.model.ids import ITSELF, IncidentId, ObligationId, PersonId, TargetName, WriterId
from stanch.model.reach import Reach, ReachState
from stanch.model.readings import Reading
from stanch.model.restarts import PageAfter
from stanch.model.samples import Sample
from stanch.model.symptoms import Symptom, SymptomKind
from stanch.model.timeline import Append, Recorded
from stanch.policy.policy import TargetPolicy
from stanch.service.core import explains
from stanch.service.doing.watching import Watching, as_said
from stanch.service.house import House, open_house, projection_of
from stanch.service.record.policies import Policies
from stanch.store.sql import SqlStore
from stanch.store.timelines import InlineStore
from timelines import POLICY, T0

CRASHED = "process_crashed:crash_child_signal"
NAMES = tuple(f"t{n}" for n in range(10))


class Bench:
    """A watching over an open house, and a clock that is moved by hand."""

    def __init__(self, targets: tuple[str, ...]) -> None:
        policy = replace(
            POLICY, targets=tuple(TargetPolicy(name=TargetName(n), dsn="x") for n in targets)
        )
        self.policies = Policies("h1", policy, "{}", lambda text: policy)
        self.at = T0
        self.paged: list[Symptom] = []
        self.restarts: dict[str, PageAfter] = {}
        """What is expected of the managers of some targets."""
        self.writable = True

    def now(self) -> datetime:
        return self.at

    async def open(self) -> None:
        store = InlineStore(
            SqlStore.in_memory(
                projection_of(self.policies), writer_id=WriterId("w"), lease_clock_us=lambda: 0
            )
        )
        self.house: House = await open_house(self.policies, store, clock=self)
        self.watching = self.watch()

    def watch(self) -> Watching:
        return Watching(
            book=self.house.book,
            policies=self.policies,
            standing=self.house.standing,
            clock=self,
            explains=explains(),
            emergency=self._emergency,
            page_after=self._page_after,
        )

    def _page_after(self, target: TargetPolicy) -> PageAfter:
        return self.restarts.get(target.name) or as_said(target)

    async def _emergency(self, symptom: Symptom) -> None:
        self.paged.append(symptom)

    async def see(
        self,
        target: str,
        state: ReachState | None = None,
        *,
        after: float = 1.0,
        confirmed: bool = True,
        full: bool = False,
        crashes: int = 0,
        lines: tuple[str, int] = ("crash_child_signal", 0),
    ) -> None:
        """One sample: a state, or a good look when None; `crashes`, or lines of another class, as
        the log has counted them."""
        self.at += timedelta(seconds=after)
        await self.watching.take(
            Sample(
                target=TargetName(target),
                at=self.at,
                reach=Reach(state=state or ReachState.UP, layers=(), elapsed_ms=1.0),
                confirmed=confirmed,
                lost_at=self.at,
                volumes=(volume(free_mib=1 if full else 900),),
                readings=(logged(lines[0], crashes or lines[1]),),
            )
        )

    async def well(self, target: str, seconds: int = 6) -> None:
        for _ in range(seconds):
            await self.see(target)

    async def incidents(self) -> list[Incident]:
        """Oldest first."""
        return list(reversed(await self.house.operations.incidents(open_only=False, limit=99)))

    async def close(self, incident: Incident, *, by: str = "", verified: bool = True) -> None:
        done = e.IncidentResolved(verified=verified, reason="over", by=PersonId(by) if by else None)
        await self.house.book.decide(incident.id, lambda i, at: (done,))


def logged(log_class: str, times: int) -> Reading:
    return Reading(name="log_class_total", subject=log_class, value=float(times))


def volume(*, free_mib: int) -> Volume:
    return Volume(
        use=VolumeUse.DATA,
        path="/data",
        mount_point="/data",
        device="/dev/x",
        fs_type="ext4",
        total_bytes=1000 * 2**20,
        free_bytes=free_mib * 2**20,
        inodes_total=None,
        inodes_free=None,
        network=False,
        read_only=False,
    )


async def bench_of(*targets: str) -> Bench:
    bench = Bench(targets)
    await bench.open()
    return bench


@pytest.fixture
async def bench() -> Bench:
    return await bench_of("orders")


async def test_a_refused_server_is_one_incident_however_often_it_is_seen(bench: Bench) -> None:
    for _ in range(20):
        await bench.see("orders", ReachState.REFUSED)
    [incident] = await bench.incidents()
    assert (incident.title, set(incident.symptoms)) == ("server down", {"server_down"})


async def test_how_long_nobody_is_paged_is_written_down_as_it_was_when_the_server_went_down(
    bench: Bench,
) -> None:
    bench.restarts["orders"] = PageAfter(seconds=9.0, source="systemd restarts it")
    await bench.see("orders", ReachState.REFUSED)
    bench.restarts["orders"] = PageAfter(seconds=1.0, source="changed since")
    [incident] = await bench.incidents()
    [first, *_] = await bench.house.store.read(incident.id)
    assert isinstance(first.event, e.IncidentOpened)
    assert first.event.page_after_source == "systemd restarts it"
    assert incident.page_after_s == first.event.page_after_s == 9.0
    page = next(d for d in due(bench.policies.current, incident, bench.at) if d.job is Job.PAGE)
    assert page.at == bench.at + timedelta(seconds=9)


async def test_how_long_is_written_down_also_where_the_server_goes_down_in_an_open_incident(
    bench: Bench,
) -> None:
    bench.restarts["orders"] = PageAfter(seconds=9.0, source="systemd restarts it")
    for _ in range(12):
        await bench.see("orders", ReachState.AUTH_FAILED)
    [incident] = await bench.incidents()
    assert (set(incident.symptoms), incident.page_after_s) == ({"unwatched"}, 0.0)
    await bench.see("orders", ReachState.REFUSED)
    [incident] = await bench.incidents()
    assert (incident.page_after_s, incident.down_at) == (9.0, bench.at)


async def test_what_no_restart_heals_does_not_wait_for_one(bench: Bench) -> None:
    bench.restarts["orders"] = PageAfter(seconds=9.0, source="systemd restarts it")
    await bench.see("orders", full=True)
    assert [i.page_after_s for i in await bench.incidents()] == [0.0]


async def test_a_target_whose_manager_nobody_saw_is_paged_for_at_once(bench: Bench) -> None:
    await bench.see("orders", ReachState.REFUSED)
    assert [i.page_after_s for i in await bench.incidents()] == [0.0]


async def test_an_answer_clears_the_symptom_and_leaves_the_incident_to_be_verified(
    bench: Bench,
) -> None:
    await bench.see("orders", ReachState.REFUSED)
    await bench.well("orders")
    [incident] = await bench.incidents()
    assert (incident.standing, incident.status) == (False, Status.OPEN)


async def test_a_second_symptom_joins_while_no_cause_is_known(bench: Bench) -> None:
    await bench.see("orders", full=True)
    await bench.see("orders", ReachState.REFUSED, full=True)
    [incident] = await bench.incidents()
    assert set(incident.symptoms) == {"disk_full:/data", "server_down"}


async def test_what_comes_back_soon_reopens_its_incident(bench: Bench) -> None:
    await bench.see("orders", ReachState.REFUSED)
    await bench.well("orders")
    await bench.close((await bench.incidents())[0])
    await bench.see("orders", ReachState.REFUSED, after=60)
    [incident] = await bench.incidents()
    assert (incident.status, incident.reopens) == (Status.OPEN, 1)


async def test_what_comes_back_after_the_flap_window_is_a_new_incident(bench: Bench) -> None:
    await bench.see("orders", ReachState.REFUSED)
    await bench.well("orders")
    await bench.close((await bench.incidents())[0])
    await bench.see("orders", ReachState.REFUSED, after=3600)
    assert [i.status for i in await bench.incidents()] == [Status.RESOLVED, Status.OPEN]


async def test_an_incident_closed_while_its_symptom_stands_is_told_again_at_once(
    bench: Bench,
) -> None:
    await bench.see("orders", ReachState.REFUSED)
    await bench.close((await bench.incidents())[0])
    await bench.see("orders", ReachState.REFUSED)
    assert [i.status for i in await bench.incidents()] == [Status.OPEN]


async def test_what_happened_before_the_end_of_its_incident_is_not_told_again(
    bench: Bench,
) -> None:
    await bench.see("orders")
    await bench.see("orders", ReachState.REFUSED, crashes=1)
    for _ in range(6):
        await bench.see("orders", crashes=1)
    [incident] = await bench.incidents()
    assert (set(incident.symptoms), incident.standing) == ({CRASHED}, False)
    await bench.close(incident)
    await bench.see("orders", crashes=1)
    assert [i.status for i in await bench.incidents()] == [Status.RESOLVED]


async def test_a_crash_after_the_end_of_an_incident_reopens_it(bench: Bench) -> None:
    await bench.see("orders")
    await bench.see("orders", ReachState.REFUSED)
    await bench.well("orders")
    await bench.see("orders", crashes=1)
    await bench.see("orders", crashes=1, after=700)
    await bench.see("orders", crashes=1, after=10)
    [incident] = await bench.incidents()
    assert not incident.symptoms
    await bench.close(incident)
    await bench.see("orders", crashes=2)
    [incident] = await bench.incidents()
    assert (incident.status, set(incident.symptoms)) == (Status.OPEN, {CRASHED})


async def test_what_happened_once_is_not_told_again_long_after_a_person_closed_it(
    bench: Bench,
) -> None:
    refused = "config_error"
    await bench.see("orders", lines=(refused, 0))
    await bench.see("orders", lines=(refused, 1))
    await bench.see("orders", lines=(refused, 2))
    await bench.see("orders", lines=(refused, 2))
    await bench.close((await bench.incidents())[0], by="ann", verified=False)
    for _ in range(4):
        await bench.see("orders", lines=(refused, 2), after=400)
    assert [i.status for i in await bench.incidents()] == [Status.RESOLVED]
    await bench.see("orders", lines=(refused, 3), after=400)
    await bench.see("orders", lines=(refused, 3))
    assert [i.status for i in await bench.incidents()] == [Status.RESOLVED, Status.OPEN]


@pytest.mark.parametrize(("by", "verified"), [("", True), ("ann", False)])
async def test_a_crash_right_after_the_end_of_an_incident_that_told_of_one_is_told(
    bench: Bench, by: str, verified: bool
) -> None:
    await bench.see("orders")
    await bench.see("orders", ReachState.REFUSED, crashes=1)
    for _ in range(6):
        await bench.see("orders", crashes=1)
    await bench.close((await bench.incidents())[0], by=by, verified=verified)
    await bench.see("orders", crashes=1, after=60)
    assert [i.status for i in await bench.incidents()] == [Status.RESOLVED]
    await bench.see("orders", crashes=2, after=60)
    await bench.see("orders", crashes=2)
    [incident] = await bench.incidents()
    assert (incident.status, set(incident.symptoms)) == (Status.OPEN, {CRASHED})
    assert incident.symptoms[CRASHED].since > T0 + timedelta(seconds=120)


async def test_a_person_who_closes_it_knowing_better_is_left_alone_for_the_flap_window(
    bench: Bench,
) -> None:
    await bench.see("orders", ReachState.REFUSED)
    await bench.close((await bench.incidents())[0], by="ann", verified=False)
    await bench.see("orders", ReachState.REFUSED, after=300)
    assert [i.status for i in await bench.incidents()] == [Status.RESOLVED]
    await bench.see("orders", ReachState.REFUSED, after=400)
    assert [i.status for i in await bench.incidents()] == [Status.RESOLVED, Status.OPEN]


async def test_maintenance_holds_pages_of_new_and_of_reopened_incidents(bench: Bench) -> None:
    await bench.see("orders", ReachState.REFUSED)
    await bench.well("orders")
    await bench.close((await bench.incidents())[0])
    request = {"command": "maintenance", "by": "ann", "target": "orders", "seconds": 3600}
    await bench.house.operations.execute(request)
    await bench.see("orders", ReachState.REFUSED, after=60)
    [incident] = await bench.incidents()
    assert incident.page_held_until is not None
    assert incident.page_held_until > bench.at + timedelta(seconds=3000)


async def test_a_hold_is_over_with_its_window_also_for_what_had_healed_meanwhile(
    bench: Bench,
) -> None:
    request = {"command": "maintenance", "by": "ann", "target": "orders", "seconds": 28_800}
    await bench.house.operations.execute(request)
    await bench.see("orders", ReachState.REFUSED)
    await bench.well("orders")
    await bench.close((await bench.incidents())[0])
    await bench.house.operations.execute({**request, "end": True})
    await bench.see("orders", ReachState.REFUSED, after=60)
    [incident] = await bench.incidents()
    assert incident.status is Status.OPEN
    assert incident.page_held_until is None


async def test_what_fails_again_inside_a_window_is_held_though_it_was_open_before(
    bench: Bench,
) -> None:
    await bench.see("orders", ReachState.REFUSED)
    await bench.well("orders")
    [incident] = await bench.incidents()
    rescued = e.IncidentRescued(
        window_s=1.0, checks=2, detail="", obligation=ObligationId("rescued/1@2")
    )
    await bench.house.book.decide(incident.id, lambda i, at: (rescued,))
    request = {"command": "maintenance", "by": "ann", "target": "orders", "seconds": 3600}
    await bench.house.operations.execute(request)
    await bench.see("orders", ReachState.REFUSED, after=60)
    [incident] = await bench.incidents()
    assert incident.status is Status.OPEN
    assert incident.page_held_until == bench.at + timedelta(seconds=3540)


async def test_a_worse_symptom_raises_the_severity_and_a_milder_one_does_not(
    bench: Bench,
) -> None:
    await bench.see("orders", ReachState.AUTH_FAILED)
    for _ in range(12):
        await bench.see("orders", ReachState.AUTH_FAILED)
    [incident] = await bench.incidents()
    assert incident.severity_rank == 2
    await bench.see("orders", ReachState.REFUSED)
    [incident] = await bench.incidents()
    assert incident.severity_rank == 1


class Broken:
    """A book over a store that takes and shows nothing."""

    def __init__(self, failure: StoreError) -> None:
        self._failure = failure

    def __getattr__(self, name: str) -> object:
        raise self._failure


@pytest.mark.parametrize("failure", [StoreUnavailable("disk full"), StoreCorrupt("malformed")])
async def test_with_the_store_gone_people_are_paged_and_the_incident_opens_once_it_is_back(
    bench: Bench, failure: StoreError
) -> None:
    book = bench.watching._book
    bench.watching._book = Broken(failure)  # type: ignore[assignment]
    await bench.see("orders", ReachState.REFUSED)
    assert [s.kind for s in bench.paged] == [SymptomKind.SERVER_DOWN]
    bench.watching._book = book
    await bench.see("orders", ReachState.REFUSED)
    assert [i.title for i in await bench.incidents()] == ["server down"]


class _Hanging(InlineStore):
    """Answers too late: what it was handed is durable, or is so before it answers again."""

    hangs = False
    owed: tuple[datetime, Append] | None = None

    async def open_incident(self, at: datetime, first: Append) -> tuple[Recorded, ...]:
        if not self.hangs:
            return await super().open_incident(at, first)
        self.owed = (at, first)
        raise StoreUnavailable("no answer within 5 s")

    async def settled(self) -> None:
        if self.hangs:
            raise StoreUnavailable("no answer within 5 s")
        if self.owed is not None:
            await super().open_incident(*self.owed)
            self.owed = None


async def test_an_incident_whose_opening_got_no_answer_is_not_opened_again() -> None:
    bench = await bench_of("orders")
    slow = _Hanging(bench.house.store.store)
    bench.house = await open_house(bench.policies, slow, clock=bench)
    bench.watching = bench.watch()
    slow.hangs = True
    for _ in range(3):
        await bench.see("orders", ReachState.REFUSED)
    assert [s.kind for s in bench.paged] == [SymptomKind.SERVER_DOWN] * 3
    slow.hangs = False
    for _ in range(3):
        await bench.see("orders", ReachState.REFUSED)
    assert len(bench.paged) == 3
    [incident] = await bench.incidents()
    assert set(incident.symptoms) == {"server_down"}
    await bench.well("orders")
    assert (await bench.house.book.get(incident.id)).symptoms == {}


async def test_without_a_store_many_silences_are_still_one_page_about_our_own_sight() -> None:
    bench = await bench_of(*NAMES)
    for name in NAMES:
        await bench.see(name)
    bench.watching._book = Broken(StoreUnavailable("disk full"))  # type: ignore[assignment]
    for _ in range(2):
        for name in NAMES:
            await bench.see(name, ReachState.TIMEOUT, after=0.1)
    alone = [s for s in bench.paged if s.kind is not SymptomKind.BLIND]
    assert {s.kind for s in bench.paged} == {SymptomKind.BLIND, SymptomKind.SERVER_DOWN}
    # Those before anybody could know that it is a crowd.
    assert len(alone) < len(NAMES) / 2


async def test_what_stays_open_is_known_however_many_come_and_go_beside_it(bench: Bench) -> None:
    await bench.see("orders", ReachState.REFUSED)
    [open_still] = await bench.incidents()
    request = {"command": "declare", "by": "ann", "title": "slow", "target": "orders"}
    for _ in range(70):
        bench.at += timedelta(days=1)
        declared = await bench.house.operations.execute(request)
        await bench.close(await bench.house.book.get(IncidentId(declared.incident_id)), by="ann")
    known = await bench.watching.still_open(TargetName("orders"))
    assert [i.id for i in known] == [open_still.id]
    await bench.well("orders")
    assert (await bench.house.book.get(open_still.id)).symptoms == {}


async def test_an_incident_that_was_opened_behind_our_back_is_known_once_it_is_met(
    bench: Bench,
) -> None:
    await bench.see("orders", ReachState.REFUSED)
    [incident] = await bench.incidents()
    late = Bench(("orders",))
    late.at = bench.at
    late.policies = bench.policies
    late.house = await open_house(bench.policies, bench.house.store, clock=late)
    late.watching = late.watch()
    await late.house.book.get(incident.id)
    await late.see("orders", ReachState.REFUSED)
    assert [i.id for i in await late.incidents()] == [incident.id]


async def test_many_targets_silent_at_once_are_one_page_about_our_own_sight() -> None:
    bench = await bench_of(*NAMES)
    for name in NAMES:
        await bench.see(name, ReachState.TIMEOUT, after=0.05, confirmed=False)
    for name in NAMES:
        await bench.see(name, ReachState.TIMEOUT, after=0.05)
    [incident] = await bench.incidents()
    assert (incident.target, incident.title) == (ITSELF, "Stanch is blind")
    assert bench.house.standing.blind_because


async def test_blindness_ends_once_targets_answer_and_who_stays_silent_is_down() -> None:
    bench = await bench_of(*NAMES)
    for name in NAMES:
        await bench.see(name, ReachState.TIMEOUT, after=0.05, confirmed=False)
    for name in NAMES:
        await bench.see(name, ReachState.TIMEOUT, after=0.05)
    for name in NAMES[1:]:
        await bench.see(name, after=0.05)
    await bench.see(NAMES[0], ReachState.TIMEOUT)
    blind, down = await bench.incidents()
    assert (blind.status, down.target, down.title) == (Status.RESOLVED, NAMES[0], "server down")
    assert not bench.house.standing.blind_because


async def test_after_a_restart_one_answer_does_not_end_the_blindness() -> None:
    bench = await bench_of(*NAMES)
    for _ in range(2):
        for name in NAMES:
            await bench.see(name, ReachState.TIMEOUT, after=0.05)
    blind = next(i for i in await bench.incidents() if i.target == ITSELF)
    bench.watching = bench.watch()
    await bench.watching.resume(await bench.incidents())
    await bench.see(NAMES[0])
    assert (await bench.house.book.get(blind.id)).status is Status.OPEN
    for name in NAMES[1:]:
        await bench.see(name)
    assert (await bench.house.book.get(blind.id)).status is Status.RESOLVED


async def test_two_silent_targets_of_ten_are_two_servers_down() -> None:
    bench = await bench_of(*NAMES)
    for name in NAMES[:2]:
        await bench.see(name, ReachState.TIMEOUT, after=0.05)
    assert [i.title for i in await bench.incidents()] == ["server down", "server down"]


async def test_many_refusals_are_answers_and_no_blindness() -> None:
    bench = await bench_of(*NAMES)
    for name in NAMES:
        await bench.see(name, ReachState.REFUSED, after=0.05)
    assert {i.title for i in await bench.incidents()} == {"server down"}


async def test_a_silent_target_taken_out_of_the_policy_does_not_keep_us_blind() -> None:
    bench = await bench_of("a", "b", "c", "d")
    for _ in range(2):
        for name in ("a", "b", "c"):
            await bench.see(name, ReachState.TIMEOUT, after=0.05)
    left = replace(bench.policies.current, targets=bench.policies.current.targets[2:])
    bench.policies.apply("h2", left, "{}")
    await bench.see("d", after=1.0)
    assert not bench.house.standing.blind_because
