"""The sentinel as the watch and the diagnosis share it: one session, one question at a time."""

from __future__ import annotations

import asyncio
import contextlib
from array import array
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import datetime
from time import perf_counter

from stanch.adapters.postgres.greeting import gone
from stanch.adapters.postgres.one_try import OneTry
from stanch.adapters.postgres.sentinel import Sentinel
from stanch.facts.vitals import VITALS_SQL, parse_vitals
from stanch.model.errors import ProbeFailed
from stanch.model.ports.server import Row, SqlParams
from stanch.model.reach import Reach, SentinelLost
from stanch.model.vitals import Vitals
from stanch.service.watched.moment import Moment
from stanch.watch.silence import patience

ROUND_TRIPS_KEPT = 20


class SharedSentinel:
    """A `WatchSession` for the watch and a `ServerReader` for diagnoses and actions.

    Questions queue: none is asked while another is open, and none is asked twice.
    """

    def __init__(self, dsn: str, *, now: Callable[[], datetime]) -> None:
        self._dsn = dsn
        self._sentinel = Sentinel(dsn, on_lost=self._note_loss, now=now)
        self._turn = asyncio.Lock()
        self._lost = Moment(is_over=True)
        """The end of the session; another one for each."""
        self._lost_at = now()
        self._pausing: asyncio.Future[None] | None = None
        self._now = now
        self.parse_s = 0.0
        """Our own time to read the newest answer."""
        self._took_s = array("d")

    @property
    def is_open(self) -> bool:
        return self._sentinel.connected

    @property
    def backend_pid(self) -> int | None:
        return self._sentinel.backend_pid

    @property
    def dbname(self) -> str:
        """The database in which the open session is."""
        return self._sentinel.dbname

    @property
    def vitals_s(self) -> float:
        """How long the newest question took, the way there and the server's load included."""
        return self._took_s[-1] if self._took_s else 0.0

    @property
    def round_trip_s(self) -> float:
        """The fastest of the last answers: what the way there costs, without the server's load."""
        return min(self._took_s, default=0.0)

    @property
    def unheard(self) -> bool | None:
        return self._sentinel.unheard

    @property
    def one_try(self) -> OneTry:
        return self._sentinel.one_try

    async def while_refused(self, deadline_s: float) -> Reach | None:
        """Within a minute of a refusal, what is known without trying these credentials again: that
        refusal while the server answers at all, else how it is gone. None: they may be tried.
        """
        refused = self._sentinel.refused_lately
        if refused is None:
            return None
        return await gone(self._dsn, deadline_s=deadline_s) or refused

    def note_refusal(self, reach: Reach) -> None:
        self._sentinel.note_refusal(reach)

    async def open(self, deadline_s: float) -> Reach:
        async with self._turn:
            if (known := await self.while_refused(deadline_s)) is not None:
                return known
            reach = await self._sentinel.connect(deadline_s=deadline_s)
            if self._sentinel.connected and self._lost.is_over:
                self._lost = Moment()
            return reach

    async def vitals(self, *, timeout_s: float) -> Vitals:
        """One reading. Raises ProbeFailed."""
        async with self._turn:
            loop = asyncio.get_running_loop()
            began = loop.time()
            vitals = await self._sentinel.sample(VITALS_SQL, self._parsed, timeout_s=timeout_s)
            self._took_s.append(loop.time() - began)
            del self._took_s[:-ROUND_TRIPS_KEPT]
            return vitals

    def _parsed(self, payload: str) -> Vitals:
        began_s = perf_counter()
        vitals = parse_vitals(payload)
        self.parse_s = perf_counter() - began_s
        return vitals

    async def lost(self) -> datetime:
        await self._lost.wait()
        return self._lost_at

    async def lost_within(self, wait_s: float) -> datetime | None:
        if self._lost.is_over:
            return self._lost_at
        loop = asyncio.get_running_loop()
        self._pausing = loop.create_future()
        timer = loop.call_later(wait_s, self._end_pause)
        try:
            await self._pausing
        finally:
            timer.cancel()
            self._pausing = None
        return self._lost_at if self._lost.is_over else None

    async def close(self) -> None:
        self._sentinel.close()

    async def fetch_json(
        self, sql: str, params: SqlParams | None = None, *, timeout_s: float
    ) -> str:
        async with self._in_turn(timeout_s), self._aside(timeout_s) as longer_s:
            return await self._sentinel.fetch_json(sql, params, timeout_s=longer_s)

    async def fetch_rows(
        self, sql: str, params: SqlParams | None = None, *, timeout_s: float
    ) -> tuple[Row, ...]:
        async with self._in_turn(timeout_s), self._aside(timeout_s) as longer_s:
            return await self._sentinel.fetch_rows(sql, params, timeout_s=longer_s)

    @contextlib.asynccontextmanager
    async def _in_turn(self, timeout_s: float) -> AsyncGenerator[None]:
        try:
            async with asyncio.timeout(timeout_s):
                await self._turn.acquire()
        except TimeoutError as error:
            raise ProbeFailed("the session is busy with another question") from error
        try:
            yield
        finally:
            self._turn.release()

    @contextlib.asynccontextmanager
    async def _aside(self, timeout_s: float) -> AsyncGenerator[float]:
        """A question beside the watch's own, and how long the session may wait for its answer.

        Whoever asked waits no longer than `timeout_s`, and where the server thinks for longer the
        session goes, as nothing else can be asked in it. Where the other machine is not heard any
        more it stays: the watch, which is about to find out, would have to begin anew.
        """
        try:
            async with asyncio.timeout(timeout_s):
                yield timeout_s + patience(self.round_trip_s).hung_after_s
        except TimeoutError as error:
            if self.unheard is not True:
                self._sentinel.give_up()
            raise ProbeFailed("no answer to a question within its deadline") from error

    def _note_loss(self, lost: SentinelLost) -> None:
        self._lost_at = lost.at
        self._lost.come()
        self._end_pause()

    def _end_pause(self) -> None:
        if self._pausing is not None and not self._pausing.done():
            self._pausing.set_result(None)


class Prober:
    """Knocks at a server as a newcomer does, in the one way in which its target is probed."""

    def __init__(self, ask: Callable[[float], Awaitable[Reach]]) -> None:
        self._ask = ask

    async def probe(self, *, deadline_s: float) -> Reach:
        return await self._ask(deadline_s)
