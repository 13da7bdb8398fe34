"""What a machine says about the server on it, as raw as it can be had.

Every reading that may fail is the value or `Missing` with the reason. Paths are the machine's own;
titles, paths and file contents are other people's words and are shown escaped.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from stanch.model.diagnosis import Missing
from stanch.model.shown import shortened

TITLE_CHARS_TOLD = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class LockFileRead:
    """`postmaster.pid` as it was read: its bytes and which file they came from."""

    path: str
    content: bytes
    device: int
    inode: int
    modified_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessInfo:
    """One process. A field is None where the machine does not let us see it."""

    pid: int
    ppid: int | None
    started_at: datetime | None
    """From the boot time and the process's start tick: good to a second or two."""
    exe: str | None
    cwd: str | None
    title: str
    """The command line; PostgreSQL's processes write there what they are doing."""
    state: str
    """psutil's word: `running`, `sleeping`, `disk-sleep` (waits for storage), `zombie`, …"""
    uid: int | None
    in_container: bool | None = None
    """It lives in another PID namespace than we do; None: cannot be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileHolder:
    """A process that has files of a data directory open, or works inside it."""

    pid: int
    title: str
    files: tuple[str, ...]
    """Some of the paths, at most five."""

    @property
    def told(self) -> str:
        """Who it is, as a person finds it, and one of the files."""
        has = f", has {self.files[0]} open" if self.files else ""
        return f"process {self.pid} ({shortened(self.title, TITLE_CHARS_TOLD)}{has})"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataDirectoryProcesses:
    """Who is at work in one data directory."""

    postmaster: ProcessInfo | None
    members: tuple[ProcessInfo, ...]
    """The postmaster's children."""
    orphans: tuple[ProcessInfo, ...]
    """Server processes of this data directory whose postmaster is gone; they count as alive."""
    holders: tuple[FileHolder, ...]
    """Everybody with files open there, the server's own processes included."""
    unreadable: int = 0
    """Processes that could not be inspected; above 0 nobody may be called absent."""
    unreadable_pids: tuple[int, ...] = ()
    """Some of them, at most five."""

    @property
    def complete(self) -> bool:
        return self.unreadable == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FileHolds:
    """Which files of a data directory somebody has open, as the kernel tells it.

    It does not tell who. A server at rest has hardly a file open: this proves that nobody uses the
    files, never by itself that no server lives.
    """

    held: tuple[str, ...]
    """Some of the paths, at most five."""
    files: int
    """So many are open nowhere."""
    complete: bool
    """Every file was asked about, and none is open."""
    gap: str = ""
    """Why not every file was asked about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedMemory:
    """The System V segment a lock file names."""

    shm_id: int
    exists: bool
    attached: int
    """How many processes have it attached."""


class VolumeUse(StrEnum):
    """What of a server lies on a volume."""

    DATA = "data"
    WAL = "wal"
    LOG = "log"
    TABLESPACE = "tablespace"


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """The file system under one part of a server."""

    use: VolumeUse
    path: str
    """The folder asked about, links resolved."""
    mount_point: str
    device: str
    fs_type: str
    total_bytes: int
    free_bytes: int
    """What an ordinary user may still write; blocks kept for root do not count."""
    inodes_total: int | None
    inodes_free: int | None
    """None: the file system makes inodes as it needs them."""
    network: bool | None
    """None: a file system of unknown kind."""
    read_only: bool
    read_only_for_all: bool = False
    """The file system itself takes no writes; else it is our view of it, such as a container's."""
    label: str = ""
    """The tablespace's folder name, for tablespaces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Memory of the machine and of the control group the server runs in."""

    total_bytes: int
    available_bytes: int
    cgroup_limit_bytes: int | None = None
    """None: no limit, or no control groups."""
    cgroup_used_bytes: int | None = None
    cgroup_cache_bytes: int = 0
    """The part of that which is page cache of files, and is given back when somebody needs it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramUse:
    """A program that is none of the server's, and how many processors it used."""

    pid: int
    name: str
    used: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorUse:
    """Who used a machine's processors for about a second; 1.0 is one processor all the time."""

    seconds: float
    processors: int
    idle: float
    server: float
    looking: float
    """By whoever looked."""
    server_waited_share: float | None
    """Of the time in which the server's processes wanted a processor, the part in which they had to
    wait for one; None: the kernel does not count it."""
    programs: tuple[ProgramUse, ...]
    """That lived all the time, and are not the server's; the largest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OomKills:
    """How often the kernel killed a process for want of memory, since boot or group creation."""

    host: int | None
    cgroup: int | None
    """Of the server's own control group."""
    cgroup_path: str | None = None
    own_group: bool = False
    """The control group is narrower than the whole machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPosition:
    """How far a log has been read; survives rotation, truncation and restarts of the reader."""

    path: str
    device: int
    inode: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogChunk:
    """New bytes of a server's log."""

    path: str
    content: bytes
    position: LogPosition
    """Where to go on."""
    started_anew: bool = False
    """The bytes begin a file (rotated or truncated), so a line left unfinished stays so."""
    skipped_bytes: int = 0
    """Bytes passed over because more had been written than may be read at once."""
    more: bool = False
    """There is more to read at once."""
    gap: str = ""
    """Why lines between the position asked for and these bytes may be lost; empty: none are known
    to be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectorySizes:
    """What takes the space in a data directory, in allocated bytes."""

    wal_bytes: int
    wal_segments: int
    archive_ready: int
    """WAL files that wait for the archive."""
    base_bytes: int
    temp_bytes: int
    """Files of running and of dead queries under every pgsql_tmp."""
    log_bytes: int | None
    """None: no folder of log files is known."""
    complete: bool = True
    """False: stopped at the limit of files or of time; every figure is a lower bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletedOpenFile:
    """A file that is deleted but still takes space, because a process has it open."""

    pid: int
    path: str
    allocated_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TempRelationFile:
    """A temporary table's file, which names the database and the backend that made it."""

    database_oid: int
    backend_number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSigns:
    """Whether we, or the data directory, live in a container, and from what it was concluded."""

    in_container: bool | None
    """None: could not be told."""
    signs: tuple[str, ...] = ()


class ServerManager(StrEnum):
    """Who starts and stops a server."""

    PG_CTLCLUSTER = "pg_ctlcluster"
    SYSTEMD = "systemd"
    PATRONI = "patroni"
    DOCKER = "docker"
    PG_CTL = "pg_ctl"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Something discovered, with what it was concluded from."""

    value: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalServer:
    """A server of this machine as far as it could be found, running or not."""

    data_directory: Found | Missing
    bin_dir: Found | Missing
    log_path: Found | Missing
    """The current log file, or the folder it will be in."""
    manager: ServerManager
    manager_source: str
    """From what the manager was concluded."""
    manager_name: str = ""
    """The manager's own name for it: `15/main`, a unit, a container id."""
    running: bool | None = None
