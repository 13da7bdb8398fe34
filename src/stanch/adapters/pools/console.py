"""The admin console of PgBouncer from 1.18 on, and of Odyssey: SHOW POOLS every few seconds."""

from __future__ import annotations

import asyncio

from stanch.adapters.pools.link import Link
from stanch.adapters.postgres.session import StatementFailed
from stanch.facts.pools import PoolLimits, parse_leads, parse_limits, parse_pools, stands_still
from stanch.model.diagnosis import Missing
from stanch.model.errors import ProbeFailed
from stanch.model.ports.server import Row
from stanch.model.readings import Reading
from stanch.policy.signs import ConsolePools
from stanch.watch.pools.readings import PoolReadings

DEADLINE_S = 3.0
LIMITS_EVERY_S = 60.0


class PoolerConsole:
    """A `SignSource` for every pool of one pooler.

    Source: SHOW POOLS; SHOW DATABASES and SHOW CONFIG once a minute, the latter where the pooler
    has it. The user must be one of `stats_users`, or of Odyssey's console users.
    Cost: one console session, kept; it takes no server connection.
    """

    def __init__(self, pools: ConsolePools, *, deadline_s: float = DEADLINE_S) -> None:
        self._link = Link(pools.dsn, {"application_name": "stanch pools"})
        self._made = PoolReadings(pools.name)
        self._deadline_s = deadline_s
        self.name, self.dsn = pools.name, pools.dsn
        self.leads: tuple[tuple[str, str, int], ...] = ()
        """Databases of the pooler, each with the host and port behind it."""
        self._limits: PoolLimits | None = None
        self._limits_at_s = 0.0

    async def look(self) -> tuple[Reading, ...]:
        until = asyncio.get_running_loop().time() + self._deadline_s
        try:
            limits = await self._current_limits(until)
            rows = await self._show("POOLS", until)
            if stands_still(rows):
                # It may have been paused since its limits were asked for.
                self._limits = None
                limits = await self._current_limits(until)
        except (ProbeFailed, StatementFailed) as failed:
            return self._made.none(Missing(what="pools", reason=str(failed)))
        return self._made.of(parse_pools(rows, limits))

    async def close(self) -> None:
        self._link.close()

    async def _current_limits(self, until: float) -> PoolLimits:
        """Asked again now and then, because RELOAD changes them."""
        now_s = asyncio.get_running_loop().time()
        if self._limits is None or now_s - self._limits_at_s >= LIMITS_EVERY_S:
            databases = await self._show("DATABASES", until)
            self.leads = parse_leads(databases)
            try:
                config = await self._show("CONFIG", until)
            except StatementFailed:
                config = ()
            self._limits, self._limits_at_s = parse_limits(databases, config), now_s
        return self._limits

    async def _show(self, what: str, until: float) -> tuple[Row, ...]:
        left_s = max(until - asyncio.get_running_loop().time(), 0.0)
        return await self._link.ask(f"SHOW {what}", deadline_s=left_s, simple=True)
