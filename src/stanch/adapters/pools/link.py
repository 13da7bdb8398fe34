"""One session to a pooler or to an application's database: kept open, asked within deadlines."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from stanch.adapters.postgres.login import SessionFailed
from stanch.adapters.postgres.probe import probe
from stanch.adapters.postgres.restraint import Restraint, not_after_all
from stanch.adapters.postgres.session import PgSession, SessionBusy, SessionLost
from stanch.model.errors import ProbeFailed, SetupError
from stanch.model.ports.server import Row
from stanch.model.reach import ANSWERED_BY_NOBODY, ReachState

SILENT_WAITS_S = (0.0, 0.0, 10.0, 20.0, 40.0, 60.0)
"""After so many tries in a row that nobody answered. Three in a row are believed; then each more
is one more connection that waits for a pooler which hangs, and what is told is the same."""


class Link:
    """Opens a session when there is none, and never a second one.

    A probe goes first: libpq tells no code of a refusal, and its words may be in any language.
    Credentials that were refused are tried again after a minute, not earlier: our own tries must
    not have us banned. Who takes connections and says nothing is tried less and less often, down to
    once a minute; a refusal costs nobody anything, so whoever is started again is seen at once.
    """

    def __init__(
        self,
        dsn: str,
        parameters: Mapping[str, str],
        *,
        silent_waits_s: Sequence[float] = SILENT_WAITS_S,
    ) -> None:
        self._dsn = dsn
        self._silent_waits_s = silent_waits_s
        self._silent = 0
        self._parameters = parameters
        self._session: PgSession | None = None
        self._restraint = Restraint()
        self._unanswered = ""
        self._not_before_s = 0.0

    async def ask(self, sql: str, *, deadline_s: float, simple: bool = False) -> tuple[Row, ...]:
        """The rows. Raises: ProbeFailed for whatever went wrong, StatementFailed for a refusal of
        this statement alone, after which the session is still good."""
        loop = asyncio.get_running_loop()
        until = loop.time() + deadline_s
        try:
            async with asyncio.timeout_at(until):
                session = await self._opened(until)
            return await session.query(sql, timeout_s=until - loop.time(), simple=simple)
        except TimeoutError:
            self._unanswered = f"no session within {deadline_s:.2g} s"
            waits_s = self._silent_waits_s
            self._not_before_s = loop.time() + waits_s[min(self._silent, len(waits_s) - 1)]
            self._silent += 1
            raise ProbeFailed(self._unanswered) from None
        except (SessionFailed, SessionLost, SessionBusy, SetupError) as failed:
            raise ProbeFailed(str(failed)) from failed

    @property
    def is_open(self) -> bool:
        return self._session is not None and self._session.is_open

    def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()

    async def _opened(self, until: float) -> PgSession:
        """Raises: SessionFailed, SetupError, ProbeFailed, TimeoutError."""
        if self._session is not None and self._session.is_open:
            return self._session
        now_s = asyncio.get_running_loop().time()
        if now_s < self._not_before_s:
            raise SessionFailed(self._unanswered)
        if (refused := self._restraint.lately) is not None:
            raise SessionFailed(refused.said)
        reach = await probe(
            self._dsn,
            deadline_s=until - now_s,
            application_name=self._parameters["application_name"],
            login_only=True,
        )
        if reach.state in ANSWERED_BY_NOBODY:
            raise TimeoutError
        self._silent = 0
        if not reach.answers:
            self._restraint.note(reach)
            raise SessionFailed(reach.said)
        try:
            self._session = await PgSession.open(self._dsn, self._parameters)
        except SessionFailed as failed:
            ended = not_after_all(reach, ReachState.TURNED_AWAY, str(failed))
            self._restraint.contradict(ended)
            raise
        self._restraint.let_in()
        return self._session
