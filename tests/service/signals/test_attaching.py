"""Alerts from outside become incidents: one a failure, one event a change, every end told."""

from __future__ import annotations

import pytest

from signals_at import PROM, SIGNALS, SignalHouse, house_with, signal
from stanch.incident.outside import ATTACHED_MAX, LATE_S
from stanch.incident.state import Status
from stanch.model import events as e
from stanch.model.ids import ITSELF, PersonId, TargetName
from stanch.model.reach import Reach, ReachState
from stanch.model.samples import Sample
from stanch.policy.signals import Signals, SignalSource

ORDERS = {"cluster": "orders"}


async def see_down(house: SignalHouse, *, down: bool = True) -> None:
    """Our own watch looks at orders."""
    house.later(1)
    state = ReachState.REFUSED if down else ReachState.UP
    await house.watching.take(
        Sample(
            target=TargetName("orders"),
            at=house.at,
            reach=Reach(state=state, layers=(), elapsed_ms=1.0),
            confirmed=True,
            lost_at=house.at,
        )
    )


async def close(house: SignalHouse, *, by: str = "", verified: bool = True) -> None:
    [incident] = await house.incidents()
    done = e.IncidentResolved(verified=verified, reason="over", by=PersonId(by) if by else None)
    await house.house.book.decide(incident.id, lambda i, at: (done,))


async def test_an_alert_opens_an_incident_on_its_target_and_its_end_clears_it() -> None:
    house = await house_with()
    await house.hear(signal("a", title="PostgresDown", severity="critical", labels=ORDERS))
    [incident] = await house.incidents()
    assert (incident.target, incident.title, incident.severity_rank) == (
        "orders",
        "PostgresDown",
        1,
    )
    assert list(incident.symptoms) == ["outside_alert:prom:a"]
    await house.hear(signal("a", resolved=True, labels=ORDERS))
    [incident] = await house.incidents()
    assert not incident.symptoms
    assert await house.events(incident) == ["incident.opened", "symptom.cleared"]
    # Whether it is really over is checked on the database, as always.
    assert incident.status is Status.OPEN


async def test_repeats_add_nothing_to_the_timeline() -> None:
    house = await house_with()
    for _ in range(50):
        await house.hear(signal("a", labels=ORDERS))
    [incident] = await house.incidents()
    assert await house.events(incident) == ["incident.opened"]
    [row] = await house.rows.listed(firing_only=True, limit=9)
    assert row.count == 50


async def test_an_alert_joins_what_we_saw_ourselves_and_raises_nothing_twice() -> None:
    house = await house_with()
    await see_down(house)
    await house.hear(signal("a", labels=ORDERS), signal("b", labels=ORDERS))
    [incident] = await house.incidents()
    assert sorted(incident.symptoms) == [
        "outside_alert:prom:a",
        "outside_alert:prom:b",
        "server_down",
    ]


async def test_what_we_see_ourselves_joins_the_alert_that_came_first() -> None:
    house = await house_with()
    await house.hear(signal("a", severity="warning", labels=ORDERS))
    await see_down(house)
    [incident] = await house.incidents()
    assert "server_down" in incident.symptoms
    assert incident.severity_rank == 1


async def test_a_storm_of_alerts_is_one_incident_with_a_bounded_timeline() -> None:
    house = await house_with()
    storm = [signal(f"k{n}", labels=ORDERS) for n in range(300)]
    await house.hear(*storm)
    [incident] = await house.incidents()
    assert len(incident.symptoms) == ATTACHED_MAX + 1
    assert len(await house.events(incident)) == ATTACHED_MAX + 1
    await house.hear(*(signal(f"k{n}", resolved=True) for n in range(299)))
    [incident] = await house.incidents()
    assert list(incident.symptoms) == ["outside_alert:more"], "the last one still fires"
    await house.hear(signal("k299", resolved=True))
    [incident] = await house.incidents()
    assert not incident.symptoms
    assert len(await house.events(incident)) == 2 * (ATTACHED_MAX + 1)


async def test_a_worse_alert_raises_the_severity() -> None:
    house = await house_with()
    await house.hear(signal("a", severity="warning", labels=ORDERS))
    await house.hear(signal("a", severity="critical", labels=ORDERS))
    [incident] = await house.incidents()
    assert incident.severity_rank == 1
    told = ["incident.opened", "symptom.observed", "severity.set"]
    assert await house.events(incident) == told, "observed anew, as severe as it is now"


async def test_telling_again_after_a_crash_adds_nothing() -> None:
    house = await house_with()
    await house.hear(signal("a", labels=ORDERS))
    # As if the process had died between the event and the note that it was told.
    forgotten = "UPDATE signal SET told = NULL, incident_id = NULL, owed_us = 0"
    house.store.write(lambda tx: tx.conn.exec_driver_sql(forgotten))
    await house.tell()
    [incident] = await house.incidents()
    assert await house.events(incident) == ["incident.opened"]


async def test_late_news_of_what_healed_wakes_nobody_unless_it_goes_on() -> None:
    house = await house_with()
    await see_down(house)
    began = house.at
    await close(house)
    await house.hear(signal("a", labels=ORDERS, starts_at=began), after=30)
    [incident] = await house.incidents()
    assert incident.status is Status.RESOLVED
    await house.hear(signal("a", resolved=True), after=30)
    house.later(LATE_S)
    await house.tell()
    [incident] = await house.incidents()
    assert incident.status is Status.RESOLVED
    assert "symptom.observed" not in await house.events(incident)


async def test_late_news_that_goes_on_reopens_the_incident() -> None:
    house = await house_with()
    await see_down(house)
    began = house.at
    await close(house)
    await house.hear(signal("a", labels=ORDERS, starts_at=began), after=30)
    house.later(LATE_S)
    await house.tell()
    [incident] = await house.incidents()
    assert incident.status is Status.OPEN
    assert "outside_alert:prom:a" in incident.symptoms


async def test_what_a_person_closed_comes_back_only_after_a_while_and_only_when_repeated() -> None:
    house = await house_with()
    await house.hear(signal("a", labels=ORDERS))
    await close(house, by="ann", verified=False)
    await house.hear(signal("a", labels=ORDERS), after=60)
    await house.attaching.sweep()
    await house.tell()
    [incident] = await house.incidents()
    assert incident.status is Status.RESOLVED
    await house.hear(signal("a", labels=ORDERS), after=700)
    await house.attaching.sweep()
    await house.tell()
    assert [i.status.ended for i in await house.incidents()] == [True, False]


async def test_alerts_that_match_no_target_are_one_incident_of_the_responder() -> None:
    house = await house_with()
    await house.hear(signal("a", severity="critical"), signal("b", severity="high"))
    [incident] = await house.incidents()
    assert (incident.target, incident.title) == (ITSELF, "alerts that match no target")
    await house.hear(signal("a", resolved=True), signal("b", resolved=True))
    [incident] = await house.incidents()
    assert incident.status is Status.RESOLVED
    assert not incident.ended_verified, "nobody checked anything"


async def test_small_alerts_that_match_no_target_are_only_listed() -> None:
    house = await house_with()
    await house.hear(signal("a", severity="info"))
    assert await house.incidents() == []
    [row] = await house.rows.listed(firing_only=True, limit=9)
    assert (row.target, row.incident_id, row.owed_at) == (None, None, None)


async def test_a_source_may_have_its_unmatched_alerts_only_listed() -> None:
    quiet = SignalSource(name="prom", format="alertmanager", token_file="/t", unmatched="list")
    house = await house_with(Signals(sources=(quiet,)))
    await house.hear(signal("a", severity="critical"))
    assert await house.incidents() == []


async def test_a_route_that_is_added_moves_the_alert_with_its_next_repeat() -> None:
    house = await house_with()
    await house.hear(signal("a", severity="critical"))
    await house.hear(signal("a", severity="critical", labels=ORDERS))
    lost, found = await house.incidents()
    assert (lost.target, lost.status) == (ITSELF, Status.RESOLVED)
    assert (found.target, list(found.symptoms)) == ("orders", ["outside_alert:prom:a"])


async def test_an_unmatched_incident_is_not_taken_for_blindness_after_a_restart() -> None:
    house = await house_with()
    await house.hear(signal("a", severity="critical"))
    [incident] = await house.incidents()
    await house.watching.resume([incident])
    await see_down(house)
    assert [i.target for i in await house.incidents()] == [ITSELF, "orders"]


async def test_a_report_of_a_person_ends_only_by_a_person() -> None:
    house = await house_with()
    await house.hear(signal("a", reported=True, source="mail", labels={"about": "orders"}))
    [incident] = await house.incidents()
    assert list(incident.symptoms) == ["reported:mail:a"]
    answer = await house.house.operations.execute(
        {"command": "resolve", "incident": incident.id, "by": "ann", "reason": "called them"}
    )
    assert answer.ok, answer.text


async def test_nobody_is_woken_inside_a_maintenance_window() -> None:
    house = await house_with()
    await house.house.operations.execute(
        {"command": "maintenance", "target": "orders", "seconds": 600, "by": "ann"}
    )
    await house.hear(signal("a", severity="critical", labels=ORDERS))
    [incident] = await house.incidents()
    assert incident.page_held_until is not None


async def test_alerts_of_a_target_that_left_the_policy_are_not_lost() -> None:
    house = await house_with(targets=("billing",))
    await house.hear(signal("a", severity="critical", labels=ORDERS))
    [incident] = await house.incidents()
    assert incident.target == ITSELF


@pytest.mark.parametrize("resolve_after_s", [60.0])
async def test_an_alert_of_a_source_that_never_says_so_is_over_after_its_time(
    resolve_after_s: float,
) -> None:
    source = SignalSource(
        name="prom", format="posthog", token_file="/t", resolve_after_s=resolve_after_s
    )
    house = await house_with(Signals(sources=(source,), routes=SIGNALS.routes))
    await house.hear(signal("a", labels=ORDERS))
    house.later(61)
    await house.attaching.sweep()
    await house.tell()
    [incident] = await house.incidents()
    assert not incident.symptoms
    assert source.name == PROM.name
