"""Running one command as the server's owner, bounded in time; whoever it starts outlives us."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from stanch.model.diagnosis import Missing

LOOK_EVERY_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An operating-system user."""

    uid: int
    gid: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How a command ended, and what it said."""

    code: int
    out: str
    """Both of its streams, at most 64 kB."""


def owner_of(data: str) -> Account | Missing:
    """Whom a data directory belongs to."""
    try:
        seen = os.stat(data)
    except OSError as error:
        return Missing(what=data, reason=error.strerror or str(error))
    return Account(uid=seen.st_uid, gid=seen.st_gid, name=name_of(seen.st_uid))


def owner_name(data: str) -> str:
    """The same by name, for a sentence."""
    account = owner_of(data)
    return "its owner" if isinstance(account, Missing) else account.name


def name_of(uid: int) -> str:
    """A user's name; the number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def may_not(account: Account) -> str:
    """Why no server of this user is ours to start or stop; empty: it is."""
    if account.uid == 0:
        return "the data directory belongs to root, and a server may not run as root"
    if os.geteuid() in (0, account.uid):
        return ""
    return f"only {account.name} or root may start it, and Stanch runs as {name_of(os.geteuid())}"


async def run_command(
    command: Sequence[str],
    *,
    account: Account | None,
    deadline_s: float,
    env: Mapping[str, str] | None = None,
    to_its_end: bool = False,
) -> Answer | Missing:
    """One command as the server's owner, in a session of its own so that the server outlives us.

    Output goes to a file: a started server inherits the descriptors, and a pipe would never end.
    Missing: it could not be run, or gave no answer in time; then only the command is ended.
    `to_its_end`: it is left alone even then, and when nobody waits for it any more: a restart that
    is ended between its halves leaves a server down.
    """
    with tempfile.TemporaryFile() as out:
        try:
            process = _spawn(command, account=account, env=env or {}, out=out)
        except OSError as error:
            return Missing(what=command[0], reason=error.strerror or str(error))
        try:
            async with asyncio.timeout(deadline_s):
                code = await _ended(process)
        except TimeoutError:
            return Missing(what=command[0], reason=f"no answer within {deadline_s:g} s")
        finally:
            if process.poll() is None:
                _leave(process, ends=not to_its_end)
        out.seek(0)
        return Answer(code=code, out=out.read(64 * 1024).decode("utf-8", "replace"))


async def _ended(process: subprocess.Popen[bytes]) -> int:
    # Not asyncio's own processes: those are killed where nobody waits for them any more.
    while process.poll() is None:  # noqa: ASYNC110 -- a process sets no event
        await asyncio.sleep(LOOK_EVERY_S)
    return process.returncode


def _leave(process: subprocess.Popen[bytes], *, ends: bool) -> None:
    if ends:
        process.send_signal(signal.SIGTERM)
    # Somebody has to take note of its end.
    threading.Thread(target=process.wait, name="stanch-command", daemon=True).start()


def _spawn(
    command: Sequence[str], *, account: Account | None, env: Mapping[str, str], out: IO[bytes]
) -> subprocess.Popen[bytes]:
    # Variables such as PGPORT or PGDATA of whoever runs Stanch must not reach the server.
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
    as_owner = account is not None and os.geteuid() == 0
    # We may go before others (see `cli/priority.py`, or a unit's Nice=); a server would keep that.
    ahead = min(0, os.getpriority(os.PRIO_PROCESS, 0))
    return subprocess.Popen(
        [*(["nice", "-n", str(-ahead)] if ahead else []), *command],
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=out,
        cwd="/",
        env={**kept, **env},
        start_new_session=True,
        umask=0o077,
        user=account.uid if account and as_owner else None,
        group=account.gid if account and as_owner else None,
        extra_groups=_groups(account) if account and as_owner else None,
    )


def _groups(account: Account) -> list[int]:
    """The owner's own groups: the key of a TLS certificate is often readable through one."""
    try:
        return os.getgrouplist(pwd.getpwuid(account.uid).pw_name, account.gid)
    except KeyError:
        return [account.gid]
