"""Silences and maintenance: they hide what they name, for as long as they stand, and no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from clusters_at import PRIMARY, STANDBY, STOCK, ClusterHouse, cluster_house
from samplings import vitals
from signals_at import signal
from stanch.incident.state import Incident
from stanch.model import events as e
from stanch.model.errors import StanchError
from stanch.model.readings import Reading
from stanch.model.signals import Signal
from stanch.model.symptoms import SymptomKind
from stanch.policy.silences import Begin, PolicySilence
from stanch.service.people.views import headline, window_lines
from stanch.service.requests import Answer, BadRequest

HEALTH = "health_check_failing"


@pytest.fixture
async def house() -> ClusterHouse:
    return await cluster_house()


async def ask(house: ClusterHouse, command: str, **parts: object) -> Answer:
    request = {"command": command, "target": PRIMARY, "by": "ann", "reason": "known"}
    return await house.house.operations.execute({**request, "seconds": 3600, **parts})


async def silence(house: ClusterHouse, rule: object = HEALTH, **parts: object) -> Answer:
    return await ask(house, "silence", rule=rule, **parts)


def paged_for(house: ClusterHouse, incidents: Sequence[Incident]) -> list[str]:
    return [key for i in incidents if house.pages_due(i) for key in i.symptoms]


async def test_nobody_is_paged_for_a_silenced_rule_until_its_silence_ends_by_itself(
    house: ClusterHouse,
) -> None:
    await silence(house)
    await house.fails(PRIMARY, "checkout")
    [incident] = await house.incidents()
    assert house.pages_due(incident) == []
    house.later(3600)
    [incident] = await house.incidents()
    assert paged_for(house, [incident]) == ["health_check_failing:checkout"]


async def test_what_cleared_within_the_silence_pages_nobody_when_it_ends(
    house: ClusterHouse,
) -> None:
    await silence(house)
    await house.fails(PRIMARY, "checkout")
    await house.recovers(PRIMARY, "checkout")
    house.later(3600)
    assert paged_for(house, await house.incidents()) == []


async def test_a_worse_symptom_pages_during_the_silence_of_a_lesser_one(
    house: ClusterHouse,
) -> None:
    await silence(house)
    await house.fails(PRIMARY, "checkout")
    await house.see(PRIMARY, down=True, failing=("checkout",))
    assert paged_for(house, await house.incidents()) == ["server_down"]


async def test_a_silenced_rule_on_another_target_pages(house: ClusterHouse) -> None:
    await silence(house)
    await house.fails(STOCK, "till")
    assert paged_for(house, await house.incidents()) == ["health_check_failing:till"]


async def test_a_silenced_symptom_neither_joins_nor_worsens_what_pages(
    house: ClusterHouse,
) -> None:
    await silence(house, "server_down")
    await house.fails(PRIMARY, "checkout")
    await house.see(PRIMARY, down=True, failing=("checkout",))
    [health, down] = await house.incidents()
    assert (health.severity_rank, list(down.symptoms)) == (2, ["server_down"])
    assert paged_for(house, [health, down]) == ["health_check_failing:checkout"]
    house.later(3600)
    assert len(paged_for(house, await house.incidents())) == 2, "told at once, at its own rank"


async def test_an_effect_is_told_by_itself_where_its_cause_is_silenced(house: ClusterHouse) -> None:
    await silence(house, "server_down")
    await house.see(PRIMARY, down=True)
    await house.fails(STANDBY, "checkout")
    await house.hear(signal("a", labels={"target": "orders-2"}, severity="P0"))
    [down, told] = await house.incidents()
    assert (down.attached, told.target, told.severity_rank) == ({}, STANDBY, 1)
    assert "health_check_failing:checkout" in paged_for(house, [down, told])


async def test_what_pages_does_not_merge_into_what_is_silenced(house: ClusterHouse) -> None:
    await silence(house, "server_down")
    await house.fails(STANDBY, "checkout")
    await house.see(PRIMARY, down=True)
    assert paged_for(house, await house.incidents()) == ["health_check_failing:checkout"]


async def test_an_effect_leaves_a_cause_that_is_silenced_later(house: ClusterHouse) -> None:
    await house.see(PRIMARY, down=True)
    await house.fails(STANDBY, "checkout")
    await silence(house, "server_down")
    await house.fails(STANDBY, "checkout")
    assert paged_for(house, await house.incidents()) == ["health_check_failing:checkout"]


async def test_an_alert_leaves_a_cause_that_is_silenced_later(house: ClusterHouse) -> None:
    await house.see(PRIMARY, down=True)
    await house.hear(signal("a", labels={"target": "orders-2"}))
    await house.sweep()
    [down] = await house.incidents()
    assert list(down.attached) == ["outside_alert:prom:a"], "it is heard of there"
    await silence(house)
    await house.sweep()
    assert len(await house.incidents()) == 1, "a silence of something else changes nothing"
    await silence(house, "server_down")
    await house.sweep()
    [down, told] = await house.incidents()
    assert (down.attached, told.target) == ({}, STANDBY)
    assert paged_for(house, [down, told]) == ["outside_alert:prom:a"]
    before = await house.events(down)
    await house.sweep()
    assert await house.events(down) == before, "and once"


async def test_an_alert_that_comes_after_the_silence_of_its_cause_is_told_with_it(
    house: ClusterHouse,
) -> None:
    await silence(house, "server_down")
    await house.see(PRIMARY, down=True)
    house.later(3600)
    await house.hear(signal("a", labels={"target": "orders-2"}))
    [down] = await house.incidents()
    assert (list(down.attached), len(house.pages_due(down))) == (["outside_alert:prom:a"], 1)


@pytest.mark.parametrize("command", ["silence", "maintenance"])
async def test_a_standby_that_is_down_too_is_not_hidden_by_what_holds_its_primary(
    house: ClusterHouse, command: str
) -> None:
    await house.says(STANDBY, vitals(in_recovery=True))
    await ask(house, command, rule="server_down")
    await house.see(PRIMARY, down=True)
    await house.see(STANDBY, down=True)
    [primary, standby] = await house.incidents()
    assert (house.pages_due(primary), len(house.pages_due(standby))) == ([], 1)


async def test_what_a_cluster_suffers_from_work_on_its_primary_pages_nobody(
    house: ClusterHouse,
) -> None:
    await ask(house, "maintenance")
    await house.see(PRIMARY, down=True)
    await house.fails(STANDBY, "checkout")
    [incident] = await house.incidents()
    assert (house.pages_due(incident), len(incident.attached)) == ([], 1)


async def test_an_alert_from_outside_is_not_hidden_by_a_silence(house: ClusterHouse) -> None:
    await silence(house)
    await house.fails(PRIMARY, "checkout")
    await house.hear(signal("a", labels={"target": "orders-1"}))
    assert paged_for(house, await house.incidents()) == ["outside_alert:prom:a"]


async def test_silenced_alerts_from_outside_page_nobody(house: ClusterHouse) -> None:
    await silence(house, "outside_alert", subject="prom:a")
    await house.hear(signal("a", labels={"target": "orders-1"}))
    assert paged_for(house, await house.incidents()) == []
    await house.hear(signal("b", labels={"target": "orders-1"}, severity="P0"))
    assert paged_for(house, await house.incidents()) == ["outside_alert:prom:b"]


CRITICAL, WARNING, NOTICE = "P0", "P1", "P2"


def alert(severity: str) -> Signal:
    return signal("a", labels={"target": "orders-1"}, severity=severity)


async def test_a_silenced_alert_from_outside_that_gets_worse_pages(house: ClusterHouse) -> None:
    await house.hear(alert(NOTICE))
    await silence(house, "outside_alert", subject="prom:a")
    await house.hear(alert(WARNING), after=60)
    [incident] = await house.incidents()
    assert (incident.severity_rank, len(house.pages_due(incident))) == (2, 1)
    await house.hear(alert(CRITICAL), after=60)
    [incident] = await house.incidents()
    assert (incident.severity_rank, len(house.pages_due(incident))) == (1, 1)


async def test_a_silenced_alert_that_only_says_so_again_or_gets_milder_pages_nobody(
    house: ClusterHouse,
) -> None:
    await house.hear(alert(WARNING))
    await silence(house, "outside_alert", subject="prom:a")
    for severity in (WARNING, NOTICE, WARNING):
        await house.hear(alert(severity), after=60)
    assert paged_for(house, await house.incidents()) == []


async def test_a_silence_says_how_severe_it_may_get(house: ClusterHouse) -> None:
    answer = await silence(house, "outside_alert", subject="prom:a", severity="P0")
    assert "orders-1 until" in answer.text
    await house.hear(alert(WARNING))
    await house.hear(alert(CRITICAL), after=60)
    assert paged_for(house, await house.incidents()) == []
    answer = await silence(house, "outside_alert", subject="prom:a", severity="P1")
    assert "up to P1" in answer.text
    assert paged_for(house, await house.incidents()) == ["outside_alert:prom:a"]


async def test_a_window_of_the_policy_holds_an_alert_until_it_gets_worse(
    house: ClusterHouse,
) -> None:
    mine = known(house, rules=("outside_alert",), subjects=("prom:a",))
    adopt(house, mine)
    await house.hear(alert(WARNING))
    assert paged_for(house, await house.incidents()) == []
    await house.hear(alert(CRITICAL), after=60)
    assert paged_for(house, await house.incidents()) == ["outside_alert:prom:a"]
    adopt(house, replace(mine, up_to=1))
    await house.watching.let_go()
    assert paged_for(house, await house.incidents()) == []


@pytest.mark.parametrize("how", ["policy", "command"])
async def test_the_silence_of_a_standby_does_not_hold_a_primary_down(
    house: ClusterHouse, how: str
) -> None:
    await house.says(STANDBY, vitals(in_recovery=True))
    if how == "policy":
        adopt(house, known(house, rules=("server_down",), targets=(STANDBY,)))
    else:
        # As it was seen to stream.
        follows = e.TopologyLearned(target=STANDBY, upstream=PRIMARY, cluster="7")
        house.house.standing.apply(follows)
        await silence(house, "server_down", target=STANDBY)
    await house.see(STANDBY, down=True)
    assert paged_for(house, await house.incidents()) == [], "a standby down is what it is for"
    for _ in range(10):
        await house.see(STANDBY)
    await house.says(STANDBY, vitals(in_recovery=False))
    await house.see(STANDBY, down=True)
    assert paged_for(house, await house.incidents()) == ["server_down"]


async def test_a_window_may_say_that_it_holds_a_primary_down(house: ClusterHouse) -> None:
    adopt(house, known(house, rules=("server_down",), up_to=1))
    await house.see(PRIMARY, down=True)
    assert paged_for(house, await house.incidents()) == []


async def test_a_silence_that_would_never_hold_what_it_names_is_refused(
    house: ClusterHouse,
) -> None:
    for rule in (HEALTH, "server_down"):
        with pytest.raises(BadRequest, match=f"{rule} of {PRIMARY} is never milder than P[01]"):
            await silence(house, rule, severity="P3")
    assert (await silence(house, "outside_alert", subject="prom:a", severity="P3")).ok


async def test_a_silence_that_is_ended_early_lets_the_page_go(house: ClusterHouse) -> None:
    await silence(house)
    await house.fails(PRIMARY, "checkout")
    answer = await silence(house, end=True)
    assert answer.ok
    assert paged_for(house, await house.incidents()) == ["health_check_failing:checkout"]


async def test_a_silence_begun_later_holds_what_stands_and_nobody_was_paged_for(
    house: ClusterHouse,
) -> None:
    await house.fails(PRIMARY, "checkout")
    await silence(house)
    assert paged_for(house, await house.incidents()) == []


async def test_what_was_paged_for_before_goes_on_until_it_is_taken(house: ClusterHouse) -> None:
    await house.fails(PRIMARY, "checkout")
    [incident] = await house.incidents()
    await house.page(incident)
    answer = await silence(house)
    assert incident.id in answer.text
    house.later(900)
    assert len(paged_for(house, await house.incidents())) == 1


@pytest.mark.parametrize(("silent_s", "worked_on_s"), [(3600, 600), (600, 3600)])
async def test_of_overlapping_windows_the_last_end_counts(
    house: ClusterHouse, silent_s: float, worked_on_s: float
) -> None:
    await silence(house, seconds=silent_s)
    await ask(house, "maintenance", seconds=worked_on_s)
    await house.fails(PRIMARY, "checkout")
    house.later(1800)
    assert paged_for(house, await house.incidents()) == []
    house.later(1800)
    assert len(paged_for(house, await house.incidents())) == 1


async def test_ending_maintenance_early_leaves_a_silence_in_force(house: ClusterHouse) -> None:
    await silence(house)
    await ask(house, "maintenance")
    await house.fails(PRIMARY, "checkout")
    await ask(house, "maintenance", end=True)
    assert paged_for(house, await house.incidents()) == []


async def test_a_silence_set_again_moves_its_end(house: ClusterHouse) -> None:
    await silence(house)
    await house.fails(PRIMARY, "checkout")
    await silence(house, seconds=60)
    house.later(60)
    assert len(paged_for(house, await house.incidents())) == 1


async def test_a_silence_stands_and_ends_across_a_restart(house: ClusterHouse) -> None:
    await silence(house)
    await house.restart()
    await house.fails(PRIMARY, "checkout")
    assert paged_for(house, await house.incidents()) == []
    await house.restart()
    house.later(3600)
    assert len(paged_for(house, await house.incidents())) == 1


async def test_what_comes_back_after_its_silence_pages(house: ClusterHouse) -> None:
    await silence(house, seconds=60)
    await house.fails(PRIMARY, "checkout")
    [incident] = await house.incidents()
    await house.recovers(PRIMARY, "checkout")
    await house.resolve(incident)
    house.later(60)
    await house.fails(PRIMARY, "checkout")
    assert len(paged_for(house, await house.incidents())) == 1


async def test_two_timelines_of_one_cause_are_not_both_silent_once_they_are_joined(
    house: ClusterHouse,
) -> None:
    await silence(house)
    await house.fails(PRIMARY, "checkout")
    [incident] = await house.incidents()
    await house.see(PRIMARY, down=True, failing=("checkout",))
    [_, down] = await house.incidents()
    # As a merge of same stories does it: the older one takes over what stands.
    await house.watching.together.attach(incident, down.symptoms["server_down"])
    [joined, _] = await house.incidents()
    assert house.pages_due(joined)


# --- one subject of a rule, and silences of the policy ---


def known(house: ClusterHouse, *, hours: float = 1.0, **more: Any) -> PolicySilence:
    """A silence that has begun now."""
    begin = Begin(on=house.at.date(), at=house.at.time().replace(second=0, microsecond=0))
    plain = PolicySilence(
        name="import", reason="known", rules=(HEALTH,), begin=begin, length_s=hours * 3600
    )
    return replace(plain, **more)


def adopt(house: ClusterHouse, *silences: PolicySilence) -> None:
    house.adopt(replace(house.policies.current, silences=silences))


async def test_a_silence_of_one_subject_holds_that_one_and_no_other(house: ClusterHouse) -> None:
    answer = await silence(house, subject="checkout")
    assert "health_check_failing of checkout" in answer.text
    await house.fails(PRIMARY, "checkout")
    assert paged_for(house, await house.incidents()) == []
    await house.fails(PRIMARY, "checkout", "till")
    assert paged_for(house, await house.incidents()) == ["health_check_failing:till"]
    await silence(house, subject="checkout", end=True)
    assert len(paged_for(house, await house.incidents())) == 2


async def test_ending_the_silence_of_one_subject_leaves_that_of_the_rule(
    house: ClusterHouse,
) -> None:
    await silence(house)
    await silence(house, subject="checkout")
    await house.fails(PRIMARY, "checkout")
    answer = await silence(house, subject="checkout", end=True)
    assert "still silenced by ann" in answer.text
    assert paged_for(house, await house.incidents()) == []


async def test_nobody_is_paged_in_a_window_of_the_policy_and_at_once_when_it_ends(
    house: ClusterHouse,
) -> None:
    adopt(house, known(house))
    await house.fails(PRIMARY, "checkout")
    await house.fails(STOCK, "till")
    assert paged_for(house, await house.incidents()) == []
    await house.restart()
    await house.watching.let_go()
    assert paged_for(house, await house.incidents()) == []
    house.later(3600)
    assert len(paged_for(house, await house.incidents())) == 2


async def test_a_worse_symptom_pages_in_a_window_of_the_policy(house: ClusterHouse) -> None:
    adopt(house, known(house, targets=(PRIMARY,)))
    await house.fails(PRIMARY, "checkout")
    await house.fails(STOCK, "till")
    await house.see(PRIMARY, down=True, failing=("checkout",))
    told = paged_for(house, await house.incidents())
    assert told == ["health_check_failing:till", "server_down"]


async def test_a_window_that_opens_holds_what_nobody_was_paged_for(house: ClusterHouse) -> None:
    await house.fails(PRIMARY, "checkout")
    await house.fails(STOCK, "till")
    [_, stock] = await house.incidents()
    await house.page(stock)
    adopt(house, known(house))
    await house.watching.let_go()
    assert paged_for(house, await house.incidents()) == []
    house.later(900)
    assert paged_for(house, await house.incidents()) == ["health_check_failing:till"]


@pytest.mark.parametrize("hours", [0.0, 0.5])
async def test_a_silence_taken_out_of_the_policy_or_shortened_lets_the_page_go(
    house: ClusterHouse, hours: float
) -> None:
    whole = known(house)
    adopt(house, whole)
    await house.fails(PRIMARY, "checkout")
    adopt(house, *([replace(whole, length_s=hours * 3600)] if hours else []))
    await house.watching.let_go()
    assert len(paged_for(house, await house.incidents())) == (hours == 0)
    house.later(1800)
    assert len(paged_for(house, await house.incidents())) == 1


async def test_a_command_that_ends_leaves_the_window_of_the_policy_in_force(
    house: ClusterHouse,
) -> None:
    adopt(house, known(house))
    await silence(house, seconds=7200)
    await house.fails(PRIMARY, "checkout")
    answer = await silence(house, end=True)
    assert "still silenced by the policy (import)" in answer.text
    assert paged_for(house, await house.incidents()) == []
    house.later(3600)
    assert len(paged_for(house, await house.incidents())) == 1


OTHER = Reading(name="other_cluster", value=1.0, detail="7294712345678901234")


async def test_another_cluster_in_the_place_of_one_that_is_worked_on_pages_at_once(
    house: ClusterHouse,
) -> None:
    await ask(house, "maintenance")
    await house.see(PRIMARY, down=True)
    assert paged_for(house, await house.incidents()) == []
    await house.tells(PRIMARY, OTHER)
    assert "other_cluster" in paged_for(house, await house.incidents())
    assert [headline(i, house.at)["held_until"] for i in await house.incidents()] == [None]


async def test_what_may_cost_data_and_was_open_before_is_not_held_by_planned_work(
    house: ClusterHouse,
) -> None:
    await house.tells(PRIMARY, OTHER)
    await ask(house, "maintenance")
    [incident] = await house.incidents()
    assert (incident.page_held_until, paged_for(house, [incident])) == (None, ["other_cluster"])


async def test_windows_of_both_kinds_are_listed_with_their_source(house: ClusterHouse) -> None:
    adopt(house, known(house, subjects=("till",)), replace(known(house), name="old", length_s=1))
    await silence(house, subject="checkout", seconds=60)
    house.later(2)
    windows = house.house.standing.windows(house.at)
    lines = window_lines(windows, house.policies.current, house.at)
    told = [
        (ln["source"], ln["name"] or ln["by"], ln["subjects"], bool(ln["until"])) for ln in lines
    ]
    assert told == [
        ("command", "ann", ["checkout"], True),
        ("policy", "import", ["till"], True),
        ("policy", "old", [], False),
    ]


async def test_windows_are_listed_while_they_stand_and_incidents_say_until_when(
    house: ClusterHouse,
) -> None:
    await silence(house)
    await ask(house, "maintenance", target=STOCK, seconds=60)
    await house.fails(PRIMARY, "checkout")
    [stock, health] = house.house.standing.windows(house.at)
    assert (stock.target, health.target) == (STOCK, PRIMARY)
    assert house.house.standing.windows(house.at + timedelta(hours=1)) == []
    [incident] = await house.incidents()
    assert headline(incident, house.at)["held_until"] is not None
    assert headline(incident, house.at + timedelta(hours=1))["held_until"] is None


@pytest.mark.parametrize(
    "parts",
    [
        {"rule": ""},
        {"rule": "disk_lwo"},
        {"rule": "blind"},
        {"rule": "reported"},
        {"rule": "outside_alert"},
        {"target": "nowhere"},
        {"reason": ""},
        {"seconds": 0},
        {"seconds": 31 * 86_400},
    ],
)
async def test_a_silence_that_makes_no_sense_is_refused_and_changes_nothing(
    house: ClusterHouse, parts: dict[str, object]
) -> None:
    before = house.house.store.heads()
    with pytest.raises(BadRequest):
        await silence(house, **parts)
    assert house.house.store.heads() == before


async def test_a_misspelt_rule_is_answered_with_its_neighbour(house: ClusterHouse) -> None:
    with pytest.raises(StanchError) as refused:
        await silence(house, "disk_lwo")
    assert SymptomKind.DISK_LOW in refused.value.hint
