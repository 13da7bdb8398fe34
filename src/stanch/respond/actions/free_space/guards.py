"""Which files may be deleted on a full volume. Pure: decides from readings taken right before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stanch.model.diagnosis import Missing
from stanch.model.plans import Refusal
from stanch.model.ports.acting import KeptFile, Space
from stanch.model.symptoms import SymptomKind
from stanch.policy.policy import TargetPolicy
from stanch.respond.guarding import no, unknown
from stanch.steps.action import Guard

ALLOCATED_SHARE_MIN = 0.5
"""A ballast file with less than this share of its size on disk is sparse and gives little back."""

GUARDS = (
    Guard(name="files", asks="Does this machine reach the server's files?"),
    Guard(name="same_volume", asks="Is the volume that was diagnosed still there?"),
    Guard(name="still_full", asks="Is it still low on space?"),
    Guard(name="known_safe", asks="Is there a file on it that policy says may go?"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceReadings:
    """Everything the guards look at."""

    space: Space | Missing
    ballast: tuple[KeptFile | Missing, ...]
    """The files policy names, in its order."""
    old_logs: Sequence[KeptFile] | Missing
    """Oldest first; empty where policy does not allow deleting any."""
    old_dumps: Sequence[KeptFile] | Missing = ()
    """As `old_logs`; looked at only where the others give nothing, because it takes reading."""


def deletable(seen: SpaceReadings, target: TargetPolicy) -> tuple[KeptFile, ...] | Refusal:
    """What may be deleted, in order: ballast first, then the oldest logs, then dumps."""
    if isinstance(seen.space, Missing):
        return unknown("same_volume", seen.space)
    if not low(seen.space, target):
        reason = f"{seen.space.free_bytes} bytes are free again, {seen.space.free_pct:.0f} %"
        return no("still_full", reason, lifts="Nothing is needed.")
    device = seen.space.device
    ballast = [
        file
        for file in seen.ballast
        if isinstance(file, KeptFile) and file.device == device and gives_back(file)
    ]
    logs: Sequence[KeptFile] = () if isinstance(seen.old_logs, Missing) else seen.old_logs
    dumps: Sequence[KeptFile] = () if isinstance(seen.old_dumps, Missing) else seen.old_dumps
    aged = (file for file in (*logs, *dumps) if file.device == device and gives_back(file))
    files = (*ballast, *aged)
    if not files:
        return no(
            "known_safe",
            "nothing on this volume is known to be safe to delete",
            lifts="`free_space` for this target: ballast, old server logs or dumps.",
        )
    return files


def low(space: Space, target: TargetPolicy) -> bool:
    """Whether the volume has less room than policy calls enough."""
    low_pct, full_bytes = (target.limit(k) for k in (SymptomKind.DISK_LOW, SymptomKind.DISK_FULL))
    return space.free_pct < low_pct or space.free_bytes <= full_bytes


def gives_back(file: KeptFile) -> bool:
    """Deleting it frees what its size promises: not sparse, and under no other name."""
    if file.links != 1 or file.size_bytes == 0:
        return False
    return file.allocated_bytes >= file.size_bytes * ALLOCATED_SHARE_MIN
