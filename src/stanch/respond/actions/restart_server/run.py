"""Restart a running server in order, through whoever manages it."""

from __future__ import annotations

import asyncio

from stanch.facts.stopping import STARTABLE_SQL, parse_startable
from stanch.model.diagnosis import Missing
from stanch.model.plans import PlannedStep, Refusal, StepOutcome
from stanch.model.ports.acting import ManagerAnswer, ServerManager
from stanch.model.ports.host import HostReader
from stanch.model.ports.server import SqlParams
from stanch.model.reach import ReachState
from stanch.respond.actions.restart_server.guards import GUARDS, RestartReadings, may_restart
from stanch.respond.actions.restart_server.planning import PLANNING
from stanch.respond.actions.start_server.run import LOG_BYTES_MAX, PROBE_DEADLINE_S
from stanch.respond.changing.run import acting_database, no_session, visit
from stanch.respond.guarding import no
from stanch.respond.reading.corruption import corruption_signs
from stanch.respond.sessions import same_moment
from stanch.respond.turning.params import PARAMS
from stanch.respond.turning.run import MARGIN_S, at_home, read_running, read_server, told
from stanch.steps.action import Action, ActReport, Permit, Risk, Verification
from stanch.steps.world import World

LOGIN_DEADLINE_S = 4.0
ON_ITS_WAY = frozenset({ReachState.STARTING_UP, ReachState.SHUTTING_DOWN})


async def check(step: PlannedStep, world: World) -> Refusal | None:
    """Look again which server runs, what would be lost, and whether it would start."""
    seen = await _readings(step, world)
    found = seen if isinstance(seen, Refusal) else may_restart(step, seen)
    return found if isinstance(found, Refusal) else None


async def act(step: PlannedStep, world: World, permit: Permit) -> ActReport | Refusal:
    """Ask its manager for a restart, once, as one effect.

    A halt in between does not leave the server down: it is not asked for between the halves.
    """
    seen = await _readings(step, world)
    if isinstance(seen, Refusal):
        return seen
    found = may_restart(step, seen)
    if isinstance(found, Refusal):
        return found
    refusal = permit()
    if refusal is not None:
        return refusal
    assert world.manager is not None
    deadline_s = max(1.0, step.deadline_s - MARGIN_S)
    answer = await world.manager.restart(found, deadline_s=deadline_s)
    if answer.another:
        return no("same_server", answer.detail, lifts="A new plan.")
    return _report(answer, world.manager, pid=found.pid, before=told(seen.which))


def _report(answer: ManagerAnswer, manager: ServerManager, *, pid: int, before: str) -> ActReport:
    if answer.ok:
        detail = f"{manager.kind} restarted it; process {pid} ended in order"
        return ActReport(detail=detail, before=before, after=answer.detail)
    what = "did not restart it, and the server it had still runs"
    if answer.left_down:
        what = "stopped it in order, and it does not start: it is down until that is mended"
    detail = f"{manager.kind} {what}: {answer.detail}"
    return ActReport(outcome=StepOutcome.FAILED, detail=detail, before=before)


async def verify(step: PlannedStep, world: World) -> Verification:
    """Does a newer server of the same cluster answer, and is the application let in?"""
    server = await read_running(world)
    if isinstance(server, Missing):
        return await _unanswered(world, server)
    planned = str(step.param("system_identifier"))
    if server.cluster != planned:
        return Verification(ok=False, detail=f"another cluster answers: {server.cluster}")
    if same_moment(step.param("postmaster_start"), server.postmaster_start):
        return Verification(ok=False, detail="the server of the plan still runs")
    since = f"a server started at {server.postmaster_start} answers"
    if world.app_login is None:
        return Verification(ok=True, detail=since)
    login = await world.app_login.login_and_write(deadline_s=LOGIN_DEADLINE_S)
    if login.login_ok:
        return Verification(ok=True, detail=f"{since}, and lets {login.role} in")
    return Verification(
        ok=False, detail=f"{since}, and does not let {login.role} in: {login.detail}"
    )


async def _unanswered(world: World, why: Missing) -> Verification:
    reach = await world.prober.probe(deadline_s=PROBE_DEADLINE_S)
    if reach.state in ON_ITS_WAY or world.host is None:
        return Verification(ok=False, pending=True, detail=f"{reach.state.value}: {why.reason}")
    processes = await world.host.data_directory_processes()
    if isinstance(processes, Missing) or processes.postmaster is not None:
        return Verification(ok=False, pending=True, detail=f"{reach.state.value}: {why.reason}")
    return Verification(ok=False, detail="no server runs: it was stopped and has not started")


async def _readings(step: PlannedStep, world: World) -> RestartReadings | Refusal:
    home = at_home(step, world)
    if isinstance(home, Refusal):
        return home
    return no_session(world) or await _read(world, *home)


async def _read(world: World, host: HostReader, manager: ServerManager) -> RestartReadings:
    which, database, volumes, log = await asyncio.gather(
        read_server(world, host, manager),
        acting_database(world),
        host.volumes(),
        host.log_tail(bytes_max=LOG_BYTES_MAX),
    )
    nothing: SqlParams = {}
    asked = (STARTABLE_SQL, nothing)
    startable = await visit(world, database, asked, parse_startable, what="its files")
    return RestartReadings(
        target=world.target,
        which=which,
        startable=startable,
        volumes=volumes,
        corruption=log if isinstance(log, Missing) else corruption_signs(log.content),
    )


RESTART_SERVER = Action(
    name="restart_server",
    sentence="Restart a running server, once it is sure that it would start again.",
    params=PARAMS,
    guards=GUARDS,
    risks=(
        Risk(
            what="restarting another server, or past its manager",
            guards=("same_server", "manager_known", "no_other_manager", "no_jobs"),
        ),
        Risk(
            what="a stop after which no start follows",
            guards=("files_readable", "same_programs", "same_owner", "no_markers", "room_for_wal"),
        ),
        Risk(
            what="a restart that destroys evidence of damage, or a backup",
            guards=("no_corruption_signs", "no_backup", "diagnosis"),
        ),
    ),
    stands_on="restart the server",
    planning=PLANNING,
    check=check,
    act=act,
    verify=verify,
)
