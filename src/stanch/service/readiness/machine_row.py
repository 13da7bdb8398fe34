"""The row of the capability table about the machine: what a look at it says, and what it cannot."""

from __future__ import annotations

from typing import TypedDict

from stanch.model.diagnosis import Missing
from stanch.model.machine import HostFacts
from stanch.policy.policy import TargetPolicy

CONTAINER = "act on its container"
WATCH_MACHINE = "watch the machine: service, space, memory, load, clock"


class Judged(TypedDict):
    """The rest of a row."""

    can: bool
    why: str
    change: str


def judge_machine(target: TargetPolicy, seen: HostFacts | Missing) -> Judged:
    """Space and memory are the least that makes it worth while; the rest is named where missing."""
    if isinstance(seen, Missing):
        change = "Correct `host`, or what it needs there."
        if isinstance(target.host, str):
            change = "Set `host` to how its machine is seen: ssh, docker, kubernetes, prometheus."
        return Judged(can=False, why=seen.reason, change=change)
    lacking = "; ".join(f"{m.what}: {m.reason}" for m in seen.missing())
    if not lacking:
        return Judged(can=True, why=f"{seen.source} tells everything", change="")
    least = (seen.file_systems, seen.memory)
    return Judged(
        can=not any(isinstance(field, Missing) for field in least),
        why=f"{seen.source} tells all but {lacking}",
        change="Give the rights that are named, or another way to see the machine.",
    )
