"""A container as its engine tells it, exactly enough to act on this one and no other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LIVES = frozenset({"running", "paused", "restarting"})
"""The engine's words for a container in which there are, or soon will be, processes."""
FAST_SHUTDOWN = "SIGINT"
"""What PostgreSQL ends its sessions for; SIGTERM waits for them to end by themselves."""
WAIT_S_USUAL = 10
"""After so long an engine sends SIGKILL where nobody says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounted:
    """A folder of the machine inside a container."""

    volume: str
    """The volume's name; empty for a folder of the machine."""
    source: str
    """Where it lies on the engine's machine."""
    destination: str
    """Where it is seen inside."""
    writable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSeen:
    """One answer to `GET /containers/{id}/json`. Names and labels are other people's words."""

    id: str
    """All 64 digits: a container that was made anew under the same name has another one."""
    name: str
    image_id: str
    status: str
    """`created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`."""
    started_at: str
    """ISO 8601 in UTC, to the microsecond; empty: it never ran."""
    exit_code: int | None
    oom_killed: bool
    restart_policy: str
    """`no`, `on-failure`, `always` or `unless-stopped`; empty is `no`."""
    memory_bytes: int
    """Its limit; 0: none."""
    swap_bytes: int
    """Limit of memory and swap together; 0: not set, -1: no limit."""
    mounts: tuple[Mounted, ...]
    stop_signal: str
    """Empty: SIGTERM."""
    stop_wait_s: int | None
    """How long it is given before SIGKILL; None: `WAIT_S_USUAL`."""
    has_init: bool
    """The engine put an init in front of it, which hands signals on."""
    project: str
    service: str
    """Of Docker Compose, from its labels; empty: it was not made by it."""
    one_off: bool
    """`docker compose run` made it beside the service."""
    keeper: str
    """Who above the engine starts and stops it (Swarm, Kubernetes); empty: nobody seen."""

    @property
    def lives(self) -> bool:
        return self.status in LIVES

    def mounts_of(self, folder: str) -> tuple[Mounted, ...]:
        """The mount that `folder` lies on and those below it; none: it is in the container."""
        over = [m for m in self.mounts if is_within(folder, m.destination)]
        nearest = max(over, key=lambda m: len(m.destination), default=None)
        below = [m for m in self.mounts if m is not nearest and is_within(m.destination, folder)]
        return (*([nearest] if nearest is not None else []), *below)


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineMemory:
    """Of the machine that the engine runs on."""

    total_bytes: int
    available_bytes: int


def is_within(path: str, folder: str) -> bool:
    """Whether a path is a folder or lies in it; both are absolute and normal."""
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


def share(one: Sequence[Mounted], others: Sequence[Mounted]) -> bool:
    """Whether any of `others` lets somebody write where one of `one` lies.

    A mount that only reads does not count: nobody starts a server on it, and what watches a
    machine has all of it mounted that way.
    """
    return any(
        other.writable
        and (
            (mine.volume != "" and mine.volume == other.volume)
            or is_within(mine.source, other.source)
            or is_within(other.source, mine.source)
        )
        for mine in one
        for other in others
    )
