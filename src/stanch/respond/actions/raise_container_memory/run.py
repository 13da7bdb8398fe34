"""Raise the memory limit of the server's container, and nothing else of it."""

from __future__ import annotations

import asyncio

from stanch.model.containers import ContainerSeen
from stanch.model.diagnosis import Missing
from stanch.model.errors import ActionFailed
from stanch.model.plans import PlannedStep, Refusal, StepOutcome
from stanch.model.ports.containers import ContainerEngine
from stanch.model.shown import human_bytes
from stanch.respond.actions.raise_container_memory.guards import (
    GUARDS,
    MemoryReadings,
    may_raise,
    swap_bytes,
    wanted_bytes,
)
from stanch.respond.actions.raise_container_memory.planning import PLANNING
from stanch.respond.containers.guards import HOST_HINT, ID, IMAGE, short, why
from stanch.respond.guarding import no
from stanch.steps.action import Action, ActReport, Param, Permit, Risk, Verification
from stanch.steps.world import World

NO_ENGINE = no("engine", "policy names no container of this server", lifts=HOST_HINT)


async def check(step: PlannedStep, world: World) -> Refusal | None:
    """Look at the container, what it uses, and the machine."""
    if world.engine is None:
        return NO_ENGINE
    found = await _allowed(step, world, world.engine)
    return found if isinstance(found, Refusal) else None


async def act(step: PlannedStep, world: World, permit: Permit) -> ActReport | Refusal:
    """One update of the limits, by the container's id. Raises: ActionFailed.

    The engine knows no condition on the old limit: it is looked at within a moment before.
    """
    if world.engine is None:
        return NO_ENGINE
    found = await _allowed(step, world, world.engine)
    refusal = found if isinstance(found, Refusal) else permit()
    if refusal is not None or isinstance(found, Refusal):
        return refusal or NO_ENGINE
    new = wanted_bytes(step)
    acted = await world.engine.set_memory(
        found.id,
        memory_bytes=new,
        swap_bytes=swap_bytes(found, new),
        deadline_s=step.deadline_s,
    )
    before = f"undo: {_undo(found)}"
    if acted.outcome == "in_doubt":
        return ActReport(outcome=StepOutcome.IN_DOUBT, detail=why(acted), before=before)
    if acted.outcome != "done":
        raise ActionFailed(f"the engine did not take it: {why(acted)}", on=found.id[:12])
    detail = f"{short(found)} may use {human_bytes(new)}; its Compose file still says the old limit"
    return ActReport(detail=detail, before=before, after=f"{new} bytes")


async def verify(step: PlannedStep, world: World) -> Verification:
    """Does the engine tell the new limit of that container?"""
    if world.engine is None:
        return Verification(ok=False, detail=NO_ENGINE.reason)
    seen = await world.engine.by_id(str(step.param("container_id")))
    if isinstance(seen, Missing):
        return Verification(ok=False, pending=True, detail=f"cannot be read: {seen.reason}")
    if seen is None:
        return Verification(ok=False, detail="there is no such container any more")
    told = f"the limit of {short(seen)} is {human_bytes(seen.memory_bytes)}"
    return Verification(ok=seen.memory_bytes == wanted_bytes(step), detail=told)


async def _allowed(
    step: PlannedStep, world: World, engine: ContainerEngine
) -> Refusal | ContainerSeen:
    seen, machine = await asyncio.gather(engine.container(), engine.machine_memory())
    used: int | Missing = 0
    titles: tuple[str, ...] | Missing = ()
    if isinstance(seen, ContainerSeen) and seen.lives:
        used, titles = await asyncio.gather(engine.used_bytes(seen.id), engine.commands(seen.id))
    readings = MemoryReadings(
        container=seen,
        used_bytes=used,
        machine=machine,
        titles=titles,
        target=world.target,
    )
    return may_raise(step, readings)


def _undo(found: ContainerSeen) -> str:
    """The command that puts back exactly what was there."""
    swap = f" --memory-swap {found.swap_bytes}" if found.swap_bytes else ""
    return f"docker update --memory {found.memory_bytes}{swap} {found.id}"


RAISE_CONTAINER_MEMORY = Action(
    name="raise_container_memory",
    sentence="Raise the memory limit of the server's container while it runs, up to what policy "
    "allows (`memory_max`); its Compose file is not changed.",
    params=(
        ID,
        IMAGE,
        Param(name="limit_bytes", kind="bytes", doc="The limit that it has.", identity=True),
        Param(name="memory_bytes", kind="bytes", doc="The limit that it gets.", identity=True),
    ),
    guards=GUARDS,
    risks=(
        Risk(
            what="changing how much memory a container may use",
            guards=tuple(guard.name for guard in GUARDS),
        ),
    ),
    stands_on="act on its container",
    planning=PLANNING,
    check=check,
    act=act,
    verify=verify,
)
