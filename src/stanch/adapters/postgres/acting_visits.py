"""Short sessions of the acting role, each in one database, for one statement, and closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

from stanch.adapters.postgres.acting import acted_of
from stanch.adapters.postgres.conninfo import resolve
from stanch.adapters.postgres.login import SessionFailed
from stanch.adapters.postgres.session import (
    Loss,
    PgSession,
    SessionBusy,
    SessionLost,
    StatementFailed,
)
from stanch.model.errors import ProbeFailed
from stanch.model.ports.server import LOCK_WAIT_S, Acted, Row, SqlParams

APPLICATION_NAME = "stanch acting"
LOGIN_S = 3.0
MARGIN_S = 0.5
"""The server ends a statement this long before we would stop waiting for its answer."""
CLUSTER_SQL = "SELECT system_identifier::text AS cluster FROM pg_catalog.pg_control_system()"
"""PostgreSQL 13 to 18; everybody may call it."""


class ActingVisits:
    """One per target. A `ServerVisits`."""

    def __init__(self, dsn: str, *, cluster: str) -> None:
        """`cluster`: the system identifier of the one that is watched; empty: not known, and then
        whoever answers is taken for it."""
        self._dsn = dsn
        self._cluster = cluster

    async def fetch_rows(
        self, database: str, sql: str, params: SqlParams | None = None, *, timeout_s: float
    ) -> tuple[Row, ...]:
        """Cost: one session. Raises: ProbeFailed."""
        settings = {"default_transaction_read_only": "on"}
        try:
            async with self._session(database, settings, statement_s=timeout_s) as session:
                return await session.query(sql, params, timeout_s=timeout_s)
        except (StatementFailed, SessionLost, SessionBusy) as failed:
            raise ProbeFailed(str(failed), on=database) from failed

    async def execute(
        self,
        database: str,
        sql: str,
        params: SqlParams | None = None,
        *,
        deadline_s: float,
        lock_wait_s: float = LOCK_WAIT_S,
    ) -> Acted:
        """Cost: one session. Never: repeats a statement.

        Unit: `deadline_s` covers the login, too. A statement that the server ended for its length
        is `in_doubt`, as in the acting session: some take effect piece by piece.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + deadline_s
        try:
            settings = {"lock_timeout": f"{int(lock_wait_s * 1000)}ms"}
            async with self._session(
                database, settings, statement_s=max(MARGIN_S, deadline_s - MARGIN_S)
            ) as session:
                if (left := until - loop.time()) <= 0:
                    return Acted(outcome="not_sent", detail="the deadline passed before sending")
                return await acted_of(session, sql, params, timeout_s=left)
        except ProbeFailed as failed:
            return Acted(outcome="not_sent", detail=str(failed))

    @asynccontextmanager
    async def _session(
        self, database: str, settings: Mapping[str, str], *, statement_s: float
    ) -> AsyncGenerator[PgSession]:
        """Raises: ProbeFailed, where nobody lets us in or somebody else answers."""
        session = await self._open(database, settings, statement_s=statement_s)
        try:
            await self._same_cluster(session)
            yield session
        finally:
            session.close()

    async def _open(
        self, database: str, settings: Mapping[str, str], *, statement_s: float
    ) -> PgSession:
        conninfo = resolve(self._dsn)
        wanted = {
            "statement_timeout": f"{int(statement_s * 1000)}ms",
            "lock_timeout": f"{int(LOCK_WAIT_S * 1000)}ms",
            "search_path": "pg_catalog",
            # To compile a question about rights takes longer than to answer it.
            "jit": "off",
            **settings,
        }
        ours = " ".join(f"-c {name}={value}" for name, value in wanted.items())
        overrides = {
            "dbname": database,
            "application_name": APPLICATION_NAME,
            "options": f"{conninfo.options} {ours}".strip(),
        }
        try:
            async with asyncio.timeout(LOGIN_S):
                return await PgSession.open(self._dsn, overrides, on_lost=_nobody)
        except SessionFailed as failed:
            raise ProbeFailed(f"no session: {failed}", on=database) from failed
        except TimeoutError as late:
            raise ProbeFailed(f"no session within {LOGIN_S:g} s", on=database) from late

    async def _same_cluster(self, session: PgSession) -> None:
        if not self._cluster:
            return
        try:
            [row] = await session.query(CLUSTER_SQL, timeout_s=LOGIN_S)
        except (StatementFailed, SessionLost, SessionBusy) as failed:
            raise ProbeFailed(f"which cluster answers cannot be read: {failed}") from failed
        if row["cluster"] != self._cluster:
            raise ProbeFailed(f"another cluster answers: {row['cluster']}, not {self._cluster}")


def _nobody(_: Loss) -> None:
    """Whoever asks next is told."""
