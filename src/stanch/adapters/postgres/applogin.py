"""A fresh login the way the application does it, and a write that leaves nothing behind.

The write is one transactional logical decoding message: it takes a transaction id, goes into the
WAL and waits for the commit to be as durable as every commit of that role, without a table, a
catalogue row or a privilege of its own (proven for an ordinary role on PostgreSQL 15 and 18).
A consumer of logical decoding sees messages with the prefix `stanch` and may ignore them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import LiteralString

import psycopg
from psycopg.conninfo import make_conninfo

from stanch.adapters.postgres import refusals
from stanch.adapters.postgres.conninfo import resolve
from stanch.adapters.postgres.probe import probe
from stanch.adapters.postgres.restraint import Restraint, not_after_all
from stanch.model.errors import ProbeFailed, SetupError
from stanch.model.ports.acting import LoginReading
from stanch.model.reach import Reach, ReachState

PREFIX = "stanch"
APPLICATION_NAME = "stanch rescue check"

LIMITS_SQL = """
SELECT set_config('statement_timeout', %s, true), set_config('lock_timeout', '1000', true)
"""

# A setting of the role, or of this connection string, says nothing about anybody else's sessions.
SERVER_WIDE_SQL = """
SELECT source NOT IN ('user', 'database user', 'client')
FROM pg_catalog.pg_settings WHERE name = 'default_transaction_read_only'
"""

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

Session = psycopg.AsyncConnection[tuple[object, ...]]


class PsycopgAppLogin:
    """Logs in with one connection string, and remembers its refusals. `AppLogin`."""

    def __init__(
        self,
        dsn: str,
        *,
        writes: bool,
        probe: Callable[[float], Awaitable[Reach]] | None = None,
    ) -> None:
        """`writes`: whether it is the application's role; a write by another proves nothing.

        `probe`: for credentials that are others' as well, how they all probe with them, within so
        many seconds; a refusal that one of them met is then everybody's.
        """
        self._dsn = dsn
        self._writes = writes
        self._shared_probe = probe
        self._restraint = Restraint()

    async def login_and_write(self, *, deadline_s: float) -> LoginReading:
        """One login, one write, one logout. Never raises for trouble at the server.

        Where it is not the application's role nothing is written, but a server that is read-only
        for everybody is told all the same. A probe goes first: it knows the server's code for a
        refusal, and a wrong password is sent once and not twice. Within a minute of that the
        refusal is told again with its age, and the server is left alone.

        Cost: two connections, one after the other, for a few milliseconds; about 100 bytes of WAL.
        """
        began = time.monotonic()
        role = ""
        logged_in = False
        reach: Reach | None = None
        try:
            role = resolve(self._dsn).user
            async with asyncio.timeout(deadline_s):
                asked_at = datetime.now(UTC)
                reach = await self._probe(deadline_s)
                if not reach.answers:
                    detail, sqlstate = _told(reach, asked_at), reach.sqlstate or ""
                    return _failed(role, False, detail, began=began, sqlstate=sqlstate)
                async with await self._connect(deadline_s) as session:
                    logged_in = True
                    write_ok, detail = await self._try(session, deadline_s)
        except TimeoutError:
            stage = "the write" if logged_in else "the login"
            return _failed(role, logged_in, f"{stage} took over {deadline_s:g} s", began=began)
        except (SetupError, ProbeFailed) as error:
            return _failed(role, logged_in, str(error), began=began)
        except psycopg.Error as error:
            sqlstate, detail = error.sqlstate or "", str(error).strip()
            if reach is not None and not logged_in:
                self._note_libpq(reach, error)
            return _failed(role, logged_in, detail, began=began, sqlstate=sqlstate)
        return LoginReading(
            role=role, login_ok=True, write_ok=write_ok, detail=detail, took_ms=_ms(began)
        )

    async def _probe(self, deadline_s: float) -> Reach:
        if (refused := self._restraint.lately) is not None:
            return refused
        if self._shared_probe is not None:
            reach = await self._shared_probe(deadline_s)
            if reach.state is ReachState.AUTH_FAILED:
                # Those who share it remember since when: it may be an older one.
                return reach
        else:
            reach = await probe(
                self._dsn, deadline_s=deadline_s, application_name=APPLICATION_NAME, login_only=True
            )
        if not reach.answers:
            self._restraint.note(reach)
        return reach

    def _note_libpq(self, reach: Reach, error: psycopg.Error) -> None:
        """The probe got in and libpq did not."""
        if not isinstance(error, psycopg.errors.ConnectionTimeout):
            words = refusals.shown(str(error).strip())
            self._restraint.contradict(not_after_all(reach, ReachState.TURNED_AWAY, words))

    async def _connect(self, deadline_s: float) -> Session:
        conninfo = make_conninfo(
            self._dsn,
            application_name=APPLICATION_NAME,
            connect_timeout=max(2, int(deadline_s)),
        )
        session = await psycopg.AsyncConnection.connect(conninfo, autocommit=True)
        self._restraint.let_in()
        return session

    async def _try(self, session: Session, deadline_s: float) -> tuple[bool | None, str]:
        """One transaction: through a pooler, the next one may be another server session's."""
        try:
            async with session.transaction():
                # Not as `options` of the login: poolers, through which the application may well
                # log in, refuse those, and a SET that outlives the transaction would be others'.
                milliseconds = str(max(1, int(deadline_s * 1000)))
                await session.execute(LIMITS_SQL, [milliseconds])
                return await self._write(session)
        except psycopg.errors.InsufficientPrivilege:
            return None, "the role may not do any write that leaves nothing behind"

    async def _write(self, session: Session) -> tuple[bool | None, str]:
        state = STATE_SQL_17 if session.info.server_version >= _VERSION_17 else STATE_SQL
        read_only, in_recovery, may_emit = await _row(session, state)
        if in_recovery:
            return None, "a standby: it takes no writes by design"
        if read_only and not self._writes:
            (server_wide,) = await _row(session, SERVER_WIDE_SQL)
            if server_wide:
                return False, "the server's sessions are read-only: default_transaction_read_only"
            return None, "this role's own sessions are read-only; others' may not be"
        if read_only:
            return False, "the role's sessions are read-only"
        if not self._writes:
            return None, ""
        await session.execute(WRITE_SQL if may_emit else WRITE_TEMP_SQL)
        return True, ""


async def _row(session: Session, sql: LiteralString) -> tuple[object, ...]:
    row = await (await session.execute(sql)).fetchone()
    assert row is not None, "a question that always has one answer"
    return row


def _told(reach: Reach, asked_at: datetime) -> str:
    """What stopped it, with its age where it is an older answer."""
    if reach.at is None or reach.at >= asked_at:
        return reach.said
    ago_s = (asked_at - reach.at).total_seconds()
    return f"{reach.said}; that was {ago_s:.0f} s ago, and nobody tries again within a minute of it"


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
