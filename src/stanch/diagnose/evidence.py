"""Everything one diagnosis rests on, as plain values that can be kept and judged again.

Each item is a `Reading` (what, when, from where, how long it took) or `Missing` with the reason.
The bundle is small on purpose: counts instead of rows, the last log events instead of the log.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Generic, Literal, TypeVar

from stanch.model.codec import decode, encode
from stanch.model.diagnosis import Missing
from stanch.model.reach import Reach, ReachState

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading(Generic[T]):
    """One reading with its provenance."""

    value: T
    at: datetime
    source: str
    """View, file or command it came from."""
    took_ms: float


# --- the wire -----------------------------------------------------------------------------------

RUNNING = frozenset(
    {
        ReachState.UP,
        ReachState.READ_ONLY,
        ReachState.TOO_MANY_CLIENTS,
        ReachState.AUTH_FAILED,
        ReachState.NO_SUCH_DATABASE,
        ReachState.TLS_FAILURE,
        ReachState.CONNECTION_LIMIT,
        ReachState.TURNED_AWAY,
    }
)
"""States that only a server open for business can cause."""


def is_open(reach: Reach) -> bool:
    """A server spoke and is neither starting nor stopping, even if it let nobody in."""
    spoke = reach.state is ReachState.REFUSED and reach.sqlstate is not None
    return reach.state in RUNNING or spoke


# --- inside the server --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionGroup:
    """Client sessions that look alike."""

    application_name: str
    usename: str
    state: str
    sessions: int
    oldest_state_s: float = 0.0
    """Longest time any of them has been in this state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions:
    """Who holds the connections.

    Source: pg_stat_activity (pg_monitor to see others' states), or the titles of the server's
    processes where no session can be had; those carry no application name and no ages.
    """

    max_connections: int | None
    reserved: int = 0
    client_backends: int
    groups: tuple[SessionGroup, ...]
    waiting: int = 0
    """Client sessions waiting for a heavyweight lock."""
    oldest_wait_s: float = 0.0
    oldest_idle_in_transaction_s: float = 0.0
    limits_hit: tuple[str, ...] = ()
    """Roles and databases that have reached a connection limit of their own, as words."""
    postmaster_start: datetime | None = None
    in_recovery: bool = False

    @property
    def usable(self) -> int | None:
        """Slots an ordinary role can have."""
        return None if self.max_connections is None else self.max_connections - self.reserved


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """One tree of waiting sessions, told by its root: it blocks others and waits for none."""

    root_pid: int
    """0: a prepared transaction, which has no session."""
    root_backend_start: datetime | None = None
    root_xact_start: datetime | None = None
    root_state: str = ""
    root_application: str = ""
    root_usename: str = ""
    root_datname: str = ""
    root_backend_type: str = ""
    root_state_change: datetime | None = None
    root_in_state_s: float = 0.0
    prepared_gid: str = ""
    """Set for a prepared transaction."""
    waiters: int
    oldest_wait_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Chains:
    """All blocking chains of the moment, most waiters first."""

    chains: tuple[Chain, ...]
    old_idle: tuple[Chain, ...] = ()
    """Sessions idle in a transaction that block nobody yet, oldest first (`waiters` is 0)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One replication slot and how much WAL it keeps."""

    name: str
    active: bool | None
    retained_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """What keeps WAL from being recycled."""

    slots: tuple[Slot, ...] = ()
    archive_mode: bool | None = None
    archiver_failing: bool | None = None
    """Its newest attempt failed."""
    ready_files: int | None = None
    """Segments waiting for the archiver (pg_wal/archive_status/*.ready)."""
    wal_keep_bytes: int = 0
    wal_segment_bytes: int = 16 * 1024 * 1024


# --- the host -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEvent:
    """One classified line of the server log."""

    kind: str
    """A value of `facts.log_lines.LogClass`."""
    text: str
    at: datetime | None = None
    sqlstate: str = ""
    severity: str = ""
    signal: int | None = None
    named_pid: int | None = None
    """The process that the line tells of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """The newest classified events of the server log, oldest first."""

    path: str
    events: tuple[LogEvent, ...]
    records_read: int = 0


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """One process that the kernel killed for memory."""

    pid: int
    name: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """The kernel's own account of killing for memory."""

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
    memory_total_bytes: int | None = None
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was read of one target for one diagnosis."""

    target: str
    at: datetime
    """When the gathering ended; ages are measured against it."""
    elapsed_ms: float
    reach: Reading[Reach] | Missing
    sessions: Reading[Sessions] | Missing
    chains: Reading[Chains] | Missing
    retention: Reading[Retention] | Missing
    log: Reading[Log] | Missing
    control: Reading[Control] | Missing
    lock_file: Reading[LockFileSeen] | Missing
    processes: Reading[ServerProcesses] | Missing
    volumes: Reading[Volumes] | Missing
    kernel: Reading[Kernel] | Missing
    place: Reading[Place] | Missing
    noted_pid: int | None = None
    """The postmaster's, noted while the server was known to live."""
    well_at: datetime | None = None
    """When the server was last seen to be well, by whoever watches it."""
    cluster_expected: str = ""
    """System identifier of the cluster that is watched; empty: nobody knows it."""
    cluster_answering: str = ""
    """Of the one that answers; empty: none does, or it was not read."""
    disk_full_free_bytes: int = 32 * 1024 * 1024
    """At or below this a volume counts as full; the policy's limit."""

    def missing(self) -> tuple[Missing, ...]:
        """What could not be read, in the order of the fields."""
        values = (getattr(self, f.name) for f in fields(self))
        return tuple(v for v in values if isinstance(v, Missing))


def to_bytes(evidence: Evidence) -> bytes:
    """The bundle as it is kept beside the timeline."""
    return encode(evidence)


def from_bytes(data: bytes) -> Evidence:
    """The bundle that `to_bytes` kept. Raises CodecError."""
    return decode(Evidence, data)


def postmaster_lives(evidence: Evidence) -> bool | None:
    """Whether a postmaster runs on the data directory; None where it cannot be told.

    Where some processes could not be inspected, the lock file decides: a postmaster whose PID it
    does not name stops itself within a minute.
    """
    processes, lock = value_of(evidence.processes), value_of(evidence.lock_file)
    if processes is None:
        return None
    if processes.postmaster_pid is not None:
        return True
    if not processes.uninspected:
        return False
    if lock is None or lock.holder_unknown:
        return None
    is_nobody = not lock.present or lock.holder_pid is None or lock.holder_is_postmaster is False
    return False if is_nobody else None


def value_of(item: Reading[T] | Missing) -> T | None:
    """The value where there is one."""
    return None if isinstance(item, Missing) else item.value
