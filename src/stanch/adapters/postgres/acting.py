"""The acting session: opened beforehand, so that there is one when the server is full."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from stanch.adapters.postgres.kept import KeptSession
from stanch.adapters.postgres.session import PgSession, SessionBusy, SessionLost, StatementFailed
from stanch.model.ports.server import Acted, SqlParams

STATEMENT_TIMEOUT_MS = 10_000


class ActingSession(KeptSession):
    """The session through which Stanch acts on one target, idle until then. A `ServerActor`."""

    application_name = "stanch acting"

    def _server_settings(self, major: int) -> Mapping[str, str]:
        return {
            **super()._server_settings(major),
            "statement_timeout": f"{STATEMENT_TIMEOUT_MS}ms",
        }

    async def execute(
        self, sql: str, params: SqlParams | None = None, *, deadline_s: float
    ) -> Acted:
        """Send one statement once; a lost session is reopened before sending, never after.

        Unit: `deadline_s` covers reopening and the statement.
        Never: repeats a statement. An answer that did not come, a statement_timeout, or a session
        that ended meanwhile is `in_doubt`: signals to other processes are not rolled back.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + deadline_s
        if not self.connected:
            reach = await self.connect(deadline_s=deadline_s)
            if not self.connected:
                layer = reach.failed_layer
                detail = f"no session: {reach.state}" + (f", {layer.detail}" if layer else "")
                return Acted(outcome="not_sent", detail=detail, sqlstate=reach.sqlstate)
        session = self._session
        if session is None or until <= loop.time():
            return Acted(outcome="not_sent", detail="the deadline passed before sending")
        return await acted_of(session, sql, params, timeout_s=until - loop.time())


async def acted_of(
    session: PgSession, sql: str, params: SqlParams | None, *, timeout_s: float
) -> Acted:
    """Send it once, and say how that went."""
    try:
        rows = await session.query(sql, params, timeout_s=timeout_s)
    except SessionBusy as busy:
        return Acted(outcome="not_sent", detail=str(busy))
    except SessionLost as lost:
        outcome = "in_doubt" if lost.sent else "not_sent"
        return Acted(outcome=outcome, sqlstate=lost.loss.sqlstate, detail=lost.loss.detail)
    except StatementFailed as failed:
        doubtful = failed.error.sqlstate.startswith("57") or failed.error.severity != "ERROR"
        return Acted(
            outcome="in_doubt" if doubtful else "failed",
            sqlstate=failed.error.sqlstate,
            detail=str(failed),
        )
    return Acted(outcome="done", rows=rows)
