"""The plan of every shipped runbook, with the responder killed at every boundary of it.

Guards and effects are the actions' own matter and tried with them. Here each action does its work
in a moment and can be asked whether it was done, so that what is tried is everything around them:
plans, approvals, intents, outcomes, looks, and what a new life makes of an old one's journal.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import pytest

from respond.test_planner import PLANS, ROOMY, RUNBOOKS
from sim.truths import check_record, check_steps
from stanch.incident.fold import fold
from stanch.incident.state import Incident
from stanch.model import events as e
from stanch.model.diagnosis import CauseFinding, Diagnosis, Verdict
from stanch.model.ids import RESPONDER
from stanch.model.plans import PlannedStep, Refusal
from stanch.model.timeline import Recorded
from stanch.respond.actions.catalogue import CATALOGUE
from stanch.respond.runbook import Runbook
from stanch.service.doing.acting import Hands
from stanch.steps.action import Action, ActReport, Permit, Verification
from stanch.steps.world import World
from stanch.testing.simulation import Simulation, sim_policy
from stanch.testing.simworld_life import ProcessDied
from stanch.testing.virtual_time import run_virtually

pytestmark = pytest.mark.sim

ALL = os.environ.get("STANCH_SOAK") == "1"
PLAN_OF = {
    runbook.id: next((found for found, _ in PLANS if found.id in runbook.causes), None)
    for runbook in RUNBOOKS
}
ACTING = [r for r in RUNBOOKS if any(not CATALOGUE[step.do].reads_only for step in r.steps)]


@dataclass(slots=True, kw_only=True)
class Ledger:
    """What was done to a world in which everything takes one moment."""

    sim: Simulation
    done: list[str] = field(default_factory=list[str])

    def actions(self) -> Mapping[str, Action]:
        return {name: a if a.reads_only else self._made(a) for name, a in CATALOGUE.items()}

    def _made(self, action: Action) -> Action:
        async def check(step: PlannedStep, _world: World) -> Refusal | None:
            there = _name(step) in self.done
            return Refusal(guard="there", reason="it is there already") if there else None

        async def act(step: PlannedStep, _world: World, permit: Permit) -> ActReport | Refusal:
            if (refusal := permit()) is not None:
                return refusal
            self._boundary(f"before {step.id}")
            self.done.append(_name(step))
            self._boundary(f"after {step.id}")
            return ActReport(detail="done")

        async def verify(step: PlannedStep, _world: World) -> Verification:
            there = _name(step) in self.done
            return Verification(ok=there, detail="it is there" if there else "it is not there")

        return replace(action, check=check, act=act, verify=verify)

    def _boundary(self, what: str) -> None:
        assert self.sim.now is not None
        self.sim.now.life.boundary(what)


def _name(step: PlannedStep) -> str:
    return f"{step.action} {step.params}"


def seen_as(found: CauseFinding, sim: Simulation, hands: Hands) -> Hands:
    """Hands that see this one cause, whatever is done."""

    async def diagnose(_incident: Incident) -> tuple[Diagnosis, bytes]:
        at = sim.clock.now()
        verdict = Verdict.CAUSE
        return Diagnosis(verdict=verdict, causes=(found,), at=at, elapsed_ms=1.0), b"{}"

    async def check_rescue(_incident: Incident) -> e.RescueChecked:
        return e.RescueChecked(ok=False, detail="it is declared", login_ok=False)

    return replace(hands, diagnose=diagnose, check_rescue=check_rescue)


async def played(sim: Simulation) -> None:
    """Declare, approve whatever waits, and close it once a plan has come to its end."""
    await asyncio.sleep(1.5)
    while True:
        await asyncio.sleep(0.05)
        if sim.now is None:
            continue
        ids = sim.incident_ids()
        if not ids:
            await _asked(sim, {"command": "declare", "title": "it is slow", "severity": "P0"})
            continue
        timeline = sim.timeline(ids[0])
        one = fold(ids[0], timeline)
        assert one.withheld is None, one.withheld
        if any(isinstance(r.event, e.PlanEnded) and r.event.completed for r in timeline):
            await _asked(sim, {"command": "resolve", "unverified": True, "reason": "done"})
        if one.status.ended:
            return
        if one.plan is not None and not one.plan.ended and not one.plan.runnable:
            await _asked(sim, {"command": "approve", "digest": one.plan.plan.digest})


async def _asked(sim: Simulation, request: Mapping[str, object]) -> None:
    running, ids = sim.now, sim.incident_ids()
    about = {"incident": ids[0]} if ids else {"target": "orders"}
    if running is None:
        return
    with suppress(ProcessDied):
        await running.house.operations.execute({**request, **about, "by": "ann"})


def story(runbook: Runbook, *deaths: int) -> tuple[Simulation, Ledger]:
    found = PLAN_OF[runbook.id]
    assert found is not None, f"tests/respond/test_planner.py has no plan of {runbook.id}"
    made: list[tuple[Simulation, Ledger]] = []

    async def main() -> None:
        sim = Simulation(sim_policy(replace(ROOMY, name="orders")))
        ledger = Ledger(sim=sim)
        made.append((sim, ledger))
        sim.watched = False
        sim.actions = ledger.actions()
        sim.dressed = lambda hands: seen_as(found, sim, hands)
        await sim.run(played, deaths=deaths, deadline_s=86_400.0)

    run_virtually(main())
    return made[0]


def of(sim: Simulation) -> Sequence[Recorded]:
    """The timeline of the one incident there is."""
    [incident_id] = sim.incident_ids()
    return sim.timeline(incident_id)


def check(sim: Simulation, ledger: Ledger, runbook: Runbook) -> None:
    timeline = of(sim)
    assert sim.failures == []
    assert sim.sql.verify().ok
    check_record(timeline)
    check_record(sim.timeline(RESPONDER))
    check_steps(timeline)
    plans = [r.event.plan for r in timeline if isinstance(r.event, e.PlanProposed)]
    assert {plan.runbook for plan in plans} == {runbook.id}
    assert ledger.done == [_name(step) for step in plans[0].effects], "each once, in its order"


def chosen(passed: Sequence[str], effects: Sequence[PlannedStep]) -> Sequence[int]:
    """Right after the intent, the effect and the outcome of each step; everything there is
    with STANCH_SOAK=1."""
    if ALL:
        return range(len(passed))
    acts = [passed.index(f"before {step.id}") for step in effects]
    return [n for act in acts for n in (act - 1, act + 1, act + 3)]


@pytest.mark.parametrize("runbook", ACTING, ids=lambda runbook: runbook.id)
def test_killed_at_any_boundary_of_its_plan_every_step_is_done_once_and_in_order(
    runbook: Runbook,
) -> None:
    sim, ledger = story(runbook)
    check(sim, ledger, runbook)
    passed = sim.lives[0].passed
    [plan] = [r.event.plan for r in of(sim) if isinstance(r.event, e.PlanProposed)]
    for boundary in chosen(passed, plan.effects):
        killed, after = story(runbook, boundary)
        try:
            check(killed, after, runbook)
        except AssertionError as error:
            raise AssertionError(f"killed {passed[boundary]}: {error}") from error
