"""What the acting rooms need of the world: managers, files, application logins, the boot clock.

Each Protocol is as narrow as the acts that exist. There is no call here to delete a lock file, to
end a server in any way but in order, to touch WAL, or to run a command of somebody's choosing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal, Protocol, TypeAlias

from stanch.model.diagnosis import Missing
from stanch.model.reach import Reach


class BootClock(Protocol):
    """CLOCK_BOOTTIME: goes on while a machine or a process sleeps, and never jumps."""

    def now_ns(self) -> int: ...

    @property
    def boot_id(self) -> str:
        """Changes with every boot; readings of different boots cannot be compared."""
        ...


# --- the server's manager -----------------------------------------------------------------------

Verb: TypeAlias = Literal["start", "stop", "restart"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A running command that is stopping, upgrading, restoring or copying the server."""

    pid: int
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerStatus:
    """Who may start the server, and what lies around that forbids it.

    Whether it runs is not asked here: `pg_ctl status` believes the PID in the lock file, and that
    may be anybody's. Processes and open files tell.
    """

    restarts_by_itself: bool | None
    """Does something start the server without being asked? None: not known."""
    other_manager: str
    """Who else owns this server (`patroni`, `systemd unit x`, `container`); empty: nobody seen."""
    jobs: tuple[Job, ...]
    markers: tuple[str, ...]
    """Names of upgrade, restore and copy markers found in the data directory."""
    may_act: bool
    """Whether this process has the rights to start the server."""
    owner_uid: int | None = None
    """Whose server it is: PostgreSQL heeds a lock file's PID only within one user."""
    detail: str = ""
    data_major: int | None = None
    """What PG_VERSION says; None: it could not be read."""
    programs_major: int | None = None
    """Of the programs that a start would run; None: they are not there, or do not answer."""
    declines: tuple[tuple[Verb, str], ...] = ()
    """What this manager is not asked for although Stanch may ask it, each with the reason."""
    container: str = ""
    """The full id of the container that would be started; empty: it lives in none."""
    shared_with: tuple[str, ...] | Missing = ()
    """Other containers with processes that may write where its data lies."""
    stopped_by_hand: bool = False
    """Whoever keeps it would have started it again, had not somebody stopped it."""

    def why_not(self, verb: Verb) -> str:
        """Why it is not asked for that; empty: it may be."""
        if not self.may_act:
            return self.detail or "Stanch may not ask it"
        return dict(self.declines).get(verb, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Postmaster:
    """One running server and no other: whoever has its place by now is not stopped for it."""

    pid: int
    started_at_epoch_s: int
    """Both as its lock file has them."""
    since: datetime
    """When it began to take connections, as it says itself (pg_postmaster_start_time)."""
    system_identifier: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerAnswer:
    """What the manager answered to being asked to start, stop or restart the server."""

    ok: bool
    detail: str
    """The manager's own words and the end of the server's log, shortened."""
    lock_held: bool = False
    """The server refused because of a lock file or shared memory still in use: worth a retry."""
    another: bool = False
    """It was not the server that was meant, so nothing was asked."""
    left_down: bool = False
    """Of a restart: it was stopped, and does not run."""


class ServerManager(Protocol):
    """Who starts and stops the server. Stanch asks; it never starts a server past its manager.

    A stop is always a fast shutdown: sessions end, their transactions are rolled back, and a
    checkpoint makes the next start a short one. Never immediate, never a signal that kills.
    """

    @property
    def kind(self) -> str: ...

    def describe(self) -> str:
        """In one sentence: who it is and the command a person would type."""
        ...

    async def status(self) -> ManagerStatus | Missing: ...

    async def start(self, *, deadline_s: float) -> ManagerAnswer:
        """Ask for a start and wait for the answer.

        Raises: ProbeFailed when no answer came in time; the server may be starting all the same.
        """
        ...

    async def stop(self, server: Postmaster, *, deadline_s: float) -> ManagerAnswer:
        """Ask for a fast shutdown of that very server and wait until it is gone.

        Raises: ProbeFailed when it was told to and is not gone in time: it still will be.
        """
        ...

    async def restart(self, server: Postmaster, *, deadline_s: float) -> ManagerAnswer:
        """Ask for a fast shutdown of that very server, and a start, as one request.

        Raises: ProbeFailed when no answer came in time; the request goes on without us.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LockNote:
    """What the watch noted down while the server was known to live."""

    boot_id: str
    pid: int
    started_at_epoch_s: int


# --- files --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFile:
    """One file as it was seen; everything that must still be so when it is removed."""

    path: str
    inode: int
    size_bytes: int
    mtime_ns: int
    allocated_bytes: int
    """Blocks really taken: what deleting it gives back. A sparse file gives back little."""
    device: int
    links: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """How much room one volume has."""

    device: int
    total_bytes: int
    free_bytes: int
    """For an ordinary user; blocks kept for root do not count."""

    @property
    def free_pct(self) -> float:
        return 100.0 * self.free_bytes / self.total_bytes if self.total_bytes else 0.0


class FileAnswer(StrEnum):
    """What came of touching one file."""

    DONE = "done"
    ABSENT = "absent"
    """It is not there (any more)."""
    CHANGED = "changed"
    """It is not the file that was proven; nothing was left changed."""
    PUT_BACK = "put_back"
    """After the rename it proved to be another file and was put back at once."""
    NOT_PUT_BACK = "not_put_back"
    """As PUT_BACK, but a newer lock file already stood in its place: that one was left alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    answer: FileAnswer
    detail: str
    new_path: str = ""
    freed_bytes: int = 0


class FileKeeper(Protocol):
    """The only three things Stanch does to files of a server. Every one is conditional.

    Raises: ActionFailed when the file system refuses.
    """

    async def socket_directories(self, data_directory: str) -> tuple[str, ...] | Missing:
        """Every folder in which the next start wants a Unix socket. Cost: one short process."""
        ...

    async def set_aside_lock_file(
        self,
        data_directory: str,
        *,
        inode: int,
        sha256: str,
        new_name: str,
        sockets: Sequence[str] = (),
    ) -> FileReport:
        """Rename `postmaster.pid` to `new_name`, read it again, put it back if not the proven one.

        The locks of the same start beside its sockets go with it: in the folder that the file
        names, and in `sockets`.

        Never: deletes the file, overwrites another one, or touches a file whose inode or content
        differs before the rename.
        """
        ...

    async def kept_file(self, path: str) -> KeptFile | Missing:
        """One ordinary file, links not followed."""
        ...

    async def old_logs(
        self, directory: str, *, modified_before: datetime
    ) -> Sequence[KeptFile] | Missing:
        """Server logs last written before a moment, oldest first, without any file held open."""
        ...

    async def old_dumps(
        self, directory: str, *, keep: int, modified_before: datetime, now: datetime
    ) -> Sequence[KeptFile] | Missing:
        """Dumps last written before a moment, oldest first, each with at least `keep` newer ones
        of its series that were read to their end and are whole."""
        ...

    async def remove(self, file: KeptFile) -> FileReport:
        """Delete one file if path, inode, size and modification time are still the same.

        Never: a file inside the parts of a data directory that PostgreSQL owns, a symbolic link,
        a file some process holds open, a directory.
        """
        ...

    async def space(self, path: str) -> Space | Missing:
        """The volume that holds `path`."""
        ...


# --- logging in as the application ---------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginReading:
    """One fresh login of a role, and whether a write by it is made durable."""

    role: str
    login_ok: bool
    write_ok: bool | None
    """None: not tried, because there was no login or the role is one that only watches."""
    detail: str
    took_ms: float
    sqlstate: str = ""


class AppLogin(Protocol):
    """Logs in the way the application does. Leaves nothing behind in any database."""

    async def login_and_write(self, *, deadline_s: float) -> LoginReading: ...


class Prober(Protocol):
    """Asks from outside whether the server takes connections."""

    async def probe(self, *, deadline_s: float) -> Reach: ...
