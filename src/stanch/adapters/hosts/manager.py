"""Asking whoever manages a server to start it: `pg_ctl`, or Debian's `pg_ctlcluster`.

The server is started exactly as it was last time: same user, same options. Nothing here stops a
server, and nothing starts one past a manager that was found to own it.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shlex
import signal
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from stanch.adapters.hosts.own_unit import would_die_with_us
from stanch.adapters.hosts.rivals import (
    SeenProcess,
    jobs_among,
    markers_in,
    rival_manager,
    runs_systemd,
    unit_restarts,
)
from stanch.model.diagnosis import Missing
from stanch.model.errors import ActionFailed, ProbeFailed
from stanch.model.ports.acting import ManagerAnswer, ManagerStatus
from stanch.model.shown import shortened

STATUS_DEADLINE_S = 3.0
DETAIL_CHARS = 1200
LOCK_WORDS = (
    'lock file "postmaster.pid" already exists',
    "pre-existing shared memory block",
    "is still in use",
)
"""How PostgreSQL says that children of a killed postmaster are not all gone yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Account:
    uid: int
    gid: int
    name: str


class PgCtl:
    """A server started with `pg_ctl`, in no manager's care. `ServerManager`."""

    kind = "pg_ctl"

    def __init__(self, *, data_directory: str, bin_directory: str, log_file: str = "") -> None:
        """`log_file` takes the server's standard error, as `pg_ctl --log` does.

        Empty: allowed only where the server collects its own log, because otherwise everything it
        says after the start would be lost.
        """
        self._data = data_directory
        self._bin = Path(bin_directory)
        self._log = log_file

    def describe(self) -> str:
        log = f" -l {shlex.quote(self._log)}" if self._log else ""
        command = f"{self._bin / 'pg_ctl'} start -D {shlex.quote(self._data)}{log}"
        return f"pg_ctl as {_owner_name(self._data)}: `{command}`"

    async def status(self) -> ManagerStatus | Missing:
        account = await asyncio.to_thread(_owner, self._data)
        if isinstance(account, Missing):
            return account
        refusal = _may_not(account) or await asyncio.to_thread(would_die_with_us)
        refusal = refusal or await self._log_refusal(account)
        return await asyncio.to_thread(_status, self._data, refusal=refusal, own_unit="")

    async def start(self, *, deadline_s: float) -> ManagerAnswer:
        """Ask `pg_ctl` to start the server and wait until it takes connections, or says no."""
        account = await asyncio.to_thread(_owner, self._data)
        if isinstance(account, Missing):
            raise ActionFailed(account.reason, on=self._data)
        with tempfile.NamedTemporaryFile(prefix="stanch-start-") as scratch:
            os.chown(scratch.name, account.uid, -1)
            log = self._log or scratch.name
            seen = _size(log)
            options = last_options(Path(self._data) / "postmaster.opts")
            command = [str(self._bin / "pg_ctl"), "start", "-w", "-D", self._data, "-l", log]
            command += ["-t", str(max(1, int(deadline_s) - 1))]
            command += ["-o", options] if options else []
            answer = await _run(command, account=account, deadline_s=deadline_s)
            if isinstance(answer, Missing):
                raise ProbeFailed(answer.reason, on="pg_ctl start")
            said = _tail(log, after=seen)
        return _answer(answer, said)

    async def _log_refusal(self, account: _Account) -> str:
        if self._log:
            return ""
        command = [str(self._bin / "postgres"), "-D", self._data, "-C", "logging_collector"]
        answer = await _run(command, account=account, deadline_s=STATUS_DEADLINE_S)
        if not isinstance(answer, Missing) and answer.out.strip().endswith("on"):
            return ""
        return "where the server's log goes is not known; `log` in stanch.yaml says it"


class PgCtlCluster:
    """A cluster in the care of Debian's postgresql-common. `ServerManager`."""

    kind = "pg_ctlcluster"

    def __init__(
        self,
        *,
        version: str,
        cluster: str,
        data_directory: str,
        conf_root: str = "/etc/postgresql",
        log_file: str = "",
    ) -> None:
        self._version = version
        self._cluster = cluster
        self._data = data_directory
        self._conf = Path(conf_root) / version / cluster
        self._env = {} if conf_root == "/etc/postgresql" else {"PG_CLUSTER_CONF_ROOT": conf_root}
        self._log = log_file

    def describe(self) -> str:
        return f"Debian's cluster tools: `pg_ctlcluster {self._version} {self._cluster} start`"

    async def status(self) -> ManagerStatus | Missing:
        account = await asyncio.to_thread(_owner, self._data)
        if isinstance(account, Missing):
            return account
        refusal = _may_not(account) or await asyncio.to_thread(self._start_conf_refusal)
        if os.geteuid() != 0:
            # Only root has systemd start it, in a unit of its own.
            refusal = refusal or await asyncio.to_thread(would_die_with_us)
        return await asyncio.to_thread(
            _status,
            self._data,
            refusal=refusal,
            own_unit=f"postgresql@{self._version}-{self._cluster}.service",
        )

    async def start(self, *, deadline_s: float) -> ManagerAnswer:
        """Ask `pg_ctlcluster` to start the cluster; where systemd runs, it asks systemd."""
        account = await asyncio.to_thread(_owner, self._data)
        if isinstance(account, Missing):
            raise ActionFailed(account.reason, on=self._data)
        seen = _size(self._log)
        under_systemd = os.geteuid() == 0 and runs_systemd()
        wait = [] if under_systemd else ["--", "-w", "-t", str(max(1, int(deadline_s) - 1))]
        answer = await _run(
            ["pg_ctlcluster", self._version, self._cluster, "start", *wait],
            account=None if under_systemd else account,
            deadline_s=deadline_s,
            env=self._env,
        )
        if isinstance(answer, Missing):
            raise ProbeFailed(answer.reason, on="pg_ctlcluster start")
        return _answer(answer, _tail(self._log, after=seen))

    def _start_conf_refusal(self) -> str:
        try:
            lines = (self._conf / "start.conf").read_text("utf-8", "replace").splitlines()
        except FileNotFoundError:
            return ""
        except OSError as error:
            return f"start.conf cannot be read: {error.strerror}"
        words = [line.split("#")[0].strip() for line in lines]
        if "disabled" in words:
            return f"{self._conf / 'start.conf'} says disabled"
        return ""


# --- reading ------------------------------------------------------------------------------------


def last_options(opts_file: Path) -> str:
    """The options of the last start, quoted for `pg_ctl -o`, without program and data directory.

    Without them a server that was started on another port would come back on the wrong one.
    Source: postmaster.opts, written by every postmaster; empty when it cannot be read.
    """
    try:
        words = shlex.split(opts_file.read_text("utf-8", "surrogateescape"))
    except (OSError, ValueError):
        return ""
    rest = words[1:]
    while "-D" in rest:
        at = rest.index("-D")
        del rest[at : at + 2]
    return shlex.join(rest)


def _status(data: str, *, refusal: str, own_unit: str) -> ManagerStatus:
    processes = list(_processes())
    rival = rival_manager(data, processes, own_unit=own_unit)
    restarts = None if rival else unit_restarts(own_unit)
    return ManagerStatus(
        restarts_by_itself=restarts,
        other_manager=rival,
        jobs=jobs_among(processes, data_directory=data, own_pid=os.getpid()),
        markers=markers_in(data),
        may_act=not refusal,
        owner_uid=os.stat(data).st_uid,
        detail=refusal,
    )


def _processes() -> Sequence[SeenProcess]:
    found: list[SeenProcess] = []
    for process in psutil.process_iter(["pid", "ppid", "name", "cmdline"]):
        info = process.info
        found.append(
            SeenProcess(
                pid=info["pid"],
                ppid=info["ppid"] or 0,
                name=info["name"] or "",
                command=tuple(info["cmdline"] or ()),
            )
        )
    return found


def _owner(data: str) -> _Account | Missing:
    try:
        seen = os.stat(data)
    except OSError as error:
        return Missing(what=data, reason=error.strerror or str(error))
    return _Account(uid=seen.st_uid, gid=seen.st_gid, name=_name_of(seen.st_uid))


def _owner_name(data: str) -> str:
    account = _owner(data)
    return "its owner" if isinstance(account, Missing) else account.name


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _may_not(account: _Account) -> str:
    if account.uid == 0:
        return "the data directory belongs to root, and a server may not run as root"
    if os.geteuid() in (0, account.uid):
        return ""
    return f"only {account.name} or root may start it, and Stanch runs as {_name_of(os.geteuid())}"


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size if path else 0
    except OSError:
        return 0


def _tail(path: str, *, after: int) -> str:
    """What was appended since; bounded from the end."""
    try:
        with Path(path).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(min(after, size), size - 4 * DETAIL_CHARS))
            return file.read(4 * DETAIL_CHARS).decode("utf-8", "replace")
    except OSError:
        return ""


# --- running ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    code: int
    out: str


def _answer(answer: _Answer, said: str) -> ManagerAnswer:
    # The server's own words first: pg_ctl only says that it could not, and not why.
    own = said.strip()[-DETAIL_CHARS * 3 // 4 :]
    both = f"{own}\n{answer.out.strip()}".strip()
    return ManagerAnswer(
        ok=answer.code == 0,
        detail=shortened(both, DETAIL_CHARS),
        lock_held=answer.code != 0 and any(word in both for word in LOCK_WORDS),
    )


async def _run(
    command: Sequence[str],
    *,
    account: _Account | None,
    deadline_s: float,
    env: Mapping[str, str] | None = None,
) -> _Answer | Missing:
    """One command as the server's owner, in a session of its own so that the server outlives us.

    Output goes to a file: a started server inherits the descriptors, and a pipe would never end.
    Missing: it could not be run, or gave no answer in time; then only the command is ended.
    """
    with tempfile.TemporaryFile() as out:
        try:
            process = await _spawn(command, account=account, env=env or {}, out=out)
        except OSError as error:
            return Missing(what=command[0], reason=error.strerror or str(error))
        try:
            async with asyncio.timeout(deadline_s):
                code = await process.wait()
        except TimeoutError:
            return Missing(what=command[0], reason=f"no answer within {deadline_s:g} s")
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
        out.seek(0)
        return _Answer(code=code, out=out.read(64 * 1024).decode("utf-8", "replace"))


async def _spawn(
    command: Sequence[str], *, account: _Account | None, env: Mapping[str, str], out: IO[bytes]
) -> asyncio.subprocess.Process:
    # Variables such as PGPORT or PGDATA of whoever runs Stanch must not reach the server.
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
    as_owner = account is not None and os.geteuid() == 0
    # We may go before others (see `cli/priority.py`, or a unit's Nice=); a server would keep that.
    ahead = min(0, os.getpriority(os.PRIO_PROCESS, 0))
    return await asyncio.create_subprocess_exec(
        *(["nice", "-n", str(-ahead)] if ahead else []),
        *command,
        stdin=asyncio.subprocess.DEVNULL,
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


def _groups(account: _Account) -> list[int]:
    """The owner's own groups: the key of a TLS certificate is often readable through one."""
    try:
        return os.getgrouplist(pwd.getpwuid(account.uid).pw_name, account.gid)
    except KeyError:
        return [account.gid]
