"""Asks one server the questions of a check-up, one after the other, within one deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from stanch.facts.blocking import blocking_roots
from stanch.facts.health.headroom import AGES_SQL, SEQUENCES_SQL, parse_ages, parse_sequences
from stanch.facts.health.replication import REPLICATION_SQL, parse_replication
from stanch.facts.health.server import (
    BACKUPS_SQL,
    SETTINGS_SQL,
    ServerRead,
    parse_backups,
    parse_settings,
)
from stanch.facts.health.space import SIZES_SQL, parse_sizes
from stanch.facts.health.work import SESSIONS_SQL, parse_sessions
from stanch.facts.sessions import SESSIONS_WAITING_SQL, parse_waiting
from stanch.facts.statements import (
    HOME_SQL,
    parse_home,
    parse_statements,
    statement_texts_sql,
    statements_sql,
    with_texts,
)
from stanch.facts.tables import (
    parse_table_sizes,
    parse_tables,
    table_sizes_sql,
    tables_sql,
)
from stanch.facts.vitals import VITALS_SQL, parse_vitals
from stanch.model.errors import ProbeFailed
from stanch.model.ports.backups import BackupReader
from stanch.model.ports.server import ServerReader, SqlParams
from stanch.model.vitals import Vitals
from stanch.watch.health.backups import backups_section
from stanch.watch.health.headroom import sequences_section, wraparound_section
from stanch.watch.health.replication import replication_section
from stanch.watch.health.report import Report, Section
from stanch.watch.health.sessions import blocked_section, connections_section, long_section
from stanch.watch.health.settings import settings_section
from stanch.watch.health.space import size_section, tables_section
from stanch.watch.health.statements import statements_section

T = TypeVar("T")

TABLES_SHOWN = STATEMENTS_SHOWN = 10
BACKUPS_S = 3.0
"""So long places of backups are waited for, all at once: other questions come after them."""

TITLES = {
    "settings": "Settings that endanger data",
    "connections": "Connections",
    "long": "Long transactions",
    "blocked": "Blocked sessions",
    "replication": "Replication",
    "wraparound": "Wraparound",
    "sequences": "Sequences",
    "backups": "Last backup",
    "size": "Size",
    "tables": "Largest tables",
    "statements": "Slowest statements",
}
"""What a section is called where it has no answer."""

NO_EXTENSION = (
    "pg_stat_statements is not installed in this database: add it to shared_preload_libraries,"
    " restart, and CREATE EXTENSION pg_stat_statements."
)


class _NotAsked(Exception):
    """There is no answer, and the reason needs no explaining."""


class CheckUp:
    """One check-up. Every question is asked once; one that fails leaves its own section missing."""

    def __init__(
        self, reader: ServerReader, *, deadline_s: float, backups: Sequence[BackupReader] = ()
    ) -> None:
        self._reader = reader
        self._places = backups
        self._until = asyncio.get_running_loop().time() + deadline_s
        self._server: ServerRead | None = None
        self._vitals: Vitals | None = None

    async def report(self, label: str) -> Report:
        """Ask everything. Cost: a dozen statements on one session, none of which waits for a
        lock longer than 100 ms. Raises ProbeFailed where not even the first was answered."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        server = self._server = await self._ask(SETTINGS_SQL, parse_settings)
        sections = [settings_section(server)]
        for name, question in self._questions().items():
            try:
                sections.append(await question())
            except (ProbeFailed, _NotAsked) as error:
                reason = error.what if isinstance(error, ProbeFailed) else str(error)
                sections.append(Section(id=name, title=TITLES[name], missing=reason))
        return Report(
            label=label,
            at=server.at,
            elapsed_ms=round((loop.time() - began) * 1000, 1),
            version=server.version,
            database=server.database,
            role=server.role,
            started_at=server.started_at,
            in_recovery=server.in_recovery,
            sections=_in_order(sections),
        )

    async def _ask(
        self, sql: str, parse: Callable[[object], T], params: SqlParams | None = None
    ) -> T:
        left_s = self._until - asyncio.get_running_loop().time()
        if left_s <= 0:
            raise _NotAsked("not asked: the time for the check-up was over")
        return parse(await self._reader.fetch_json(sql, params, timeout_s=left_s))

    def _questions(self) -> dict[str, Callable[[], Awaitable[Section]]]:
        """In the order in which they are asked: what an answer may be slow for comes last."""
        return {
            "connections": self._connections,
            "long": self._long,
            "blocked": self._blocked,
            "replication": self._replication,
            "wraparound": self._wraparound,
            "sequences": self._sequences,
            "backups": self._backups,
            "size": self._size,
            "tables": self._tables,
            "statements": self._statements,
        }

    # --- one section each ---

    async def _connections(self) -> Section:
        self._vitals = await self._ask(VITALS_SQL, lambda text: parse_vitals(str(text)))
        return connections_section(self._vitals)

    async def _long(self) -> Section:
        self._see_sessions()
        return long_section(await self._ask(SESSIONS_SQL, parse_sessions))

    async def _blocked(self) -> Section:
        self._see_sessions()
        sessions = self._vitals.sessions if self._vitals is not None else None
        if sessions is not None and not sessions.waiting_on_lock:
            # Who blocks whom is asked of the lock manager itself: only where somebody waits.
            return blocked_section(())
        return blocked_section(blocking_roots(await self._ask(SESSIONS_WAITING_SQL, parse_waiting)))

    async def _replication(self) -> Section:
        assert self._server is not None
        limit = self._server.value("max_slot_wal_keep_size")
        read = await self._ask(REPLICATION_SQL, parse_replication)
        return replication_section(read, slot_limit=limit)

    async def _wraparound(self) -> Section:
        return wraparound_section(await self._ask(AGES_SQL, parse_ages))

    async def _sequences(self) -> Section:
        return sequences_section(await self._ask(SEQUENCES_SQL, parse_sequences))

    async def _backups(self) -> Section:
        assert self._server is not None
        read = await self._ask(BACKUPS_SQL, parse_backups)
        left_s = max(0.05, self._until - asyncio.get_running_loop().time())
        looks = (place.look(deadline_s=min(BACKUPS_S, left_s)) for place in self._places)
        seen = await asyncio.gather(*looks)
        told = [(place.place, one) for place, one in zip(self._places, seen, strict=True)]
        return backups_section(read, self._server, told)

    async def _size(self) -> Section:
        return size_section(await self._ask(SIZES_SQL, parse_sizes))

    async def _tables(self) -> Section:
        assert self._server is not None
        read = await self._ask(tables_sql(TABLES_SHOWN), parse_tables)
        sizes: dict[str, int] = {}
        with suppress(ProbeFailed, _NotAsked):
            sizes = await self._ask(table_sizes_sql(TABLES_SHOWN), parse_table_sizes)
        section = tables_section(read, at=self._server.at, sizes=sizes)
        return replace(section, title=f"{section.title} of {self._server.database}")

    async def _statements(self) -> Section:
        home = await self._ask(HOME_SQL, parse_home)
        if home is None:
            raise _NotAsked(NO_EXTENSION)
        if home.unusable:
            raise _NotAsked(home.unusable)
        read, note = await self._ask(statements_sql(home), parse_statements), ""
        read = replace(read, largest=read.largest[:STATEMENTS_SHOWN])
        if read.largest:
            try:
                texts = await self._ask(statement_texts_sql(home, read.largest), str)
                read = with_texts(read, texts)
            except (ProbeFailed, _NotAsked) as error:
                note = f"Their texts were not read: {error}."
        return statements_section(read, note=note)

    def _see_sessions(self) -> None:
        if self._vitals is not None and not self._vitals.sees_sessions:
            raise _NotAsked("other roles' sessions are hidden from this role: GRANT pg_monitor")


def _in_order(sections: Sequence[Section]) -> tuple[Section, ...]:
    """As people read: what is in danger first, what is missing last, else as asked."""
    return tuple(sorted(sections, key=lambda s: (bool(s.missing), -_rank(s))))


def _rank(section: Section) -> int:
    return list(type(section.judgement)).index(section.judgement)
