"""Short sessions for what can wait: each in one database, for a few questions, and closed."""

from __future__ import annotations

import asyncio

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

APPLICATION_NAME = "stanch slow lane"
LOGIN_S = 3.0
SETTINGS = {
    "statement_timeout": "2s",
    "lock_timeout": "100ms",
    "idle_in_transaction_session_timeout": "5s",
    "default_transaction_read_only": "on",
    "search_path": "pg_catalog",
    "jit": "off",
}


class SlowSession:
    """One such session. Reads only, waits for no lock longer than a tenth of a second."""

    def __init__(self, session: PgSession, database: str) -> None:
        self._session = session
        self._database = database

    @property
    def is_open(self) -> bool:
        return self._session.is_open

    async def ask(self, sql: str, *, timeout_s: float) -> str:
        """The one JSON value of a statement. Raises: ProbeFailed."""
        try:
            rows = await self._session.query(sql, timeout_s=timeout_s)
        except (StatementFailed, SessionLost, SessionBusy) as failed:
            raise ProbeFailed(str(failed), on=self._database) from failed
        values = [value for row in rows for value in row.values()]
        if len(values) != 1 or values[0] is None:
            raise ProbeFailed(f"one value expected, {len(values)} came", on=self._database)
        return values[0]

    def close(self) -> None:
        self._session.close()


class SlowSessions:
    """Opens them for one target."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    async def open(self, database: str) -> SlowSession:
        """One login, once: whoever is refused comes again with the next look.

        Cost: one session. Raises: ProbeFailed.
        """
        conninfo = resolve(self._dsn)
        wanted = database or conninfo.dbname
        ours = " ".join(f"-c {name}={value}" for name, value in SETTINGS.items())
        overrides = {
            "dbname": wanted,
            "application_name": APPLICATION_NAME,
            "options": f"{conninfo.options} {ours}".strip(),
        }
        try:
            async with asyncio.timeout(LOGIN_S):
                session = await PgSession.open(self._dsn, overrides, on_lost=_nobody)
        except SessionFailed as failed:
            raise ProbeFailed(str(failed), on=wanted) from failed
        except TimeoutError as late:
            raise ProbeFailed(f"no session within {LOGIN_S:g} s", on=wanted) from late
        return SlowSession(session, wanted)


def _nobody(_: Loss) -> None:
    """Whoever asks next is told."""
