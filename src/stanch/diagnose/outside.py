"""What is kept of what a server's machine and files tell of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEvent:
    """One classified line of the server log."""

    kind: str
    """A value of `facts.log_lines.LogClass`."""
    text: str
    at: datetime | None = None
    sqlstate: str = ""
    who: str = ""
    """`role@database (application)`, as far as the log says."""
    severity: str = ""
    signal: int | None = None
    named_pid: int | None = None
    """The process that the line tells of."""
    pid: int | None = None
    """The process that wrote it."""
    statement: str = ""
    """What the session had asked for, without literals; kept where it tells what is affected."""
    detail: str = ""
    """DETAIL, else HINT, of a failed start and of a limit that was reached. Of other lines it is
    not kept: there it may hold rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCount:
    """All lines of one class in the part of the log that was read."""

    kind: str
    lines: int
    first_at: datetime | None = None
    last_at: datetime | None = None
    who: tuple[tuple[str, int], ...] = ()
    """Who caused the most of them, with how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """The newest classified events of the server log, oldest first, and all of them counted."""

    path: str
    events: tuple[LogEvent, ...]
    records_read: int = 0
    begins_at: datetime | None = None
    """Of the first line that was read; before it nobody looked."""
    counts: tuple[LogCount, ...] = ()

    def count(self, kind: str) -> LogCount | None:
        return next((count for count in self.counts if count.kind == kind), None)

    def newest(self, *kinds: str) -> LogEvent | None:
        """The last event of these classes."""
        return next((event for event in reversed(self.events) if event.kind in kinds), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """What the data directory itself says about its last moment (pg_controldata)."""

    state: str
    system_identifier: str = ""
    checkpoint_lsn: str = ""


LockState = Literal["absent", "live", "stale", "unproven"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LockFileSeen:
    """postmaster.pid and who has its PID now."""

    present: bool
    state: LockState = "absent"
    """`stale` and `live` are proven; anything short of proof is `unproven`."""
    pid: int | None = None
    inode: int | None = None
    sha256: str = ""
    boot_id: str = ""
    holder_pid: int | None = None
    """A live process that has the PID in the file."""
    holder_command: str = ""
    holder_unknown: bool = False
    """Whether such a process lives could not be found out."""
    holder_is_postmaster: bool | None = None
    holder_blocks_start: bool | None = None
    """Same operating-system user as the server: PostgreSQL refuses to start because of it."""
    shared_memory_attached: bool | None = None
    unproven: tuple[str, ...] = ()
    """Proofs that failed or could not be had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerProcesses:
    """The server's own processes as the operating system sees them."""

    postmaster_pid: int | None
    postmaster_stopped: bool = False
    """Suspended (SIGSTOP) or being traced."""
    postmaster_traced: bool = False
    """Suspended by a debugger or tracer."""
    children: int = 0
    orphans: int = 0
    """Server processes on this data directory whose postmaster is gone."""
    recovering: str = ""
    """Title of the startup process where it replays WAL."""
    waiting_for_storage: int = 0
    """Of the server's own, in uninterruptible sleep (state D)."""
    suspended: tuple[int, ...] = ()
    """PIDs of the postmaster's children that are suspended (SIGSTOP) or being traced."""
    uninspected: int = 0
    """Processes of the machine that did not show where they work; above 0 absence is no proof."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """One volume and which of the server's directories live on it."""

    holds: tuple[str, ...]
    """Of `data`, `wal`, `log`."""
    mount_point: str
    device: str
    total_bytes: int
    free_bytes: int
    free_inodes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Volumes:
    volumes: tuple[Volume, ...]
    wal_bytes: int | None = None
    """Size of pg_wal."""
    temp_bytes: int | None = None
    """Files of running and of dead queries under every pgsql_tmp."""
    log_bytes: int | None = None
    """Size of the folder of server logs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """One process that the kernel killed for memory."""

    pid: int
    name: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """One process that the kernel saw wait for minutes without an end."""

    pid: int
    name: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """The kernel's own account: of killing for memory, and of processes that hung."""

    oom_kills: int | None
    """Since boot, or of the server's control group. None: not counted on this system."""
    new_oom_kills: int | None = None
    """Since the watch's last look; None without an earlier look."""
    own_group: bool = False
    """The counts are of the server's own control group, not of the whole machine."""
    kills: tuple[Kill, ...] = ()
    """Of server processes, from the kernel's own log, oldest first."""
    same_pids: bool = False
    """The log was read, and its PIDs are those that the server has, too (no container between)."""
    stalls: tuple[Stall, ...] = ()
    """Server processes that hung for minutes, from the kernel's own log, oldest first."""
    memory_total_bytes: int | None = None
    """Of the machine, or of the server's control group where that may have less."""
    memory_available_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the server lives on this machine, and from what that was concluded."""

    data_directory: str
    log: str = ""
    log_timezone: str = ""
    """The zone of times in the log; empty: only times that say their offset are read."""
    bin_directory: str = ""
    manager: str = "unknown"
    concluded_from: str = ""
