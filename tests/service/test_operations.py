"""What people can ask of a responder, over a real store in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

from stanch.incident.state import Status
from stanch.model import events as e
from stanch.model.errors import StoreUnavailable
from stanch.model.ids import RESPONDER, IncidentId, TargetName, WriterId
from stanch.model.timeline import Append, Recorded
from stanch.service.house import House, open_house, projection_of
from stanch.service.record.policies import Policies
from stanch.service.requests import Answer, BadRequest
from stanch.store.sql import SqlStore
from stanch.store.timelines import InlineStore
from timelines import POLICY, T0, page, symptom


class SetClock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.at = T0

    def now(self) -> datetime:
        return self.at


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def house(clock: SetClock) -> AsyncIterator[House]:
    policies = Policies("h1", POLICY, "{}", lambda text: POLICY)
    store = InlineStore(
        SqlStore.in_memory(
            projection_of(policies), writer_id=WriterId("w"), lease_clock_us=lambda: 0
        )
    )
    yield await open_house(policies, store, clock=clock)
    await store.close()


async def ask(house: House, command: str, **parts: object) -> Answer:
    return await house.operations.execute({"command": command, "by": "ann", **parts})


async def declared(house: House, **parts: object) -> IncidentId:
    answer = await ask(house, "declare", title="checkout is slow", target="orders", **parts)
    return IncidentId(answer.incident_id)


async def test_a_declared_incident_pages_at_once_with_the_severity_that_was_given(
    house: House,
) -> None:
    incident = await house.book.get(await declared(house, severity="p0"))
    assert (incident.severity_label, incident.page_after_s) == ("P0", 0.0)


async def test_without_a_severity_the_second_worst_is_taken(house: House) -> None:
    assert (await house.book.get(await declared(house))).severity_rank == 2


async def test_an_unknown_severity_or_target_changes_nothing_and_names_the_known_ones(
    house: House,
) -> None:
    with pytest.raises(BadRequest) as wrong:
        await declared(house, severity="SEV-9")
    assert "P0 (1)" in wrong.value.hint
    with pytest.raises(BadRequest) as nowhere:
        await ask(house, "declare", title="x", target="nowhere")
    assert "orders" in nowhere.value.hint
    assert await house.operations.incidents(open_only=False, limit=9) == []


async def test_the_number_a_page_gives_finds_the_open_incident_and_not_a_newer_ended_one(
    house: House, clock: SetClock
) -> None:
    older = await declared(house)
    clock.at += timedelta(days=1)
    newer = await declared(house)
    await ask(house, "resolve", incident=newer)
    answer = await ask(house, "ack", incident="1")
    assert (answer.ok, answer.incident_id) == (True, older)


async def test_a_number_that_two_open_incidents_have_is_refused_with_both_named(
    house: House, clock: SetClock
) -> None:
    older = await declared(house)
    clock.at += timedelta(days=1)
    newer = await declared(house)
    with pytest.raises(BadRequest) as ambiguous:
        await ask(house, "ack", incident="001")
    assert older in ambiguous.value.what
    assert newer in ambiguous.value.what
    assert (await house.book.get(newer)).acknowledged_by is None


async def test_an_incident_that_is_not_there_is_said_so(house: House) -> None:
    for wanted in ("7", "20260301-999", "x'; DROP TABLE journal; --", "٣"):
        with pytest.raises(BadRequest):
            await ask(house, "ack", incident=wanted)


async def test_the_same_request_read_from_two_places_at_once_is_done_once(house: House) -> None:
    request = {"command": "declare", "by": "ann", "id": "r1", "title": "slow", "target": "orders"}
    one, other = await asyncio.gather(
        house.operations.execute(request), house.operations.execute(request)
    )
    assert one.incident_id == other.incident_id
    assert len(await house.operations.incidents(open_only=True, limit=9)) == 1
    another = await house.operations.execute({**request, "id": "r2"})
    assert another.incident_id != one.incident_id


async def test_the_same_request_arriving_twice_is_done_once(house: House) -> None:
    incident = await declared(house)
    for _ in range(2):
        answer = await ask(house, "note", incident=incident, text="looked", id="abc")
        assert answer.ok
    notes = [r for r in await house.store.read(incident) if isinstance(r.event, e.NoteAdded)]
    assert len(notes) == 1


async def test_resolving_without_proof_is_refused_unless_the_person_takes_it_on(
    house: House,
) -> None:
    incident = await declared(house)
    observed = e.SymptomObserved(symptom=symptom())
    await house.book.record(incident, observed)
    refused = await ask(house, "resolve", incident=incident)
    assert not refused.ok
    assert refused.refusal is not None
    assert "server_down" in refused.refusal.reason
    with pytest.raises(BadRequest):
        await ask(house, "resolve", incident=incident, unverified=True)
    taken = await ask(
        house, "resolve", incident=incident, unverified=True, reason="the server is retired"
    )
    assert taken.ok
    assert (await house.book.get(incident)).status is Status.RESOLVED


async def test_a_halt_stands_until_it_is_lifted_and_is_written_down(house: House) -> None:
    await ask(house, "halt", reason="upgrade")
    assert house.standing.halted
    await ask(house, "halt", lift=True)
    assert not house.standing.halted
    kinds = [type(r.event) for r in await house.store.read(RESPONDER)]
    assert kinds == [e.HaltSet, e.HaltLifted]


class Full(InlineStore):
    """A store that takes no event any more."""

    full = False

    async def append(self, entry: Append) -> tuple[Recorded, ...]:
        if self.full:
            raise StoreUnavailable("the disk is full", on="memory")
        return await super().append(entry)


async def test_a_halt_is_honoured_though_it_cannot_be_written_down(clock: SetClock) -> None:
    policies = Policies("h1", POLICY, "{}", lambda text: POLICY)
    store = Full(
        SqlStore.in_memory(
            projection_of(policies), writer_id=WriterId("w"), lease_clock_us=lambda: 0
        )
    )
    house = await open_house(policies, store, clock=clock)
    store.full = True
    with pytest.raises(StoreUnavailable, match="until this process ends"):
        await ask(house, "halt", reason="upgrade", id="r1")
    assert house.standing.halted
    store.full = False
    assert (await ask(house, "halt", reason="upgrade", id="r1")).ok
    assert [type(r.event) for r in await store.read(RESPONDER)] == [e.HaltSet]


async def test_what_a_newer_release_said_of_all_targets_keeps_us_from_acting(
    house: House,
) -> None:
    forbidden = e.UnknownEvent(stored_kind="halt.set.v9", body="{}")
    await house.book.record(RESPONDER, forbidden)
    again = await open_house(house.policies, house.store, clock=house.clock)
    assert again.standing.halted
    await ask(again, "halt", lift=True)
    assert not again.standing.halted


async def test_maintenance_ends_by_itself(house: House, clock: SetClock) -> None:
    await ask(house, "maintenance", target="orders", seconds=600)
    orders = TargetName("orders")
    assert house.standing.maintenance(orders, clock.at) is not None
    assert house.standing.maintenance(orders, clock.at + timedelta(seconds=601)) is None


async def test_a_window_set_again_moves_the_hold_of_what_was_opened_in_it(
    house: House, clock: SetClock
) -> None:
    incident = await declared(house)
    await ask(house, "maintenance", target="orders", seconds=28_800)
    await ask(house, "maintenance", target="orders", seconds=600)
    held_until = (await house.book.get(incident)).page_held_until
    assert held_until == clock.at + timedelta(seconds=600)


async def test_a_window_says_who_was_paged_before_it_and_holds_only_what_was_not(
    house: House,
) -> None:
    incident = await declared(house)
    await house.book.decide(incident, lambda i, at: (page(),))
    answer = await ask(house, "maintenance", target="orders", seconds=600)
    assert incident in answer.text
    assert (await house.book.get(incident)).page_held_until is None


async def test_ending_maintenance_lets_held_pages_go(house: House, clock: SetClock) -> None:
    incident = await declared(house)
    held = e.PageHeld(until=clock.at + timedelta(hours=1), reason="maintenance")
    await house.book.decide(incident, lambda i, at: (held,))
    await ask(house, "maintenance", target="orders", seconds=600, end=True)
    assert (await house.book.get(incident)).page_held_until == clock.at


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"command": "explode", "by": "ann"},
        {"command": "ack", "by": "ann"},
        {"command": "ack", "incident": "1"},
        {"command": "note", "by": "ann", "incident": "1", "text": "x" * 5000},
        {"command": "note", "by": "ann", "incident": "1", "text": 7},
        {"command": "maintenance", "by": "ann", "target": "orders", "seconds": "an hour"},
        {"command": "maintenance", "by": "ann", "target": "orders", "seconds": -1},
        {"command": "maintenance", "by": "ann", "target": "orders", "seconds": True},
    ],
)
async def test_a_request_that_makes_no_sense_changes_nothing(
    house: House, request_: dict[str, object]
) -> None:
    await declared(house)
    before = house.store.heads()
    with pytest.raises(BadRequest):
        await house.operations.execute(request_)
    assert house.store.heads() == before
