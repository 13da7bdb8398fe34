"""Stop a running server in order, through whoever manages it."""

from __future__ import annotations

from stanch.model.diagnosis import Missing
from stanch.model.errors import ActionFailed
from stanch.model.plans import PlannedStep, Refusal
from stanch.model.reach import ReachState
from stanch.respond.actions.start_server.run import PROBE_DEADLINE_S
from stanch.respond.actions.stop_server.guards import GUARDS, may_stop
from stanch.respond.actions.stop_server.planning import PLANNING
from stanch.respond.guarding import no
from stanch.respond.reading.run import read_control
from stanch.respond.turning.params import PARAMS
from stanch.respond.turning.run import MARGIN_S, at_home, read_server, told
from stanch.steps.action import Action, ActReport, Permit, Risk, Verification
from stanch.steps.world import World


async def check(step: PlannedStep, world: World) -> Refusal | None:
    """Look again which server runs, and who is asked."""
    home = at_home(step, world)
    if isinstance(home, Refusal):
        return home
    found = may_stop(step, await read_server(world, *home))
    return found if isinstance(found, Refusal) else None


async def act(step: PlannedStep, world: World, permit: Permit) -> ActReport | Refusal:
    """Ask its manager for a fast shutdown, once; nothing takes that back."""
    home = at_home(step, world)
    if isinstance(home, Refusal):
        return home
    seen = await read_server(world, *home)
    found = may_stop(step, seen)
    if isinstance(found, Refusal):
        return found
    refusal = permit()
    if refusal is not None:
        return refusal
    manager = home[1]
    answer = await manager.stop(found, deadline_s=max(1.0, step.deadline_s - MARGIN_S))
    if answer.another:
        return no("same_server", answer.detail, lifts="A new plan.")
    if not answer.ok:
        raise ActionFailed(
            f"{manager.kind} did not stop it: {answer.detail}", on=world.data_directory
        )
    detail = f"{manager.kind} stopped process {found.pid} in order"
    return ActReport(detail=detail, before=told(seen), after=answer.detail)


async def verify(step: PlannedStep, world: World) -> Verification:
    """Is no server at work there, and did the last one end in order?"""
    if world.host is None:
        return Verification(ok=False, pending=True, detail="its machine cannot be seen")
    processes = await world.host.data_directory_processes()
    if isinstance(processes, Missing):
        return Verification(ok=False, pending=True, detail=f"not to be seen: {processes.reason}")
    if processes.postmaster is not None:
        reach = await world.prober.probe(deadline_s=PROBE_DEADLINE_S)
        pending = reach.state is ReachState.SHUTTING_DOWN
        pid = processes.postmaster.pid
        return Verification(ok=False, pending=pending, detail=f"process {pid} is at work there")
    control = await read_control(world.host)
    if isinstance(control, Missing):
        return Verification(ok=False, pending=True, detail=f"not to be read: {control.reason}")
    state = control.state.value if control.state else "unknown"
    return Verification(ok=control.ended_cleanly is True, detail=f"it does not run: {state}")


STOP_SERVER = Action(
    name="stop_server",
    sentence="Stop a running server by a fast shutdown, through whoever manages it.",
    params=PARAMS,
    guards=GUARDS,
    risks=(
        Risk(
            what="stopping another server than the one that does harm",
            guards=("same_server", "no_other_manager", "no_jobs"),
        ),
    ),
    stands_on="start the server",
    planning=PLANNING,
    check=check,
    act=act,
    verify=verify,
)
