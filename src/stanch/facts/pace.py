"""How fast a server works: its counters asked twice, and what they grew by in between.

Whoever has never seen a server before knows so what it does in a second, and what it did in all of
the time that it has counted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from stanch.facts.reading import Answer, read_object
from stanch.facts.sql import load
from stanch.facts.statements import StatementsHome, quoted_name

PACE_SQL: Final = load("pace")
"""Of the server, and of the database that is asked in."""

_STATEMENTS: Final = load("pace_statements")
_NAME_CHARS_MAX: Final = 140


@dataclass(frozen=True, slots=True, kw_only=True)
class Grown:
    """One counter."""

    before: float
    """All that it had counted at the first look."""
    by: float
    """What came until the second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TablePace:
    """How one table is read."""

    name: str
    rows: int
    """About so many has it got."""
    indexed: tuple[str, ...]
    """The columns that its usable indexes begin with."""
    whole_scans: Grown
    """Scans of the whole table; workers of a parallel one count each."""
    whole_rows: Grown
    """Rows that they read."""
    index_scans: Grown
    index_rows: Grown
    """Rows that were fetched by an index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementPace:
    """What one statement cost (pg_stat_statements)."""

    query_id: str
    calls: Grown
    ms: Grown


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What came between two looks at one server."""

    seconds: float
    """Between the looks."""
    counted_s: float
    """For so long at least the server has counted."""
    commits: Grown
    rollbacks: Grown
    sessions: Grown | None
    """Logins that succeeded; None before version 14."""
    wal_bytes: Grown | None
    """None on a standby."""
    tables: tuple[TablePace, ...]
    statements: tuple[StatementPace, ...] = ()
    """None of them where pg_stat_statements cannot be asked."""
    subtrans_lookups: Grown | None = None
    """How often somebody asked whose subtransaction an id is."""

    def rate(self, counter: Grown) -> float:
        """How much it grows a second now."""
        return counter.by / self.seconds

    def mean(self, counter: Grown) -> float:
        """How much it grew a second before, at most: what was counted before the server's start
        counts, too."""
        return counter.before / self.counted_s


@dataclass(frozen=True, slots=True, kw_only=True)
class TableCounters:
    """One table at one look."""

    name: str
    rows: int
    indexed: tuple[str, ...]
    whole_scans: int
    whole_rows: int
    index_scans: int
    index_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementCounters:
    """One statement at one look."""

    query_id: str
    calls: int
    ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """One look."""

    at_s: float
    """By the server's clock."""
    counted_s: float
    commits: int
    rollbacks: int
    sessions: int | None
    wal_bytes: int | None
    tables: tuple[TableCounters, ...]
    statements: tuple[StatementCounters, ...] = ()
    subtrans_lookups: int | None = None


def parse_counters(payload: str) -> Counters:
    """What the answer to PACE_SQL says. Raises: ProbeFailed."""
    answer = read_object(payload, "pace")
    return Counters(
        at_s=answer.number_or_none("at") or 0.0,
        counted_s=answer.age_s("counted_s") or 0.0,
        commits=answer.whole_or_none("commits") or 0,
        rollbacks=answer.whole_or_none("rollbacks") or 0,
        sessions=answer.whole_or_none("sessions"),
        wal_bytes=answer.whole_or_none("wal_bytes"),
        tables=tuple(_table(part) for part in answer.parts("tables")),
        subtrans_lookups=answer.whole_or_none("subtrans_lookups"),
    )


def with_statements(counters: Counters, payload: str) -> Counters:
    """The same with what the answer to `pace_statements_sql` says. Raises: ProbeFailed."""
    parts = read_object(payload, "pace").parts("statements")
    found = (
        StatementCounters(
            query_id=part.text("queryid"),
            calls=part.whole("calls"),
            ms=part.age_s("total_ms") or 0.0,
        )
        for part in parts
    )
    return replace(counters, statements=tuple(found))


def pace_statements_sql(home: StatementsHome) -> str:
    """The question about statements, for the extension as it is installed there."""
    return _STATEMENTS.replace("{schema}", quoted_name(home.schema))


def pace_between(first: Counters, second: Counters) -> Pace | None:
    """What came between two looks; None where counters were set back, or no time went by."""
    seconds = second.at_s - first.at_s
    commits = _grown(first.commits, second.commits)
    rollbacks = _grown(first.rollbacks, second.rollbacks)
    if seconds <= 0 or first.counted_s <= 0 or commits is None or rollbacks is None:
        return None
    tables = {table.name: table for table in first.tables}
    statements = {one.query_id: one for one in first.statements}
    return Pace(
        seconds=seconds,
        counted_s=first.counted_s,
        commits=commits,
        rollbacks=rollbacks,
        sessions=_grown(first.sessions, second.sessions),
        wal_bytes=_grown(first.wal_bytes, second.wal_bytes),
        subtrans_lookups=_grown(first.subtrans_lookups, second.subtrans_lookups),
        tables=tuple(
            pace
            for after in second.tables
            if (before := tables.get(after.name)) and (pace := _table_pace(before, after))
        ),
        statements=tuple(
            pace
            for after in second.statements
            if (known := statements.get(after.query_id)) and (pace := _cost(known, after))
        ),
    )


def _grown(before: float | None, after: float | None) -> Grown | None:
    if before is None or after is None or after < before:
        return None
    return Grown(before=float(before), by=float(after - before))


def _table_pace(before: TableCounters, after: TableCounters) -> TablePace | None:
    """None where an index, or the table itself, came or went in between."""
    scans, rows = (
        _grown(before.whole_scans, after.whole_scans),
        _grown(before.whole_rows, after.whole_rows),
    )
    by_index, fetched = (
        _grown(before.index_scans, after.index_scans),
        _grown(before.index_rows, after.index_rows),
    )
    if scans is None or rows is None or by_index is None or fetched is None:
        return None
    return TablePace(
        name=after.name,
        rows=after.rows,
        indexed=after.indexed,
        whole_scans=scans,
        whole_rows=rows,
        index_scans=by_index,
        index_rows=fetched,
    )


def _cost(before: StatementCounters, after: StatementCounters) -> StatementPace | None:
    calls, ms = _grown(before.calls, after.calls), _grown(before.ms, after.ms)
    if calls is None or ms is None:
        return None
    return StatementPace(query_id=after.query_id, calls=calls, ms=ms)


def _table(part: Answer) -> TableCounters:
    return TableCounters(
        name=part.text("name")[:_NAME_CHARS_MAX],
        rows=part.whole("rows"),
        indexed=tuple(part.text("indexed").split(" ")) if part.text("indexed") else (),
        whole_scans=part.whole("whole_scans"),
        whole_rows=part.whole("whole_rows"),
        index_scans=part.whole("index_scans"),
        index_rows=part.whole("index_rows"),
    )
