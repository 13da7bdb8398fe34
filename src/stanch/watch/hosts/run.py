"""The loop that looks at a machine: one look at a time, bounded, slower while it goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime

from stanch.model.diagnosis import Missing
from stanch.model.machine import HostFacts, ServiceState
from stanch.model.ports.machine import MachineReader
from stanch.model.readings import Reading
from stanch.watch.hosts.readings import MachineReadings

EVERY_S = 10.0
DEADLINE_S = 5.0
LATE = 0.8
"""This share of its deadline taken, a look counts as one that went wrong."""
SLOWEST_S = 60.0
"""A machine that does not answer is asked less and less often: whatever keeps it from answering,
more unanswered questions make it worse."""


class HostWatch:
    """Looks at one machine until cancelled; what it saw is fetched when there is a use for it."""

    def __init__(
        self,
        reader: MachineReader,
        *,
        places: Callable[[], Sequence[str]],
        volumes: bool,
        own: bool = False,
        now: Callable[[], datetime],
        every_s: float = EVERY_S,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        """`places`: the server's folders there, as far as they are known; `volumes`, `own`: as
        those of `MachineReadings`."""
        self._reader = reader
        self._places = places
        self._made = MachineReadings(volumes=volumes, own=own)
        self._now = now
        self._every_s = every_s
        self._deadline_s = deadline_s
        self._wait_s = every_s
        self._slowest_s = max(SLOWEST_S, every_s)
        self._fresh: tuple[Reading, ...] = ()
        self._turn = asyncio.Lock()
        self.last: HostFacts | Missing = Missing(what="host", reason="nobody has looked yet")
        """The last look, for people and for diagnoses."""
        self.looked_at: datetime | None = None

    async def run(self) -> None:
        try:
            while True:
                await self.look()
                await asyncio.sleep(self._wait_s)
        finally:
            await self._reader.close()

    async def look(self) -> None:
        """One look."""
        loop = asyncio.get_running_loop()
        async with self._turn:
            began_s = loop.time()
            facts = await self._reader.facts(deadline_s=self._deadline_s)
            self._keep(facts)
        late = loop.time() - began_s > LATE * self._deadline_s
        lame = late or isinstance(facts, Missing)
        self._wait_s = min(self._wait_s * 2, self._slowest_s) if lame else self._every_s

    async def service(self, deadline_s: float) -> ServiceState | Missing:
        """What its keeper says just now, for a diagnosis. It is a look like any other: what the
        kernel said since the last one is told once, and whoever asked has it for all."""
        end_s = asyncio.get_running_loop().time() + deadline_s
        try:
            async with asyncio.timeout_at(end_s):
                await self._turn.acquire()
        except TimeoutError:
            return Missing(what="service", reason="another look at the machine has no answer yet")
        try:
            left_s = max(0.0, end_s - asyncio.get_running_loop().time())
            facts = await self._reader.facts(deadline_s=left_s)
            if isinstance(facts, Missing):
                # Less time than a look has: that it was too little says nothing to the watch.
                return facts
            self._keep(facts)
            return facts.service
        finally:
            self._turn.release()

    def _keep(self, facts: HostFacts | Missing) -> None:
        self.last, self.looked_at = facts, self._now()
        if isinstance(facts, Missing):
            self._fresh = self._made.none(facts.reason)
        else:
            self._fresh = self._made.of(facts, places=self._places())

    def take(self) -> tuple[Reading, ...]:
        """The readings of the last look, once: a reading that is told twice is no second one."""
        fresh, self._fresh = self._fresh, ()
        return fresh
