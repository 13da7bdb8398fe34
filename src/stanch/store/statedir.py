"""The state directory: what lies where, whether it can keep promises, and who may write in it."""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stanch.model.errors import StoreLocked, StoreUnsuitable
from stanch.model.ids import WriterId
from stanch.store.failures import corrupt, from_os
from stanch.store.mounts import Mount, mounts_here, network_fstype, resolved


@dataclass(frozen=True, slots=True, kw_only=True)
class StateDir:
    """Where everything of one responder lies. Directories 0700, files 0600."""

    path: Path

    @property
    def db(self) -> Path:
        return self.path / "stanch.db"

    @property
    def lock(self) -> Path:
        """Holds the writing process's pid, and its flock."""
        return self.path / "lock"

    @property
    def writer(self) -> Path:
        """Holds the id under which this directory's responder writes its journal."""
        return self.path / "writer"

    @property
    def head(self) -> Path:
        """Says how far the journal had come, so that a shortened database shows."""
        return self.path / "head"

    @property
    def spool(self) -> Path:
        return self.path / "spool"

    @property
    def inbox(self) -> Path:
        return self.path / "inbox"

    @property
    def socket(self) -> Path:
        """The local API. Never: longer than the 103 bytes a socket's path may have on macOS."""
        return self.path / "api.sock"


class Lock:
    """The exclusive right to write in a state directory, until released or the process ends."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def release(self) -> None:
        """Let the next process in. May be called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def prepare(path: Path, *, mounts: Iterable[Mount] | None = None) -> StateDir:
    """Make sure the state directory exists, is private, local and writable.

    Raises: StoreUnsuitable, StoreUnavailable (full).
    Never: tightens the rights of a directory that already holds something else's files.
    """
    where = str(path)
    refuse_network(path, mounts=mounts_here() if mounts is None else mounts)
    state = StateDir(path=path)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_private(state)
        _try_writing(path)
        state.inbox.mkdir(mode=0o700, exist_ok=True)
    except FileExistsError as error:
        raise StoreUnsuitable(
            "is not a directory", on=where, hint="Name a directory as the state directory."
        ) from error
    except OSError as error:
        raise from_os(error, on=where, doing="write in the state directory") from error
    return state


def refuse_network(path: Path, *, mounts: Iterable[Mount]) -> None:
    """Raises StoreUnsuitable where the path lies on a network file system."""
    if fstype := network_fstype(resolved(path), mounts):
        raise StoreUnsuitable(
            f"is on {fstype}, a network or user-space file system",
            on=str(path),
            hint="Locks and fsync cannot be trusted there: put state_dir on a local disk.",
        )


def take_lock(state: StateDir) -> Lock:
    """Become the one writing process. Raises StoreLocked, which names the holder."""
    try:
        # Python opens files close-on-exec, so a server started later does not inherit the lock.
        fd = os.open(state.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise from_os(error, on=str(state.lock), doing="open the lock file") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        pid = _noted_pid(fd)
        os.close(fd)
        raise StoreLocked(
            f"{f'process {pid}' if pid else 'another process'} is writing here",
            on=str(state.path),
            hint="Only one `stanch run` may use a state directory; talk to it, or stop it first.",
        ) from error
    except OSError as error:
        os.close(fd)
        raise from_os(error, on=str(state.lock), doing="lock the state directory") from error
    # Who holds it is a courtesy; on a full disk the lock itself is what counts.
    with suppress(OSError):
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return Lock(fd)


def holder(state: StateDir) -> int | None:
    """The pid of the process that holds the lock now; None where nobody does.

    Also None where the holder could not write its pid down.
    """
    try:
        fd = os.open(state.lock, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _noted_pid(fd)
    finally:
        os.close(fd)
    return None


def no_store(state: StateDir) -> StoreUnsuitable:
    """The refusal to read where nothing was ever written."""
    return StoreUnsuitable(
        "holds no store",
        on=str(state.path),
        hint="Name the state directory of `stanch run`, or start it once.",
    )


def writer_id(state: StateDir, *, stored: str | None) -> WriterId:
    """The id of this directory's journal, made up once and kept in a file and in the database.

    Raises: StoreCorrupt where the two disagree.
    """
    try:
        kept = state.writer.read_text("ascii", "replace").strip()
    except FileNotFoundError:
        kept = ""
    except OSError as error:
        raise from_os(error, on=str(state.writer), doing="read the writer's id") from error
    if kept and stored and kept != stored:
        raise corrupt(
            f"the database belongs to writer {stored!r}, the directory to {kept!r}",
            on=str(state.path),
        )
    chosen = kept or stored or secrets.token_hex(8)
    if not kept:
        try:
            write_durably(state.writer, f"{chosen}\n".encode())
        except OSError as error:
            raise from_os(error, on=str(state.writer), doing="write the writer's id") from error
    return WriterId(chosen)


def write_durably(path: Path, content: bytes) -> None:
    """Put a small private file in place whole, or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            write_all(fd, content)
            os.fsync(fd)
        finally:
            os.close(fd)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write_all(fd: int, content: bytes) -> None:
    """Write everything; a single `write` may stop half-way on a nearly full disk."""
    left = memoryview(content)
    while left:
        left = left[os.write(fd, left) :]


def sync_directory(path: Path) -> None:
    """Make names created or moved in a directory survive a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _noted_pid(fd: int) -> int | None:
    text = os.pread(fd, 32, 0).strip()
    return int(text) if text.isdigit() else None


def _make_private(state: StateDir) -> None:
    info = state.path.stat()
    if info.st_uid not in (os.geteuid(), 0) and os.geteuid() != 0:
        raise StoreUnsuitable(
            f"belongs to user id {info.st_uid}",
            on=str(state.path),
            hint="Run Stanch as the owner of its state directory.",
        )
    if stat.S_IMODE(info.st_mode) & 0o077:
        if not state.writer.exists() and any(state.path.iterdir()):
            raise StoreUnsuitable(
                "is open to other users and holds files that are not Stanch's",
                on=str(state.path),
                hint="Name a directory of its own as state_directory; it is made private (0700).",
            )
        state.path.chmod(0o700)


def _try_writing(path: Path) -> None:
    # A page of real bytes: creating an empty file succeeds on many full file systems.
    trial = path / f".trial.{os.getpid()}"
    try:
        fd = os.open(trial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        try:
            write_all(fd, bytes(4096))
            os.fsync(fd)
        finally:
            os.close(fd)
    finally:
        trial.unlink(missing_ok=True)
