"""When a container's memory limit may be raised. Pure: from readings taken right before."""

from __future__ import annotations

from dataclasses import dataclass

from stanch.model.containers import ContainerSeen, MachineMemory
from stanch.model.diagnosis import CauseFinding, Missing
from stanch.model.plans import PlannedStep, Refusal
from stanch.model.shown import human_bytes
from stanch.policy.hosts import DockerHost
from stanch.policy.policy import TargetPolicy
from stanch.respond.containers import guards as common
from stanch.respond.containers.guards import ANEW, ENGINE, NO_OTHER_MANAGER, SAME_CONTAINER
from stanch.respond.guarding import first_no, no, unknown
from stanch.steps.action import Guard

RESERVE_SHARE = 0.1
RESERVE_BYTES_MIN = 256 * 2**20
"""What the machine keeps for everybody else: a tenth of it, and never less than this."""
TIMES_MAX = 4
"""Whoever wants more than this at once mistyped it, or has to think about the machine first."""

GUARDS = (
    ENGINE,
    SAME_CONTAINER,
    Guard(name="same_limit", asks="Is its limit still the one that the plan was made from?"),
    Guard(name="only_raises", asks="Is the new limit above the old one and above what it uses?"),
    Guard(name="within_policy", asks="Does `memory_max` allow it?"),
    Guard(name="machine_has_room", asks="Has the machine that much free, and a reserve besides?"),
    NO_OTHER_MANAGER,
)

MAX_HINT = "`memory_max` under `docker` of this target."


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryReadings:
    """Everything the guards look at."""

    container: ContainerSeen | Missing | None
    used_bytes: int | Missing
    """0 where it does not run."""
    machine: MachineMemory | Missing
    titles: tuple[str, ...] | Missing
    target: TargetPolicy


def wanted_bytes(step: PlannedStep) -> int:
    """The new limit; 0 where the step names none."""
    value = step.param("memory_bytes")
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def withheld(step: PlannedStep, cause: CauseFinding, target: TargetPolicy) -> Refusal | None:
    """What policy alone says already."""
    return common.withheld(step, cause, target) or _within_policy(step, target)


def may_raise(step: PlannedStep, seen: MemoryReadings) -> Refusal | ContainerSeen:
    """The container whose limit may be raised, or the first reason to leave it."""
    found = common.the_container(step, seen.container)
    if isinstance(found, Refusal):
        return found
    refusal = first_no(
        (
            _same_limit(step, found),
            _only_raises(step, found, seen.used_bytes),
            _within_policy(step, seen.target),
            _machine_has_room(step, found, seen.machine),
            common.nobody_else(found, seen.titles, seen.target),
        )
    )
    return refusal or found


def swap_bytes(found: ContainerSeen, memory_bytes: int) -> int:
    """Memory and swap together, so that the container may swap neither more nor less than before.

    -1 stays: no limit. 0 was never set, and the engine takes twice the memory; that, too, stays.
    """
    if found.swap_bytes <= 0:
        return found.swap_bytes
    return memory_bytes + max(0, found.swap_bytes - found.memory_bytes)


def _same_limit(step: PlannedStep, found: ContainerSeen) -> Refusal | None:
    was = step.param("limit_bytes")
    if not found.memory_bytes:
        return no("same_limit", "it has no memory limit", lifts="Nothing is needed.")
    if found.memory_bytes != was:
        return no("same_limit", f"its limit is {human_bytes(found.memory_bytes)} now", lifts=ANEW)
    return None


def _only_raises(
    step: PlannedStep, found: ContainerSeen, used_bytes: int | Missing
) -> Refusal | None:
    guard, wanted = "only_raises", wanted_bytes(step)
    if isinstance(used_bytes, Missing):
        return unknown(guard, used_bytes)
    if wanted <= max(found.memory_bytes, used_bytes):
        has = f"{human_bytes(found.memory_bytes)}, {human_bytes(used_bytes)} in use"
        return no(guard, f"{human_bytes(wanted)} is no raise: it has {has}")
    if wanted > TIMES_MAX * found.memory_bytes:
        had = human_bytes(found.memory_bytes)
        return no(guard, f"{human_bytes(wanted)} is more than {TIMES_MAX} times {had}")
    return None


def _within_policy(step: PlannedStep, target: TargetPolicy) -> Refusal | None:
    most = target.host.memory_max_bytes if isinstance(target.host, DockerHost) else 0
    if not most:
        return no("within_policy", "policy says nothing of how much it may have", lifts=MAX_HINT)
    if wanted_bytes(step) > most:
        return no(
            "within_policy", f"{human_bytes(most)} is the most that policy allows", lifts=MAX_HINT
        )
    return None


def _machine_has_room(
    step: PlannedStep, found: ContainerSeen, machine: MachineMemory | Missing
) -> Refusal | None:
    guard = "machine_has_room"
    if isinstance(machine, Missing):
        return unknown(guard, machine)
    reserve = max(RESERVE_BYTES_MIN, int(machine.total_bytes * RESERVE_SHARE))
    more = wanted_bytes(step) - found.memory_bytes
    if wanted_bytes(step) <= machine.total_bytes - reserve and (
        more <= machine.available_bytes - reserve
    ):
        return None
    has = f"{human_bytes(machine.available_bytes)} of {human_bytes(machine.total_bytes)} are free"
    return no(
        guard,
        f"{has} on the machine, of which {human_bytes(reserve)} are kept for others",
        lifts="Memory freed on the machine, or a smaller limit.",
    )
