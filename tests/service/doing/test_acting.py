"""What stands between a plan and the first touch, over a real store in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from clusters_at import PRIMARY, ClusterHouse, cluster_house
from stanch.incident.state import Incident
from stanch.model import events as e
from stanch.model.errors import StaleDecision
from stanch.model.ids import PersonId, TargetName, WriterId
from stanch.model.readings import Reading
from stanch.policy.clusters import ClusterPolicy
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


def acting(
    house: House,
    open_incidents: Any = None,
    *,
    hands: Any = None,
    under_way: UnderWay | None = None,
) -> Acting:
    unused = cast("Any", None)
    return Acting(
        book=house.book,
        timelines=house.store,
        clock=house.clock,
        clocks=unused,
        standing=house.standing,
        hands=hands,
        propose=unused,
        actions={},
        open_incidents=open_incidents,
        under_way=under_way or UnderWay(),
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


@pytest.mark.parametrize(
    ("busy", "asked"), [("replica", 0), ("elsewhere", 1)], ids=["its standby", "another cluster's"]
)
async def test_while_one_server_of_a_cluster_is_worked_on_nothing_is_begun_on_another(
    house: House, busy: str, asked: int
) -> None:
    incident = await planned(house)
    servers = (incident.target, TargetName("replica"))
    policy = replace(POLICY, clusters=(ClusterPolicy(name="shop", targets=servers),))
    looked_for = list[TargetName]()
    under_way = UnderWay()
    at_work = acting(house, under_way=under_way, hands=looked_for.append)
    claim, what = cast("Any", None), cast("Any", None)
    with under_way.step(TargetName(busy)):
        put_off = await at_work.step(claim, incident, what, policy)
    assert put_off is not None
    assert len(looked_for) == asked


async def of_one_cause() -> tuple[ClusterHouse, Incident, Incident]:
    """A lesser matter, an outage that somebody was paged for, and one cause named for both."""
    house = await cluster_house()
    for value in (0.0, 1.0):
        await house.tells(PRIMARY, Reading(name="oom_kills_total", value=value))
    [lesser] = await house.incidents()
    await house.house.book.record(lesser.id, diagnosed("out_of_memory"))
    await house.see(PRIMARY, down=True)
    lesser, outage = await house.incidents()
    await house.page(outage)
    for incident in (lesser, outage):
        await house.house.book.record(incident.id, diagnosed())
    return house, lesser, outage


async def joined(house: ClusterHouse, outage: Incident) -> Incident:
    at_work = acting(house.house, house.watching.still_open)
    await at_work._merge_same_stories(await house.house.book.get(outage.id))
    [goes_on] = await house.open_ones()
    return goes_on


async def test_an_outage_that_goes_on_in_a_lesser_incident_stays_as_bad_and_goes_on_paging() -> (
    None
):
    house, lesser, outage = await of_one_cause()
    assert lesser.severity_rank > outage.severity_rank
    goes_on = await joined(house, outage)
    assert (goes_on.id, goes_on.severity_rank, goes_on.page_level) == (lesser.id, 1, 1)
    assert (goes_on.paged, house.pages_due(goes_on)) == ({PersonId("ann")}, [])
    house.later(300)
    assert [page.level for page in house.pages_due(goes_on)] == [2]


async def test_nobody_who_took_an_outage_is_paged_again_because_it_goes_on_elsewhere() -> None:
    house, _, outage = await of_one_cause()
    await house.acknowledge(outage, "ann")
    goes_on = await joined(house, outage)
    house.later(86_400)
    assert (goes_on.acknowledged_by, house.pages_due(goes_on)) == (PersonId("ann"), [])
