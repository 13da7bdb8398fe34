"""Asking whoever manages a server to start it: `pg_ctl`, or Debian's `pg_ctlcluster`.

The server is started exactly as it was last time: same user, same options. It is stopped by a fast
shutdown and in no other way, and never past a manager that was found to own it.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psutil

from stanch.adapters.hosts.as_owner import (
    Account,
    may_not,
    owner_name,
    owner_of,
    run_command,
)
from stanch.adapters.hosts.own_unit import would_die_with_us
from stanch.adapters.hosts.postmasters import (
    answer_of,
    log_size,
    log_tail,
    shut_down,
    start_anew,
)
from stanch.adapters.hosts.rivals import (
    SeenProcess,
    jobs_among,
    markers_in,
    rival_manager,
    runs_systemd,
    unit_restarts,
)
from stanch.adapters.hosts.start_options import last_options, last_program
from stanch.model.diagnosis import Missing
from stanch.model.errors import ActionFailed, ProbeFailed
from stanch.model.ports.acting import ManagerAnswer, ManagerStatus, Postmaster

STATUS_DEADLINE_S = 3.0


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
        return f"pg_ctl as {owner_name(self._data)}: `{command}`"

    async def status(self) -> ManagerStatus | Missing:
        account = await asyncio.to_thread(owner_of, self._data)
        if isinstance(account, Missing):
            return account
        refusal = may_not(account) or await asyncio.to_thread(would_die_with_us)
        refusal = refusal or await self._log_refusal(account)
        status = await asyncio.to_thread(status_of, self._data, refusal=refusal, own_unit="")
        return await with_programs(status, str(self._bin / "postgres"), account)

    async def start(self, *, deadline_s: float) -> ManagerAnswer:
        """Ask `pg_ctl` to start the server and wait until it takes connections, or says no."""
        account = await asyncio.to_thread(owner_of, self._data)
        if isinstance(account, Missing):
            raise ActionFailed(account.reason, on=self._data)
        with tempfile.NamedTemporaryFile(prefix="stanch-start-") as scratch:
            os.chown(scratch.name, account.uid, -1)
            log = self._log or scratch.name
            seen = log_size(log)
            options = last_options(Path(self._data) / "postmaster.opts")
            command = [str(self._bin / "pg_ctl"), "start", "-w", "-D", self._data, "-l", log]
            command += ["-t", str(max(1, int(deadline_s) - 1))]
            command += ["-o", options] if options else []
            answer = await run_command(command, account=account, deadline_s=deadline_s)
            if isinstance(answer, Missing):
                raise ProbeFailed(answer.reason, on="pg_ctl start")
            said = log_tail(log, after=seen)
        return answer_of(answer, said)

    async def stop(self, server: Postmaster, *, deadline_s: float) -> ManagerAnswer:
        """`pg_ctl stop` in fast mode; it waits until the server is gone."""
        account = await asyncio.to_thread(owner_of, self._data)
        if isinstance(account, Missing):
            raise ActionFailed(account.reason, on=self._data)
        return await shut_down(
            self._asks("stop", deadline_s),
            server=server,
            data_directory=self._data,
            account=account,
            deadline_s=deadline_s,
        )

    async def restart(self, server: Postmaster, *, deadline_s: float) -> ManagerAnswer:
        """`pg_ctl restart` in fast mode, with the options of the last start.

        One process does both halves and goes on if Stanch ends: nobody is left with a server that
        was stopped for a restart and never started.
        """
        account = await asyncio.to_thread(owner_of, self._data)
        if isinstance(account, Missing):
            raise ActionFailed(account.reason, on=self._data)
        with tempfile.NamedTemporaryFile(prefix="stanch-start-") as scratch:
            os.chown(scratch.name, account.uid, -1)
            log = self._log or scratch.name
            # pg_ctl gives each half so much time.
            command = [*self._asks("restart", deadline_s / 2), "-l", log]
            return await start_anew(
                command,
                server=server,
                data_directory=self._data,
                account=account,
                deadline_s=deadline_s,
                log=log,
            )

    def _asks(self, verb: str, deadline_s: float) -> tuple[str, ...]:
        wait_s = max(1, int(deadline_s) - 1)
        words = (verb, "-w", "-D", self._data, "-m", "fast", "-t", str(wait_s))
        return (str(self._bin / "pg_ctl"), *words)

    async def _log_refusal(self, account: Account) -> str:
        if self._log:
            return ""
        command = [str(self._bin / "postgres"), "-D", self._data, "-C", "logging_collector"]
        answer = await run_command(command, account=account, deadline_s=STATUS_DEADLINE_S)
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
        account = await asyncio.to_thread(owner_of, self._data)
        if isinstance(account, Missing):
            return account
        refusal = may_not(account) or await asyncio.to_thread(self._start_conf_refusal)
        if os.geteuid() != 0:
            # Only root has systemd start it, in a unit of its own.
            refusal = refusal or await asyncio.to_thread(would_die_with_us)
        unit = f"postgresql@{self._version}-{self._cluster}.service"
        status = await asyncio.to_thread(status_of, self._data, refusal=refusal, own_unit=unit)
        status = await with_programs(status, last_program(self._data), account)
        if os.geteuid() == 0 or not runs_systemd():
            return status
        # Stopped past systemd, its unit would count as failed.
        why = f"where systemd runs, only root may ask for that ({unit})"
        return replace(status, declines=(("stop", why), ("restart", why)))

    async def start(self, *, deadline_s: float) -> ManagerAnswer:
        """Ask `pg_ctlcluster` to start the cluster; where systemd runs, it asks systemd."""
        account = await asyncio.to_thread(owner_of, self._data)
        if isinstance(account, Missing):
            raise ActionFailed(account.reason, on=self._data)
        seen = log_size(self._log)
        under_systemd = os.geteuid() == 0 and runs_systemd()
        wait = [] if under_systemd else ["--", "-w", "-t", str(max(1, int(deadline_s) - 1))]
        answer = await run_command(
            ["pg_ctlcluster", self._version, self._cluster, "start", *wait],
            account=None if under_systemd else account,
            deadline_s=deadline_s,
            env=self._env,
        )
        if isinstance(answer, Missing):
            raise ProbeFailed(answer.reason, on="pg_ctlcluster start")
        return answer_of(answer, log_tail(self._log, after=seen))

    async def stop(self, server: Postmaster, *, deadline_s: float) -> ManagerAnswer:
        """Ask `pg_ctlcluster` for a fast shutdown, never with --force."""
        account, command = await self._asks("stop", deadline_s)
        return await shut_down(
            command,
            server=server,
            data_directory=self._data,
            account=account,
            deadline_s=deadline_s,
            env=self._env,
        )

    async def restart(self, server: Postmaster, *, deadline_s: float) -> ManagerAnswer:
        """Ask `pg_ctlcluster` to restart the cluster; one process does both halves."""
        account, command = await self._asks("restart", deadline_s / 2)
        return await start_anew(
            command,
            server=server,
            data_directory=self._data,
            account=account,
            deadline_s=deadline_s,
            env=self._env,
            log=self._log,
        )

    async def _asks(self, verb: str, deadline_s: float) -> tuple[Account | None, list[str]]:
        """Where systemd runs, root asks it, and takes no options of pg_ctl."""
        account = await asyncio.to_thread(owner_of, self._data)
        if isinstance(account, Missing):
            raise ActionFailed(account.reason, on=self._data)
        under_systemd = os.geteuid() == 0 and runs_systemd()
        wait = [] if under_systemd else ["--", "-w", "-t", str(max(1, int(deadline_s) - 1))]
        command = ["pg_ctlcluster", self._version, self._cluster, verb, "--mode", "fast", *wait]
        return None if under_systemd else account, command

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


def status_of(data: str, *, refusal: str, own_unit: str) -> ManagerStatus:
    """What every manager of this machine looks at."""
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
        data_major=_data_major(data),
    )


def _data_major(data: str) -> int | None:
    try:
        text = Path(data, "PG_VERSION").read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return int(text) if text.isdigit() and len(text) <= 4 else None


async def with_programs(
    status: ManagerStatus, program: str, account: Account | Missing
) -> ManagerStatus:
    """Adds the version of the program `postgres` that a start would run, asked as its owner."""
    if isinstance(account, Missing) or not program:
        return status
    command = [program, "--version"]
    answer = await run_command(command, account=account, deadline_s=STATUS_DEADLINE_S)
    said = "" if isinstance(answer, Missing) or answer.code else answer.out
    found = re.search(r"\(PostgreSQL\) (\d{2})(?:\.|beta|rc|devel)", said)
    return replace(status, programs_major=int(found[1]) if found else None)


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
