"""The loop of the slow lane: one session at a time, one question at a time, and only while well.

Each visit is a session of its own, because a question that takes a second would keep the vitals
waiting on theirs. It gives way: whoever else has to log in ends it, and it comes again later.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
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
from stanch.facts.statements import StatementsRead, parse_statements, statements_sql
from stanch.model.changes import Inventory, Look
from stanch.model.errors import ProbeFailed
from stanch.model.readings import Reading
from stanch.watch.slow.statements import StatementMemory, unknown

EVERY_S = 300.0
FIRST_S = 20.0
AGAIN_S = 70.0
"""After a look that was skipped or broken off; a refused login is not repeated within a minute."""
JITTER = 0.1
DEADLINE_S = 30.0
QUESTION_S = 2.5
"""Longer than the server's own statement_timeout, which ends a question and not its session."""
PAUSE_S = 0.05
"""Between two questions, for whoever else wants something from this server."""
ASIDE_CHARS = 50_000
"""Longer answers are read on a thread."""
DATABASES_MAX = 20
LISTING = frozenset({"databases", "settings", "roles", "inventory"})
"""Questions whose answer may be an empty list of things."""
LANE = "slow"
"""What the places of its inventories begin with."""
NO_STATEMENTS = "pg_stat_statements is in no database that was seen"

CLOSED_LOOKS = 12
"""A database that lets nobody in is left alone for so many looks."""

_Place = tuple[str, str]
"""Database (empty: of the server) and question."""


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
        self._fresh: tuple[Reading, ...] = ()
        self._known: dict[_Place, SlowAnswer] = {}
        self._statements: StatementsRead | str | None = None
        """What this look was told of statements, or why nothing; None: nobody was asked."""
        self._no_statements = NO_STATEMENTS
        """Why nobody was asked."""
        self._memory = StatementMemory()
        self._closed: dict[str, tuple[int, str]] = {}
        """Databases that refused us: for how many more looks, and what was said."""
        self._inventories: Look | None = None
        self.looked_at: datetime | None = None
        """When the last whole look ended."""
        self.skipped = "nobody has looked yet"
        """Why the last look was not a whole one; empty after a whole one."""

    async def run(self) -> None:
        await asyncio.sleep(self._first_s * (1 + self._jitter()))
        while True:
            await self.look()
            wait_s = AGAIN_S if self.skipped else self._every_s
            await asyncio.sleep(wait_s * (1 - JITTER + 2 * JITTER * self._jitter()))

    @property
    def visiting(self) -> bool:
        """A session of the lane is open or being opened."""
        return self._visit is not None

    def give_way(self) -> None:
        """End the visit under way, if any: somebody with better reasons has to log in."""
        if self._visit is not None and not self._visit.cancel():
            _close(self._visit)

    def take(self) -> tuple[Reading, ...]:
        """The readings of the last whole look, once."""
        fresh, self._fresh = self._fresh, ()
        return fresh

    def take_inventories(self) -> Look | None:
        """What the last whole look listed, once; it is compared and kept elsewhere."""
        look, self._inventories = self._inventories, None
        return look

    async def look(self) -> None:
        """One look. A look that is broken off tells nothing: half a list would seem a whole one."""
        answers: dict[_Place, SlowAnswer | str] = {}
        self._statements, self._no_statements = None, NO_STATEMENTS
        try:
            async with asyncio.timeout(DEADLINE_S):
                await self._visit_one("", OF_THE_SERVER, answers)
                for database in self._databases(answers):
                    await self._visit_one(database, OF_A_DATABASE, answers)
        except TimeoutError:
            self.skipped = f"not done within {DEADLINE_S:g} s"
        except ProbeFailed as failed:
            self.skipped = str(failed)
        else:
            self.skipped = ""
            self.looked_at = self._now()
            self._fresh = (*self._told(answers), *self._told_of_statements())
            self._note_inventories(answers)

    def _databases(self, answers: dict[_Place, SlowAnswer | str]) -> Sequence[str]:
        answer = answers.get(("", "databases"))
        return answer.databases[:DATABASES_MAX] if isinstance(answer, SlowAnswer) else ()

    async def _visit_one(
        self,
        database: str,
        questions: Iterable[SlowQuestion],
        answers: dict[_Place, SlowAnswer | str],
    ) -> None:
        self._stop_if_in_the_way()
        if (closed := self._closed.get(database)) is not None:
            self._note_closed(database, questions, answers, closed=(closed[0] - 1, closed[1]))
            return
        self._visit = asyncio.ensure_future(self._visits.open(database))
        try:
            try:
                visit = await _opened(self._visit)
            except ProbeFailed as failed:
                if self._visit.cancelled() or not database:
                    raise
                refused = (CLOSED_LOOKS, str(failed))
                self._note_closed(database, questions, answers, closed=refused)
                return
            for question in questions:
                if question.fits(self._version_num()):
                    self._stop_if_in_the_way()
                    answers[database, question.name] = await _answer(visit, question)
                    await asyncio.sleep(self._pause_s)
            await self._ask_statements(visit, answers.get((database, "statements_home")))
        finally:
            self.give_way()
            self._visit = None

    async def _ask_statements(self, visit: SlowVisit, told: SlowAnswer | str | None) -> None:
        """Once a look, where the extension is found first: it counts for the whole server."""
        home = told.home if isinstance(told, SlowAnswer) else None
        if home is None or self._statements is not None:
            return
        if home.unusable:
            self._no_statements = home.unusable
            return
        self._stop_if_in_the_way()
        try:
            payload = await visit.ask(statements_sql(home), timeout_s=QUESTION_S)
            self._statements = parse_statements(payload)
        except ProbeFailed as failed:
            if not visit.is_open:
                raise
            self._statements = failed.what

    def _note_closed(
        self,
        database: str,
        questions: Iterable[SlowQuestion],
        answers: dict[_Place, SlowAnswer | str],
        *,
        closed: tuple[int, str],
    ) -> None:
        """One database that cannot be seen does not hide the others."""
        looks, why = closed
        if looks > 0:
            self._closed[database] = closed
        else:
            del self._closed[database]
        answers |= {(database, question.name): why for question in questions}

    def _stop_if_in_the_way(self) -> None:
        if why := self._in_the_way():
            raise ProbeFailed(why, on="slow lane")

    # --- what it comes to ---

    def _told(self, answers: dict[_Place, SlowAnswer | str]) -> Iterable[Reading]:
        """Every subject of every name; of an unanswered question, what it could not tell."""
        for question in (*OF_THE_SERVER, *OF_A_DATABASE):
            found: list[Reading] = []
            unanswered: list[Reading] = []
            for (database, name), answer in answers.items():
                if name == question.name and question.fits(self._version_num()):
                    if isinstance(answer, SlowAnswer):
                        found += answer.readings
                        continue
                    before = self._known.get((database, name))
                    # What was known of this database stays; else its symptoms would clear.
                    found += before.readings if before is not None else ()
                    unanswered += [
                        Reading(name=made, value=None, subject=database, detail=answer)
                        for made in question.makes
                        if before is None
                    ]
            yield from found
            yield from unanswered
            told = {reading.name for reading in (*found, *unanswered)}
            if any(name == question.name for _, name in answers):
                yield from (Reading(name=m, value=0.0) for m in question.makes if m not in told)

    def _told_of_statements(self) -> tuple[Reading, ...]:
        if not isinstance(self._statements, StatementsRead):
            return unknown(self._statements or self._no_statements)
        return self._memory.readings(self._statements, at_s=self._now().timestamp())

    def _note_inventories(self, answers: dict[_Place, SlowAnswer | str]) -> None:
        found = [
            Inventory(
                place=f"{LANE}/{name}/{database}",
                source="inventory" if database else "server",
                items=answer.items,
            )
            for (database, name), answer in answers.items()
            if isinstance(answer, SlowAnswer) and (answer.items or name in LISTING)
        ]
        # A database that is gone is told by the list of databases, not table by table.
        self._inventories = Look(
            at=self._now(),
            lane=LANE,
            inventories=tuple(found),
            places=frozenset(f"{LANE}/{name}/{database}" for database, name in answers),
        )
        self._known = {
            # The items are kept outside this process: thousands of them a target are too many.
            place: replace(known, items=())
            for place, answer in answers.items()
            if (known := answer if isinstance(answer, SlowAnswer) else self._known.get(place))
        }


async def _opened(visit: asyncio.Future[SlowVisit]) -> SlowVisit:
    await asyncio.wait({visit})
    if visit.cancelled():
        raise ProbeFailed("gave way to somebody who logs in", on="slow lane")
    return visit.result()


def _close(visit: asyncio.Future[SlowVisit]) -> None:
    if not visit.cancelled() and visit.exception() is None:
        visit.result().close()


async def _answer(visit: SlowVisit, question: SlowQuestion) -> SlowAnswer | str:
    """The answer, or why there is none. Raises: ProbeFailed, where the session did not survive."""
    try:
        right = question.right_sql
        if right and await visit.ask(right, timeout_s=QUESTION_S) == NO_RIGHT:
            return question.right_missing
        payload = await visit.ask(question.sql, timeout_s=QUESTION_S)
        if len(payload) > ASIDE_CHARS:
            # Thousands of relations take longer to read than anybody else may be kept waiting.
            return await asyncio.to_thread(read_slow, question, payload)
        return read_slow(question, payload)
    except ProbeFailed as failed:
        if not visit.is_open:
            raise
        return failed.what
