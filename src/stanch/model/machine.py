"""One look at the machine or container that a server runs in, from however far away.

Every field is the value or `Missing` with the reason. Names and messages are other people's words.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from stanch.model.diagnosis import Missing
from stanch.model.host import Memory, OomKills


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceState:
    """The service, container or process of the server, as whoever keeps it says."""

    name: str
    running: bool
    status: str
    """The keeper's own word: `running`, `exited`, `failed (oom-kill)`, `CrashLoopBackOff`, …"""
    started_at: datetime | None = None
    exit_code: int | None = None
    """Of its last end; None: it never ended, or the keeper does not tell."""
    oom_killed: bool | None = None
    """Its last end was a kill for want of memory; None: the keeper does not tell."""
    restarts: int | None = None
    """How often the keeper started it again; None: the keeper does not count."""
    image: str = ""
    """What a container was made from, by its name; another one is a change."""
    image_id: str = ""
    """The same by its content: a name such as `postgres:16` may be another image tomorrow."""
    container_id: str = ""
    """Its full id where a container engine is the keeper."""
    memory_limit_bytes: int | None = None
    """Set for the container; None: no limit, or the keeper does not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSystem:
    """One mounted file system of the machine or container."""

    mount: str
    total_bytes: int
    free_bytes: int
    """What an ordinary user may still write."""
    inodes_total: int | None = None
    inodes_free: int | None = None
    """None: it makes inodes as it needs them, or they were not told."""
    read_only: bool | None = None
    """None: not told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuTimes:
    """What the processors did since boot, all of them together; two looks make a share."""

    total_s: float
    steal_s: float
    """Time in which the machine below gave the processor to somebody else."""
    count: int


class KernelTrouble(StrEnum):
    """What a message of the kernel is about, of the few that a server suffers from."""

    OOM_KILL = "oom_kill"
    IO_ERROR = "io_error"
    FILE_SYSTEM = "file_system"
    HUNG_TASK = "hung_task"
    HARDWARE = "hardware"


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelMessage:
    """One such message."""

    trouble: KernelTrouble
    since_boot_s: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """Everything one look says."""

    at: datetime
    source: str
    """How it was seen: `local`, `ssh db1.example.com`, `docker orders-db`, …"""
    service: ServiceState | Missing
    file_systems: tuple[FileSystem, ...] | Missing
    memory: Memory | Missing
    cpu: CpuTimes | Missing
    load_1min: float | Missing
    oom_kills: OomKills | Missing
    clock_offset_s: float | Missing
    """How far its clock is ahead of the right time, or of our own clock where it is far away."""
    uptime_s: float | Missing
    """Since the machine's boot; since the container's start where only that is seen."""
    kernel: tuple[KernelMessage, ...] | Missing
    """The newest messages of trouble that the kernel still holds, oldest first."""

    def missing(self) -> tuple[Missing, ...]:
        """What this look could not say, with the reasons."""
        fields = (
            self.service,
            self.file_systems,
            self.memory,
            self.cpu,
            self.load_1min,
            self.oom_kills,
            self.clock_offset_s,
            self.uptime_s,
            self.kernel,
        )
        return tuple(field for field in fields if isinstance(field, Missing))
