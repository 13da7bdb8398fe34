"""When a server may be started. Pure: decides from readings taken right before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stanch.facts.controldata import ClusterState, ControlData
from stanch.model.diagnosis import Missing
from stanch.model.host import (
    DataDirectoryProcesses,
    FileHolds,
    ProcessInfo,
    Volume,
)
from stanch.model.plans import Lift, PlannedStep, Refusal
from stanch.model.ports.acting import ManagerStatus
from stanch.policy.policy import TargetPolicy
from stanch.respond.guarding import first_no, names, no, unknown
from stanch.respond.reading.run import LockReading
from stanch.respond.turning.files import no_corruption, room_for_wal
from stanch.steps.action import Guard

STANDBY_MARKERS = frozenset({"standby.signal"})
"""A standby carries these all its life, and may be started with them after it died as one."""

ROLE_MARKERS = frozenset({"standby.signal", "recovery.signal"})
"""With these a server starts in recovery, whatever it was before."""

GUARDS = (
    Guard(name="host", asks="Does this machine show the server's files and processes?"),
    Guard(name="manager_known", asks="Is it known who starts this server, and may Stanch ask?"),
    Guard(name="same_container", asks="Is it, if it lives in a container, still that very one?"),
    Guard(
        name="volume_alone",
        asks="Does no other running container write where its data lies?",
    ),
    Guard(name="no_live_postmaster", asks="Is no server at work in the data directory?"),
    Guard(name="lock_free", asks="Is the lock file absent, or one PostgreSQL replaces itself?"),
    Guard(name="same_cluster", asks="Is it still the database cluster that was diagnosed?"),
    Guard(name="same_owner", asks="Do its files still belong to whom the server ran as?"),
    Guard(
        name="clean_stop_unordered",
        asks="Did it crash, or is it meant to be running?",
        yields=True,
    ),
    Guard(name="no_other_manager", asks="Does nobody else start and stop this server?"),
    Guard(name="no_jobs", asks="Is nobody stopping, upgrading, restoring or copying it?"),
    Guard(name="no_markers", asks="Was no backup, restore or upgrade left unfinished?"),
    Guard(
        name="no_corruption_signs",
        asks="Does the log show no sign of damaged files?",
        yields=True,
    ),
    Guard(name="room_for_wal", asks="Is there room for crash recovery to write WAL?"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StartReadings:
    """Everything the guards look at."""

    target: TargetPolicy
    manager: ManagerStatus | Missing
    processes: DataDirectoryProcesses | Missing
    file_holds: FileHolds | Missing
    """The kernel's word where a process may hide its files; see `HostReader.file_holds`."""
    lock: LockReading | Missing | None
    control: ControlData | Missing
    volumes: tuple[Volume | Missing, ...]
    corruption: tuple[str, ...] | Missing
    """Log lines that speak of damage."""
    cluster: str = ""
    """System identifier noted while the server lived; empty: it was never read."""
    owner_uid: int | None = None
    """Whom the server ran as when it was last seen; None: nobody saw it."""


def may_start(
    step: PlannedStep, seen: StartReadings, lifted: Sequence[Lift] = ()
) -> Refusal | None:
    """The first reason not to start the server that nobody overrides; None when there is none."""
    return first_no(
        (
            _same_container(step, seen.manager),
            _manager_known(seen),
            _volume_alone(seen.manager),
            _no_live_postmaster(seen.processes, seen.file_holds),
            _lock_free(seen),
            _same_cluster(step, seen),
            _same_owner(seen),
            _clean_stop(seen),
            _nobody_else(seen.manager),
            _no_markers(seen),
            no_corruption(seen.corruption, seen.control),
            room_for_wal(seen.volumes, seen.control, seen.target),
        ),
        lifted,
    )


def _manager_known(seen: StartReadings) -> Refusal | None:
    if isinstance(seen.manager, Missing):
        return unknown("manager_known", seen.manager)
    why = seen.manager.why_not("start")
    if not why:
        return None
    lifts = "Run Stanch as the server's owner or as root, or let a person start it."
    if seen.manager.may_act:
        lifts = "Its manager, or a person who asks it."
    return no("manager_known", why, lifts=lifts)


def _same_container(step: PlannedStep, manager: ManagerStatus | Missing) -> Refusal | None:
    """Known by its full id: a container that was made anew under the same name is another one."""
    meant = step.param("container_id") or ""
    found = "" if isinstance(manager, Missing) else manager.container
    if isinstance(manager, Missing) or meant == found:
        return None
    told = f"the container is {found[:12] or 'none'} now, not {str(meant)[:12] or 'a named one'}"
    return no("same_container", told, lifts="A new plan for what is there now.")


def _volume_alone(manager: ManagerStatus | Missing) -> Refusal | None:
    guard = "volume_alone"
    if isinstance(manager, Missing):
        return unknown(guard, manager)
    if isinstance(manager.shared_with, Missing):
        return unknown(guard, manager.shared_with)
    if not manager.shared_with:
        return None
    told = f"other running containers may write there: {names(manager.shared_with)}"
    return no(guard, told, lifts="Those stopped by whoever owns them; two servers ruin the data.")


def _no_live_postmaster(
    processes: DataDirectoryProcesses | Missing, holds: FileHolds | Missing
) -> Refusal | None:
    """Processes that could not be inspected do not count here, unless the kernel tells of one.

    A server runs as the owner of its data directory, and only the owner or root may ask for a
    start (`may_act`): both see all of the owner's processes. What is left is PostgreSQL's own
    interlock, which a start never goes around. Setting a lock file aside does, and so demands more.
    """
    guard = "no_live_postmaster"
    if isinstance(processes, Missing):
        return unknown(guard, processes)
    if processes.postmaster is not None:
        return no(guard, f"process {processes.postmaster.pid} is a server of this data directory")
    own = {process.pid for process in processes.orphans}
    others = [holder for holder in processes.holders if holder.pid not in own]
    if others:
        named = ", ".join(holder.told for holder in others[:3])
        return no(guard, f"the data directory is in use by {named}")
    if isinstance(holds, FileHolds) and holds.held and not processes.orphans:
        return no(guard, f"a process that is not shown here has {holds.held[0]} open")
    return None


def _lock_free(seen: StartReadings) -> Refusal | None:
    """PostgreSQL replaces a lock file whose PID is gone or another user's; that is its own rule."""
    guard, lock = "lock_free", seen.lock
    if isinstance(lock, Missing):
        return unknown(guard, lock)
    if lock is None or lock.process is None:
        return None
    if isinstance(lock.process, Missing):
        return unknown(guard, lock.process)
    if _other_users(lock.process, seen.manager) or lock.process.state == "zombie":
        # A dead postmaster keeps its PID until somebody collects it; a moment later it is free.
        return None
    title = lock.process.title[:80] or "unnamed"
    return no(
        guard,
        f"the lock file names process {lock.process.pid} ({title}), so PostgreSQL will not start",
        lifts="The lock file proven stale and set aside.",
    )


def _other_users(process: ProcessInfo, manager: ManagerStatus | Missing) -> bool:
    if isinstance(manager, Missing) or manager.owner_uid is None or process.uid is None:
        return False
    return process.uid != manager.owner_uid


def _same_cluster(step: PlannedStep, seen: StartReadings) -> Refusal | None:
    """The plan's identifier is of what lay there then; the noted one of what ran there."""
    guard, control = "same_cluster", seen.control
    if isinstance(control, Missing):
        return unknown(guard, control)
    found, expected = control.system_identifier or "none", step.param("system_identifier")
    if seen.cluster and found != seen.cluster:
        return no(
            guard,
            f"another database cluster lies there: its system identifier is {found}, and the "
            f"server that ran here was {seen.cluster}",
            lifts="The data directory of the server that ran, or a person who starts this one.",
        )
    if expected is not None and found != str(expected):
        return no(guard, f"the system identifier is {found}, not {expected}")
    return None


def _same_owner(seen: StartReadings) -> Refusal | None:
    """A manager starts the server as whoever owns its files now, and that may be anybody."""
    if isinstance(seen.manager, Missing):
        return unknown("same_owner", seen.manager)
    found, before = seen.manager.owner_uid, seen.owner_uid
    if before is None or found == before:
        return None
    return no(
        "same_owner",
        f"the data directory belongs to user {found} now, and the server ran as user {before}",
        lifts="The files given back to that user, or a person who starts it as the new one.",
    )


def _clean_stop(seen: StartReadings) -> Refusal | None:
    guard = "clean_stop_unordered"
    if isinstance(seen.control, Missing):
        return unknown(guard, seen.control)
    clean = seen.control.ended_cleanly
    if clean is None:
        reason = "how the last server ended cannot be told, and unknown means no"
        return no(guard, reason, firm=True)
    by_hand = not isinstance(seen.manager, Missing) and seen.manager.stopped_by_hand
    if by_hand and seen.target.desired != "running":
        return no(
            guard,
            "its keeper would have started it again, had not somebody stopped it",
            lifts="`desired: running` for this target, or a person who starts it.",
        )
    if clean and seen.target.desired != "running":
        return no(
            guard,
            "it was stopped cleanly, and nothing says that it should be running",
            lifts="`desired: running` for this target, or a person who starts it.",
        )
    return None


def _nobody_else(manager: ManagerStatus | Missing) -> Refusal | None:
    if isinstance(manager, Missing):
        return unknown("no_other_manager", manager)
    if manager.other_manager:
        reason = f"{manager.other_manager} starts and stops this server"
        return no("no_other_manager", reason, lifts="Ask that manager.")
    if manager.jobs:
        job = manager.jobs[0]
        return no("no_jobs", f"process {job.pid} is at work on it: {job.command}")
    return None


def _no_markers(seen: StartReadings) -> Refusal | None:
    if isinstance(seen.manager, Missing):
        return unknown("no_markers", seen.manager)
    state = None if isinstance(seen.control, Missing) else seen.control.state
    died_as_standby = state is ClusterState.IN_ARCHIVE_RECOVERY
    expected = STANDBY_MARKERS if died_as_standby else frozenset[str]()
    standing = [m for m in seen.manager.markers if m not in expected]
    if not standing:
        return None
    if state is ClusterState.IN_PRODUCTION and ROLE_MARKERS.intersection(standing):
        return no(
            "no_markers",
            f"its last run was as a primary, and {', '.join(standing)} would start it in recovery",
            lifts="A person who knows whether it is meant to become a standby.",
        )
    return no(
        "no_markers",
        f"{', '.join(standing)}: a backup, restore or upgrade may not have ended",
        lifts="A person who knows how that work ended.",
    )
