"""The operating system's side of a scratch server: its processes and its shared memory.

Everything is identified by the data directory it works in, never by name alone: other servers of
the same OS user are not ours to touch.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

from stanch.adapters.postgres.os_user import OsUser, as_user

LOCK_FILE = "postmaster.pid"
POLL_S = 0.02


def postmaster_pid(data_directory: Path, user: OsUser | None) -> int | None:
    """The PID of the running postmaster of this data directory, or None.

    Source: line 1 of postmaster.pid, believed only when that process works in this directory:
    a reused PID is not a server.
    """
    lines = _lock_lines(data_directory)
    if not lines or not re.fullmatch(r"[1-9]\d{0,9}", lines[0].strip()):
        return None
    pid = int(lines[0])
    return pid if pid in _working_in(data_directory, [pid], user) else None


def server_processes(data_directory: Path, user: OsUser | None) -> set[int]:
    """Every live process of this server: the postmaster, its children, and orphans of a dead one.

    Cost: one walk over the process table.
    """
    uid = os.getuid() if user is None else user.uid
    candidates = [
        process.pid
        for process in psutil.process_iter(["name"])
        if (process.info["name"] or "").startswith("postgres") and _runs_as(process, uid)
    ]
    return _working_in(data_directory, candidates, user)


def _runs_as(process: psutil.Process, uid: int) -> bool:
    try:
        return process.uids().real == uid
    except psutil.Error:
        return False


def signal_all(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to each process that still exists."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def wait_until_gone(data_directory: Path, user: OsUser | None, *, timeout_s: float) -> bool:
    """Whether the last process of the server ended in time."""
    end = time.monotonic() + timeout_s
    while server_processes(data_directory, user):
        if time.monotonic() > end:
            return False
        time.sleep(POLL_S)
    return True


def wait_for_status(pid: int, wanted: frozenset[str], *, timeout_s: float = 5.0) -> bool:
    """Whether a process reached one of the states in time; a process that is gone is `dead`."""
    end = time.monotonic() + timeout_s
    while True:
        try:
            status = psutil.Process(pid).status()
        except psutil.NoSuchProcess:
            status = psutil.STATUS_DEAD
        if status in wanted:
            return True
        if time.monotonic() > end:
            return False
        time.sleep(POLL_S)


def shared_memory_files(pids: Iterable[int], user: OsUser | None) -> set[Path]:
    """The POSIX shared memory files these processes have mapped (Linux; elsewhere none).

    A killed server leaves them in /dev/shm until it is started again; a scratch server that is
    thrown away killed has to remove its own.
    """
    maps = [f"/proc/{pid}/maps" for pid in pids]
    if not maps:
        return set()
    answer = _said_as_user(["grep", "-ho", r"/dev/shm/PostgreSQL\.[0-9]*", *maps], user)  # noqa: S108
    return {Path(line) for line in answer.splitlines()}


def shared_memory_segments(data_directory: Path) -> set[tuple[str, str]]:
    """Key and id of the System V segment that the lock file names, if it names one."""
    lines = _lock_lines(data_directory)
    columns = lines[6].split() if len(lines) > 6 else []
    return {(columns[0], columns[1])} if len(columns) == 2 else set()


def remove_shared_memory(
    files: Iterable[Path], segments: Iterable[tuple[str, str]], user: OsUser | None
) -> None:
    """Remove what a killed server left in shared memory; its processes must be gone.

    Segments are removed as the server's own OS user, who cannot remove anybody else's, and only
    those that still exist under both key and id with nobody attached.
    """
    for path in files:
        path.unlink(missing_ok=True)
    for key, segment_id in segments:
        if _segment_unattached(key, segment_id):
            _said_as_user(["ipcrm", "-m", segment_id], user)


def _segment_unattached(key: str, segment_id: str) -> bool:
    """Whether exactly this segment still exists with nobody attached."""
    table = Path("/proc/sysvipc/shm")
    if not table.exists():
        return segment_id.isdigit()
    for line in table.read_text().splitlines()[1:]:
        columns = line.split()
        if columns[:2] == [key, segment_id]:
            return columns[6] == "0"
    return False


def _lock_lines(data_directory: Path) -> list[str]:
    try:
        return (data_directory / LOCK_FILE).read_text(errors="replace").splitlines()
    except OSError:
        return []


def _working_in(data_directory: Path, pids: Iterable[int], user: OsUser | None) -> set[int]:
    wanted = os.path.realpath(data_directory)
    found: set[int] = set()
    hidden: list[str] = []
    for pid in pids:
        try:
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            if process.cwd() == wanted:
                found.add(pid)
        except psutil.AccessDenied:
            hidden.append(str(pid))
        except psutil.NoSuchProcess:
            continue
    # Root without CAP_SYS_PTRACE (an ordinary container) may not look; the owner always may.
    if hidden and user is not None:
        script = 'for p; do echo "$p $(readlink /proc/$p/cwd)"; done'
        answer = _said_as_user(["/bin/sh", "-c", script, "sh", *hidden], user)
        rows = (line.partition(" ") for line in answer.splitlines())
        found |= {int(pid) for pid, _, cwd in rows if cwd == wanted}
    return found


def _said_as_user(command: list[str], user: OsUser | None) -> str:
    try:
        return subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            text=True,
            check=False,
            cwd="/",
            **as_user(user),
        ).stdout
    except FileNotFoundError:
        return ""
