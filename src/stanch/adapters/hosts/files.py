"""The only three things Stanch does to a server's files, each conditional on what was proven.

Everything goes through the file descriptor of the folder, so that nobody can exchange a folder on
the way for a link. A look and the change after it happen without letting go of the thread.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path, PurePath

import psutil

from stanch.adapters.hosts.old_dumps import old_dumps
from stanch.adapters.hosts.socket_locks import set_aside_socket_locks, socket_directories
from stanch.model.diagnosis import Missing
from stanch.model.errors import ActionFailed
from stanch.model.ports.acting import FileAnswer, FileReport, KeptFile, Space

LOCK_FILE = "postmaster.pid"
LOCK_FILE_BYTES_MAX = 64 * 1024

OWNED_BY_POSTGRESQL = frozenset(
    {
        "base",
        "global",
        "pg_commit_ts",
        "pg_dynshmem",
        "pg_logical",
        "pg_multixact",
        "pg_notify",
        "pg_replslot",
        "pg_serial",
        "pg_snapshots",
        "pg_stat",
        "pg_stat_tmp",
        "pg_subtrans",
        "pg_tblspc",
        "pg_twophase",
        "pg_wal",
        "pg_xact",
    }
)
"""Folders of a data directory in which nothing is ever deleted."""

LOG_ENDINGS = (".log", ".csv", ".json")
DUMPS_LOOK_S = 10.0


class LocalFiles:
    """Files of servers on this machine. `FileKeeper`."""

    def __init__(self, *, bin_directory: str = "") -> None:
        """`bin_directory`: the programs of the server whose settings are to be read."""
        self._bin = bin_directory

    async def socket_directories(self, data_directory: str) -> tuple[str, ...] | Missing:
        return await socket_directories(data_directory, bin_directory=self._bin)

    async def set_aside_lock_file(
        self,
        data_directory: str,
        *,
        inode: int,
        sha256: str,
        new_name: str,
        sockets: Sequence[str] = (),
    ) -> FileReport:
        return await asyncio.to_thread(
            _set_aside, data_directory, inode, sha256, new_name, sockets=sockets
        )

    async def kept_file(self, path: str) -> KeptFile | Missing:
        return await asyncio.to_thread(_kept_file, path)

    async def old_logs(
        self, directory: str, *, modified_before: datetime
    ) -> Sequence[KeptFile] | Missing:
        return await asyncio.to_thread(_old_logs, directory, modified_before)

    async def old_dumps(
        self, directory: str, *, keep: int, modified_before: datetime, now: datetime
    ) -> Sequence[KeptFile] | Missing:
        look = partial(old_dumps, directory, keep=keep, modified_before=modified_before, now=now)
        try:
            return await asyncio.wait_for(asyncio.to_thread(look), DUMPS_LOOK_S)
        except TimeoutError:
            return Missing(what=directory, reason=f"its dumps were not read in {DUMPS_LOOK_S:g} s")

    async def remove(self, file: KeptFile) -> FileReport:
        return await asyncio.to_thread(_remove, file)

    async def space(self, path: str) -> Space | Missing:
        return await asyncio.to_thread(_space, path)


# --- the lock file ------------------------------------------------------------------------------


def _set_aside(
    data_directory: str, inode: int, sha256: str, new_name: str, *, sockets: Sequence[str]
) -> FileReport:
    assert new_name == PurePath(new_name).name, f"{new_name!r} is not a plain name"
    assert new_name.startswith(f"{LOCK_FILE}."), f"{new_name!r} does not say what it is"
    with _folder(data_directory) as folder:
        seen = _identity(folder, LOCK_FILE)
        if seen is None:
            return FileReport(answer=FileAnswer.ABSENT, detail="there is no lock file")
        if seen != (inode, sha256):
            detail = "the lock file is not the one that was proven stale; it was not touched"
            return FileReport(answer=FileAnswer.CHANGED, detail=detail)
        proven = _content(folder, LOCK_FILE)
        if _identity(folder, new_name) is not None:
            raise ActionFailed("the name to set it aside under is taken", on=new_name)
        # First, so that a crash of ours in between leaves the lock file that is looked at again.
        ending = new_name.removeprefix(f"{LOCK_FILE}.")
        locks = set_aside_socket_locks(proven or b"", ending=ending, directories=sockets)
        try:
            os.rename(LOCK_FILE, new_name, src_dir_fd=folder, dst_dir_fd=folder)
        except FileNotFoundError:
            return FileReport(answer=FileAnswer.ABSENT, detail="the lock file has just gone")
        # A postmaster may have replaced the file between the look and the rename. Only what was
        # moved tells; nothing may come between this line and putting it back.
        if _identity(folder, new_name) != (inode, sha256):
            return put_back(folder, new_name)
        os.fsync(folder)
    path = str(Path(data_directory) / new_name)
    detail = f"renamed to {new_name}"
    if locks:
        detail += f"; beside it the lock of its socket to {', '.join(locks)}"
    return FileReport(answer=FileAnswer.DONE, detail=detail, new_path=path)


def put_back(folder: int, new_name: str) -> FileReport:
    """Under its old name again, unless a newer lock file already stands there."""
    try:
        os.link(new_name, LOCK_FILE, src_dir_fd=folder, dst_dir_fd=folder)
    except FileExistsError:
        detail = f"another lock file came meanwhile and was left alone; the moved one is {new_name}"
        return FileReport(answer=FileAnswer.NOT_PUT_BACK, detail=detail, new_path=new_name)
    os.unlink(new_name, dir_fd=folder)
    os.fsync(folder)
    detail = "it changed at the last moment and was put back at once"
    return FileReport(answer=FileAnswer.PUT_BACK, detail=detail)


def _identity(folder: int, name: str) -> tuple[int, str] | None:
    """Inode and SHA-256 of one ordinary file; None where there is none."""
    read = _read(folder, name)
    return None if read is None else (read[0], hashlib.sha256(read[1]).hexdigest())


def _content(folder: int, name: str) -> bytes | None:
    read = _read(folder, name)
    return None if read is None else read[1]


def _read(folder: int, name: str) -> tuple[int, bytes] | None:
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ActionFailed(f"cannot read {name}: {error.strerror}", on=name) from error
    try:
        content = os.read(fd, LOCK_FILE_BYTES_MAX)
        return os.fstat(fd).st_ino, content
    finally:
        os.close(fd)


# --- files that may be deleted ------------------------------------------------------------------


def _kept_file(path: str) -> KeptFile | Missing:
    try:
        seen = os.lstat(path)
    except OSError as error:
        return Missing(what=path, reason=error.strerror or str(error))
    if not stat.S_ISREG(seen.st_mode):
        return Missing(what=path, reason="is not an ordinary file")
    return _kept(path, seen)


def _kept(path: str, seen: os.stat_result) -> KeptFile:
    return KeptFile(
        path=path,
        inode=seen.st_ino,
        size_bytes=seen.st_size,
        mtime_ns=seen.st_mtime_ns,
        allocated_bytes=seen.st_blocks * 512,
        device=seen.st_dev,
        links=seen.st_nlink,
    )


def _old_logs(directory: str, modified_before: datetime) -> Sequence[KeptFile] | Missing:
    limit_ns = int(modified_before.timestamp() * 1e9)
    try:
        with os.scandir(directory) as entries:
            found = [
                _kept(entry.path, entry.stat(follow_symlinks=False))
                for entry in entries
                if entry.is_file(follow_symlinks=False) and _is_log(entry.name)
            ]
    except OSError as error:
        return Missing(what=directory, reason=error.strerror or str(error))
    opened = _open_inodes()
    if isinstance(opened, Missing):
        return opened
    old = [f for f in found if f.mtime_ns < limit_ns and (f.device, f.inode) not in opened]
    # The newest log is never offered, whatever its age: it is the one being written, or the
    # only account of how the server ended.
    newest = max((f.mtime_ns for f in found), default=0)
    return tuple(sorted((f for f in old if f.mtime_ns < newest), key=lambda f: f.mtime_ns))


def _is_log(name: str) -> bool:
    stem = name.removesuffix(".gz").removesuffix(".zst")
    return stem.endswith(LOG_ENDINGS) or ".log." in stem


def _remove(file: KeptFile) -> FileReport:
    path = Path(file.path)
    owner = _owning_part(path)
    if owner:
        raise ActionFailed(
            f"files in {owner} belong to PostgreSQL and are never deleted", on=str(path)
        )
    opened = _open_inodes()
    with _folder(str(path.parent)) as folder:
        try:
            seen = os.stat(path.name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return FileReport(answer=FileAnswer.ABSENT, detail=f"{path} is not there any more")
        if not stat.S_ISREG(seen.st_mode) or _kept(file.path, seen) != file:
            detail = f"{path} is not the file that was chosen; it was not touched"
            return FileReport(answer=FileAnswer.CHANGED, detail=detail)
        if isinstance(opened, Missing) or (seen.st_dev, seen.st_ino) in opened:
            detail = f"{path} is held open, or that could not be told; it was not touched"
            return FileReport(answer=FileAnswer.CHANGED, detail=detail)
        try:
            os.unlink(path.name, dir_fd=folder)
        except OSError as error:
            raise ActionFailed(f"cannot delete: {error.strerror}", on=str(path)) from error
    freed = file.allocated_bytes if file.links == 1 else 0
    detail = f"deleted {path}, {freed} bytes"
    return FileReport(answer=FileAnswer.DONE, detail=detail, freed_bytes=freed)


def _owning_part(path: Path) -> str:
    """The part of a data directory that a path lies in; empty when it lies in none.

    A folder is a data directory when it holds PG_VERSION beside `global` or `base`; a folder named
    like a part of one counts as such wherever it lies, because `pg_wal` is often a link target.
    """
    real = Path(os.path.realpath(path.parent))
    for folder in (real, *real.parents):
        if folder.name in OWNED_BY_POSTGRESQL - {"base", "global"} or folder.name == "pg_xlog":
            return str(folder)
        if folder.name.startswith("PG_") and folder.name[3:5].isdigit():
            return str(folder)
        inside = folder.name in OWNED_BY_POSTGRESQL
        if inside and (folder.parent / "PG_VERSION").exists():
            return str(folder)
    if (real / "PG_VERSION").exists() and not _is_log(path.name) and not _is_ballast(path.name):
        return str(real)
    return ""


def _is_ballast(name: str) -> bool:
    """Directly in a data directory only a file that says what it is may be taken for ballast."""
    return "ballast" in name.lower()


def _open_inodes() -> frozenset[tuple[int, int]] | Missing:
    """Device and inode of every ordinary file any process holds open.

    Missing as soon as one process of a server does not show its files: unknown means no.
    """
    found: set[tuple[int, int]] = set()
    for process in psutil.process_iter(["name"]):
        try:
            found |= _inodes_of(process)
        except psutil.NoSuchProcess:
            continue
        except (psutil.AccessDenied, PermissionError):
            if _may_hold_logs(process.info["name"] or ""):
                return Missing(
                    what="open files", reason=f"process {process.pid} does not show its files"
                )
    return frozenset(found)


def _may_hold_logs(name: str) -> bool:
    return name in ("", "postgres", "postmaster") or "log" in name.lower()


def _inodes_of(process: psutil.Process) -> set[tuple[int, int]]:
    proc = Path(f"/proc/{process.pid}/fd")
    try:
        links = list(proc.iterdir()) if proc.parent.parent.joinpath("self").exists() else None
    except FileNotFoundError:
        return set()
    paths = [f.path for f in process.open_files()] if links is None else links
    found: set[tuple[int, int]] = set()
    for path in paths:
        try:
            seen = os.stat(path)
        except (FileNotFoundError, ProcessLookupError):
            continue
        if stat.S_ISREG(seen.st_mode):
            found.add((seen.st_dev, seen.st_ino))
    return found


# --- folders ------------------------------------------------------------------------------------


@contextmanager
def _folder(path: str) -> Generator[int]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        hint = "Check that Stanch runs as a user who may read the data directory."
        raise ActionFailed(
            f"cannot open the folder: {error.strerror}", on=path, hint=hint
        ) from error
    try:
        yield fd
    except OSError as error:
        raise ActionFailed(f"the file system refused: {error.strerror}", on=path) from error
    finally:
        os.close(fd)


def _space(path: str) -> Space | Missing:
    try:
        volume, seen = os.statvfs(path), os.stat(path)
    except OSError as error:
        return Missing(what=path, reason=error.strerror or str(error))
    return Space(
        device=seen.st_dev,
        total_bytes=volume.f_blocks * volume.f_frsize,
        free_bytes=volume.f_bavail * volume.f_frsize,
    )
