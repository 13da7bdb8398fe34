"""Restart the containers of one service beside the server, which policy names.

It is done through the engine, by the labels that Compose puts on containers: no Compose file is
read, so that nothing is made anew, and what was changed in a file since takes no effect by it.
"""

from __future__ import annotations

import asyncio

from stanch.model.containers import ContainerSeen
from stanch.model.diagnosis import Missing
from stanch.model.errors import ActionFailed
from stanch.model.plans import PlannedStep, Refusal, StepOutcome
from stanch.model.ports.containers import ContainerEngine
from stanch.respond.actions.restart_compose_service.guards import (
    GUARDS,
    ServiceReadings,
    is_left,
    may_restart,
    named_service,
)
from stanch.respond.actions.restart_compose_service.planning import PLANNING
from stanch.respond.containers.guards import HOST_HINT, short, why
from stanch.respond.guarding import names, no
from stanch.steps.action import Action, ActReport, Param, Permit, Risk, Verification
from stanch.steps.world import World

NO_ENGINE = no("engine", "policy names no container of this server", lifts=HOST_HINT)
ANSWER_S = 1.0
"""So much before the step's end an answer is given up, so that what was done is told."""


async def check(step: PlannedStep, world: World) -> Refusal | None:
    """Look which containers the service has now."""
    found = await _allowed(step, world)
    return found if isinstance(found, Refusal) else None


async def act(step: PlannedStep, world: World, permit: Permit) -> ActReport | Refusal:
    """One restart a container, by its id, each with the permit asked. Raises: ActionFailed."""
    until = asyncio.get_running_loop().time() + step.deadline_s - ANSWER_S
    found = await _allowed(step, world)
    if isinstance(found, Refusal) or world.engine is None:
        return found if isinstance(found, Refusal) else NO_ENGINE
    before = "; ".join(f"{short(one)} since {one.started_at}" for one in found)
    done: list[str] = []
    for one in found:
        refusal = permit()
        if refusal is not None and not done:
            return refusal
        if refusal is not None:
            raise ActionFailed(f"ended by {refusal.guard} after {_told(done, found)}", on="engine")
        detail = await _restarted(world.engine, one, until)
        if isinstance(detail, ActReport):
            told = f"{short(one)}: {detail.detail}; before that {_told(done, found)}"
            return ActReport(outcome=StepOutcome.IN_DOUBT, detail=told, before=before)
        if detail:
            raise ActionFailed(f"{short(one)}: {detail}; {_told(done, found)}", on="engine")
        done.append(short(one))
    return ActReport(detail=f"restarted {names(done)}", before=before)


async def verify(step: PlannedStep, world: World) -> Verification:
    """Has every running container of it begun anew since the plan was made?"""
    seen = await _readings(step, world)
    if isinstance(seen, Refusal):
        return Verification(ok=False, detail=seen.reason)
    if isinstance(seen.containers, Missing):
        reason = seen.containers.reason
        return Verification(ok=False, pending=True, detail=f"cannot be read: {reason}")
    service = [one for one in seen.containers if not one.one_off]
    left = [short(one) for one in service if is_left(one, seen.planned_at)]
    if left:
        return Verification(ok=False, detail=f"not restarted: {names(left)}")
    lives = [one for one in service if one.status == "running"]
    told = f"{len(lives)} of {len(service)} containers run, all begun anew"
    return Verification(ok=bool(lives), detail=told)


async def _restarted(engine: ContainerEngine, one: ContainerSeen, until: float) -> ActReport | str:
    """Why it was not; empty where it was; a report where nobody can tell."""
    left_s = until - asyncio.get_running_loop().time()
    if left_s <= 0:
        return "no time was left for it"
    acted = await engine.restart(one.id, wait_s=None, deadline_s=left_s)
    if acted.outcome == "in_doubt":
        return ActReport(outcome=StepOutcome.IN_DOUBT, detail=why(acted))
    return "" if acted.outcome == "done" else why(acted)


def _told(done: list[str], found: tuple[ContainerSeen, ...]) -> str:
    return f"{len(done)} of {len(found)} were restarted"


async def _allowed(step: PlannedStep, world: World) -> Refusal | tuple[ContainerSeen, ...]:
    seen = await _readings(step, world)
    return seen if isinstance(seen, Refusal) else may_restart(step, seen)


async def _readings(step: PlannedStep, world: World) -> ServiceReadings | Refusal:
    if world.engine is None:
        return NO_ENGINE
    service = named_service(step, world.target)
    if isinstance(service, Refusal):
        return service
    server = await world.engine.container()
    project = server.project if isinstance(server, ContainerSeen) else ""
    containers: tuple[ContainerSeen, ...] | Missing = ()
    if project:
        containers = await world.engine.of_service(project, service)
    return ServiceReadings(
        server=server,
        data_directory=world.data_directory,
        containers=containers,
        target=world.target,
        planned_at=world.planned_at,
    )


RESTART_COMPOSE_SERVICE = Action(
    name="restart_compose_service",
    sentence="Restart the running containers of a Compose service beside the server, one after the "
    "other; policy names it (`services`).",
    params=(Param(name="service", kind="text", doc="Its name under `services`.", identity=True),),
    guards=GUARDS,
    risks=(
        Risk(
            what="restarting a service beside the server",
            guards=tuple(guard.name for guard in GUARDS),
        ),
    ),
    stands_on="act on its container",
    planning=PLANNING,
    check=check,
    act=act,
    verify=verify,
)
