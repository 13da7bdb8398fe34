"""Pages sent from memory become facts of the incident they were about, once there is one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from stanch.model import events as e
from stanch.model.ids import RESPONDER, IncidentId, PersonId, WriterId
from stanch.service.doing.emergency import OPENED_WITHIN_S, UNRECORDED, Emergency
from stanch.service.house import House, open_house, projection_of
from stanch.service.record.policies import Policies
from stanch.store.sql import SqlStore
from stanch.store.timelines import InlineStore
from timelines import POLICY, T0


@dataclass
class HandClock:
    at: datetime = T0

    def now(self) -> datetime:
        return self.at


@dataclass(frozen=True)
class Spooled:
    at: datetime
    incident_hint: IncidentId
    body: bytes


class NoSpool:
    def put(self, kind: str, at: datetime, *, incident_hint: str, body: bytes) -> bool:
        raise AssertionError("nothing is paged here")


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def house(clock: HandClock) -> AsyncIterator[House]:
    policies = Policies("h1", POLICY, "{}", lambda text: POLICY)
    store = InlineStore(
        SqlStore.in_memory(
            projection_of(policies), writer_id=WriterId("w"), lease_clock_us=lambda: 0
        )
    )
    yield await open_house(policies, store, clock=clock)
    await store.close()


def emergency(house: House, clock: HandClock) -> Emergency:
    return Emergency(
        book=house.book, policies=house.policies, clock=clock, ports=dict, spool=NoSpool()
    )


def page(hint: str = UNRECORDED) -> Spooled:
    told = e.PagedUnrecorded(
        sent_at=T0, persons=(PersonId("ann"),), short="orders: server down", outcomes=()
    )
    return Spooled(at=T0, incident_hint=IncidentId(hint), body=e.to_body(told))


async def declared(house: House) -> str:
    request = {"command": "declare", "by": "ann", "title": "slow", "target": "orders"}
    return (await house.operations.execute(request)).incident_id


async def told_in(house: House, incident: str) -> int:
    entries = await house.store.read(IncidentId(incident))
    return sum(isinstance(entry.event, e.PagedUnrecorded) for entry in entries)


async def test_it_waits_for_the_incident_and_goes_there(house: House, clock: HandClock) -> None:
    one = emergency(house, clock)
    assert not await one.tell([page()])
    assert await told_in(house, RESPONDER) == 0
    incident = await declared(house)
    assert await one.tell([page()])
    assert await told_in(house, incident) == 1
    assert await told_in(house, RESPONDER) == 0


async def test_trouble_that_healed_before_it_was_opened_is_told_in_our_own_stream(
    house: House, clock: HandClock
) -> None:
    running = emergency(house, clock)
    clock.at += timedelta(seconds=OPENED_WITHIN_S)
    assert await running.tell([page()])
    assert await told_in(house, RESPONDER) == 1


async def test_after_a_long_outage_it_waits_from_the_end_of_the_outage_on(
    house: House, clock: HandClock
) -> None:
    running = emergency(house, clock)
    clock.at += timedelta(seconds=10 * OPENED_WITHIN_S)
    await running.overdue()  # the store still takes nothing
    clock.at += timedelta(seconds=1)
    assert not await running.tell([page()])
    incident = await declared(house)
    assert await running.tell([page()])
    assert await told_in(house, incident) == 1


async def test_a_page_of_a_known_incident_waits_for_nothing(house: House, clock: HandClock) -> None:
    incident = await declared(house)
    await house.operations.execute(
        {
            "command": "resolve",
            "by": "ann",
            "incident": incident,
            "reason": "over",
            "unverified": True,
        }
    )
    assert await emergency(house, clock).tell([page(incident)])
    assert await told_in(house, incident) == 1


async def test_what_cannot_be_read_holds_nothing_up(house: House, clock: HandClock) -> None:
    incident = await declared(house)
    torn = Spooled(at=T0, incident_hint=UNRECORDED, body=b"{torn")
    assert await emergency(house, clock).tell([torn, page()])
    assert await told_in(house, incident) == 1


async def losses_in(house: House, incident: str) -> list[int]:
    entries = await house.store.read(IncidentId(incident))
    return [r.event.entries for r in entries if isinstance(r.event, e.UnrecordedLost)]


async def test_entries_that_are_gone_are_told_where_the_others_are(
    house: House, clock: HandClock
) -> None:
    assert await emergency(house, clock).tell([], lost=2)
    assert await losses_in(house, RESPONDER) == [2], "also where nothing else is left"
    incident = await declared(house)
    assert await emergency(house, clock).tell([page()], lost=3)
    assert await losses_in(house, incident) == [3]


async def test_where_nothing_is_gone_nothing_is_said(house: House, clock: HandClock) -> None:
    incident = await declared(house)
    assert await emergency(house, clock).tell([page()])
    assert await losses_in(house, incident) == []
