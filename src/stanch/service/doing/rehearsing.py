"""What following a runbook would do at this moment: everything is read, nothing is touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from stanch.incident.state import Incident
from stanch.model.diagnosis import Diagnosis
from stanch.model.events import PlanWithheld
from stanch.model.ids import IncidentId, StepId, TargetName
from stanch.model.plans import Plan, PlannedStep, Refusal
from stanch.policy.policy import TargetPolicy
from stanch.respond.actions.catalogue import CATALOGUE
from stanch.respond.gathering.run import gather
from stanch.respond.planner import plan_for
from stanch.respond.runbook import GATHER, Runbook
from stanch.service.doing.acting import Hands
from stanch.steps.run import answer_guards
from stanch.steps.world import World

REHEARSED = IncidentId("rehearsal")


async def rehearse(
    runbook: Runbook, target: TargetPolicy, hands: Hands, *, incident: Incident | None, at: datetime
) -> Mapping[str, Any]:
    """A fresh diagnosis, the plan it would make of this runbook, and each step's guards now.

    Later steps are judged as things are, not as the steps before would leave them.
    """
    about = incident or Incident(id=REHEARSED, target=TargetName(target.name))
    diagnosis, _evidence = await hands.diagnose(about)
    world = hands.world(diagnosis)
    plan = plan_for(
        diagnosis,
        target,
        [runbook],
        actions=CATALOGUE,
        at=at,
        incident_id=about.id,
        halted=False,
        asked_by="rehearsal",
    )
    told = {
        "runbook": runbook.id,
        "target": target.name,
        "verdict": diagnosis.verdict.value,
        "summary": diagnosis.summary,
    }
    if isinstance(plan, PlanWithheld):
        steps = [await _read(step, world) for step in _readings_of(runbook)]
        return {**told, "cause": "", "steps": steps, **_refused(plan.refusal)}
    world = replace(world, planned_at=plan.made_at)
    steps = [await _step(step, world) for step in plan.steps]
    nos = [step for step in steps if step["refused_by"]]
    first: Mapping[str, Any] = nos[0] if nos else {}
    return {
        **told,
        "cause": plan.cause,
        "probability": _probability(diagnosis, plan),
        "steps": steps,
        "refused_by": first.get("refused_by"),
        "reason": first.get("reason"),
        "lifts": first.get("lifts"),
    }


async def _step(step: PlannedStep, world: World) -> Mapping[str, Any]:
    if step.reads_only:
        return await _read(step, world)
    refusal = await answer_guards(step, CATALOGUE[step.action], world=world)
    return {
        "action": step.action,
        "mode": world.target.mode(step.action).value,
        "preview": step.preview,
        "verify": step.verify,
        "undo": step.undo,
        "no_undo": step.no_undo,
        "gathered": [],
        **_refused(refusal),
    }


async def _read(step: PlannedStep, world: World) -> Mapping[str, Any]:
    names = [name.strip() for name in str(step.param("what")).split(",")]
    found = await gather(names, world, deadline_s=step.deadline_s)
    gathered = [
        {"name": one.name, "took_ms": one.took_ms, "lines": one.lines, "missing": one.missing}
        for one in found
    ]
    return {"action": GATHER, "gathered": gathered, **_refused(None)}


def _readings_of(runbook: Runbook) -> Sequence[PlannedStep]:
    """What there is to read where nothing is to be done."""
    return tuple(
        PlannedStep(
            id=StepId(GATHER),
            action=GATHER,
            params=tuple(step.params.items()),
            deadline_s=step.deadline_s,
        )
        for step in runbook.steps
        if step.do == GATHER
    )


def _refused(refusal: Refusal | None) -> Mapping[str, Any]:
    return {
        "refused_by": refusal.guard if refusal else None,
        "reason": refusal.reason if refusal else None,
        "lifts": refusal.lifts if refusal else None,
    }


def _probability(diagnosis: Diagnosis, plan: Plan) -> float:
    return next(c.probability for c in diagnosis.causes if c.id == plan.cause)
