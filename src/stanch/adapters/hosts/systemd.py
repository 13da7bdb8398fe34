"""A server in the care of a systemd unit: systemd is asked, and nobody goes past it.

`systemctl` waits for the job it has made: its exit code is systemd's word for how that went, which
`--no-block` would give away. Where we cannot wait so long, the job goes on without us. `--job-mode
fail` leaves a job that somebody else has waiting in place, and fails instead.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import replace

from stanch.adapters.hosts.as_owner import name_of, owner_of, run_command
from stanch.adapters.hosts.manager import STATUS_DEADLINE_S, status_of, with_programs
from stanch.adapters.hosts.postmasters import answer_of, log_size, log_tail, shut_down, start_anew
from stanch.adapters.hosts.start_options import last_program
from stanch.adapters.hosts.unit_state import (
    PROPERTIES,
    UnitState,
    declined,
    is_unit_name,
    parse_state,
)
from stanch.model.diagnosis import Missing
from stanch.model.errors import ActionFailed, ProbeFailed
from stanch.model.ports.acting import ManagerAnswer, ManagerStatus, Postmaster

ASKS = ("--job-mode=fail", "--no-ask-password")


class Systemd:
    """The one unit that runs the server. `ServerManager`."""

    kind = "systemd"

    def __init__(
        self,
        *,
        unit: str,
        data_directory: str,
        log_file: str = "",
        trusted: bool = False,
        program: str = "systemctl",
    ) -> None:
        """`trusted`: policy says that systemd lets us although we are not root (polkit).

        Raises: ValueError for what is no name of one service.
        """
        if not is_unit_name(unit):
            raise ValueError(f"not the name of a service: {unit!r}")
        self.unit = unit
        self._data = data_directory
        self._log = log_file
        self._trusted = trusted
        self._program = program

    def describe(self) -> str:
        return f"systemd: `systemctl start {self.unit}`"

    async def status(self) -> ManagerStatus | Missing:
        unit = await self._state()
        if isinstance(unit, Missing):
            return unit
        base = await asyncio.to_thread(
            status_of, self._data, refusal=self._refusal(), own_unit=self.unit
        )
        account = await asyncio.to_thread(owner_of, self._data)
        base = await with_programs(base, last_program(self._data), account)
        job = unit.job
        return replace(
            base,
            restarts_by_itself=unit.restarts_by_itself,
            jobs=base.jobs if job is None else (job, *base.jobs),
            declines=declined(unit),
        )

    async def start(self, *, deadline_s: float) -> ManagerAnswer:
        """Ask systemd for a start and wait for its job.

        Where systemd has given up after too many starts, its counter is reset first, and told: how
        often Stanch may start a server is bounded by policy.
        """
        unit = await self._known()
        again = ""
        if unit.gave_up:
            await self._ask(("reset-failed",), deadline_s=STATUS_DEADLINE_S)
            again = f"systemd had given up on {self.unit}, and was told to forget that; "
        seen = log_size(self._log)
        answer = await run_command(
            self._command("start"), account=None, deadline_s=deadline_s, to_its_end=True
        )
        if isinstance(answer, Missing):
            raise ProbeFailed(f"{answer.reason}; systemd goes on", on=f"start {self.unit}")
        said = answer_of(answer, log_tail(self._log, after=seen))
        return replace(said, detail=again + said.detail)

    async def stop(self, server: Postmaster, *, deadline_s: float) -> ManagerAnswer:
        """Ask systemd for a stop of the unit, if that very server is its main process."""
        another = await self._runs_another(server)
        if another is not None:
            return another
        answer = await shut_down(
            self._command("stop"),
            server=server,
            data_directory=self._data,
            account=None,
            deadline_s=deadline_s,
        )
        if answer.ok or answer.another:
            return answer
        after = await self._state()
        if isinstance(after, Missing) or after.job is not None:
            raise ProbeFailed(f"not done yet: {answer.detail}", on=f"stop {self.unit}")
        return answer

    async def restart(self, server: Postmaster, *, deadline_s: float) -> ManagerAnswer:
        """Ask systemd for a restart of the unit, if that very server is its main process."""
        another = await self._runs_another(server)
        if another is not None:
            return another
        return await start_anew(
            self._command("restart"),
            server=server,
            data_directory=self._data,
            account=None,
            deadline_s=deadline_s,
            log=self._log,
        )

    async def _runs_another(self, server: Postmaster) -> ManagerAnswer | None:
        unit = await self._known()
        if unit.main_pid == server.pid:
            return None
        runs = f"process {unit.main_pid}" if unit.main_pid else "no process"
        why = f"{self.unit} runs {runs}, and not process {server.pid}"
        return ManagerAnswer(ok=False, detail=why, another=True)

    async def _known(self) -> UnitState:
        unit = await self._state()
        if isinstance(unit, Missing):
            raise ActionFailed(unit.reason, on=self.unit)
        return unit

    async def _state(self) -> UnitState | Missing:
        asked = ("show", f"--property={','.join(PROPERTIES)}")
        said = await self._ask(asked, deadline_s=STATUS_DEADLINE_S)
        return said if isinstance(said, Missing) else parse_state(self.unit, said)

    async def _ask(self, words: Sequence[str], *, deadline_s: float) -> str | Missing:
        command = [self._program, *words, "--", self.unit]
        # Its words are read: not in the language of whoever runs Stanch.
        answer = await run_command(
            command, account=None, deadline_s=deadline_s, env={"LC_ALL": "C"}
        )
        return answer if isinstance(answer, Missing) else answer.out

    def _command(self, verb: str) -> list[str]:
        return [self._program, *ASKS, verb, "--", self.unit]

    def _refusal(self) -> str:
        if os.geteuid() == 0 or self._trusted:
            return ""
        who = name_of(os.geteuid())
        return (
            f"only root may ask systemd for {self.unit}, and Stanch runs as {who}; "
            "where polkit lets it, say `manager: systemd`"
        )
