"""How large databases and tables are, and how much of a table is likely to be empty room."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from stanch.facts.reading import Answer, read_object, read_objects
from stanch.facts.sql import load

SIZES_SQL: Final = load("health_sizes")
TABLES_SQL: Final = load("health_tables")

PAGE_HEAD_BYTES = 24
ROW_HEAD_BYTES = 23
LINE_POINTER_BYTES = 4
ALIGNMENT_BYTES = 8
BLOAT_PAGES_MIN = 128
"""Below a megabyte an estimate says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSize:
    name: str
    size_bytes: int | None
    """None: this role may not ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRead:
    """One table as VACUUM and ANALYZE last saw it."""

    schema: str
    name: str
    pages: int
    index_pages: int
    toast_pages: int
    rows: float | None
    """None: nobody has counted yet."""
    live_rows: int
    dead_rows: int
    vacuumed_at: datetime | None
    analyzed_at: datetime | None
    fillfactor: int
    columns: int
    known_columns: int
    row_bytes: float | None
    """The mean width of the columns of a row that are not null; None without statistics."""

    @property
    def all_pages(self) -> int:
        return self.pages + self.index_pages + self.toast_pages

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TablesRead:
    """The largest tables of a database and the sum of all."""

    block_bytes: int
    tables: int
    pages: int
    largest: tuple[TableRead, ...]


def parse_sizes(payload: object) -> tuple[DatabaseSize, ...]:
    """What the answer to SIZES_SQL says. Raises ProbeFailed."""
    return tuple(
        DatabaseSize(name=part.text("name"), size_bytes=part.whole_or_none("size_bytes"))
        for part in read_objects(payload, "sizes")
    )


def parse_tables(payload: object) -> TablesRead:
    """What the answer to TABLES_SQL says. Raises ProbeFailed."""
    answer = read_object(payload, "tables")
    return TablesRead(
        block_bytes=answer.whole("block_bytes"),
        tables=answer.whole("tables"),
        pages=answer.whole_or_none("pages") or 0,
        largest=tuple(_table(part) for part in answer.parts("largest")),
    )


def bloat_share(table: TableRead, block_bytes: int) -> float | None:
    """Which part of the table's own pages is likely to be empty room, between 0 and 1.

    An estimate from statistics: rows times their mean width against the pages there are. None
    where the table is small, was never counted, or the role may not read its statistics; a table
    whose rows have grown since ANALYZE is estimated too empty, never too full.
    """
    if table.rows is None or table.row_bytes is None or table.pages < BLOAT_PAGES_MIN:
        return None
    if table.known_columns < table.columns or table.analyzed_at is None:
        return None
    null_bitmap = (table.columns + 7) // 8
    row = _aligned(ROW_HEAD_BYTES + null_bitmap) + _aligned(table.row_bytes) + LINE_POINTER_BYTES
    room = (block_bytes - PAGE_HEAD_BYTES) * table.fillfactor / 100
    # A row that does not fit is stored outside, in TOAST: its width says nothing about the page.
    rows_a_page = math.floor(room / row)
    if rows_a_page < 1:
        return None
    needed = math.ceil(table.rows / rows_a_page)
    return max(0.0, 1 - needed / table.pages)


def _aligned(size: float) -> int:
    return math.ceil(size / ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def _table(part: Answer) -> TableRead:
    return TableRead(
        schema=part.text("schema"),
        name=part.text("name"),
        pages=part.whole("pages"),
        index_pages=part.whole("index_pages"),
        toast_pages=part.whole("toast_pages"),
        rows=part.age_s("rows"),
        live_rows=part.whole_or_none("live_rows") or 0,
        dead_rows=part.whole_or_none("dead_rows") or 0,
        vacuumed_at=part.moment_or_none("vacuumed_at"),
        analyzed_at=part.moment_or_none("analyzed_at"),
        fillfactor=part.whole_or_none("fillfactor") or 100,
        columns=part.whole("columns"),
        known_columns=part.whole("known_columns"),
        row_bytes=part.age_s("row_bytes"),
    )
