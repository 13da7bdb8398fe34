"""The questions to one session, the most separating first; what there is no time for is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace

from stanch.diagnose.condense import chains_from, retention_before, retention_from, sessions_from
from stanch.diagnose.figures import Figures, figures_from
from stanch.diagnose.flushing.run import is_waited_for, look_at_flushes
from stanch.diagnose.inside import Activity, Chains, Retention, Sessions
from stanch.diagnose.twice.run import NOT_LOOKED, TwoLooks
from stanch.facts.pace import Pace
from stanch.facts.sessions import SESSIONS_WAITING_SQL, parse_waiting
from stanch.facts.slow.questions import KEYS, read_slow
from stanch.facts.sql import load
from stanch.facts.vitals import VITALS_SQL, parse_vitals
from stanch.facts.workings import (
    FOLDERS_SQL,
    MORE_FROM,
    TABLES_SQL,
    WORKINGS_SQL,
    Workings,
    parse_figures,
    parse_workings,
)
from stanch.model.diagnosis import Missing
from stanch.model.errors import ProbeFailed
from stanch.model.ports.server import ServerReader, SqlParams
from stanch.model.readings import Reading
from stanch.model.vitals import Vitals

OPEN_TRANSACTIONS_SQL = load("open_transactions")
DAMAGED_FILES_SQL = load("damaged_files")
QUERY_S_MIN = 0.1
HOME_S_MAX = 1.2
"""For the login into another database and its first answers; a second look may follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """What one session was told."""

    sessions: Sessions | Missing
    chains: Chains | Missing
    retention: Retention
    figures: Figures
    activity: Activity | Missing
    pace: Pace | Missing = NOT_LOOKED


async def ask(reader: ServerReader, *, left_s: Callable[[], float], tables: bool = True) -> Inside:
    """Everything that one session can tell; `left_s` says how much time there still is.

    `tables`: also of those of the database in which the session is.
    Raises: ProbeFailed where not even the vital signs can be had.
    """
    return await _Session(reader, left_s).all(tables=tables)


async def with_tables(
    inside: Inside,
    open_home: Callable[[], AbstractAsyncContextManager[ServerReader]],
    *,
    left_s: Callable[[], float],
    damaged: Callable[[], Awaitable[Sequence[tuple[int, int]]]],
) -> Inside:
    """The same with what stands out among the tables of the application's own database, and how
    fast they are read, for which one short session is opened; where that fails, without. `damaged`
    are files (database and number) to be named."""
    told: tuple[Reading, ...] = ()
    pace: Pace | Missing = NOT_LOOKED
    clock = asyncio.get_running_loop().time
    try:
        within_s = max(0.0, min(left_s(), HOME_S_MAX))
        async with asyncio.timeout(within_s) as limit, open_home() as reader:
            session, looks = _Session(reader, left_s), TwoLooks(reader, left_s)
            await looks.first()
            # Whoever let us in and has answered is given what time there is.
            limit.reschedule(clock() + max(0.0, left_s()))
            # All of it while the counters have to go on for a while anyway.
            told = await session.told((TABLES_SQL,))
            told += await session.told_of_files(await damaged())
            if looks.is_early():
                told += await session.told_of_keys()
            pace = await looks.second()
    except ProbeFailed as failed:
        pace = Missing(what="pace", reason=failed.what)
    except TimeoutError:
        pace = Missing(what="pace", reason="no time was left for a second look")
    return replace(inside, figures=Figures(items=(*inside.figures.items, *told)), pace=pace)


class _Session:
    def __init__(self, reader: ServerReader, left_s: Callable[[], float]) -> None:
        self._reader = reader
        self._left_s = left_s

    async def all(self, *, tables: bool) -> Inside:
        vitals = parse_vitals(await self._reader.fetch_json(VITALS_SQL, timeout_s=self._query_s()))
        seen = sessions_from(vitals)
        opened = await self._more(OPEN_TRANSACTIONS_SQL)
        chains = await self._chains(seen, opened)
        looks = TwoLooks(self._reader, self._left_s)
        if tables:
            await looks.first()
        # What separates causes that keep nobody from working comes after all that says who waits.
        workings = await self._workings()
        known = None if isinstance(workings, Missing) else workings
        activity: Activity | Missing = (
            workings
            if isinstance(workings, Missing)
            else Activity(doings=workings.doings, held=workings.held, ended=workings.ended)
        )
        return Inside(
            sessions=seen,
            chains=chains,
            retention=retention_before(vitals)
            if isinstance(seen, Missing) or isinstance(opened, Missing)
            else retention_from(vitals, opened),
            figures=figures_from(
                vitals,
                known.figures if known else (),
                await self._more_numbers(vitals, tables=tables),
                await self.flushes(activity),
            ),
            activity=activity,
            pace=await looks.second(),
        )

    async def _chains(self, seen: Sessions | Missing, opened: str | Missing) -> Chains | Missing:
        if isinstance(seen, Missing):
            return seen
        if isinstance(opened, Missing):
            return opened
        waiting = await self._more(SESSIONS_WAITING_SQL) if seen.waiting else "[]"
        if isinstance(waiting, Missing):
            return waiting
        return chains_from(parse_waiting(waiting), opened)

    async def _workings(self) -> Workings | Missing:
        told = await self._more(WORKINGS_SQL)
        return told if isinstance(told, Missing) else parse_workings(told)

    async def _more_numbers(self, vitals: Vitals, *, tables: bool) -> tuple[Reading, ...]:
        """Numbers of newer versions, of the tables, and of temporary files."""
        newer = [sql for since, sql in MORE_FROM if vitals.version_num >= since * 10_000]
        told = await self.told((*newer, *((TABLES_SQL,) if tables else ()), FOLDERS_SQL))
        return (*told, *(await self.told_of_keys())) if tables else told

    async def flushes(self, activity: Activity | Missing) -> tuple[Reading, ...]:
        """It takes up to a second where somebody waits for one, and it hangs."""
        if isinstance(activity, Missing) or not is_waited_for(activity.doings):
            return ()
        return await look_at_flushes(self._more, left_s=self._left_s)

    async def told(self, statements: Sequence[str]) -> tuple[Reading, ...]:
        """Numbers of statements that tell nothing else; one that fails tells none."""
        found: list[Reading] = []
        for sql in statements:
            told = await self._more(sql)
            if not isinstance(told, Missing):
                found.extend(parse_figures(told))
        return tuple(found)

    async def told_of_keys(self) -> tuple[Reading, ...]:
        """How near the numbers of keys are to their end, in the database of the session."""
        told = await self._more(KEYS.sql)
        try:
            return () if isinstance(told, Missing) else read_slow(KEYS, told).readings
        except ProbeFailed:
            return ()

    async def told_of_files(self, files: Sequence[tuple[int, int]]) -> tuple[Reading, ...]:
        """Which table or index each of them is."""
        if not files:
            return ()
        databases, numbers = (",".join(map(str, part)) for part in zip(*files, strict=True))
        params = {"databases": f"{{{databases}}}", "numbers": f"{{{numbers}}}"}
        told = await self._more(DAMAGED_FILES_SQL, params)
        return () if isinstance(told, Missing) else parse_figures(told)

    async def _more(self, sql: str, params: SqlParams | None = None) -> str | Missing:
        """A further answer; without it, what the first one said still counts."""
        if self._left_s() < QUERY_S_MIN:
            return Missing(what="session", reason="no time was left to ask")
        try:
            return await self._reader.fetch_json(sql, params, timeout_s=self._query_s())
        except ProbeFailed as error:
            return Missing(what="session", reason=error.what)

    def _query_s(self) -> float:
        return max(QUERY_S_MIN, self._left_s())
