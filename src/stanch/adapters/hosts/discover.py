"""Finding a server of this machine from its port, running or not, and saying from what.

Everything found comes with its source; "unknown" is an answer. Nothing is asked of the server.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from glob import glob
from pathlib import Path

import psutil

from stanch.adapters.hosts.lock_files import read_lock_file
from stanch.adapters.hosts.log_files import LogSource, current_log
from stanch.adapters.hosts.processes import is_child, is_server, read_process
from stanch.facts.lock_file import parse_lock_file
from stanch.model.diagnosis import Missing
from stanch.model.host import Found, LocalServer, LockFileRead, ProcessInfo, ServerManager


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where this machine keeps things; other roots for other layouts."""

    proc: Path = Path("/proc")
    debian_etc: Path = Path("/etc/postgresql")
    debian_lib: Path = Path("/usr/lib/postgresql")
    debian_log: Path = Path("/var/log/postgresql")
    socket_directories: tuple[str, ...] = ("/var/run/postgresql", "/tmp")  # noqa: S108 -- libpq's


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lead:
    """A data directory and how it was come by."""

    path: str
    source: str
    process: ProcessInfo | None = None
    cluster: tuple[str, str] | None = None
    """Debian's version and name."""


def discover_local_server(
    port: int, *, socket_directory: str | None = None, places: Places | None = None
) -> LocalServer:
    """The server of this machine that listens, or would listen, on a port."""
    at = places or Places()
    lead = (
        _running(port, socket_directory, at)
        or _debian(port, socket_directory, at)
        or _left_socket_lock(port, socket_directory, at)
    )
    if lead is None:
        reason = f"no server of port {port}, no lock file of one, no Debian cluster"
        nothing = Missing(what="data directory", reason=reason)
        return LocalServer(
            data_directory=nothing,
            bin_dir=Missing(what="programs", reason=reason),
            log_path=Missing(what="log", reason=reason),
            manager=ServerManager.UNKNOWN,
            manager_source=reason,
        )
    return _described(lead, at)


def describe_local_server(data_directory: str, *, places: Places | None = None) -> LocalServer:
    """The server of a data directory that somebody names, running or not."""
    at, real = places or Places(), os.path.realpath(data_directory)
    process = next((p for p in _postmasters(at.proc) if p.cwd == real), None)
    return _described(_Lead(path=real, source="named", process=process), at)


def _described(lead: _Lead, at: Places) -> LocalServer:
    cluster = lead.cluster or _cluster_of(lead.path, at)
    manager, name, source = _manager(lead, cluster, at)
    return LocalServer(
        data_directory=Found(value=lead.path, source=lead.source),
        bin_dir=_bin_dir(lead, cluster, at),
        log_path=_log_path(lead, cluster, at),
        manager=manager,
        manager_name=name,
        manager_source=source,
        running=lead.process is not None,
    )


# --- the data directory ---------------------------------------------------------------------------


def _running(port: int, socket_directory: str | None, at: Places) -> _Lead | None:
    for process in _postmasters(at.proc):
        lock = None if process.cwd is None else read_lock_file(process.cwd)
        if process.cwd is None or not isinstance(lock, LockFileRead):
            continue
        seen = parse_lock_file(lock.content)
        elsewhere = socket_directory is not None and seen.socket_directory != socket_directory
        if seen.pid == process.pid and seen.port == port and not elsewhere:
            source = f"process {process.pid} works in it and its lock file names port {port}"
            return _Lead(path=process.cwd, source=source, process=process)
    return None


def _postmasters(proc: Path) -> Iterator[ProcessInfo]:
    for pid in psutil.pids():
        process = read_process(pid, proc)
        if isinstance(process, ProcessInfo) and is_server(process.exe) and not is_child(process):
            yield process


def _left_socket_lock(port: int, socket_directory: str | None, at: Places) -> _Lead | None:
    """A killed server leaves the lock file of its socket, which names its data directory."""
    folders = at.socket_directories if socket_directory is None else (socket_directory,)
    for folder in folders:
        path = Path(folder) / f".s.PGSQL.{port}.lock"
        data = _data_directory_named_in(path)
        if data is not None:
            return _Lead(path=data, source=f"{path} was left behind and names it")
    return None


def _data_directory_named_in(path: Path) -> str | None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(handle, "rb") as file:
        owner = os.fstat(file.fileno()).st_uid
        named = parse_lock_file(file.read(8193)).data_directory
    # Anybody can write into these folders: only the data directory's owner may name it.
    try:
        known = named is not None and os.stat(Path(named, "PG_VERSION")).st_uid == owner
    except OSError:
        return None
    return named if known else None


def _debian(port: int, socket_directory: str | None, at: Places) -> _Lead | None:
    for folder in _clusters(at):
        settings = _settings(folder / "postgresql.conf")
        data = settings.get("data_directory")
        if data is None:
            continue
        settings |= _settings(Path(data) / "postgresql.auto.conf")
        sockets = settings.get("unix_socket_directories", at.socket_directories[0])
        if socket_directory not in (None, *(folder.strip() for folder in sockets.split(","))):
            continue
        if settings.get("port", "5432") == str(port):
            return _Lead(
                path=data,
                source=f"{folder}/postgresql.conf names it and port {port}",
                cluster=(folder.parent.name, folder.name),
            )
    return None


def _clusters(at: Places) -> list[Path]:
    found = glob("*/*/postgresql.conf", root_dir=at.debian_etc)
    return sorted((at.debian_etc / path).parent for path in found)


def _cluster_of(data_directory: str, at: Places) -> tuple[str, str] | None:
    real = os.path.realpath(data_directory)
    for folder in _clusters(at):
        named = _settings(folder / "postgresql.conf").get("data_directory")
        if named is not None and os.path.realpath(named) == real:
            return folder.parent.name, folder.name
    return None


_SETTING = re.compile(r"^\s*(\w+)\s*(?:=|\s)\s*(?:'((?:[^'\n]|'')*)'|([^\s#']+))", re.MULTILINE)


def _settings(path: Path) -> dict[str, str]:
    """A settings file's own lines, the last of a name counting; included files are not read."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    return {
        match[1].lower(): (match[2] or match[3] or "").replace("''", "'")
        for match in _SETTING.finditer(text)
    }


# --- programs, log, manager -----------------------------------------------------------------------


def _bin_dir(lead: _Lead, cluster: tuple[str, str] | None, at: Places) -> Found | Missing:
    if lead.process is not None and lead.process.exe is not None:
        folder = str(Path(lead.process.exe.removesuffix(" (deleted)")).parent)
        return Found(value=folder, source=f"executable of process {lead.process.pid}")
    started = _started_with(lead.path)
    if started and is_server(started[0]) and os.path.isfile(started[0]):
        return Found(value=str(Path(started[0]).parent), source="postmaster.opts")
    version = cluster[0] if cluster is not None else _version(lead.path)
    folder = at.debian_lib / version / "bin"
    if version and os.path.isfile(folder / "postgres"):
        return Found(value=str(folder), source=f"Debian's folder of version {version}")
    return Missing(what="programs", reason="neither postmaster.opts nor Debian's folders have them")


def _started_with(data_directory: str) -> list[str]:
    """The command of the last start, as the server noted it; it survives a kill."""
    try:
        text = Path(data_directory, "postmaster.opts").read_text(encoding="utf-8", errors="replace")
        return shlex.split(text)
    except (OSError, ValueError):
        return []


def _version(data_directory: str) -> str:
    try:
        text = Path(data_directory, "PG_VERSION").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return text if text.isdigit() else ""


def _log_path(lead: _Lead, cluster: tuple[str, str] | None, at: Places) -> Found | Missing:
    path = current_log(LogSource(data_directory=lead.path))
    if isinstance(path, str):
        return Found(value=path, source="current_logfiles")
    if lead.process is not None:
        # pg_ctl -l and Debian's wrapper hand the log over as standard error.
        try:
            written = os.readlink(at.proc / str(lead.process.pid) / "fd/2")
        except OSError:
            written = ""
        if written.startswith("/") and os.path.isfile(written):
            return Found(value=written, source=f"standard error of process {lead.process.pid}")
    if cluster is not None:
        log = at.debian_log / f"postgresql-{cluster[0]}-{cluster[1]}.log"
        if os.path.isfile(log):
            return Found(value=str(log), source="Debian's log of this cluster")
    return Missing(what="log", reason="no collected log, no file as standard error, none of Debian")


def _manager(
    lead: _Lead, cluster: tuple[str, str] | None, at: Places
) -> tuple[ServerManager, str, str]:
    """Who manages it, its name there, and from what that was concluded."""
    pid = None if lead.process is None else lead.process.pid
    groups = "" if pid is None else _text(at.proc / str(pid) / "cgroup")
    container = re.search(r"(?:docker|libpod)[-/]([0-9a-f]{12,64})", groups)
    if container is not None:
        return ServerManager.DOCKER, container[1][:12], f"control group of process {pid}"
    # Of os.path and not of Path: a folder this OS user may not read is an answer, not an error.
    if os.path.isfile(f"{lead.path}/patroni.dynamic.json"):
        return ServerManager.PATRONI, "", "patroni.dynamic.json lies in the data directory"
    if lead.process is not None and _below_patroni(lead.process, at.proc):
        return ServerManager.PATRONI, "", f"a parent of process {pid} is Patroni"
    # Not a user's session or scope: only a unit that systemd would start again by name.
    unit = re.search(r"/([\w@.\\:-]+\.service)(?:/|$)", groups, re.MULTILINE)
    if unit is not None and "postgres" in unit[1]:
        return ServerManager.SYSTEMD, unit[1], f"control group of process {pid}"
    if cluster is not None:
        name = f"{cluster[0]}/{cluster[1]}"
        return ServerManager.PG_CTLCLUSTER, name, f"{at.debian_etc}/{name} is its configuration"
    if _started_with(lead.path):
        return ServerManager.PG_CTL, "", "postmaster.opts, and no sign of another manager"
    return ServerManager.UNKNOWN, "", "no sign of any manager"


def _below_patroni(process: ProcessInfo, proc: Path) -> bool:
    parent = process.ppid
    for _ in range(4):
        above = None if parent is None else read_process(parent, proc)
        if not isinstance(above, ProcessInfo) or above.pid <= 1:
            return False
        if "patroni" in above.title.split(" -", 1)[0].lower():
            return True
        parent = above.ppid
    return False


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
