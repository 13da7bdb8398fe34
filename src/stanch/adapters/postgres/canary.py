"""One small write at a server, over a session of its own that ends with it.

Not over the acting session: a write that hangs would keep that one from ending anybody's session in
the very incident that it tells of.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

from stanch.adapters.postgres.applogin import SERVER_WIDE_SQL
from stanch.adapters.postgres.conninfo import given_parameters, resolve
from stanch.adapters.postgres.kept import KEEPALIVE
from stanch.adapters.postgres.login import SessionFailed
from stanch.adapters.postgres.session import (
    Loss,
    PgSession,
    SessionBusy,
    SessionLost,
    StatementFailed,
)
from stanch.model.canary import WriteOutcome, Wrote
from stanch.model.errors import ProbeFailed, SetupError

APPLICATION_NAME = "stanch canary"
LOGIN_S = 3.0
QUESTION_S = 2.0
AS_LONG_AS_IT_TAKES_S = 30 * 86_400.0
CANCEL_S = 1.0
SETTINGS = {"lock_timeout": "100ms", "idle_in_transaction_session_timeout": "10s"}
"""Nothing about durability or being read-only: the write has to meet what all others meet."""

RECOVERY_SQL = "SELECT pg_catalog.pg_is_in_recovery() AS in_recovery"
RIGHTS_SQL = """
SELECT pg_catalog.to_regclass(%(table)s) IS NOT NULL AS exists,
       pg_catalog.has_table_privilege(pg_catalog.to_regclass(%(table)s), 'SELECT')
   AND pg_catalog.has_table_privilege(pg_catalog.to_regclass(%(table)s), 'INSERT')
   AND pg_catalog.has_table_privilege(pg_catalog.to_regclass(%(table)s), 'UPDATE') AS may
"""

READ_ONLY = "25006"
LOCKED = "55P03"
OUR_OWN_CLASSES = ("22", "23", "42", "P0")
"""Wrong values, constraints, names, rights, and what a trigger raises: it is our table's fault."""
NOBODYS_CLASSES = ("08", "40", "57P")
"""Sessions that end, conflicts between sessions."""


class Canary:
    """Writes the row of one target."""

    def __init__(self, dsn: str, *, target: str, table: str, database: Callable[[], str]) -> None:
        """`table` is `schema.name`, as the policy's parser lets it through; `database` says in
        which database it is, empty for that of the connection string.
        """
        self._dsn = dsn
        self._target = target
        self._table = table
        self._database = database

    async def write(self) -> WriteOutcome:
        """One login, one UPSERT, however long it takes. Never raises for trouble at the server.

        Cost: one session for a few milliseconds, one row version, a few hundred bytes of WAL.
        Cancelled, it asks the server to give the write up and waits a second for that. A write that
        waits for a synchronous standby is committed on the primary by then: the row stays.
        """
        try:
            async with asyncio.timeout(LOGIN_S):
                session = await self._open()
        except TimeoutError:
            return _unknown(f"no session within {LOGIN_S:g} s")
        except (SessionFailed, SetupError) as failed:
            return _unknown(f"no session: {failed}")
        try:
            return await self._write(session)
        except StatementFailed as failed:
            return await self._refused(session, failed)
        except (SessionLost, SessionBusy) as lost:
            return _unknown(f"the session was lost: {lost}")
        finally:
            try:
                await session.cancel(deadline_s=CANCEL_S)
            finally:
                session.close()

    async def unfit(self) -> str:
        """Why the canary could not write, as far as its table and rights tell; empty: it could.

        Cost: one session and one statement. Raises: ProbeFailed where no session was had.
        """
        try:
            async with asyncio.timeout(LOGIN_S + QUESTION_S):
                session = await self._open()
                try:
                    [row] = await session.query(RIGHTS_SQL, {"table": self._table})
                finally:
                    session.close()
        except TimeoutError as late:
            raise ProbeFailed("no session in time") from late
        except StatementFailed as failed:
            # The schema may not be used, say.
            return str(failed)
        except (SessionFailed, SessionLost, SessionBusy) as failed:
            raise ProbeFailed(str(failed)) from failed
        if row["exists"] != "t":
            return f"there is no table {self._table} in its database"
        return "" if row["may"] == "t" else f"its role may not write {self._table}"

    async def _open(self) -> PgSession:
        conninfo = resolve(self._dsn)
        given = given_parameters(self._dsn)
        ours = " ".join(f"-c {name}={value}" for name, value in SETTINGS.items())
        overrides = {key: value for key, value in KEEPALIVE.items() if key not in given}
        overrides |= {
            "dbname": self._database() or conninfo.dbname,
            "application_name": APPLICATION_NAME,
            "options": f"{conninfo.options} {ours}".strip(),
        }
        return await PgSession.open(self._dsn, overrides, on_lost=_nobody)

    async def _write(self, session: PgSession) -> WriteOutcome:
        [state] = await session.query(RECOVERY_SQL, timeout_s=QUESTION_S)
        if state["in_recovery"] == "t":
            detail = "a standby: it takes no writes by design"
            return WriteOutcome(wrote=Wrote.STANDBY, detail=detail)
        upsert = (
            f"INSERT INTO {self._table} AS c (target, written_at)"  # noqa: S608 -- a checked name
            " VALUES (%(target)s, pg_catalog.clock_timestamp())"
            " ON CONFLICT (target) DO UPDATE SET written_at = excluded.written_at"
            " RETURNING extract(epoch FROM c.written_at) AS epoch"
        )
        began = time.monotonic()
        [row] = await session.query(
            upsert, {"target": self._target}, timeout_s=AS_LONG_AS_IT_TAKES_S
        )
        ms = round((time.monotonic() - began) * 1000, 3)
        written_at = datetime.fromtimestamp(float(row["epoch"] or 0), UTC)
        return WriteOutcome(wrote=Wrote.DONE, ms=ms, written_at=written_at)

    async def _refused(self, session: PgSession, failed: StatementFailed) -> WriteOutcome:
        code, detail = failed.error.sqlstate, str(failed)
        if code == READ_ONLY:
            return await self._read_only(session, detail)
        if code == LOCKED:
            return _unknown(f"somebody holds a lock on {self._table}", code)
        if code.startswith(NOBODYS_CLASSES) or failed.error.severity != "ERROR":
            return _unknown(detail, code)
        ours = code.startswith(OUR_OWN_CLASSES)
        if ours:
            detail = f"{detail}; the statements that `stanch grants --only canary` prints set it up"
        wrote = Wrote.UNUSABLE if ours else Wrote.FAILED
        return WriteOutcome(wrote=wrote, detail=detail, sqlstate=code)

    async def _read_only(self, session: PgSession, detail: str) -> WriteOutcome:
        """A setting of this role, or of its connection string, says nothing about others."""
        try:
            [row] = await session.query(SERVER_WIDE_SQL, timeout_s=QUESTION_S)
        except (StatementFailed, SessionLost, SessionBusy):
            return _unknown(detail, READ_ONLY)
        if "t" in row.values():
            detail = "the server's sessions are read-only: default_transaction_read_only is on"
            return WriteOutcome(wrote=Wrote.FAILED, detail=detail, sqlstate=READ_ONLY)
        detail = "the sessions of the watching role itself are read-only"
        return WriteOutcome(wrote=Wrote.UNUSABLE, detail=detail, sqlstate=READ_ONLY)


def _unknown(detail: str, sqlstate: str = "") -> WriteOutcome:
    return WriteOutcome(wrote=Wrote.UNKNOWN, detail=detail, sqlstate=sqlstate)


def _nobody(_: Loss) -> None:
    """Whoever waits for the write is told."""
