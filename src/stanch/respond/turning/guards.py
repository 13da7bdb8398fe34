"""Which running server it is, and whether it may be told to stop. Pure.

A server is proven by five witnesses that agree: what it says of itself over the session, the lock
file, the processes of the data directory, the control file, and the plan.
"""

from __future__ import annotations

from dataclasses import dataclass

from stanch.facts.controldata import ControlData
from stanch.facts.lock_file import LockFile
from stanch.facts.stopping import RunningServer
from stanch.model.diagnosis import Missing
from stanch.model.host import DataDirectoryProcesses
from stanch.model.plans import PlannedStep, Refusal
from stanch.model.ports.acting import ManagerStatus, Postmaster, Verb
from stanch.respond.guarding import no, unknown
from stanch.respond.sessions import same_moment
from stanch.steps.action import Guard

HOST = Guard(name="host", asks="Does this machine show the server's files and processes?")
MANAGER = Guard(name="manager_known", asks="Is it known whom to ask, and may Stanch ask for that?")
SAME_SERVER = Guard(
    name="same_server", asks="Is it the very server of the plan, by its start and its cluster?"
)
NOBODY_ELSE = Guard(name="no_other_manager", asks="Does nobody else start and stop this server?")
NO_JOBS = Guard(name="no_jobs", asks="Is nobody stopping, upgrading, restoring or copying it?")

NEW_PLAN = "A new plan for the server that runs now."


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerReadings:
    """What says which server runs, and who is asked to stop it."""

    manager: ManagerStatus | Missing
    processes: DataDirectoryProcesses | Missing
    lock: LockFile | Missing | None
    control: ControlData | Missing
    server: RunningServer | Missing
    cluster: str = ""
    """System identifier of the watched cluster; empty: it was never read."""


def may_ask(verb: Verb, manager: ManagerStatus | Missing) -> Refusal | None:
    """Whether its manager may be asked for that, and nobody else is at work on it."""
    if isinstance(manager, Missing):
        return unknown("manager_known", manager)
    why = manager.why_not(verb)
    if why:
        return no("manager_known", why, lifts="A person who does it by hand.")
    if manager.other_manager:
        reason = f"{manager.other_manager} starts and stops this server"
        return no("no_other_manager", reason, lifts="Ask that manager.")
    if manager.jobs:
        job = manager.jobs[0]
        return no("no_jobs", f"process {job.pid} is at work on it: {job.command}")
    return None


def the_server(step: PlannedStep, seen: ServerReadings) -> Refusal | Postmaster:
    """The running server if it is the planned one, by every witness."""
    guard, server = "same_server", seen.server
    if isinstance(server, Missing):
        return unknown(guard, server, lifts="A server that answers, or a person.")
    if not same_moment(step.param("postmaster_start"), server.postmaster_start):
        reason = f"the server that answers was started at {server.postmaster_start}"
        return no(guard, reason, lifts=NEW_PLAN)
    refusal = _same_cluster(step, seen, server)
    return refusal or _on_this_machine(seen, server)


def _same_cluster(step: PlannedStep, seen: ServerReadings, server: RunningServer) -> Refusal | None:
    guard, planned = "same_server", str(step.param("system_identifier"))
    if isinstance(seen.control, Missing):
        return unknown(guard, seen.control)
    lies = seen.control.system_identifier
    if server.cluster != planned or lies != planned:
        reason = f"the cluster that answers is {server.cluster}, on disk lies {lies}, not {planned}"
        return no(guard, reason, lifts=NEW_PLAN)
    if seen.cluster and seen.cluster != planned:
        return no(guard, f"the cluster that is watched is {seen.cluster}, not {planned}")
    return None


def _on_this_machine(seen: ServerReadings, server: RunningServer) -> Refusal | Postmaster:
    """The server that answers is the one whose files these are: its checkpointer is a child."""
    guard, processes, lock = "same_server", seen.processes, seen.lock
    if isinstance(processes, Missing):
        return unknown(guard, processes)
    if processes.postmaster is None:
        return no(guard, "no server is at work in the data directory", lifts="Nothing to stop.")
    if isinstance(lock, Missing):
        return unknown(guard, lock)
    pid = processes.postmaster.pid
    if lock is None or lock.pid != pid or lock.started_at_epoch_s is None:
        named = "names nobody" if lock is None else f"names process {lock.pid}"
        return no(guard, f"process {pid} is the server, and the lock file {named}")
    if server.checkpointer_pid is None:
        what = Missing(what="the pid of its checkpointer", reason="the role lacks pg_monitor")
        return unknown(guard, what)
    if server.checkpointer_pid not in {process.pid for process in processes.members}:
        reason = f"the server that answers is not process {pid}: its checkpointer is elsewhere"
        return no(guard, reason, lifts="Stanch on the machine of the server that answers.")
    return Postmaster(
        pid=pid,
        started_at_epoch_s=lock.started_at_epoch_s,
        since=server.postmaster_start,
        system_identifier=server.cluster,
    )
