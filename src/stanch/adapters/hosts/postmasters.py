"""Telling one running server, and no other, to stop or to restart, and reading what came of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from stanch.adapters.hosts.as_owner import Account, Answer, run_command
from stanch.adapters.hosts.lock_files import read_lock_file
from stanch.adapters.hosts.processes import is_child, is_server, read_process
from stanch.facts.lock_file import parse_lock_file
from stanch.model.diagnosis import Missing
from stanch.model.errors import ProbeFailed
from stanch.model.host import LockFileRead, ProcessInfo
from stanch.model.ports.acting import ManagerAnswer, Postmaster
from stanch.model.shown import shortened

DETAIL_CHARS = 1200
LOCK_WORDS = (
    'lock file "postmaster.pid" already exists',
    "pre-existing shared memory block",
    "is still in use",
)
"""How PostgreSQL says that children of a killed postmaster are not all gone yet."""


def another_than(server: Postmaster, data_directory: str) -> ManagerAnswer | None:
    """The answer that leaves it alone; None: it is still the one.

    `pg_ctl stop` signals whichever process the lock file names: the file has to be of that start,
    and the process a postmaster at work in that directory.
    """
    why = _differs(server, data_directory)
    return ManagerAnswer(ok=False, detail=why, another=True) if why else None


def _differs(server: Postmaster, data_directory: str) -> str:
    read = read_lock_file(data_directory)
    if not isinstance(read, LockFileRead):
        return "its lock file is gone" if read is None else read.reason
    lock = parse_lock_file(read.content)
    if (lock.pid, lock.started_at_epoch_s) != (server.pid, server.started_at_epoch_s):
        return f"the lock file names process {lock.pid} of another start by now"
    process = read_process(server.pid, Path("/proc"))
    if not isinstance(process, ProcessInfo):
        return f"process {server.pid} is gone" if process is None else process.reason
    if not is_server(process.exe) or is_child(process):
        return f"process {server.pid} is no postmaster"
    if process.cwd != os.path.realpath(data_directory):
        return f"process {server.pid} works in {process.cwd or 'a folder that is not shown'}"
    return ""


async def shut_down(
    command: Sequence[str],
    *,
    server: Postmaster,
    data_directory: str,
    account: Account | None,
    deadline_s: float,
    env: Mapping[str, str] | None = None,
) -> ManagerAnswer:
    """Run a command that stops this server in order, once it is seen that it is still this one.

    Raises: ProbeFailed when it was told to stop and is not gone; nothing takes that back.
    """
    another = await asyncio.to_thread(another_than, server, data_directory)
    if another is not None:
        return another
    answer = await run_command(command, account=account, deadline_s=deadline_s, env=env)
    if isinstance(answer, Missing):
        raise ProbeFailed(answer.reason, on=_told(command))
    gone = await asyncio.to_thread(another_than, server, data_directory) is not None
    if not gone and (answer.code <= 0 or "not shut down" in answer.out):
        raise ProbeFailed("it was told to stop and is not gone yet", on=_told(command))
    return ManagerAnswer(ok=gone, detail=shortened(answer.out.strip(), DETAIL_CHARS))


async def start_anew(
    command: Sequence[str],
    *,
    server: Postmaster,
    data_directory: str,
    account: Account | None,
    deadline_s: float,
    log: str,
    env: Mapping[str, str] | None = None,
) -> ManagerAnswer:
    """Run a command that stops this server in order and starts it again.

    Raises: ProbeFailed when there is no answer in time, or the old server is still there, or a new
    one does not take connections yet.
    """
    another = await asyncio.to_thread(another_than, server, data_directory)
    if another is not None:
        return another
    seen = log_size(log)
    answer = await run_command(
        command, account=account, deadline_s=deadline_s, env=env, to_its_end=True
    )
    if isinstance(answer, Missing):
        raise ProbeFailed(f"{answer.reason}; it goes on", on=_told(command))
    said = answer_of(answer, log_tail(log, after=seen))
    if said.ok:
        return said
    runs = await asyncio.to_thread(whoever_runs, data_directory)
    if runs is None:
        return ManagerAnswer(ok=False, detail=said.detail, left_down=True)
    who = "the old server is still there" if runs == server.pid else "a new server is starting"
    raise ProbeFailed(f"{who} (process {runs}): {said.detail}", on=_told(command))


def whoever_runs(data_directory: str) -> int | None:
    """The live process that the lock file names; None: there is none."""
    read = read_lock_file(data_directory)
    pid = parse_lock_file(read.content).pid if isinstance(read, LockFileRead) else None
    process = None if pid is None else read_process(pid, Path("/proc"))
    return None if process is None else pid


def _told(command: Sequence[str]) -> str:
    return " ".join([os.path.basename(command[0]), *command[1:2]])


# --- what was said ------------------------------------------------------------------------------


def answer_of(answer: Answer, said: str) -> ManagerAnswer:
    """A manager's answer from how its command ended, and what the server's log said meanwhile."""
    # The server's own words first: pg_ctl only says that it could not, and not why.
    own = said.strip()[-DETAIL_CHARS * 3 // 4 :]
    both = f"{own}\n{answer.out.strip()}".strip()
    return ManagerAnswer(
        ok=answer.code == 0,
        detail=shortened(both, DETAIL_CHARS),
        lock_held=answer.code != 0 and any(word in both for word in LOCK_WORDS),
    )


def log_size(path: str) -> int:
    """How long a log is by now; 0 where there is none."""
    try:
        return os.stat(path).st_size if path else 0
    except OSError:
        return 0


def log_tail(path: str, *, after: int) -> str:
    """What was appended since; bounded from the end."""
    try:
        with Path(path).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(min(after, size), size - 4 * DETAIL_CHARS))
            return file.read(4 * DETAIL_CHARS).decode("utf-8", "replace")
    except OSError:
        return ""
