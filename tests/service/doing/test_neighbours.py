"""What a diagnosis of one server is told of the others in its cluster."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clusters_at import PRIMARY, STANDBY, STOCK, ClusterHouse, cluster_house
from samplings import vitals
from stanch.diagnose.cluster import ClusterSeen
from stanch.model.ids import TargetName
from stanch.model.samples import Sample
from stanch.model.seats import Seat
from stanch.model.vitals import StandbyVitals

LEADER = Seat(cluster="7", primary=True, timeline=1, places=frozenset({("db1", 5432)}))
FOLLOWER = Seat(
    cluster="7",
    primary=False,
    timeline=1,
    places=frozenset({("db2", 5432)}),
    streams=True,
    upstream=frozenset({("db1", 5432)}),
)
PROMOTED = Seat(cluster="7", primary=True, timeline=2, places=FOLLOWER.places)


@pytest.fixture
async def house() -> ClusterHouse:
    """Nobody declares any cluster here."""
    house = await cluster_house()
    house.adopt(replace(house.policies.current, clusters=()))
    return house


async def sits(house: ClusterHouse, target: TargetName, seat: Seat, after: float = 1.0) -> None:
    house.later(after)
    said = vitals(in_recovery=not seat.primary)
    await house.watching.take(Sample(target=target, at=house.at, vitals=said, seat=seat))


def seen(house: ClusterHouse, target: TargetName) -> ClusterSeen:
    return house.watching.topology.neighbours.seen(target)


async def test_a_server_of_no_cluster_is_alone(house: ClusterHouse) -> None:
    await sits(house, STOCK, LEADER)
    assert [m.target for m in seen(house, STOCK).members] == [STOCK]


async def test_servers_that_stream_from_each_other_tell_of_each_other(house: ClusterHouse) -> None:
    await sits(house, PRIMARY, LEADER)
    await sits(house, STANDBY, FOLLOWER)
    found = seen(house, PRIMARY)
    assert [(m.target, m.primary, m.system_identifier) for m in found.members] == [
        (PRIMARY, True, "7"),
        (STANDBY, False, "7"),
    ]
    assert not found.declared


async def test_a_standby_that_was_promoted_still_counts_to_the_cluster_it_came_from(
    house: ClusterHouse,
) -> None:
    await sits(house, PRIMARY, LEADER)
    await sits(house, STANDBY, FOLLOWER)
    await sits(house, STANDBY, PROMOTED)
    at = house.at
    await sits(house, STANDBY, PROMOTED)
    assert house.watching.topology.cluster_of(PRIMARY) == (PRIMARY,)
    [promoted] = seen(house, PRIMARY).others(PRIMARY)
    assert (promoted.primary, promoted.promoted_at) == (True, at)


async def test_a_copy_that_was_promoted_a_day_ago_is_a_server_of_its_own(
    house: ClusterHouse,
) -> None:
    await sits(house, PRIMARY, LEADER)
    await sits(house, STANDBY, FOLLOWER)
    await sits(house, STANDBY, PROMOTED)
    await sits(house, PRIMARY, LEADER, after=86_500)
    assert seen(house, PRIMARY).others(PRIMARY) == ()


async def test_two_copies_of_one_backup_are_not_one_cluster(house: ClusterHouse) -> None:
    await sits(house, PRIMARY, LEADER)
    await sits(house, STANDBY, PROMOTED)
    assert seen(house, PRIMARY).others(PRIMARY) == ()


async def test_a_standby_promoted_while_nobody_looked_is_a_neighbour_without_a_time(
    house: ClusterHouse,
) -> None:
    await sits(house, PRIMARY, LEADER)
    await sits(house, STANDBY, FOLLOWER)
    await house.restart()
    await sits(house, PRIMARY, LEADER)
    await sits(house, STANDBY, PROMOTED)
    [promoted] = seen(house, PRIMARY).others(PRIMARY)
    assert (promoted.primary, promoted.promoted_at) == (True, None)


async def test_what_the_policy_declares_is_one_cluster_also_before_anybody_has_answered() -> None:
    house = await cluster_house()
    await sits(house, PRIMARY, LEADER)
    found = seen(house, PRIMARY)
    assert found.declared
    assert [(m.target, m.seen_at is None) for m in found.members] == [
        (PRIMARY, False),
        (STANDBY, True),
    ]


async def test_a_server_that_is_silent_keeps_its_last_words_and_their_time(
    house: ClusterHouse,
) -> None:
    await sits(house, PRIMARY, LEADER)
    await sits(house, STANDBY, FOLLOWER)
    at = house.at
    await house.see(STANDBY, down=True)
    [standby] = seen(house, PRIMARY).others(PRIMARY)
    assert standby.seen_at == at
    assert standby.is_fresh(at)
    assert not standby.is_fresh(house.at.replace(year=at.year + 1))


async def test_a_standby_tells_its_primary_whether_its_replay_is_paused(
    house: ClusterHouse,
) -> None:
    await sits(house, PRIMARY, LEADER)
    house.later(1.0)
    said = StandbyVitals(replay_paused=True, received_bytes_to_replay=4096)
    look = vitals(in_recovery=True, standby=said)
    await house.watching.take(Sample(target=STANDBY, at=house.at, vitals=look, seat=FOLLOWER))
    paused, own = seen(house, PRIMARY).others(PRIMARY)[0], seen(house, PRIMARY).of(PRIMARY)
    assert (paused.replay_paused, paused.unreplayed_bytes) == (True, 4096)
    assert own is not None
    assert own.replay_paused is None
