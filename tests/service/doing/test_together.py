"""One failure of a cluster is one incident; two failures stay two."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clusters_at import ORDERS, PRIMARY, STANDBY, STOCK, ClusterHouse, cluster_house
from samplings import vitals
from signals_at import signal
from stanch.incident.effects import AFTER_S, ATTACHED_MAX, BEFORE_S, DOWN_TOO_S, STANDING_MAX
from stanch.incident.state import Status
from stanch.incident.titles import title_now
from stanch.incident.work import Job
from stanch.model import events as e
from stanch.model.ids import ITSELF, PersonId, TargetName
from stanch.model.symptoms import Symptom, SymptomKind
from stanch.policy.clusters import ClusterPolicy


@pytest.fixture
async def house() -> ClusterHouse:
    return await cluster_house()


async def test_what_a_standby_suffers_while_its_primary_is_down_joins_the_primarys_incident(
    house: ClusterHouse,
) -> None:
    await house.see(PRIMARY, down=True)
    await house.fails(STANDBY, "checkout")
    [incident] = await house.incidents()
    assert incident.target == PRIMARY
    assert list(incident.symptoms) == ["server_down"]
    assert list(incident.attached) == ["health_check_failing:@orders-2/checkout"]


async def test_the_same_on_a_server_of_no_cluster_is_an_incident_of_its_own(
    house: ClusterHouse,
) -> None:
    await house.see(PRIMARY, down=True)
    await house.fails(STOCK, "till")
    assert [i.target for i in await house.incidents()] == [PRIMARY, STOCK]


async def test_two_failures_on_two_clusters_stay_two() -> None:
    house = await cluster_house(ORDERS, ClusterPolicy(name="stock", targets=(STOCK,)))
    await house.see(PRIMARY, down=True)
    await house.see(STOCK, down=True)
    assert [i.target for i in await house.open_ones()] == [PRIMARY, STOCK]


async def both_known(house: ClusterHouse) -> None:
    await house.says(STANDBY, vitals(in_recovery=True))
    await house.says(PRIMARY, vitals(in_recovery=False))


@pytest.mark.parametrize("first", [PRIMARY, STANDBY])
async def test_a_primary_and_its_standby_that_are_down_are_one_incident_that_says_so(
    house: ClusterHouse, first: TargetName
) -> None:
    await both_known(house)
    last = STANDBY if first == PRIMARY else PRIMARY
    await house.see(first, down=True)
    await house.see(last, down=True)
    [incident] = await house.open_ones()
    assert (incident.target, incident.severity_rank) == (PRIMARY, 1)
    assert title_now(incident) == "server down, and so is orders-2"
    assert len(house.pages_due(incident)) == 1


async def test_who_was_paged_for_the_primary_is_told_that_nobody_is_left(
    house: ClusterHouse,
) -> None:
    await both_known(house)
    await house.see(PRIMARY, down=True)
    [incident] = await house.open_ones()
    await house.page(incident)
    for _ in range(3):
        await house.see(STANDBY, down=True)
    [incident] = await house.open_ones()
    assert [u.rule for u in incident.updates_owed] == ["down_too"]


async def test_a_standby_that_stays_down_is_told_by_itself_soon_after_its_primary_is_back(
    house: ClusterHouse,
) -> None:
    await both_known(house)
    await house.see(PRIMARY, down=True)
    await house.see(STANDBY, down=True)
    for _ in range(5):
        await house.see(PRIMARY)
    await house.see(STANDBY, down=True, after=DOWN_TOO_S - 10)
    assert [i.target for i in await house.open_ones()] == [PRIMARY]
    await house.see(STANDBY, down=True, after=11)
    primary, standby = await house.open_ones()
    assert (list(primary.attached), list(standby.symptoms)) == ([], ["server_down"])


async def test_a_standby_that_was_down_long_before_keeps_its_incident(house: ClusterHouse) -> None:
    await both_known(house)
    await house.see(STANDBY, down=True)
    await house.see(PRIMARY, down=True, after=BEFORE_S + 1)
    assert [i.target for i in await house.open_ones()] == [STANDBY, PRIMARY]


async def test_two_primaries_that_are_down_are_two_incidents(house: ClusterHouse) -> None:
    await house.says(STANDBY, vitals(in_recovery=False))
    await house.says(PRIMARY, vitals(in_recovery=False))
    await house.see(PRIMARY, down=True)
    await house.see(STANDBY, down=True)
    assert [i.target for i in await house.open_ones()] == [PRIMARY, STANDBY]


async def test_a_standby_that_fails_by_itself_is_the_smaller_matter(house: ClusterHouse) -> None:
    await house.says(STANDBY, vitals(in_recovery=True))
    await house.says(PRIMARY, vitals(in_recovery=False))
    await house.see(STANDBY, down=True)
    await house.fails(PRIMARY, "checkout")
    [standby, service] = await house.incidents()
    assert (standby.target, standby.severity_rank) == (STANDBY, 2)
    assert service.target == PRIMARY, "a standby that is down does not explain failing services"


async def test_a_standby_that_was_promoted_is_no_smaller_matter(house: ClusterHouse) -> None:
    await house.says(STANDBY, vitals(in_recovery=True))
    await house.says(STANDBY, vitals(in_recovery=False))
    await house.see(STANDBY, down=True)
    [incident] = await house.incidents()
    assert incident.severity_rank == 1


async def test_the_last_server_of_a_cluster_is_no_smaller_matter_though_it_replays(
    house: ClusterHouse,
) -> None:
    await house.says(STANDBY, vitals(in_recovery=True))
    await house.says(PRIMARY, vitals(in_recovery=True))
    await house.see(STANDBY, down=True)
    [incident] = await house.incidents()
    assert incident.severity_rank == 1


# --- effects that are seen first ---


async def test_an_incident_for_an_effect_merges_into_its_cause(house: ClusterHouse) -> None:
    await house.fails(STANDBY, "checkout")
    await house.see(PRIMARY, down=True, after=0.5)
    [early, cause] = await house.incidents()
    assert (early.status, early.merged_into) == (Status.MERGED, cause.id)
    assert list(cause.attached) == ["health_check_failing:@orders-2/checkout"]
    assert len(house.pages_due(cause)) == 1


async def test_who_was_paged_for_the_effect_gets_one_update_and_no_second_page(
    house: ClusterHouse,
) -> None:
    await house.fails(STANDBY, "checkout")
    [early] = await house.incidents()
    await house.page(early)
    await house.see(PRIMARY, down=True, after=0.5)
    [_, cause] = await house.incidents()
    assert cause.paged == {PersonId("ann")}
    assert house.pages_due(cause) == []
    assert [u.rule for u in cause.updates_owed] == ["taken_in"]


async def test_nobody_who_took_the_effect_is_paged_for_its_cause(house: ClusterHouse) -> None:
    await house.fails(STANDBY, "checkout")
    [early] = await house.incidents()
    await house.page(early)
    await house.acknowledge(early, "ann")
    await house.see(PRIMARY, down=True, after=0.5)
    [_, cause] = await house.incidents()
    house.later(86_400)
    assert cause.acknowledged_by == "ann"
    assert house.pages_due(cause) == []


async def test_without_an_acknowledgement_the_next_person_is_still_paged(
    house: ClusterHouse,
) -> None:
    await house.fails(STANDBY, "checkout")
    [early] = await house.incidents()
    await house.page(early)
    await house.see(PRIMARY, down=True, after=0.5)
    [_, cause] = await house.incidents()
    house.later(300)
    [second] = house.pages_due(cause)
    assert (second.level, second.persons) == (2, (PersonId("bo"),))


async def test_a_page_that_has_not_arrived_yet_counts_as_none(house: ClusterHouse) -> None:
    await house.fails(STANDBY, "checkout")
    [early] = await house.incidents()
    await house.page(early, arrives=False)
    await house.see(PRIMARY, down=True, after=0.5)
    [_, cause] = await house.incidents()
    [first] = house.pages_due(cause)
    assert (first.job, first.level) == (Job.PAGE, 1)


async def test_what_stood_long_before_the_failure_is_no_effect_of_it(house: ClusterHouse) -> None:
    await house.fails(STANDBY, "checkout")
    await house.see(PRIMARY, down=True, after=600)
    assert [i.status for i in await house.incidents()] == [Status.OPEN, Status.OPEN]


# --- effects that end, and effects that do not ---


async def test_an_effect_that_ends_leaves_the_incident_it_stood_in(house: ClusterHouse) -> None:
    await house.see(PRIMARY, down=True)
    await house.fails(STANDBY, "checkout")
    await house.recovers(STANDBY, "checkout")
    [incident] = await house.incidents()
    assert (list(incident.symptoms), list(incident.attached)) == (["server_down"], [])


async def test_an_effect_does_not_keep_its_cause_from_being_over(house: ClusterHouse) -> None:
    await house.see(PRIMARY, down=True)
    await house.fails(STANDBY, "checkout")
    for _ in range(6):
        await house.see(PRIMARY)
    [incident] = await house.incidents()
    assert not incident.standing
    assert incident.attached


async def test_an_effect_that_outlasts_its_cause_becomes_an_incident_of_its_own(
    house: ClusterHouse,
) -> None:
    await house.see(PRIMARY, down=True)
    await house.fails(STANDBY, "checkout")
    for _ in range(6):
        await house.see(PRIMARY)
    house.later(AFTER_S)
    await house.fails(STANDBY, "checkout")
    [cause, own] = await house.incidents()
    assert not cause.attached
    assert (own.target, list(own.symptoms)) == (STANDBY, ["health_check_failing:checkout"])


async def test_an_effect_still_clears_after_a_restart(house: ClusterHouse) -> None:
    await house.see(PRIMARY, down=True)
    await house.fails(STANDBY, "checkout")
    await house.restart()
    await house.recovers(STANDBY, "checkout")
    [incident] = await house.incidents()
    assert not incident.attached


# --- alerts from outside ---


@pytest.mark.parametrize(
    "labels",
    [{"target": "orders-2"}, {"pooler": "orders-bouncer"}, {"service": "Checkout"}],
)
async def test_alerts_about_any_part_of_the_cluster_join_its_cause(
    house: ClusterHouse, labels: dict[str, str]
) -> None:
    await house.see(PRIMARY, down=True)
    await house.hear(signal("a", labels=labels))
    [incident] = await house.incidents()
    assert list(incident.everything) == ["server_down", "outside_alert:prom:a"]
    await house.hear(signal("a", labels=labels, resolved=True))
    [incident] = await house.incidents()
    assert list(incident.everything) == ["server_down"]


async def test_an_alert_about_a_service_of_no_cluster_matches_nothing(house: ClusterHouse) -> None:
    await house.hear(signal("a", labels={"service": "billing"}))
    assert [i.target for i in await house.incidents()] == [ITSELF]


async def test_an_alert_that_came_first_merges_and_its_end_is_told_in_the_cause(
    house: ClusterHouse,
) -> None:
    await house.hear(signal("a", labels={"target": "orders-2"}))
    await house.see(PRIMARY, down=True)
    [early, cause] = await house.incidents()
    assert early.merged_into == cause.id
    assert "outside_alert:prom:a" in cause.attached
    await house.hear(signal("a", labels={"target": "orders-2"}, resolved=True))
    [_, cause] = await house.incidents()
    assert not cause.attached


# --- storms ---


async def test_five_hundred_symptoms_and_alerts_are_one_incident_one_page_and_few_lines() -> None:
    standbys = tuple(TargetName(f"orders-{n}") for n in range(2, 8))
    house = await cluster_house(replace(ORDERS, targets=(PRIMARY, *standbys)))
    services = [f"svc-{n}" for n in range(20)]
    await house.see(PRIMARY, down=True)
    await house.hear(*(signal(f"k{n}", labels={"service": "checkout"}) for n in range(380)))
    for standby in standbys:
        await house.fails(standby, *services)
    [incident] = await house.incidents()
    assert len(house.pages_due(incident)) == 1
    assert len(await house.events(incident)) <= 1 + 2 * (ATTACHED_MAX + 1) + 5 * 5
    more = incident.attached["health_check_failing:@orders-7/more"]
    assert more.detail == "health check failing: 16 more on orders-7"
    for standby in standbys:
        await house.recovers(standby, *services)
    [incident] = await house.incidents()
    assert not incident.attached


async def test_a_crowd_on_one_server_is_counted_as_well_and_ends(house: ClusterHouse) -> None:
    services = [f"api-{n}" for n in range(20)]
    for _ in range(60):
        await house.see(STOCK, failing=services)
    [incident] = await house.incidents()
    assert STANDING_MAX < len(incident.symptoms) <= STANDING_MAX + 2
    for _ in range(60):
        await house.see(STOCK, well=services)
    [incident] = await house.incidents()
    assert not incident.symptoms


async def test_a_crowd_ends_although_the_responder_was_away(house: ClusterHouse) -> None:
    services = [f"api-{n}" for n in range(20)]
    await house.see(PRIMARY, down=True)
    for _ in range(60):
        await house.see(STANDBY, failing=services)
    [incident] = await house.incidents()
    assert any(key.endswith("/more") for key in incident.attached)
    await house.restart()
    for _ in range(60):
        await house.see(STANDBY, well=services)
    [incident] = await house.incidents()
    assert not incident.attached


async def test_a_hundred_unrelated_alerts_are_not_swallowed(house: ClusterHouse) -> None:
    await house.see(PRIMARY, down=True)
    await house.hear(*(signal(f"k{n}", labels={"target": "stock"}) for n in range(100)))
    [down, stock] = await house.incidents()
    assert list(down.everything) == ["server_down"]
    assert (stock.target, len(stock.symptoms)) == (STOCK, 21)


async def test_an_effect_that_is_worse_than_its_cause_raises_the_severity(
    house: ClusterHouse,
) -> None:
    await house.says(STANDBY, vitals(in_recovery=False))
    down = Symptom(kind=SymptomKind.DISK_FULL, target=PRIMARY, since=house.at)
    lesser = e.SeveritySet(rank=3, label="P2", reason="known")
    await house.fails(STANDBY, "checkout")
    await house.hear(signal("a", severity="info", labels={"target": "orders-1"}))
    [_, cause] = await house.incidents()
    await house.house.book.decide(cause.id, lambda i, at: (lesser,))
    await house.house.book.record(cause.id, e.SymptomObserved(symptom=down))
    await house.watching.together.take_in(await house.house.book.get(cause.id))
    [early, cause] = await house.incidents()
    assert early.merged_into == cause.id
    assert cause.severity_rank == 2


async def test_an_alert_that_turns_out_to_be_about_another_cluster_leaves_this_one(
    house: ClusterHouse,
) -> None:
    await house.see(PRIMARY, down=True)
    await house.hear(signal("a", labels={"target": "orders-2"}))
    await house.hear(signal("a", resolved=True, labels={"target": "stock"}))
    await house.hear(signal("a", labels={"target": "stock"}))
    [down, stock] = await house.incidents()
    assert (list(down.everything), stock.target) == (["server_down"], STOCK)


async def test_a_grave_symptom_is_never_a_number_among_others(house: ClusterHouse) -> None:
    services = [f"api-{n}" for n in range(20)]
    for _ in range(60):
        await house.see(STOCK, failing=services)
    await house.see(STOCK, down=True, failing=services)
    [incident] = await house.incidents()
    assert "server_down" in incident.symptoms


async def test_nothing_stands_any_more_in_what_was_merged(house: ClusterHouse) -> None:
    await house.fails(STANDBY, "checkout")
    await house.see(PRIMARY, down=True, after=0.5)
    [early, _] = await house.incidents()
    assert not early.everything
