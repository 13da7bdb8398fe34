"""What changes the longer an incident lasts: who decides, who is asked, what is prepared."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import pytest

from sim.test_people import DAY_S, asked, declared, lost_pid_without_a_note, pages, played
from sim.truths import STORIES, check_everything
from stanch.incident.state import Status
from stanch.model import events as e
from stanch.model.messages import MessageKind
from stanch.model.plans import Mode
from stanch.policy.levels import Level
from stanch.policy.policy import ACTIONS, TargetPolicy
from stanch.testing.simulation import ANN, BO, Simulation, sim_target
from stanch.testing.virtual_time import VirtualLoop

pytestmark = pytest.mark.sim

Kind = TypeVar("Kind", bound=e.Event)

SENIOR = Level(name="senior", from_s=900.0, page=(BO,))
VENDOR = Level(name="vendor", from_s=1800.0, page=(BO,), says="Call the vendor.")


def with_levels(*levels: Level) -> TargetPolicy:
    return replace(sim_target("orders"), levels=levels)


def told(sim: Simulation, kind: type[Kind]) -> list[Kind]:
    events = [r.event for r in sim.timeline(sim.incident_ids()[0])]
    return [event for event in events if isinstance(event, kind)]


def names(sim: Simulation) -> Sequence[str]:
    return [event.name for event in told(sim, e.LevelReached)]


def test_a_level_pages_whom_it_names_although_somebody_has_taken_the_incident() -> None:
    async def script(sim: Simulation) -> None:
        await asyncio.sleep(1.5)
        await declared(sim)
        await asyncio.sleep(60)
        await asked(sim, "ack")
        await asyncio.sleep(2400)
        await asked(sim, "resolve", unverified=True, reason="found them")

    target = with_levels(SENIOR, VENDOR)
    sim = played(script, deadline_s=DAY_S, watched=False, target=target)
    assert names(sim) == ["senior", "vendor"]
    [first, senior, vendor] = pages(sim)
    assert (first[1], senior[1], vendor[1]) == (ANN, BO, BO)
    assert senior[0] - first[0] == pytest.approx(900, abs=1.0)
    assert vendor[0] - first[0] == pytest.approx(1800, abs=1.0)
    bodies = [m.body for _, m, _ in sim.mail.taken if m.kind is MessageKind.PAGE]
    assert ["Call the vendor." in body for body in bodies] == [False, False, True]
    check_everything(sim)


def test_what_was_rescued_before_reaches_no_level() -> None:
    async def script(sim: Simulation) -> None:
        await asyncio.sleep(1.5)
        server = lost_pid_without_a_note(sim)
        await asyncio.sleep(800)
        server.come_back_by_itself()
        await asyncio.sleep(300)

    sim = played(script, deadline_s=DAY_S, target=with_levels(SENIOR))
    assert told(sim, e.IncidentRescued)
    assert names(sim) == []


def test_levels_that_nobody_was_there_to_reach_are_one_that_pages_everybody_they_name() -> None:
    async def script(sim: Simulation) -> None:
        await asyncio.sleep(1.5)
        await declared(sim)
        await asyncio.sleep(60)
        await asked(sim, "ack")
        assert sim.now is not None
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        sim.now.life.kill()
        loop.jump(3600)
        await asyncio.sleep(60)
        await asked(sim, "resolve", unverified=True, reason="found them")

    target = with_levels(replace(SENIOR, page=(ANN,)), VENDOR)
    sim = played(script, deadline_s=DAY_S, watched=False, target=target)
    [reached] = told(sim, e.LevelReached)
    assert (reached.name, reached.page) == ("vendor", (ANN, BO))
    assert sorted(who for _, who in pages(sim)[1:]) == [ANN, BO]
    check_everything(sim)


def test_small_matters_have_no_levels() -> None:
    async def script(sim: Simulation) -> None:
        await asyncio.sleep(1.5)
        assert sim.now is not None
        request = {"command": "declare", "title": "slow", "target": "orders", "by": "ann"}
        answer = await sim.now.house.operations.execute({**request, "severity": "P3"})
        assert answer.ok
        await asyncio.sleep(2400)
        await asked(sim, "resolve", unverified=True, reason="found them")

    sim = played(script, deadline_s=DAY_S, watched=False, target=with_levels(SENIOR))
    assert names(sim) == []


PEOPLE = Level(name="people", from_s=300.0, act=())


def test_a_plan_that_had_not_begun_when_the_level_came_waits_for_a_person() -> None:
    async def script(sim: Simulation) -> None:
        await asyncio.sleep(1.5)
        await asked_of_all(sim, "halt")
        sim.servers["orders"].kill()
        await asyncio.sleep(400)
        await asked_of_all(sim, "halt", lift=True)
        await asyncio.sleep(30)
        assert sim.servers["orders"].done("start") == 0
        sim.servers["orders"].mend_by_hand()

    sim = played(script, deadline_s=DAY_S, target=with_levels(PEOPLE))
    [reached] = told(sim, e.LevelReached)
    assert reached.asks
    first, second = told(sim, e.PlanProposed)[:2]
    assert (first.plan.mode, second.plan.mode) == (Mode.ACT, Mode.ADVISE)
    assert second.plan.asks_because == "level people has begun, in which a person decides"
    check_everything(sim)


async def asked_of_all(sim: Simulation, command: str, **more: object) -> None:
    assert sim.now is not None
    request = {"command": command, "by": "ann", "reason": "a test", **more}
    answer = await sim.now.house.operations.execute(request)
    assert answer.ok, answer.text


def test_before_the_level_it_acts_by_itself() -> None:
    async def script(sim: Simulation) -> None:
        await asyncio.sleep(1.5)
        sim.servers["orders"].kill()
        await asyncio.sleep(30)

    sim = played(script, deadline_s=DAY_S, target=with_levels(PEOPLE))
    assert sim.servers["orders"].done("start") == 1
    assert names(sim) == []
    check_everything(sim)


@pytest.mark.parametrize(("left", "starts"), [(("start_server",), 1), (("free_space",), 0)])
def test_a_first_level_says_what_runs_by_itself(left: tuple[str, ...], starts: int) -> None:
    async def script(sim: Simulation) -> None:
        await asyncio.sleep(1.5)
        sim.servers["orders"].kill()
        await asyncio.sleep(30)
        assert sim.servers["orders"].done("start") == starts
        if not starts:
            sim.servers["orders"].mend_by_hand()

    sim = played(script, deadline_s=DAY_S, target=with_levels(Level(name="first", act=left)))
    check_everything(sim)


def asks(sim_levels: Sequence[Level]) -> TargetPolicy:
    return replace(
        with_levels(*sim_levels),
        actions=dict.fromkeys(ACTIONS, Mode.ADVISE),
        approve_within_s=60.0,
    )


def test_a_level_prepares_the_plan_it_names_and_it_runs_once_approved() -> None:
    async def script(sim: Simulation) -> None:
        await asyncio.sleep(1.5)
        sim.servers["orders"].kill()
        await asyncio.sleep(330)
        assert sim.now is not None
        one = await sim.now.house.book.get(sim.incident_ids()[0])
        assert one.plan is not None
        assert one.plan.plan.asked_by == "level prepared"
        assert sim.servers["orders"].done("start") == 0
        await asked(sim, "approve", digest=one.plan.plan.digest)
        await asyncio.sleep(30)

    prepared = Level(name="prepared", from_s=300.0, propose="start-server")
    sim = played(script, deadline_s=DAY_S, target=asks([prepared]))
    assert sim.servers["orders"].done("start") == 1
    check_everything(sim)


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ("blocking-chain", "blocking-chain answers none of the causes found"),
        ("no-such", "there is no no-such"),
    ],
)
def test_a_level_whose_runbook_cannot_be_planned_says_why(wanted: str, why: str) -> None:
    async def script(sim: Simulation) -> None:
        await asyncio.sleep(1.5)
        sim.servers["orders"].kill()
        await asyncio.sleep(330)
        sim.servers["orders"].mend_by_hand()

    level = Level(name="prepared", from_s=300.0, propose=wanted)
    sim = played(script, deadline_s=DAY_S, target=asks([level]))
    reasons = [w.refusal.reason for w in told(sim, e.PlanWithheld)]
    assert f"level prepared wants a plan of {wanted}, but {why}" in reasons


def test_a_relapse_begins_the_levels_anew() -> None:
    async def script(sim: Simulation) -> None:
        await asyncio.sleep(1.5)
        server = lost_pid_without_a_note(sim)
        await asyncio.sleep(1000)
        server.come_back_by_itself()
        assert sim.now is not None
        while (await sim.now.house.book.get(sim.incident_ids()[0])).status is not Status.RESCUED:
            await asyncio.sleep(0.1)
        lost_pid_without_a_note(sim)
        await asyncio.sleep(800)
        assert names(sim) == ["senior"]
        await asyncio.sleep(200)
        server.come_back_by_itself()

    target = with_levels(SENIOR)
    rescue = replace(target.rescue, resolve_after_s=60.0)
    sim = played(script, deadline_s=DAY_S, target=replace(target, rescue=rescue))
    assert names(sim) == ["senior", "senior"]


@pytest.mark.parametrize("story", sorted(STORIES))
def test_every_story_ends_as_well_with_levels_as_without(story: str) -> None:
    async def script(sim: Simulation) -> None:
        await asyncio.sleep(1.5)
        STORIES[story](sim.servers["orders"])
        await asyncio.sleep(60)

    levels = (Level(name="early", from_s=2.0, act=(), page=(BO,)), PEOPLE, SENIOR)
    sim = played(script, deadline_s=DAY_S, target=with_levels(*levels))
    check_everything(sim)
