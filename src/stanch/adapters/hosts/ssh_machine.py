"""A machine seen over ssh: one command a look, and the server's log file."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta

from stanch.adapters.hosts.ssh_link import SshLink
from stanch.facts.machines.script import MACHINE_SCRIPT, OUTPUT_BYTES_MAX, Asked, machine_facts
from stanch.model.diagnosis import Missing
from stanch.model.machine import HostFacts


class SshMachine:
    """A `MachineReader` over ssh. Needs no right there but to log in; more rights show more.

    Cost: one command of a dozen short processes a look, over a connection that stays open.
    """

    def __init__(
        self, link: SshLink, *, data_directory: Callable[[], str], now: Callable[[], datetime]
    ) -> None:
        self._link = link
        self._data_directory = data_directory
        self._now = now

    @property
    def source(self) -> str:
        return self._link.source

    async def facts(self, *, deadline_s: float) -> HostFacts | Missing:
        word = f"=={secrets.token_hex(8)}"
        unit, folder = self._link.host.service, self._data_directory()
        ran = await self._link.run(
            *("sh", "-c", MACHINE_SCRIPT, "stanch", word, unit, folder),
            bytes_max=OUTPUT_BYTES_MAX,
            deadline_s=deadline_s,
        )
        if isinstance(ran, Missing):
            return ran
        # Their clock was read somewhere between our question and their first byte.
        since_s = asyncio.get_running_loop().time() - (ran.asked_s + ran.heard_s) / 2
        asked = Asked(
            source=self.source,
            at=self._now() - timedelta(seconds=since_s),
            word=word,
            unit=unit,
            data_directory=folder,
        )
        if not ran.output:
            reason = ran.ended or "it said nothing; perhaps another command is forced there"
            return Missing(what="host", reason=f"{self.source}: {reason}")
        return machine_facts(asked, ran.output, ended=ran.ended)

    async def close(self) -> None:
        await self._link.close()
