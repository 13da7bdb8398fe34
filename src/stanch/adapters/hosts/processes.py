"""Processes: which belong to a server, and who else has files of a data directory open."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import psutil

from stanch.adapters.hosts.log_places import LogPlaces
from stanch.model.diagnosis import Missing
from stanch.model.host import DataDirectoryProcesses, DeletedOpenFile, FileHolder, ProcessInfo

T = TypeVar("T")

_SERVER_NAMES = frozenset({"postgres", "postmaster"})
_FILES_SHOWN = 5
_DELETED_SHOWN = 50
_TITLE_CHARS = 400
_DELETED = " (deleted)"
_KERNEL_THREAD = 0x00200000


def read_process(pid: int, proc: Path) -> ProcessInfo | Missing | None:
    """One process, as much of it as may be seen; None: there is none with this pid."""
    if pid <= 0:
        return None
    try:
        return _info(psutil.Process(pid), proc)
    except psutil.NoSuchProcess:
        return None
    except psutil.AccessDenied:
        return Missing(what=f"process {pid}", reason=f"process {pid} may not be inspected")


def _info(process: psutil.Process, proc: Path) -> ProcessInfo:
    with process.oneshot():
        command = " ".join(_seen(process.cmdline) or ()).strip()
        started = _seen(process.create_time)
        uids = _seen(process.uids)
        return ProcessInfo(
            pid=process.pid,
            ppid=_seen(process.ppid),
            started_at=None if started is None else datetime.fromtimestamp(started, UTC),
            exe=_seen(process.exe) or None,
            cwd=_seen(process.cwd) or None,
            title=(command or process.name())[:_TITLE_CHARS],
            state=str(process.status()),
            uid=None if uids is None else uids.real,
            in_container=_elsewhere(process.pid, proc),
        )


def _seen(read: Callable[[], T]) -> T | None:
    """A reading that a missing right turns into None; a process that ended stays an exception."""
    try:
        return read()
    except (psutil.AccessDenied, psutil.ZombieProcess):
        return None


def _elsewhere(pid: int, proc: Path) -> bool | None:
    """Whether a process counts its pids in another namespace than we do."""
    try:
        theirs, ours = os.readlink(proc / str(pid) / "ns/pid"), os.readlink(proc / "self/ns/pid")
    except OSError:
        return None
    return theirs != ours


def is_server(exe: str | None) -> bool:
    """Whether an executable is PostgreSQL's server, even if an upgrade has replaced the file."""
    return exe is not None and os.path.basename(exe.removesuffix(_DELETED)) in _SERVER_NAMES


def is_child(process: ProcessInfo) -> bool:
    """A server process that is not a postmaster: those keep their command line as title."""
    return process.title.startswith("postgres:")


@dataclass(slots=True)
class _Found:
    servers: list[ProcessInfo] = field(default_factory=list[ProcessInfo])
    holders: list[FileHolder] = field(default_factory=list[FileHolder])
    unreadable: list[int] = field(default_factory=list[int])


def read_data_directory(
    data_directory: str, proc: Path, *, logs: LogPlaces | None = None
) -> DataDirectoryProcesses | Missing:
    """Everybody at work in a data directory, ourselves and mere readers of its `logs` excepted.

    Cost: reads every process of the machine; of those that are not this server's own, every open
    file and mapping.
    """
    try:
        folder = _Folder.of(data_directory, logs or LogPlaces())
    except OSError as error:
        return Missing(what="processes of the data directory", reason=error.strerror or str(error))
    found = _Found()
    for process in _others(proc):
        try:
            _inspect(process, folder, found=found, proc=proc)
        except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            continue  # It ended while we looked, so it holds nothing.
        except (psutil.AccessDenied, PermissionError):
            found.unreadable.append(process.pid)
    return _sorted_out(found)


def _sorted_out(found: _Found) -> DataDirectoryProcesses:
    heads = [server for server in found.servers if not is_child(server)]
    # A postmaster forks before it names the child, so a head whose parent is one is no head.
    pids = {head.pid for head in heads}
    heads = [head for head in heads if head.ppid not in pids]
    postmaster = min(heads, key=lambda head: head.pid, default=None)
    rest = [server for server in found.servers if server is not postmaster]
    own = None if postmaster is None else postmaster.pid
    return DataDirectoryProcesses(
        postmaster=postmaster,
        members=tuple(server for server in rest if own is not None and server.ppid == own),
        orphans=tuple(server for server in rest if own is None or server.ppid != own),
        holders=tuple(found.holders),
        unreadable=len(found.unreadable),
        unreadable_pids=tuple(found.unreadable[:_FILES_SHOWN]),
    )


@dataclass(frozen=True, slots=True)
class _Folder:
    path: str
    device: int
    inode: int
    logs: LogPlaces

    @classmethod
    def of(cls, path: str, logs: LogPlaces) -> _Folder:
        real = os.path.realpath(path, strict=True)
        known = os.stat(real)
        return cls(real, known.st_dev, known.st_ino, logs)

    def holds(self, path: str) -> bool:
        return path == self.path or path.startswith(f"{self.path}/")

    def holds_data(self, path: str) -> bool:
        return self.holds(path) and not self.logs.hold(path.removesuffix(_DELETED))

    def is_at(self, path: Path) -> bool:
        known = os.stat(path)
        return (known.st_dev, known.st_ino) == (self.device, self.inode)


def _others(proc: Path) -> Iterator[psutil.Process]:
    own = os.getpid()
    for pid in psutil.pids():
        if pid in (0, own) or _is_kernel_thread(pid, proc):
            continue
        try:
            yield psutil.Process(pid)
        except psutil.NoSuchProcess:
            continue


def _is_kernel_thread(pid: int, proc: Path) -> bool:
    try:
        text = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    # The name in parentheses may itself hold parentheses and blanks.
    fields = text.rpartition(")")[2].split()
    return len(fields) > 6 and bool(int(fields[6]) & _KERNEL_THREAD)


def _inspect(process: psutil.Process, folder: _Folder, *, found: _Found, proc: Path) -> None:
    if process.status() == psutil.STATUS_ZOMBIE:
        return  # The kernel has taken back everything but its exit status.
    here = _works_in(process, folder, proc)
    if here and is_server(process.exe()):
        info = _info(process, proc)
        found.servers.append(info)
        found.holders.append(FileHolder(pid=info.pid, title=info.title, files=(folder.path,)))
        return
    files = [folder.path] if here and not _reads_logs(process, folder, proc) else []
    files += _open_under(process, folder, proc)
    if files:
        info = _info(process, proc)
        shown = tuple(dict.fromkeys(files))[:_FILES_SHOWN]
        found.holders.append(FileHolder(pid=info.pid, title=info.title, files=shown))


def _works_in(process: psutil.Process, folder: _Folder, proc: Path) -> bool:
    link = proc / str(process.pid) / "cwd"
    if proc.is_dir():
        # The inode tells even where the process sees the folder under another path.
        return folder.is_at(link) or folder.holds(os.readlink(link))
    return folder.holds(process.cwd())


def _reads_logs(process: psutil.Process, folder: _Folder, proc: Path) -> bool:
    """Works in the log folder alone, as somebody does who went there to look."""
    return proc.is_dir() and folder.logs.hold(os.readlink(proc / str(process.pid) / "cwd"))


def _open_under(process: psutil.Process, folder: _Folder, proc: Path) -> list[str]:
    if not proc.is_dir():
        return [file.path for file in process.open_files() if folder.holds_data(file.path)]
    found = [path for _, path in open_links(process.pid, proc) if folder.holds_data(path)]
    root = proc / str(process.pid) / "root"
    if not found and _other_mounts(process.pid, proc):
        links = open_links(process.pid, proc)
        found = [path for link, path in links if _below(folder, link=link, path=path, root=root)]
    return found or [path for path in _mapped(process.pid, proc) if folder.holds_data(path)]


def open_links(pid: int, proc: Path) -> list[tuple[str, str]]:
    """The open files of a process that have a path: the link under /proc, and the path."""
    folder = f"{proc}/{pid}/fd"
    links: list[tuple[str, str]] = []
    for name in os.listdir(folder):
        try:
            path = os.readlink(f"{folder}/{name}")
        except FileNotFoundError:
            continue
        if path.startswith("/"):
            links.append((f"{folder}/{name}", path))
    return links


def _other_mounts(pid: int, proc: Path) -> bool:
    return os.readlink(proc / str(pid) / "ns/mnt") != os.readlink(proc / "self/ns/mnt")


def _below(folder: _Folder, *, link: str, path: str, root: Path) -> bool:
    """Whether a file of a process with other mounts lies in our folder, whatever it calls it."""
    try:
        if os.stat(link).st_dev != folder.device:
            return False
        for up in Path(path).parents:
            if folder.is_at(root / str(up).lstrip("/")):
                return folder.holds_data(f"{folder.path}/{Path(path).relative_to(up)}")
    except (FileNotFoundError, NotADirectoryError):
        return False
    return False


def _mapped(pid: int, proc: Path) -> list[str]:
    text = (proc / str(pid) / "maps").read_text(encoding="utf-8", errors="surrogateescape")
    return list({line[line.index("/") :] for line in text.splitlines() if "/" in line})


def read_deleted_open(devices: frozenset[int], proc: Path) -> tuple[DeletedOpenFile, ...] | Missing:
    """Deleted files on these devices that a process still has open, largest first.

    Some files of some processes are worth knowing; none at all is only said when all were seen.
    """
    if not proc.is_dir():
        return Missing(what="deleted open files", reason="this system has no /proc")
    found: dict[tuple[int, int], DeletedOpenFile] = {}
    unreadable = 0
    for process in _others(proc):
        try:
            links = open_links(process.pid, proc)
        except PermissionError:
            unreadable += 1
            continue
        except OSError:
            continue  # It ended while we looked.
        for link, path in links:
            if not path.endswith(_DELETED):
                continue
            try:
                known = os.stat(link)
            except OSError:
                continue
            if known.st_dev in devices and known.st_blocks:
                found[known.st_dev, known.st_ino] = DeletedOpenFile(
                    pid=process.pid,
                    path=path.removesuffix(_DELETED),
                    allocated_bytes=known.st_blocks * 512,
                )
    if unreadable and not found:
        reason = f"none seen, but {unreadable} processes could not be inspected"
        return Missing(what="deleted open files", reason=reason)
    largest = sorted(found.values(), key=lambda file: (-file.allocated_bytes, file.pid))
    return tuple(largest[:_DELETED_SHOWN])
