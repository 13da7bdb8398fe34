"""The console of a pooler as somebody who may change it: asked afresh, commanded once."""

from __future__ import annotations

import asyncio
import secrets

from stanch.adapters.pools.link import Link
from stanch.adapters.postgres.login import SessionFailed
from stanch.adapters.postgres.session import PgSession, SessionBusy, SessionLost, StatementFailed
from stanch.model.errors import ProbeFailed, SetupError
from stanch.model.ports.pooler import Shown
from stanch.model.ports.server import Acted, Row
from stanch.policy.signs import ConsolePools


class PoolerAdmin:
    """A `PoolerControl` for one pooler of the policy.

    Source: SHOW on the console with `admin_dsn`, SHOW CLIENTS on the one with `dsn`. The user of
    `admin_dsn` must be one of `admin_users`.
    Cost: two console sessions, opened when an action asks and closed by `close`; they take no
    server connection.
    """

    def __init__(self, pools: ConsolePools) -> None:
        # One word that nobody else has: the watched console is asked for it.
        self._mark = f"stanch acting {secrets.token_hex(8)}"
        self._dsn = pools.admin_dsn
        self._watch = Link(pools.dsn, {"application_name": "stanch pools"})
        self._session: PgSession | None = None

    async def show(self, what: Shown, *, timeout_s: float) -> tuple[Row, ...]:
        until = asyncio.get_running_loop().time() + timeout_s
        try:
            session = await self._opened(until)
            left_s = until - asyncio.get_running_loop().time()
            return await session.query(f"SHOW {what}", timeout_s=left_s, simple=True)
        except (SessionFailed, SessionLost, SessionBusy, SetupError, StatementFailed) as failed:
            raise ProbeFailed(str(failed)) from failed
        except TimeoutError:
            raise ProbeFailed(f"no session within {timeout_s:.2g} s") from None

    async def is_watched_one(self, *, timeout_s: float) -> bool:
        until = asyncio.get_running_loop().time() + timeout_s
        await self.show("VERSION", timeout_s=timeout_s)
        left_s = until - asyncio.get_running_loop().time()
        try:
            rows = await self._watch.ask("SHOW CLIENTS", deadline_s=left_s, simple=True)
        except StatementFailed as failed:
            raise ProbeFailed(str(failed)) from failed
        return any(row.get("application_name") == self._mark for row in rows)

    async def execute(self, command: str, *, deadline_s: float) -> Acted:
        until = asyncio.get_running_loop().time() + deadline_s
        try:
            session = await self._opened(until)
        except (SessionFailed, SetupError, TimeoutError) as failed:
            return Acted(outcome="not_sent", detail=str(failed) or "no session in time")
        left_s = until - asyncio.get_running_loop().time()
        try:
            rows = await session.query(command, timeout_s=left_s, simple=True)
        except SessionBusy as busy:
            return Acted(outcome="not_sent", detail=str(busy))
        except SessionLost as lost:
            outcome = "in_doubt" if lost.sent else "not_sent"
            return Acted(outcome=outcome, detail=lost.loss.detail)
        except StatementFailed as failed:
            # A console says no before it does anything; only the end of a session leaves a doubt.
            doubtful = failed.error.severity != "ERROR"
            return Acted(outcome="in_doubt" if doubtful else "failed", detail=str(failed))
        return Acted(outcome="done", rows=rows)

    async def close(self) -> None:
        self._watch.close()
        session, self._session = self._session, None
        if session is not None:
            session.close()

    async def _opened(self, until: float) -> PgSession:
        """Raises: SessionFailed, SetupError, TimeoutError."""
        if self._session is not None and self._session.is_open:
            return self._session
        async with asyncio.timeout_at(until):
            self._session = await PgSession.open(self._dsn, {"application_name": self._mark})
        return self._session
