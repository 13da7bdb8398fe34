"""Two looks at a server's counters about a second apart, from one session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from stanch.facts.pace import (
    PACE_SQL,
    Counters,
    Pace,
    pace_between,
    pace_statements_sql,
    parse_counters,
    with_statements,
)
from stanch.facts.statements import HOME_SQL, parse_home
from stanch.model.diagnosis import Missing
from stanch.model.errors import ProbeFailed
from stanch.model.ports.server import ServerReader

APART_S: Final = 1.15
"""Busy sessions tell what they did with the first transaction that ends a second after they told it
last (PGSTAT_MIN_INTERVAL): looks that are nearer see chance."""
APART_S_MIN: Final = 0.4
ANSWER_S: Final = 0.2
"""Kept for the second look to be answered."""
QUERY_S_MIN: Final = 0.1
NOT_LOOKED: Final = Missing(what="pace", reason="nobody looked twice")


class TwoLooks:
    """Counters at a first look, and what they grew by until the second.

    Between the two the session is free for other questions. Cost: two statements over statistics,
    four where the server counts statements. Never: a session of its own.
    """

    def __init__(self, reader: ServerReader, left_s: Callable[[], float]) -> None:
        self._reader = reader
        self._left_s = left_s
        self._time = asyncio.get_running_loop().time
        self._first: Counters | Missing = NOT_LOOKED
        self._looked_at = 0.0
        self._statements_sql = ""
        """Empty: nobody counts statements here, or it cannot be asked."""

    async def first(self) -> None:
        """Look for the first time; what cannot be had is told by `second`."""
        try:
            self._first = parse_counters(await self._ask(PACE_SQL))
            self._looked_at = self._time()
            home = parse_home(await self._ask(HOME_SQL))
            if home is not None and not home.unusable:
                self._statements_sql = pace_statements_sql(home)
                self._first = await self._with_statements(self._first)
        except ProbeFailed as failed:
            # The counters of the server itself may have come before it failed.
            if isinstance(self._first, Missing):
                self._first = Missing(what="pace", reason=failed.what)

    def is_early(self) -> bool:
        """Nothing is lost by one more question: the second look waits anyway, or will not be."""
        return isinstance(self._first, Missing) or self._time() - self._looked_at < APART_S / 2

    async def second(self) -> Pace | Missing:
        """Look again as soon as enough time went by, where there is as much left."""
        if isinstance(self._first, Missing):
            return self._first
        since_s = self._time() - self._looked_at
        pause_s = max(0.0, min(APART_S - since_s, self._left_s() - ANSWER_S))
        if since_s + pause_s < APART_S_MIN:
            return Missing(what="pace", reason="no time was left for a second look")
        await asyncio.sleep(pause_s)
        try:
            counters = parse_counters(await self._ask(PACE_SQL))
            if self._first.statements:
                counters = await self._with_statements(counters)
        except ProbeFailed as failed:
            return Missing(what="pace", reason=failed.what)
        pace = pace_between(self._first, counters)
        return pace or Missing(what="pace", reason="counters were set back between two looks")

    async def _with_statements(self, counters: Counters) -> Counters:
        try:
            return with_statements(counters, await self._ask(self._statements_sql))
        except ProbeFailed:
            return counters

    async def _ask(self, sql: str) -> str:
        left_s = max(QUERY_S_MIN, self._left_s())
        return await self._reader.fetch_json(sql, timeout_s=left_s)
