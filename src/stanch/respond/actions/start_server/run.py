"""Start a server that is down, through whoever manages it."""

from __future__ import annotations

import asyncio

from stanch.model.diagnosis import Missing
from stanch.model.errors import ActionFailed
from stanch.model.host import DataDirectoryProcesses
from stanch.model.plans import PlannedStep, Refusal
from stanch.model.ports.acting import ManagerAnswer, ServerManager
from stanch.model.ports.host import HostReader
from stanch.model.reach import Reach, ReachState
from stanch.respond.actions.start_server.guards import GUARDS, StartReadings, may_start
from stanch.respond.actions.start_server.planning import PLANNING
from stanch.respond.guarding import no
from stanch.respond.reading.corruption import corruption_signs
from stanch.respond.reading.run import orphans_left, read_control, read_holds, read_lock
from stanch.steps.action import Action, ActReport, Param, Permit, Risk, Verification
from stanch.steps.world import World

LOG_BYTES_MAX = 256 * 1024
PROBE_DEADLINE_S = 3.0
RETRY_EVERY_S = 0.3

SERVES = frozenset(
    {
        ReachState.UP,
        ReachState.READ_ONLY,
        ReachState.TOO_MANY_CLIENTS,
        ReachState.AUTH_FAILED,
        ReachState.NO_SUCH_DATABASE,
        ReachState.CONNECTION_LIMIT,
        ReachState.TURNED_AWAY,
    }
)
"""Answers that only a running server gives; whether it lets the right people in is another step."""


async def check(step: PlannedStep, world: World) -> Refusal | None:
    """Read everything again and answer the guards."""
    if world.host is None:
        return no("host", "this machine is not the server's", lifts="Run Stanch on that machine.")
    if world.manager is None:
        lifts = "`manager` in stanch.yaml, or a person who starts it."
        return no("manager_known", "nobody is known who starts this server", lifts=lifts)
    if step.param("data_directory") != world.data_directory:
        return no("same_cluster", f"the data directory is now {world.data_directory}")
    readings = await _readings(world, world.host, world.manager)
    return may_start(step, readings, world.lifted)


async def act(step: PlannedStep, world: World, permit: Permit) -> ActReport | Refusal:
    """Ask the manager, again while children of the dead server still hold its lock.

    Every further attempt asks the permit; PostgreSQL's own lock keeps a second server out.
    """
    assert world.host is not None
    assert world.manager is not None
    loop = asyncio.get_running_loop()
    until = loop.time() + step.deadline_s
    left = await orphans_left(world.host, wait_s=_patience_s(permit, step))
    refusal = _orphans(left) or permit()
    if refusal is not None:
        return refusal
    attempts = 0
    while True:
        attempts += 1
        answer = await world.manager.start(deadline_s=max(1.0, until - loop.time()))
        if answer.ok:
            times = "" if attempts == 1 else f" at attempt {attempts}"
            detail = f"{world.manager.kind} started it{times}"
            return ActReport(detail=detail, after=answer.detail)
        told = await _after_no(world.host, answer)
        if told is not None:
            return told
        if not answer.lock_held or permit() is not None:
            raise ActionFailed(
                f"{world.manager.kind} could not start it: {answer.detail}", on=world.data_directory
            )
        await asyncio.sleep(RETRY_EVERY_S)


async def _after_no(host: HostReader, answer: ManagerAnswer) -> ActReport | Refusal | None:
    """What a manager's no means where a server is there all the same.

    `pg_ctl` says no when its patience ends before crash recovery does: the server is starting. It
    also says no because of somebody else's server: that one came in between.
    """
    seen = await host.data_directory_processes()
    if isinstance(seen, Missing) or seen.postmaster is None:
        return None
    if answer.lock_held:
        pid = seen.postmaster.pid
        return no("no_live_postmaster", f"somebody else has just started it (process {pid})")
    detail = f"process {seen.postmaster.pid} is starting; it does not take connections yet"
    return ActReport(detail=detail, after=answer.detail)


async def verify(step: PlannedStep, world: World) -> Verification:
    """Does it take connections? Crash recovery is neither yes nor no."""
    reach = await world.prober.probe(deadline_s=PROBE_DEADLINE_S)
    if reach.state in SERVES:
        return Verification(ok=True, detail=f"it answers: {reach.state.value}")
    pending = reach.state is ReachState.STARTING_UP
    return Verification(ok=False, pending=pending, detail=_said(reach))


def _said(reach: Reach) -> str:
    layer = reach.failed_layer
    return f"{reach.state.value}{f' ({layer.name}: {layer.detail})' if layer else ''}"


def _patience_s(permit: Permit, step: PlannedStep) -> float:
    """Children of a dead postmaster leave within a moment; the window to act is not longer."""
    return 0.0 if permit() is not None else min(2.0, step.deadline_s / 2)


def _orphans(left: DataDirectoryProcesses | Missing) -> Refusal | None:
    if isinstance(left, Missing):
        return no("no_live_postmaster", f"{left.what} cannot be read any more: {left.reason}")
    if left.postmaster is not None:
        return no("no_live_postmaster", f"process {left.postmaster.pid} has just started it")
    if not left.orphans:
        return None
    pids = ", ".join(str(process.pid) for process in left.orphans[:5])
    return no(
        "no_live_postmaster",
        f"children of the dead server are still at work: {pids}",
        lifts="They end by themselves once their statement does; a person may end them.",
    )


async def _readings(world: World, host: HostReader, manager: ServerManager) -> StartReadings:
    status, processes, lock, control, volumes, log = await asyncio.gather(
        manager.status(),
        host.data_directory_processes(),
        read_lock(world, host),
        read_control(host),
        host.volumes(),
        host.log_tail(bytes_max=LOG_BYTES_MAX),
    )
    return StartReadings(
        target=world.target,
        manager=status,
        processes=processes,
        file_holds=await read_holds(host, processes),
        lock=lock,
        control=control,
        volumes=volumes,
        corruption=log if isinstance(log, Missing) else corruption_signs(log.content),
        cluster=world.cluster,
        owner_uid=world.owner_uid,
    )


START_SERVER = Action(
    name="start_server",
    sentence="Start the server through whoever manages it.",
    params=(
        Param(
            name="data_directory",
            kind="text",
            doc="The data directory of the server that is down.",
            identity=True,
        ),
        Param(
            name="system_identifier",
            kind="text",
            doc="The database cluster's own identifier, from its control file.",
            identity=True,
            required=False,
        ),
        Param(
            name="container_id",
            kind="text",
            doc="The full id of the container it lives in, where it lives in one.",
            identity=True,
            required=False,
        ),
    ),
    guards=GUARDS,
    risks=(
        Risk(
            what="starting a server that was stopped cleanly",
            guards=("clean_stop_unordered", "no_other_manager", "no_jobs", "no_markers"),
        ),
        Risk(
            what="starting a second server on the same files from another container",
            guards=("same_container", "volume_alone"),
        ),
        Risk(
            what="starting a server whose files may be damaged",
            guards=("no_corruption_signs", "diagnosis"),
        ),
    ),
    stands_on="start the server",
    planning=PLANNING,
    check=check,
    act=act,
    verify=verify,
)
