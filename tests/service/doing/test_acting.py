"""What stands between a plan and the first touch, over a real store in memory."""

from __future__ import annotations

from typing import Any, cast

import pytest

from stanch.incident.state import Incident
from stanch.model import events as e
from stanch.model.errors import StaleDecision
from stanch.model.ids import WriterId
from stanch.service.doing.acting import Acting
from stanch.service.doing.underway import UnderWay
from stanch.service.house import House, open_house, projection_of
from stanch.service.record.policies import Policies
from stanch.store.sql import SqlStore
from stanch.store.timelines import InlineStore
from stanch.testing.virtual_time import VirtualClock
from timelines import ANN, POLICY, diagnosed, intended, opened, plan


@pytest.fixture
async def house() -> House:
    policies = Policies("h1", POLICY, "{}", lambda text: POLICY)
    store = SqlStore.in_memory(
        projection_of(policies), writer_id=WriterId("w"), lease_clock_us=lambda: 0
    )
    return await open_house(policies, InlineStore(store), clock=VirtualClock())


def acting(house: House) -> Acting:
    unused = cast("Any", None)
    return Acting(
        book=house.book,
        timelines=house.store,
        clock=house.clock,
        clocks=unused,
        standing=house.standing,
        hands=unused,
        propose=unused,
        actions={},
        open_incidents=unused,
        under_way=UnderWay(),
    )


async def planned(house: House) -> Incident:
    first = [opened(), diagnosed(), e.PlanProposed(plan=plan())]
    return await house.book.open(first)


async def intents(house: House, incident: Incident) -> int:
    timeline = await house.store.read(incident.id)
    return sum(isinstance(r.event, e.StepIntended) for r in timeline)


async def test_a_step_is_intended_while_what_was_decided_on_still_stands(house: House) -> None:
    seen = await planned(house)
    await acting(house)._recorder(seen)(intended(), None)
    assert await intents(house, seen) == 1


@pytest.mark.parametrize(
    "meanwhile",
    [
        e.PolicyApplied(policy_hash="h2", by="reload"),
        e.IncidentResolved(verified=False, reason="mended by hand", by=ANN),
    ],
)
async def test_a_policy_or_an_end_that_came_in_between_keeps_a_step_from_being_begun(
    house: House, meanwhile: e.Event
) -> None:
    seen = await planned(house)
    await house.book.decide(seen.id, lambda i, at: (meanwhile,))
    with pytest.raises(StaleDecision):
        await acting(house)._recorder(seen)(intended(), None)
    assert await intents(house, seen) == 0
