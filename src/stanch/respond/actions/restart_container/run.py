"""Restart the server's container in order: a fast shutdown with its checkpoint, then a start."""

from __future__ import annotations

import asyncio

from stanch.model.containers import ContainerSeen
from stanch.model.diagnosis import Missing
from stanch.model.errors import ActionFailed
from stanch.model.plans import PlannedStep, Refusal, StepOutcome
from stanch.model.ports.containers import ContainerEngine
from stanch.model.ports.host import HostReader
from stanch.respond.actions.restart_container.guards import (
    GUARDS,
    RestartReadings,
    is_same_life,
    may_restart,
    wait_s,
)
from stanch.respond.actions.restart_container.planning import PLANNING
from stanch.respond.actions.start_server.run import LOG_BYTES_MAX, PROBE_DEADLINE_S, SERVES
from stanch.respond.containers.guards import HOST_HINT, ID, IMAGE, short, why
from stanch.respond.guarding import no
from stanch.respond.reading.corruption import corruption_signs
from stanch.respond.reading.run import read_control
from stanch.steps.action import Action, ActReport, Param, Permit, Risk, Verification
from stanch.steps.world import World

NO_ENGINE = no("engine", "policy names no container of this server", lifts=HOST_HINT)
ANSWER_S = 2.0
"""So much before the step's end its answer is given up, so that what came of it is told."""
NOBODY = Missing(what="container", reason="it does not run")


async def check(step: PlannedStep, world: World) -> Refusal | None:
    """Look at the container, who shares its data, who is at work in it, and its log."""
    found = await _allowed(step, world)
    return found if isinstance(found, Refusal) else None


async def act(step: PlannedStep, world: World, permit: Permit) -> ActReport | Refusal:
    """One restart by the container's id. Raises: ActionFailed.

    The engine knows no condition: what is restarted was looked at within a moment before.
    """
    found = await _allowed(step, world)
    if isinstance(found, Refusal):
        return found
    refusal = permit()
    if refusal is not None or world.engine is None:
        return refusal or NO_ENGINE
    acted = await world.engine.restart(
        found.id, wait_s=wait_s(step), deadline_s=step.deadline_s - ANSWER_S
    )
    before = f"{short(found)} ran since {found.started_at}"
    if acted.outcome == "in_doubt":
        return ActReport(outcome=StepOutcome.IN_DOUBT, detail=why(acted), before=before)
    if acted.outcome != "done":
        raise ActionFailed(f"the engine did not restart it: {why(acted)}", on=found.id[:12])
    return ActReport(detail=f"restarted {short(found)}", before=before)


async def verify(step: PlannedStep, world: World) -> Verification:
    """Does the same container live another life, and its server take connections?"""
    if world.engine is None:
        return Verification(ok=False, detail=NO_ENGINE.reason)
    seen = await world.engine.by_id(str(step.param("container_id")))
    if isinstance(seen, Missing):
        return Verification(ok=False, pending=True, detail=f"cannot be read: {seen.reason}")
    if seen is None or seen.status != "running":
        told = "gone" if seen is None else seen.status
        return Verification(ok=False, detail=f"the container is {told}")
    if is_same_life(step, seen):
        return Verification(ok=False, detail=f"it was not restarted: since {seen.started_at}")
    reach = await world.prober.probe(deadline_s=PROBE_DEADLINE_S)
    if reach.state in SERVES:
        return Verification(ok=True, detail=f"started at {seen.started_at}: {reach.state.value}")
    return Verification(ok=False, pending=True, detail=f"it was restarted: {reach.state.value}")


async def _allowed(step: PlannedStep, world: World) -> Refusal | ContainerSeen:
    if world.engine is None or world.host is None:
        return NO_ENGINE
    return may_restart(step, await _readings(world, world.engine, world.host))


async def _readings(world: World, engine: ContainerEngine, host: HostReader) -> RestartReadings:
    seen = await engine.container()
    (shared, titles), lock, control, log = await asyncio.gather(
        _others(engine, seen, world.data_directory),
        host.lock_file(),
        read_control(host),
        host.log_tail(bytes_max=LOG_BYTES_MAX),
    )
    # What was looked at must be one container: the host finds its own by name.
    again = await engine.container()
    same = _life(seen) == _life(again) != ""
    return RestartReadings(
        container=seen if same else again,
        shared_with=shared if same else NOBODY,
        titles=titles,
        lock=lock,
        control=control,
        corruption=log if isinstance(log, Missing) else corruption_signs(log.content),
        target=world.target,
    )


async def _others(
    engine: ContainerEngine, seen: ContainerSeen | Missing | None, folder: str
) -> tuple[tuple[str, ...] | Missing, tuple[str, ...] | Missing]:
    """Who else may write to its data, and who is at work in it."""
    if not isinstance(seen, ContainerSeen) or not seen.lives:
        return NOBODY, NOBODY
    shared, titles = await asyncio.gather(engine.sharing(seen, folder), engine.commands(seen.id))
    return shared, titles


def _life(seen: ContainerSeen | Missing | None) -> str:
    return f"{seen.id} {seen.started_at}" if isinstance(seen, ContainerSeen) else ""


RESTART_CONTAINER = Action(
    name="restart_container",
    sentence="Restart the server's container through its engine: a fast shutdown with time for its "
    "checkpoint, then a start.",
    params=(
        ID,
        IMAGE,
        Param(name="started_at", kind="moment", doc="When its present life began.", identity=True),
        Param(
            name="system_identifier",
            kind="text",
            doc="The database cluster's own identifier, from its control file.",
            identity=True,
        ),
    ),
    guards=GUARDS,
    risks=(
        Risk(
            what="restarting the server's container",
            guards=(*(guard.name for guard in GUARDS), "diagnosis"),
        ),
    ),
    stands_on="act on its container",
    planning=PLANNING,
    check=check,
    act=act,
    verify=verify,
)
