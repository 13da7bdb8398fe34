"""A fresh login the way the application does it, and a write that leaves nothing behind.

The write is one transactional logical decoding message: it takes a transaction id, goes into the
WAL and waits for the commit to be as durable as every commit of that role, without a table, a
catalogue row or a privilege of its own (proven for an ordinary role on PostgreSQL 15 and 18).
A consumer of logical decoding sees messages with the prefix `stanch` and may ignore them.
"""

from __future__ import annotations

import asyncio
import time

import psycopg
from psycopg.conninfo import make_conninfo

from stanch.adapters.postgres.conninfo import Conninfo, resolve
from stanch.model.errors import SetupError
from stanch.model.ports.acting import LoginReading

PREFIX = "stanch"

# `transaction_read_only` has to be asked: the message itself is written in a read-only session too.
STATE_SQL = """
SELECT current_setting('transaction_read_only') = 'on', pg_is_in_recovery(),
       has_function_privilege('pg_catalog.pg_logical_emit_message(boolean, text, text)', 'execute')
"""
STATE_SQL_17 = """
SELECT current_setting('transaction_read_only') = 'on', pg_is_in_recovery(),
       has_function_privilege('pg_catalog.pg_logical_emit_message(boolean, text, text, boolean)',
                              'execute')
"""
WRITE_SQL = "SELECT pg_catalog.pg_logical_emit_message(true, 'stanch', 'rescue check')"
WRITE_TEMP_SQL = "CREATE TEMPORARY TABLE stanch_rescue_check () ON COMMIT DROP"
"""Where the message is not permitted: its catalogue rows are WAL too, and gone at once."""

_VERSION_17 = 170000


class PsycopgAppLogin:
    """Logs in with one connection string. `AppLogin`."""

    def __init__(self, dsn: str, *, writes: bool) -> None:
        """`writes`: whether it is the application's role; a write by another proves nothing."""
        self._dsn = dsn
        self._writes = writes

    async def login_and_write(self, *, deadline_s: float) -> LoginReading:
        """One login, one write, one logout. Never raises for trouble at the server.

        Cost: one connection for a few milliseconds; about 100 bytes of WAL.
        """
        began = time.monotonic()
        role = ""
        logged_in = False
        try:
            known = resolve(self._dsn)
            role = known.user
            async with asyncio.timeout(deadline_s):
                async with await self._connect(known, deadline_s) as session:
                    logged_in = True
                    write_ok, detail = await _write(session) if self._writes else (None, "")
        except TimeoutError:
            stage = "the write" if logged_in else "the login"
            return _failed(role, logged_in, f"{stage} took over {deadline_s:g} s", began=began)
        except SetupError as error:
            return _failed(role, logged_in, str(error), began=began)
        except psycopg.Error as error:
            sqlstate = error.sqlstate or ""
            return _failed(role, logged_in, str(error).strip(), began=began, sqlstate=sqlstate)
        return LoginReading(
            role=role, login_ok=True, write_ok=write_ok, detail=detail, took_ms=_ms(began)
        )

    async def _connect(
        self, known: Conninfo, deadline_s: float
    ) -> psycopg.AsyncConnection[tuple[object, ...]]:
        milliseconds = int(deadline_s * 1000)
        limits = f"-c statement_timeout={milliseconds} -c lock_timeout=1000"
        conninfo = make_conninfo(
            self._dsn,
            application_name="stanch rescue check",
            connect_timeout=max(2, int(deadline_s)),
            options=f"{known.options} {limits}".strip(),
        )
        return await psycopg.AsyncConnection.connect(conninfo, autocommit=True)


async def _write(session: psycopg.AsyncConnection[tuple[object, ...]]) -> tuple[bool | None, str]:
    state = STATE_SQL_17 if session.info.server_version >= _VERSION_17 else STATE_SQL
    row = await (await session.execute(state)).fetchone()
    assert row is not None
    read_only, in_recovery, may_emit = row
    if in_recovery:
        return None, "a standby: it takes no writes by design"
    if read_only:
        return False, "the role's sessions are read-only"
    try:
        await session.execute(WRITE_SQL if may_emit else WRITE_TEMP_SQL)
    except psycopg.errors.InsufficientPrivilege:
        return None, "the role may not do any write that leaves nothing behind"
    return True, ""


def _failed(
    role: str, logged_in: bool, detail: str, *, began: float, sqlstate: str = ""
) -> LoginReading:
    return LoginReading(
        role=role,
        login_ok=logged_in,
        write_ok=False if logged_in else None,
        detail=detail,
        took_ms=_ms(began),
        sqlstate=sqlstate,
    )


def _ms(began: float) -> float:
    return round((time.monotonic() - began) * 1000, 1)
