"""When the server's container may be restarted. Pure: from readings taken right before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from stanch.facts.controldata import ControlData
from stanch.facts.lock_file import parse_lock_file
from stanch.model.containers import FAST_SHUTDOWN, WAIT_S_USUAL, ContainerSeen
from stanch.model.diagnosis import Missing
from stanch.model.host import LockFileRead
from stanch.model.plans import PlannedStep, Refusal
from stanch.policy.policy import TargetPolicy
from stanch.respond.containers import guards as common
from stanch.respond.containers.guards import ANEW, ENGINE, NO_OTHER_MANAGER, SAME_CONTAINER
from stanch.respond.guarding import first_no, names, no, unknown
from stanch.steps.action import Guard

WAIT_S_MIN = 60
"""A shutdown checkpoint of a busy server takes that long; at its end comes SIGKILL."""
AFTERWARDS_S = 15
"""Of the step's time, left for the start."""
FIRST_PID = 1

GUARDS = (
    ENGINE,
    SAME_CONTAINER,
    Guard(name="same_life", asks="Is it running, in the life that the plan was made in?"),
    Guard(name="same_cluster", asks="Is it still the database cluster that was diagnosed?"),
    Guard(name="volume_alone", asks="Does no other running container write where its data lies?"),
    Guard(
        name="fast_shutdown",
        asks="Does the engine's stop reach PostgreSQL, and as a fast shutdown?",
    ),
    Guard(name="time_to_stop", asks="Is there time for its last checkpoint before SIGKILL?"),
    Guard(
        name="no_jobs",
        asks="Is nobody copying, restoring or upgrading it, as far as its processes tell?",
    ),
    Guard(name="no_corruption_signs", asks="Does the log show no sign of damaged files?"),
    NO_OTHER_MANAGER,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartReadings:
    """Everything the guards look at."""

    container: ContainerSeen | Missing | None
    shared_with: tuple[str, ...] | Missing
    titles: tuple[str, ...] | Missing
    lock: LockFileRead | Missing | None
    control: ControlData | Missing
    corruption: tuple[str, ...] | Missing
    target: TargetPolicy


def may_restart(step: PlannedStep, seen: RestartReadings) -> Refusal | ContainerSeen:
    """The container that may be restarted, or the first reason to leave it."""
    found = common.the_container(step, seen.container)
    if isinstance(found, Refusal):
        return found
    refusal = first_no(
        (
            _same_life(step, found),
            _same_cluster(step, seen.control),
            _volume_alone(seen.shared_with),
            _fast_shutdown(found, seen.lock),
            _time_to_stop(step, found),
            _no_jobs(seen.titles),
            _no_corruption(seen.corruption, seen.control),
            common.nobody_else(found, seen.titles, seen.target),
        )
    )
    return refusal or found


def wait_s(step: PlannedStep) -> int:
    """How long the engine waits for PostgreSQL before SIGKILL: all but the time for its start."""
    return max(0, int(step.deadline_s) - AFTERWARDS_S)


def _same_life(step: PlannedStep, found: ContainerSeen) -> Refusal | None:
    if found.status == "restarting":
        return no("same_life", "a restart of it is under way", lifts="Its end.")
    if found.status != "running":
        told = f"it is {found.status}, and a restart is for one that runs"
        return no("same_life", told, lifts="`start_server` where it is down.")
    if not is_same_life(step, found):
        return no(
            "same_life", f"it was started at {found.started_at or 'no known time'}", lifts=ANEW
        )
    return None


def is_same_life(step: PlannedStep, found: ContainerSeen) -> bool:
    """Whether it still lives the life that the plan was made in."""
    was = _moment(step.param("started_at"))
    return was is not None and _moment(found.started_at) == was


def _moment(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None


def _same_cluster(step: PlannedStep, control: ControlData | Missing) -> Refusal | None:
    if isinstance(control, Missing):
        return unknown("same_cluster", control)
    if control.system_identifier != str(step.param("system_identifier")):
        found = control.system_identifier or "none"
        told = f"the system identifier is {found}, not {step.param('system_identifier')}"
        return no("same_cluster", told)
    return None


def _volume_alone(shared_with: tuple[str, ...] | Missing) -> Refusal | None:
    guard = "volume_alone"
    if isinstance(shared_with, Missing):
        return unknown(guard, shared_with)
    if not shared_with:
        return None
    told = f"other running containers may write there: {names(shared_with)}"
    return no(guard, told, lifts="Those stopped by whoever owns them; two servers ruin the data.")


def _fast_shutdown(found: ContainerSeen, lock: LockFileRead | Missing | None) -> Refusal | None:
    """SIGTERM waits for every session, and so ends in SIGKILL; so does a deaf first process."""
    guard = "fast_shutdown"
    if found.stop_signal.upper() not in (FAST_SHUTDOWN, "2", "INT"):
        told = f"its stop signal is {found.stop_signal or 'SIGTERM'}, which waits for every session"
        return no(guard, told, lifts=f"`stop_signal: {FAST_SHUTDOWN}` for its service.")
    if lock is None:
        return no(guard, "there is no lock file, so no server runs in it")
    if isinstance(lock, Missing):
        return unknown(guard, lock)
    pid = parse_lock_file(lock.content).pid
    if pid != FIRST_PID and not found.has_init:
        told = f"PostgreSQL is process {pid} in it, and the first process gets the signal"
        return no(guard, told, lifts="An entry point that ends in `exec`, or `init: true`.")
    return None


def _time_to_stop(step: PlannedStep, found: ContainerSeen) -> Refusal | None:
    least = max(WAIT_S_MIN, found.stop_wait_s or WAIT_S_USUAL)
    if wait_s(step) >= least:
        return None
    told = f"the engine would send SIGKILL after {wait_s(step)} s, and {least} s are needed"
    return no("time_to_stop", told, lifts="A longer `deadline` of this step.")


def _no_jobs(titles: tuple[str, ...] | Missing) -> Refusal | None:
    guard = "no_jobs"
    if isinstance(titles, Missing):
        return unknown(guard, titles)
    at_work = common.jobs_among(titles)
    return no(guard, f"at work in it: {at_work[0]}", lifts="Its end.") if at_work else None


def _no_corruption(
    corruption: tuple[str, ...] | Missing, control: ControlData | Missing
) -> Refusal | None:
    guard = "no_corruption_signs"
    if isinstance(corruption, Missing):
        return unknown(guard, corruption)
    if isinstance(control, ControlData) and control.crc_wrong:
        return no(guard, "the control file does not match its checksum")
    if corruption:
        lifts = "A copy of the data that was taken while it runs, and a person who decides."
        return no(guard, f"the log speaks of damage: {corruption[0][:200]}", lifts=lifts)
    return None
