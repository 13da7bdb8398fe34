"""One session for one visit: in the database that the connection string names, and then closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

from stanch.adapters.postgres.conninfo import resolve
from stanch.adapters.postgres.login import SessionFailed
from stanch.adapters.postgres.sentinel import Sentinel
from stanch.adapters.postgres.session import PgSession
from stanch.model.errors import ProbeFailed
from stanch.model.reach import STATE_MEANINGS, Reach


class Visit(Sentinel):
    """Reads in the application's own database, where its tables and statements are.

    A probe goes first and is closed before the session opens, so that there is never more than one.
    """

    application_name = "stanch health"

    def _server_settings(self, major: int) -> Mapping[str, str]:
        return {**super()._server_settings(major), "search_path": "pg_catalog", "jit": "off"}

    async def _connect_once(self, deadline_s: float) -> Reach:
        until = self._time() + deadline_s
        wanted = resolve(self._dsn).dbname
        reach = await self._probe(wanted, deadline_s)
        if not reach.answers or reach.through_pooler:
            return reach
        try:
            async with asyncio.timeout_at(until):
                self._session = await PgSession.open(
                    self._dsn, self._parameters(wanted, reach), on_lost=self._lost
                )
        except (SessionFailed, TimeoutError) as failed:
            said = str(failed) or "no answer to libpq in time"
            raise ProbeFailed(said, on=resolve(self._dsn).label) from failed
        self.dbname = wanted
        return reach


@asynccontextmanager
async def visiting(dsn: str, *, deadline_s: float) -> AsyncGenerator[Visit]:
    """An open visit. Raises: ProbeFailed, which says how far it got; SetupError for the string."""
    visit, label = Visit(dsn), resolve(dsn).label
    try:
        reach = await visit.connect(deadline_s=deadline_s)
        if not visit.connected:
            meaning = STATE_MEANINGS[reach.state]
            said = "a pooler answers there" if reach.through_pooler else meaning.sentence
            hint = "Name the server itself." if reach.through_pooler else meaning.check_next
            raise ProbeFailed(f"{reach.state.value}: {said.rstrip('.')}", on=label, hint=hint)
        yield visit
    finally:
        visit.close()
