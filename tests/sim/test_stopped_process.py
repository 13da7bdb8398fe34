"""The process is stopped between its intent and its act, and continued a minute later."""

from __future__ import annotations

import asyncio

import pytest

from sim.truths import STORIES, broken_once, check_effects, check_everything, incident
from stanch.model import events as e
from stanch.model.plans import StepOutcome
from stanch.policy.policy import READING_ACTIONS
from stanch.testing.simulation import Running, Simulation, sim_policy, sim_target
from stanch.testing.virtual_time import VirtualLoop, run_virtually

pytestmark = pytest.mark.sim

STOPPED_S = 60.0


def stopped_once_after_an_intent(story: str, *, for_s: float) -> tuple[Simulation, int]:
    """The story, and how many effects there were when the process went on."""
    stopped: list[int] = []

    async def main() -> Simulation:
        sim = Simulation(sim_policy(sim_target("orders")))
        server = sim.servers["orders"]

        def stop(intent: e.StepIntended) -> None:
            if not stopped and intent.action not in READING_ACTIONS:
                stopped.append(len(server.effects))
                loop = asyncio.get_running_loop()
                assert isinstance(loop, VirtualLoop)
                loop.jump(for_s)

        def on_start(running: Running) -> None:
            running.store.on_intent = stop

        sim.on_start = on_start
        await sim.run(lambda s: broken_once(s, STORIES[story]))
        return sim

    sim, _ = run_virtually(main())
    return sim, stopped[0]


def outcomes(sim: Simulation) -> list[StepOutcome]:
    events = [r.event for r in sim.timeline(sim.incident_ids()[0])]
    return [event.outcome for event in events if isinstance(event, e.StepEnded)]


@pytest.mark.parametrize("story", STORIES)
def test_what_was_intended_a_minute_ago_is_not_done_any_more(story: str) -> None:
    sim, before = stopped_once_after_an_intent(story, for_s=STOPPED_S)
    assert before == 0
    timeline = sim.timeline(sim.incident_ids()[0])
    expired = next(
        r
        for r in timeline
        if isinstance(r.event, e.StepEnded) and r.event.outcome is StepOutcome.EXPIRED
    )
    assert not any(effect.at <= expired.at for effect in sim.servers["orders"].effects)
    # A new attempt with all its guards comes later, and is the only one that touches anything.
    check_everything(sim)
    check_effects(sim, story)
    assert incident(sim).status.ended


@pytest.mark.parametrize("story", STORIES)
def test_a_stop_shorter_than_the_time_to_act_changes_nothing(story: str) -> None:
    sim, before = stopped_once_after_an_intent(story, for_s=1.0)
    assert before == 0
    assert StepOutcome.EXPIRED not in outcomes(sim)
    check_everything(sim)
    check_effects(sim, story)
