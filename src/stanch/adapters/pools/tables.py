"""Pools that an application keeps account of in a database of its own."""

from __future__ import annotations

from stanch.adapters.pools.link import Link
from stanch.adapters.postgres.conninfo import resolve
from stanch.adapters.postgres.session import StatementFailed
from stanch.facts.pools import CONFIG_QUERY, parse_query_pools
from stanch.model.diagnosis import Missing
from stanch.model.errors import ProbeFailed, SetupError
from stanch.model.readings import Reading
from stanch.policy.signs import QueryPools
from stanch.watch.pools.readings import PoolReadings

DEADLINE_S = 3.0
LIMITS = (
    "-c statement_timeout=2000 -c lock_timeout=100 -c default_transaction_read_only=on"
    " -c idle_in_transaction_session_timeout=10s"
)


class PoolTables:
    """A `SignSource` for what one query tells of pools.

    Cost: one session, kept, and the query each round; it may read only, for two seconds at most,
    and waits for no lock longer than 100 ms.
    """

    def __init__(self, pools: QueryPools, *, deadline_s: float = DEADLINE_S) -> None:
        self._pools = pools
        self._link: Link | None = None
        self._made = PoolReadings(pools.name)
        self._deadline_s = deadline_s

    async def look(self) -> tuple[Reading, ...]:
        try:
            rows = await self._connected().ask(
                self._pools.query or CONFIG_QUERY, deadline_s=self._deadline_s
            )
            return self._made.of(parse_query_pools(rows))
        except (ProbeFailed, SetupError, StatementFailed, ValueError) as failed:
            return self._made.none(Missing(what="pools", reason=str(failed)))

    async def close(self) -> None:
        if self._link is not None:
            self._link.close()

    def _connected(self) -> Link:
        """Made late, because a connection string may name a service file that comes and goes."""
        if self._link is None:
            options = f"{resolve(self._pools.dsn).options} {LIMITS}".strip()
            self._link = Link(
                self._pools.dsn, {"application_name": "stanch pools", "options": options}
            )
        return self._link
