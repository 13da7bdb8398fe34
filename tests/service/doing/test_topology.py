"""Clusters that nobody declared: learned from what servers say, kept, and given up again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clusters_at import PRIMARY, STANDBY, STOCK, ClusterHouse, cluster_house
from samplings import vitals
from stanch.cli.rendering import cluster_lines
from stanch.incident.state import Status
from stanch.model.ids import TargetName
from stanch.model.readings import Reading
from stanch.model.samples import Sample
from stanch.model.seats import Seat
from stanch.policy.clusters import ClusterPolicy
from stanch.service.doing.topology import APART_S, clusters_known

LEADER = Seat(cluster="7", primary=True, timeline=1, places=frozenset({("db1", 5432)}))
FOLLOWER = Seat(
    cluster="7",
    primary=False,
    timeline=1,
    places=frozenset({("db2", 5432)}),
    streams=True,
    upstream=frozenset({("db1", 5432)}),
)
ALONE = replace(FOLLOWER, streams=False, upstream=frozenset())


@pytest.fixture
async def house() -> ClusterHouse:
    house = await cluster_house()
    house.adopt(replace(house.policies.current, clusters=()))
    return house


async def sits(house: ClusterHouse, target: TargetName, seat: Seat, after: float = 1.0) -> None:
    house.later(after)
    said = vitals(in_recovery=not seat.primary)
    await house.watching.take(Sample(target=target, at=house.at, vitals=said, seat=seat))


async def learn(house: ClusterHouse) -> None:
    await sits(house, PRIMARY, LEADER)
    await sits(house, STANDBY, FOLLOWER)
    assert house.watching.topology.cluster_of(PRIMARY) == (PRIMARY, STANDBY)


def known(house: ClusterHouse) -> list[tuple[str, list[str]]]:
    found = clusters_known(house.policies, house.house.standing)
    return [(one["source"], one["targets"]) for one in found]


async def test_effects_join_their_cause_in_a_cluster_that_nobody_declared(
    house: ClusterHouse,
) -> None:
    await learn(house)
    await house.see(PRIMARY, down=True)
    await house.fails(STANDBY, "checkout")
    await house.fails(STOCK, "till")
    assert [i.target for i in await house.open_ones()] == [PRIMARY, STOCK]
    assert known(house) == [("seen", [PRIMARY, STANDBY])]


async def test_two_copies_of_one_backup_are_two_incidents(house: ClusterHouse) -> None:
    await sits(house, PRIMARY, LEADER)
    await sits(house, STANDBY, replace(LEADER, places=FOLLOWER.places))
    await house.see(PRIMARY, down=True)
    await house.fails(STANDBY, "checkout")
    assert [i.target for i in await house.open_ones()] == [PRIMARY, STANDBY]
    assert known(house) == []


async def test_what_was_learned_survives_a_restart_while_the_primary_is_down(
    house: ClusterHouse,
) -> None:
    await learn(house)
    await house.restart()
    await house.see(PRIMARY, down=True)
    await house.see(STANDBY, down=True)
    [incident] = await house.open_ones()
    assert incident.target == PRIMARY


async def test_a_standby_that_was_promoted_is_forgotten_at_once(house: ClusterHouse) -> None:
    await learn(house)
    await sits(house, STANDBY, replace(LEADER, places=FOLLOWER.places, timeline=2))
    assert known(house) == []


async def test_a_server_made_anew_is_forgotten_at_once(house: ClusterHouse) -> None:
    await learn(house)
    await sits(house, STANDBY, replace(ALONE, cluster="8"))
    assert known(house) == []


async def test_who_streams_no_more_while_both_answer_is_forgotten_after_a_while(
    house: ClusterHouse,
) -> None:
    await learn(house)
    await sits(house, STANDBY, ALONE)
    for _ in range(int(APART_S) // 5):
        assert known(house)
        await sits(house, PRIMARY, LEADER, after=2.5)
        await sits(house, STANDBY, ALONE, after=2.5)
    assert known(house) == []


async def test_who_waits_for_a_primary_that_is_down_is_not_forgotten(house: ClusterHouse) -> None:
    await learn(house)
    for _ in range(int(APART_S) // 5 + 10):
        await house.see(PRIMARY, down=True, after=2.5)
        await sits(house, STANDBY, ALONE, after=2.5)
    assert known(house)


async def test_what_the_policy_declares_wins_and_the_list_says_so(house: ClusterHouse) -> None:
    await learn(house)
    declared = ClusterPolicy(name="shop", targets=(PRIMARY, STOCK))
    house.adopt(replace(house.policies.current, clusters=(declared,)))
    await house.see(PRIMARY, down=True)
    await house.fails(STANDBY, "checkout")
    await house.fails(STOCK, "till")
    assert [i.target for i in await house.open_ones()] == [PRIMARY, STANDBY]
    shop, seen = clusters_known(house.policies, house.house.standing)
    assert (shop["name"], seen["overruled"]) == ("shop", True)


# --- poolers ---

LEADS = replace(
    Seat(cluster="9", primary=True, places=frozenset({("db3", 5432)})),
    poolers=(
        ("api-1", "shop", frozenset({("db1", 5432)})),
        ("api-1", "till", frozenset({("db3", 5432)})),
    ),
)


async def waits(house: ClusterHouse, pool: str, value: float = 50.0) -> None:
    told = Reading(name="pool_waiting", subject=f"api-1/{pool}", value=value)
    for _ in range(3):
        await house.tells(STOCK, told, after=30)


async def test_where_poolers_lead_is_shown_and_goes_with_their_target(house: ClusterHouse) -> None:
    await sits(house, PRIMARY, LEADER)
    lost = ("api-1", "bo\x1bok", frozenset({("db9", 6432)}))
    await sits(house, STOCK, replace(LEADS, poolers=(*LEADS.poolers, lost)))
    topology = house.watching.topology
    lines = cluster_lines({"clusters": [], "poolers": topology.poolers_seen()})
    assert list(lines)[1:] == [
        "pooler api-1 (asked for stock): bo\x1bok leads to no target (db9:6432)",
        "pooler api-1 (asked for stock): shop leads to orders-1",
        "pooler api-1 (asked for stock): till leads to stock",
    ]
    policy = house.policies.current
    house.adopt(replace(policy, targets=tuple(t for t in policy.targets if t.name != STOCK)))
    assert topology.poolers_seen() == []


async def test_a_pool_that_leads_to_a_server_that_is_down_is_told_with_it(
    house: ClusterHouse,
) -> None:
    await sits(house, PRIMARY, LEADER)
    await sits(house, STOCK, LEADS)
    await house.see(PRIMARY, down=True)
    await waits(house, "shop/app")
    [incident] = await house.open_ones()
    assert list(incident.attached) == ["pool_waiting:@stock/api-1/shop/app"]
    await waits(house, "shop/app", 0.0)
    [incident] = await house.open_ones()
    assert not incident.attached


async def test_a_pool_seen_full_a_moment_before_is_merged_into_the_cause(
    house: ClusterHouse,
) -> None:
    await sits(house, PRIMARY, LEADER)
    await sits(house, STOCK, LEADS)
    await waits(house, "shop/app")
    await house.see(PRIMARY, down=True)
    early, cause = await house.incidents()
    assert (early.status, early.merged_into) == (Status.MERGED, cause.id)


async def test_another_pool_of_that_pooler_and_its_service_are_matters_of_their_own(
    house: ClusterHouse,
) -> None:
    await sits(house, PRIMARY, LEADER)
    await sits(house, STOCK, LEADS)
    await house.see(PRIMARY, down=True)
    await waits(house, "till/app")
    await house.fails(STOCK, "checkout")
    assert [i.target for i in await house.open_ones()] == [PRIMARY, STOCK]


@pytest.mark.parametrize("on", [PRIMARY, STANDBY])
async def test_a_pooler_or_service_alone_is_told_while_every_server_is_well(
    house: ClusterHouse, on: TargetName
) -> None:
    await learn(house)
    await house.fails(on, "checkout")
    [incident] = await house.open_ones()
    assert (incident.target, len(house.pages_due(incident))) == (on, 1)


async def test_nor_is_it_swallowed_by_a_lesser_matter_elsewhere_in_the_cluster(
    house: ClusterHouse,
) -> None:
    await learn(house)
    low = Reading(name="backup_age_s", subject="/var/backups", value=1e7)
    house.adopt(house.policies.current)
    await house.tells(STANDBY, low)
    await house.fails(PRIMARY, "checkout")
    told = [i for i in await house.open_ones() if house.pages_due(i)]
    assert [list(i.symptoms) for i in told] == [["health_check_failing:checkout"]]
