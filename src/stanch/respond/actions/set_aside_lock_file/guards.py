"""When a lock file may be set aside. Pure: decides from readings taken right before."""

from __future__ import annotations

from dataclasses import dataclass

from stanch.facts.lock_file import LockFileState, LockFileVerdict, ProofName
from stanch.model.diagnosis import Missing
from stanch.model.host import ContainerSigns, ProcessInfo
from stanch.model.plans import PlannedStep, Refusal
from stanch.model.ports.acting import ManagerStatus
from stanch.respond.guarding import first_no, no, unknown
from stanch.respond.reading.run import LockReading
from stanch.steps.action import Guard

GUARDS = (
    Guard(name="host", asks="Does this machine show the server's files and processes?"),
    Guard(name="no_container", asks="Is this no container, where a lock file proves nothing?"),
    Guard(name="same_file", asks="Is it byte for byte the lock file that was diagnosed?"),
    Guard(name="proven_stale", asks="Does every proof say that no server is behind it?"),
    Guard(name="in_the_way", asks="Does it keep PostgreSQL from starting at all?"),
    Guard(name="restart_inhibited", asks="Will nothing start the server meanwhile?"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LockReadings:
    """Everything the guards look at."""

    lock: LockReading | Missing | None
    container: ContainerSigns | Missing
    manager: ManagerStatus | Missing | None


def may_set_aside(step: PlannedStep, seen: LockReadings) -> Refusal | None:
    """The first reason to leave the lock file alone; None when there is none."""
    if isinstance(seen.lock, Missing):
        return unknown("same_file", seen.lock)
    if seen.lock is None:
        return no("same_file", "there is no lock file")
    return first_no(
        (
            _no_container(seen.container),
            _same_file(step, seen.lock),
            _proven(seen.lock.verdict),
            _in_the_way(seen.lock.process),
            _restart_inhibited(seen.manager),
        )
    )


def _no_container(container: ContainerSigns | Missing) -> Refusal | None:
    lifts = "The container's engine: prove that nobody else mounts the volume, then restart it."
    if isinstance(container, Missing):
        return unknown("no_container", container, lifts=lifts)
    if container.in_container is None:
        return no("no_container", "whether this is a container cannot be told", lifts=lifts)
    if container.in_container:
        signs = ", ".join(container.signs[:3]) or "signs of one"
        return no("no_container", f"in a container the file is never touched: {signs}", lifts=lifts)
    return None


def _same_file(step: PlannedStep, lock: LockReading) -> Refusal | None:
    lifts = "A new diagnosis of the file that is there now."
    if step.param("lock_inode") != lock.inode:
        return no("same_file", f"its inode is now {lock.inode}", lifts=lifts)
    if step.param("lock_sha256") != lock.sha256:
        return no("same_file", "its content has changed", lifts=lifts)
    return None


def _proven(verdict: LockFileVerdict) -> Refusal | None:
    if verdict.state is LockFileState.LIVE:
        signs = "; ".join(verdict.signs_of_life)
        return no("proven_stale", f"a server is alive behind it: {signs}")
    if verdict.state is not LockFileState.STALE:
        open_proofs = [proof for proof in verdict.proofs if proof.ok is not True]
        names = "; ".join(f"{proof.name.value}: {proof.detail}" for proof in open_proofs)
        return no("proven_stale", f"not proven: {names or 'the file is not complete'}")
    missing = set(ProofName) - {proof.name for proof in verdict.proofs if proof.ok is True}
    if missing:
        return no("proven_stale", f"not proven: {', '.join(sorted(missing))}")
    return None


def _in_the_way(process: ProcessInfo | Missing | None) -> Refusal | None:
    """A lock file whose PID nobody has is replaced by the next start itself."""
    if process is not None:
        return None
    return no(
        "in_the_way",
        "no process has its PID, so PostgreSQL replaces the file itself when it starts",
        lifts="Start the server; nothing has to be set aside.",
    )


def _restart_inhibited(manager: ManagerStatus | Missing | None) -> Refusal | None:
    guard = "restart_inhibited"
    if manager is None:
        return no(guard, "nobody is known who starts this server, so nobody can be kept from it")
    if isinstance(manager, Missing):
        return unknown(guard, manager)
    if manager.other_manager:
        return no(guard, f"{manager.other_manager} may start it at any moment")
    if manager.restarts_by_itself is not False:
        lifts = "A person who keeps the manager from restarting it."
        return no(guard, "its manager restarts it by itself", lifts=lifts)
    if manager.jobs:
        job = manager.jobs[0]
        return no(guard, f"process {job.pid} is at work on it: {job.command}")
    return None
