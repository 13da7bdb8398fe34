"""A standby that stays away: told over restarts, until it is back or somebody knows better."""

from __future__ import annotations

from datetime import timedelta

import pytest

from clusters_at import PRIMARY, ClusterHouse, cluster_house
from samplings import vitals
from stanch.incident.state import Incident, Status
from stanch.model import events as e
from stanch.model.ids import PersonId
from stanch.model.vitals import SenderVitals

GONE = "standby_gone"


@pytest.fixture
async def house() -> ClusterHouse:
    return await cluster_house()


async def streams(house: ClusterHouse, *names: str, times: int = 8) -> list[Incident]:
    """The primary is looked at a few times while these stream from it."""
    senders = tuple(SenderVitals(pid=n, application_name=name) for n, name in enumerate(names))
    for _ in range(times):
        await house.says(PRIMARY, vitals(senders=senders))
    return await house.incidents()


async def one_gone(house: ClusterHouse) -> Incident:
    await streams(house, "db2", "db3")
    [incident] = await streams(house, "db2", times=32)
    assert list(incident.symptoms) == [GONE]
    return incident


async def test_a_standby_that_is_missing_is_missing_after_a_restart_as_well(
    house: ClusterHouse,
) -> None:
    await one_gone(house)
    await house.restart()
    house.later(3600)
    [incident] = await streams(house, "db2")
    assert list(incident.symptoms) == [GONE]
    [incident] = await streams(house, "db2", "db3")
    assert not incident.symptoms


async def test_who_closes_it_knowing_better_is_not_told_again_however_late(
    house: ClusterHouse,
) -> None:
    incident = await one_gone(house)
    done = e.IncidentResolved(verified=False, reason="taken away", by=PersonId("ann"))
    await house.house.book.decide(incident.id, lambda i, at: (done,))
    await streams(house, "db2")
    house.later(3600)
    assert [i.status for i in await streams(house, "db2")] == [Status.RESOLVED]
    told = await streams(house, times=32)
    assert [i.status for i in told if GONE in i.symptoms] == [Status.OPEN], "the next one is told"


async def test_one_that_was_taken_away_for_good_is_told_for_a_day_and_not_called_over(
    house: ClusterHouse,
) -> None:
    await one_gone(house)
    house.later(timedelta(days=1).total_seconds())
    [incident] = await streams(house, "db2")
    assert (set(incident.symptoms), incident.lapsed) == (set(), {GONE})
    cleared = [r.event for r in await house.house.store.read(incident.id)][-1]
    assert isinstance(cleared, e.SymptomCleared)
    assert cleared.detail == "still 1, and 2 were before: from now on 1 is usual"
