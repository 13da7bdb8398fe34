"""The loop of the slow lane: one session at a time, one question at a time, and only while well.

Each visit is a session of its own, because a question that takes a second would keep the vitals
waiting on theirs. It gives way: whoever else has to log in ends it, and a little later it goes on
with the question it had come to.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from stanch.facts.slow.questions import (
    NO_RIGHT,
    OF_A_DATABASE,
    OF_THE_SERVER,
    SlowAnswer,
    SlowQuestion,
    read_slow,
)
from stanch.facts.statements import StatementsHome, StatementsRead, parse_statements, statements_sql
from stanch.model.changes import Look
from stanch.model.errors import ProbeFailed
from stanch.model.readings import Reading
from stanch.watch.slow.memory import NOT_LET_IN, Answered, SlowMemory
from stanch.watch.slow.round import Round
from stanch.watch.slow.statements import StatementMemory, unknown

EVERY_S = 300.0
FIRST_S = 20.0
AGAIN_S = 70.0
"""After a refusal, a loss, or while the server is not well; a refused login is not repeated within
a minute."""
GO_ON_S = 3.0
"""Until a look that gave way goes on, at least."""
REST_TIMES = 2.0
"""So many times as long as it had worked a look rests before it goes on."""
STRETCH_S = 10.0
"""A look rests after so long; others of ours wait for its visit to end."""
LOOK_S_MAX = 1800.0
"""A look that is not done after so long is begun anew: its first answers are old by then."""
JITTER = 0.1
QUESTION_S = 2.5
"""Longer than the server's own statement_timeout, which ends a question and not its session."""
PAUSE_S = 0.05
"""Between two questions, for whoever else wants something from this server."""
ASIDE_CHARS = 50_000
"""Longer answers are read on a thread."""

CLOSED_LOOKS = 12
"""A database that lets nobody in is left alone for so many of its turns."""


class _BrokenOff(ProbeFailed):
    """Nothing failed: somebody else goes first."""


class SlowVisit(Protocol):
    """One short session in one database."""

    async def ask(self, sql: str, *, timeout_s: float) -> str:
        """The one JSON value of a statement. Raises: ProbeFailed."""
        ...

    @property
    def is_open(self) -> bool: ...

    def close(self) -> None: ...


class SlowVisits(Protocol):
    """Opens such sessions."""

    async def open(self, database: str) -> SlowVisit:
        """In this database; empty: in the one of the connection string. Raises: ProbeFailed."""
        ...


class SlowLane:
    """Looks at one server every few minutes; what it saw is fetched when there is a use for it."""

    def __init__(
        self,
        visits: SlowVisits,
        *,
        version_num: Callable[[], int],
        in_the_way: Callable[[], str],
        now: Callable[[], datetime],
        every_s: float = EVERY_S,
        first_s: float = FIRST_S,
        pause_s: float = PAUSE_S,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`in_the_way` says why not to ask now; it is asked again before every question."""
        self._visits = visits
        self._version_num = version_num
        self._in_the_way = in_the_way
        self._now = now
        self._every_s = every_s
        self._first_s = first_s
        self._pause_s = pause_s
        self._jitter = jitter
        self._visit: asyncio.Future[SlowVisit] | None = None
        """The session under way, from its login on."""
        self._gave_way = False
        """The visit under way was ended for somebody else."""
        self._round: Round | None = None
        """The look that is not done yet."""
        self._rest_until_s = 0.0
        """When the stretch under way has lasted long enough."""
        self._fresh: tuple[Reading, ...] = ()
        self._memory = SlowMemory()
        self._statements = StatementMemory()
        self._closed: dict[str, tuple[int, str]] = {}
        """Databases that refused us: for how many more turns, and what was said."""
        self._inventories: Look | None = None
        self.looked_at: datetime | None = None
        """When the last whole look ended."""
        self.skipped = "nobody has looked yet"
        """Why the look begun last is not done; empty once it is."""
        self.left_out = ""
        """How many databases the last whole look left to the next ones; empty where none."""

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._first_s * (1 + self._jitter()))
        while True:
            began_s = loop.time()
            goes_on = await self.look()
            wait_s = AGAIN_S if self.skipped else self._every_s
            if goes_on:
                wait_s = max(GO_ON_S, REST_TIMES * (loop.time() - began_s))
            await asyncio.sleep(wait_s * (1 - JITTER + 2 * JITTER * self._jitter()))

    @property
    def visiting(self) -> bool:
        """A session of the lane is open or being opened."""
        return self._visit is not None

    def give_way(self) -> None:
        """End the visit under way, if any: somebody with better reasons has to log in."""
        self._gave_way = True
        self._end_visit()

    def take(self) -> tuple[Reading, ...]:
        """The readings of the last whole look, once."""
        fresh, self._fresh = self._fresh, ()
        return fresh

    def take_inventories(self) -> Look | None:
        """What the last whole look listed, once; it is compared and kept elsewhere."""
        look, self._inventories = self._inventories, None
        return look

    async def look(self) -> bool:
        """One stretch of a look, which is begun here or goes on. True: it only gave way.

        Until it is done it tells nothing: half a list would seem a whole one.
        """
        now_s = asyncio.get_running_loop().time()
        if self._round is None or now_s - self._round.began_s > LOOK_S_MAX:
            self._round = Round(began_s=now_s)
        self._rest_until_s = now_s + STRETCH_S
        try:
            await self._go_on(self._round)
        except _BrokenOff as broken:
            self.skipped = str(broken)
            return bool(self._round.answers)
        except ProbeFailed as failed:
            self.skipped = str(failed)
            return False
        self._finish(self._round)
        return False

    async def _go_on(self, look: Round) -> None:
        await self._visit_one(look, "", OF_THE_SERVER)
        if look.turns is None:
            look.turns = self._memory.turns(look.said("", "databases"))
        for database in look.turns.visited:
            await self._visit_one(look, database, OF_A_DATABASE)
        for database in look.turns.shut:
            look.give_up(database, OF_A_DATABASE, why=NOT_LET_IN, at=self._now())

    async def _visit_one(
        self, look: Round, database: str, questions: Sequence[SlowQuestion]
    ) -> None:
        """Ask what is left to be asked in one database."""
        left = look.left(database, questions, self._version_num())
        if not left and look.home(database) is None:
            return
        self._stop_if_in_the_way()
        if (closed := self._closed.get(database)) is not None:
            self._note_closed(look, database, turns=closed[0] - 1, why=closed[1])
            return
        self._gave_way = False
        self._visit = asyncio.ensure_future(self._visits.open(database))
        try:
            try:
                visit = await self._opened(self._visit)
            except _BrokenOff:
                raise
            except ProbeFailed as failed:
                if not database:
                    raise
                self._note_closed(look, database, turns=CLOSED_LOOKS, why=str(failed))
                return
            for question in left:
                await self._ask(look, visit, database, question)
                await asyncio.sleep(self._pause_s)
            if (home := look.home(database)) is not None:
                await self._ask_statements(look, visit, home)
        finally:
            self._end_visit()
            self._visit = None

    async def _ask(
        self, look: Round, visit: SlowVisit, database: str, question: SlowQuestion
    ) -> None:
        """Raises: ProbeFailed, where the session did not survive it."""
        self._stop_if_in_the_way()
        place = (database, question.name)
        try:
            look.answers[place] = Answered(said=await _answer(visit, question), at=self._now())
        except ProbeFailed as failed:
            if visit.is_open or not self._gave_way:
                # Also of a question that costs the session each time something else is to be seen.
                look.answers[place] = Answered(said=failed.what, at=self._now())
            if not visit.is_open:
                raise self._lost(failed) from failed

    async def _ask_statements(self, look: Round, visit: SlowVisit, home: StatementsHome) -> None:
        """Once a look, where the extension is found first: it counts for the whole server."""
        self._stop_if_in_the_way()
        try:
            payload = await visit.ask(statements_sql(home), timeout_s=QUESTION_S)
            look.statements = parse_statements(payload)
        except ProbeFailed as failed:
            if visit.is_open or not self._gave_way:
                look.statements = failed.what
            if not visit.is_open:
                raise self._lost(failed) from failed
        look.statements_at = self._now()

    def _note_closed(self, look: Round, database: str, *, turns: int, why: str) -> None:
        """One database that cannot be seen does not hide the others."""
        if turns > 0:
            self._closed[database] = (turns, why)
        else:
            del self._closed[database]
        look.give_up(database, OF_A_DATABASE, why=why, at=self._now())

    # --- giving way ---

    def _stop_if_in_the_way(self) -> None:
        if why := self._in_the_way():
            raise _BrokenOff(why, on="slow lane")
        if asyncio.get_running_loop().time() > self._rest_until_s:
            raise _BrokenOff("rests before it goes on", on="slow lane")

    def _lost(self, failed: ProbeFailed) -> ProbeFailed:
        return _gave_way() if self._gave_way else failed

    async def _opened(self, visit: asyncio.Future[SlowVisit]) -> SlowVisit:
        await asyncio.wait({visit})
        if visit.cancelled():
            raise _gave_way()
        return visit.result()

    def _end_visit(self) -> None:
        if self._visit is not None and not self._visit.cancel():
            _close(self._visit)

    # --- what it comes to ---

    def _finish(self, look: Round) -> None:
        assert look.turns is not None, "a look that is done has listed the databases"
        self._round = None
        self._closed = {d: why for d, why in self._closed.items() if d in look.turns.all}
        self.skipped, self.left_out = "", look.turns.left_out
        self.looked_at = at = self._now()
        told = self._memory.told(look.answers, look.turns, version_num=self._version_num(), at=at)
        self._fresh = (*told, *self._told_of_statements(look, at))
        self._inventories = look.listed(at)

    def _told_of_statements(self, look: Round, at: datetime) -> tuple[Reading, ...]:
        if not isinstance(look.statements, StatementsRead):
            return unknown(look.statements or look.no_statements)
        asked_at = look.statements_at or at
        return self._statements.readings(look.statements, at_s=asked_at.timestamp())


def _gave_way() -> ProbeFailed:
    return _BrokenOff("gave way to somebody who logs in", on="slow lane")


def _close(visit: asyncio.Future[SlowVisit]) -> None:
    if not visit.cancelled() and visit.exception() is None:
        visit.result().close()


async def _answer(visit: SlowVisit, question: SlowQuestion) -> SlowAnswer | str:
    """The answer, or why this role gets none. Raises: ProbeFailed."""
    right = question.right_sql
    if right and await visit.ask(right, timeout_s=QUESTION_S) == NO_RIGHT:
        return question.right_missing
    payload = await visit.ask(question.sql, timeout_s=QUESTION_S)
    if len(payload) > ASIDE_CHARS:
        # Thousands of relations take longer to read than anybody else may be kept waiting.
        return await asyncio.to_thread(read_slow, question, payload)
    return read_slow(question, payload)
