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
    VolumeUse,
)
from stanch.model.plans import Lift, PlannedStep, Refusal
from stanch.model.ports.acting import ManagerStatus
from stanch.model.symptoms import SymptomKind
from stanch.policy.policy import TargetPolicy
from stanch.respond.guarding import first_no, no, unknown
from stanch.respond.reading.run import LockReading
from stanch.steps.action import Guard

WAL_SEGMENTS_MIN = 2
"""Crash recovery and the first checkpoint need at least this many WAL segments of room."""

WAL_SEGMENT_BYTES = 16 * 1024 * 1024
"""PostgreSQL's default, where the control file does not say."""

STANDBY_MARKERS = frozenset({"standby.signal"})
"""A standby carries these all its life, and may be started with them after it died as one."""

ROLE_MARKERS = frozenset({"standby.signal", "recovery.signal"})
"""With these a server starts in recovery, whatever it was before."""

GUARDS = (
    Guard(name="host", asks="Does this machine show the server's files and processes?"),
    Guard(name="manager_known", asks="Is it known who starts this server, and may Stanch ask?"),
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
            _manager_known(seen),
            _no_live_postmaster(seen.processes, seen.file_holds),
            _lock_free(seen),
            _same_cluster(step, seen),
            _same_owner(seen),
            _clean_stop(seen),
            _nobody_else(seen.manager),
            _no_markers(seen),
            _no_corruption(seen.corruption, seen.control),
            _room_for_wal(seen),
        ),
        lifted,
    )


def _manager_known(seen: StartReadings) -> Refusal | None:
    if isinstance(seen.manager, Missing):
        return unknown("manager_known", seen.manager)
    if not seen.manager.may_act:
        lifts = "Run Stanch as the server's owner or as root, or let a person start it."
        return no("manager_known", seen.manager.detail or "Stanch may not ask it", lifts=lifts)
    return None


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


def _no_corruption(
    corruption: tuple[str, ...] | Missing, control: ControlData | Missing
) -> Refusal | None:
    guard = "no_corruption_signs"
    if isinstance(corruption, Missing):
        lifts = "`log` in stanch.yaml where it is not found."
        return unknown(guard, corruption, lifts=lifts)
    if isinstance(control, Missing):
        return unknown(guard, control)
    if control.crc_wrong:
        # Which cluster this is stands in that file: nothing in it can be believed.
        return no(guard, "the control file does not match its checksum", firm=True)
    if corruption:
        return no(
            guard,
            f"the log speaks of damage: {corruption[0][:200]}",
            about=corruption[0][:200],
            lifts="A cold copy of the data directory, and a person who decides.",
        )
    return None


def _room_for_wal(seen: StartReadings) -> Refusal | None:
    guard = "room_for_wal"
    needed = max(_wal_room_bytes(seen.control), int(seen.target.limit(SymptomKind.DISK_FULL)))
    looked = 0
    for volume in seen.volumes:
        if isinstance(volume, Missing):
            return unknown(guard, volume)
        if volume.use not in (VolumeUse.DATA, VolumeUse.WAL):
            continue
        looked += 1
        if volume.read_only:
            return no(guard, f"{volume.mount_point} is mounted read-only")
        if volume.free_bytes < needed:
            reason = f"{volume.free_bytes} bytes are free on {volume.mount_point}, {needed} needed"
            return no(guard, reason, lifts="Space freed, or a larger volume.")
    if not looked:
        return no(guard, "the volume of the data directory was not looked at")
    return None


def _wal_room_bytes(control: ControlData | Missing) -> int:
    known = None if isinstance(control, Missing) else control.wal_segment_bytes
    return WAL_SEGMENTS_MIN * (known or WAL_SEGMENT_BYTES)
