"""Every end arrives, also where no sample will ever bring it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from clusters_at import PRIMARY, STANDBY, ClusterHouse, cluster_house
from samplings import TARGET
from signals_at import signal
from stanch.detect.tracker import Track
from stanch.incident.state import Incident, Status
from stanch.model.events import SymptomCleared
from stanch.model.ids import ITSELF, PersonId
from stanch.model.readings import Reading
from stanch.model.rules import RuleChange
from stanch.policy.backups import Backups
from stanch.policy.log_stores import LokiErrors
from stanch.policy.policy import Policy
from stanch.policy.signals import SignalSource
from stanch.policy.signs import ConsolePools, HealthCheck, PrometheusSigns
from stanch.service.doing.endings import NOT_ASKED, no_longer_asked


@pytest.fixture
async def house() -> ClusterHouse:
    return await cluster_house()


def without(policy: Policy, target: str) -> Policy:
    return replace(policy, targets=tuple(t for t in policy.targets if t.name != target))


async def only(house: ClusterHouse) -> Incident:
    [incident] = await house.incidents()
    return incident


async def test_what_stood_on_a_target_that_left_the_policy_is_closed_without_proof(
    house: ClusterHouse,
) -> None:
    await house.see(PRIMARY, down=True)
    house.adopt(without(house.policies.current, PRIMARY))
    await house.watching.let_go()
    incident = await only(house)
    assert (incident.status, incident.ended_verified) == (Status.RESOLVED, False)
    assert not incident.everything


async def test_it_is_closed_as_well_when_the_target_left_while_nobody_ran(
    house: ClusterHouse,
) -> None:
    await house.see(PRIMARY, down=True)
    house.adopt(without(house.policies.current, PRIMARY))
    await house.restart()
    await house.watching.let_go()
    assert (await only(house)).status is Status.RESOLVED


async def test_what_stands_on_watched_targets_and_on_ourselves_is_left_alone(
    house: ClusterHouse,
) -> None:
    await house.see(PRIMARY, down=True)
    await house.hear(signal("a", labels={"service": "unknown"}))
    await house.watching.let_go()
    assert [i.target for i in await house.open_ones()] == [PRIMARY, ITSELF]


async def test_what_a_person_declared_waits_for_a_person(house: ClusterHouse) -> None:
    await house.house.operations.execute(
        {"command": "declare", "title": "odd", "target": PRIMARY, "by": "ann"}
    )
    assert (await only(house)).declared_by == PersonId("ann")
    house.adopt(without(house.policies.current, PRIMARY))
    await house.watching.let_go()
    assert (await only(house)).status is Status.OPEN


async def test_a_target_that_comes_back_still_broken_is_told_again(house: ClusterHouse) -> None:
    everything = house.policies.current
    await house.see(PRIMARY, down=True)
    house.adopt(without(everything, PRIMARY))
    await house.watching.let_go()
    house.adopt(everything)
    await house.see(PRIMARY, down=True)
    assert [i.target for i in await house.open_ones()] == [PRIMARY]


async def test_effects_of_a_target_that_left_the_policy_leave_their_cause(
    house: ClusterHouse,
) -> None:
    await house.see(PRIMARY, down=True)
    await house.fails(STANDBY, "checkout")
    house.adopt(without(house.policies.current, STANDBY))
    await house.watching.let_go()
    incident = await only(house)
    assert (list(incident.symptoms), list(incident.attached)) == (["server_down"], [])


async def test_a_symptom_whose_rule_is_switched_off_is_over(house: ClusterHouse) -> None:
    await house.fails(PRIMARY, "checkout")
    off = RuleChange(kind="health_check_failing", off=True)
    policy = house.policies.current
    targets = tuple(replace(t, rules={"health_check_failing": off}) for t in policy.targets)
    house.adopt(replace(policy, targets=targets))
    await house.see(PRIMARY, failing=("checkout",))
    assert not (await only(house)).symptoms


SHOP = HealthCheck(name="checkout", url="http://shop.example.com/health")
BOUNCER = ConsolePools(name="bouncer", dsn="service=bouncer")
BOARD = PrometheusSigns(name="checkout", url="http://prometheus.example.com")


def asking(policy: Policy, **sources: Any) -> Policy:
    """Every target has these services, pools and signs, and no other."""
    return replace(policy, targets=tuple(replace(t, **sources) for t in policy.targets))


@pytest.mark.parametrize(
    ("reading", "stays", "left"),
    [
        (Reading(name="health_check_ok", subject="checkout", value=0.0), "services", SHOP),
        (Reading(name="error_rate_pct", subject="checkout", value=50.0), "signs", BOARD),
        (Reading(name="pool_waiting", subject="bouncer/shop/app", value=50.0), "pools", BOUNCER),
        (
            Reading(name="health_check_ok", subject="pool source bouncer", value=0.0),
            "pools",
            BOUNCER,
        ),
        (Reading(name="backup_age_s", subject="/var/backups", value=1e7), "backups", None),
    ],
    ids=lambda v: v.name + ":" + v.subject if isinstance(v, Reading) else "",
)
async def test_what_stands_of_a_source_that_left_the_policy_is_over_and_says_why(
    house: ClusterHouse, reading: Reading, stays: str, left: object
) -> None:
    whole = Backups(dumps="/var/backups") if left is None else (left,)
    house.adopt(asking(house.policies.current, **{stays: whole}))
    for _ in range(12):
        await house.tells(PRIMARY, reading, after=60)
    [stands] = (await only(house)).symptoms
    await house.restart()
    for _ in range(12):
        await house.see(PRIMARY)
    assert list((await only(house)).symptoms) == [stands], "who is merely silent is not over"
    nothing = Backups() if left is None else ()
    house.adopt(asking(house.policies.current, **{stays: nothing}))
    await house.see(PRIMARY)
    incident = await only(house)
    assert not incident.symptoms
    _, timeline = await house.house.operations.timeline(incident.id)
    details = [r.event.detail for r in timeline if isinstance(r.event, SymptomCleared)]
    assert details == ["it is no longer in the policy: nobody asks it"]


async def test_an_incident_in_which_a_step_is_under_way_outlives_its_target_in_the_policy(
    house: ClusterHouse,
) -> None:
    await house.see(PRIMARY, down=True)
    house.adopt(without(house.policies.current, PRIMARY))
    with house.under_way.step(PRIMARY):
        await house.watching.let_go()
        assert (await only(house)).status is Status.OPEN
    await house.watching.let_go()
    assert (await only(house)).status is Status.RESOLVED


async def test_what_cleared_while_nobody_ran_clears_with_the_first_good_looks(
    house: ClusterHouse,
) -> None:
    await house.fails(PRIMARY, "checkout")
    await house.restart()
    await house.recovers(PRIMARY, "checkout")
    assert not (await only(house)).symptoms


async def test_what_cleared_while_the_store_was_away_clears_once_it_is_back(
    house: ClusterHouse,
) -> None:
    await house.see(PRIMARY, down=True)
    await house.fails(STANDBY, "checkout")
    with house.no_store():
        await house.recovers(STANDBY, "checkout")
        await house.watching.let_go()
    assert (await only(house)).attached
    await house.recovers(STANDBY, "checkout")
    assert not (await only(house)).attached


async def test_an_alert_whose_source_forgets_to_say_so_is_over_after_its_time(
    house: ClusterHouse,
) -> None:
    forgetful = SignalSource(
        name="prom", format="alertmanager", token_file="/nowhere", resolve_after_s=300
    )
    policy = house.policies.current
    house.adopt(replace(policy, signals=replace(policy.signals, sources=(forgetful,))))
    await house.see(PRIMARY, down=True)
    await house.hear(signal("a", labels={"target": STANDBY}))
    house.later(299)
    await house.sweep()
    assert (await only(house)).attached
    house.later(2)
    await house.sweep()
    assert not (await only(house)).attached


def test_errors_in_a_log_that_is_no_longer_asked_about_are_over() -> None:
    stands = {"log_errors:shop": Track(standing=True)}
    shop = LokiErrors(name="shop", url="http://loki.example.com", query="{}")
    assert list(no_longer_asked(replace(TARGET, log_errors=(shop,)), stands)) == []
    [over] = no_longer_asked(TARGET, stands)
    assert (over.key, over.bad, over.detail) == ("log_errors:shop", False, NOT_ASKED)
