"""The largest tables of a database, and how much of each is likely to be empty room.

The estimate asks what pages the rows would need if they were written anew, from the widths that
ANALYZE found. Of tables just analyzed it is within 10 points of what pgstattuple counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, cast

from stanch.facts.reading import Answer, read_object
from stanch.facts.sql import load
from stanch.model.errors import ProbeFailed

_TABLES: Final = load("tables")
_SIZES: Final = load("table_sizes")

PAGE_HEAD_BYTES = 24
ROW_HEAD_BYTES = 23
LINE_POINTER_BYTES = 4
ALIGNMENT_BYTES = 8
ALIGNED_TO: Final = {"c": 1, "s": 2, "i": 4, "d": 8}
SHORT_BYTES_MAX = 127
"""Values of varying length up to this have a head of one byte and stand wherever there is room."""
BLOAT_PAGES_MIN = 128
"""Below a megabyte an estimate says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """How much room a column takes in a row."""

    fixed_bytes: int
    """Below zero: it varies."""
    aligned_to: int
    mean_bytes: float | None
    """As stored: compressed, or a pointer to what is stored outside. None: not known."""
    null_share: float | None


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
    fillfactor: int
    columns: tuple[Column, ...]

    @property
    def all_pages(self) -> int:
        return self.pages + self.index_pages + self.toast_pages

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def has_widths(self) -> bool:
        """ANALYZE has seen every column, and this role may read what it found."""
        return all(c.mean_bytes is not None and c.null_share is not None for c in self.columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class TablesRead:
    """The largest tables of a database and the sum of all."""

    database: str
    block_bytes: int
    tables: int
    pages: int
    largest: tuple[TableRead, ...]


def tables_sql(tables_max: int, *, pages_min: int = 0) -> str:
    """The question about the largest tables. Cost: catalogs only, no table is opened or locked."""
    return _filled(_TABLES, tables_max, pages_min)


def table_sizes_sql(tables_max: int, *, pages_min: int = 0) -> str:
    """The question how large they are at this moment. Cost: opens each for a moment; none that
    somebody holds exclusively, or waits to."""
    return _filled(_SIZES, tables_max, pages_min)


def parse_table_sizes(payload: object) -> dict[str, int]:
    """Bytes by `database.schema.table`, of those that could be asked. Raises ProbeFailed."""
    parts = read_object(payload, "table sizes").parts("readings")
    sizes = {part.text("subject"): part.whole_or_none("value") for part in parts}
    return {name: size for name, size in sizes.items() if size is not None}


def parse_tables(payload: object) -> TablesRead:
    """What the answer to `tables_sql` says. Raises ProbeFailed."""
    return tables_of(read_object(payload, "tables"))


def tables_of(answer: Answer) -> TablesRead:
    """The same of an answer that was read before. Raises ProbeFailed."""
    return TablesRead(
        database=answer.text("database"),
        block_bytes=answer.whole("block_bytes"),
        tables=answer.whole("tables"),
        pages=answer.whole_or_none("pages") or 0,
        largest=tuple(_table(part) for part in answer.parts("largest")),
    )


def bloat_share(table: TableRead, block_bytes: int) -> float | None:
    """Which part of the table's own pages is likely to be empty room, between 0 and 1.

    None where the table is small, was never counted, its rows do not fit a page, or the role may
    not read its statistics. A table whose rows have grown since ANALYZE is estimated too empty,
    never too full.
    """
    if table.rows is None or table.pages < BLOAT_PAGES_MIN:
        return None
    if not table.columns or not table.has_widths:
        return None
    row = row_bytes(table.columns) + LINE_POINTER_BYTES
    page = block_bytes - PAGE_HEAD_BYTES
    if row > page:
        return None
    # However little of a page may be filled, one row always goes in.
    rows_a_page = max(1, math.floor(page * table.fillfactor / 100 / row))
    needed = math.ceil(table.rows / rows_a_page)
    return max(0.0, 1 - needed / table.pages)


def row_bytes(columns: Iterable[Column]) -> int:
    """What a row takes with its head, column after column, each where its alignment lets it be."""
    known = tuple(columns)
    nulls = any(column.null_share for column in known)
    head = _aligned(ROW_HEAD_BYTES + (len(known) + 7) // 8 * nulls, ALIGNMENT_BYTES)
    used, varies = 0.0, False
    for column in known:
        varies = varies or column.fixed_bytes < 0
        width = column.mean_bytes or 0.0
        short = column.fixed_bytes < 0 and width <= SHORT_BYTES_MAX
        gap = 0.0 if short else -round(used) % column.aligned_to
        used += (1 - (column.null_share or 0.0)) * (gap + width)
    # Rows of many lengths lose half an alignment each, rows of one length what they lose.
    end = used + ALIGNMENT_BYTES / 2 if varies else _aligned(used, ALIGNMENT_BYTES)
    return math.ceil(head + end)


def _filled(sql: str, tables_max: int, pages_min: int) -> str:
    return sql.replace("{tables_max}", str(tables_max)).replace("{pages_min}", str(pages_min))


def _aligned(size: float, to: int) -> int:
    return math.ceil(size / to) * to


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
        fillfactor=part.whole_or_none("fillfactor") or 100,
        columns=_columns(part),
    )


def _columns(part: Answer) -> tuple[Column, ...]:
    found = part.fields.get("columns")
    if found is None:
        return ()
    if not isinstance(found, list):
        raise ProbeFailed(f"the answer's {part.where}.columns is not a list", on="answer")
    return tuple(_column(one, part.where) for one in cast("list[object]", found))


def _column(found: object, where: str) -> Column:
    match found:
        case [
            int(fixed),
            str(align),
            int() | float() | None as width,
            int() | float() | None as null,
        ]:
            return Column(
                fixed_bytes=fixed,
                aligned_to=ALIGNED_TO.get(align, ALIGNMENT_BYTES),
                mean_bytes=width,
                null_share=null,
            )
        case _:
            raise ProbeFailed(f"the answer's {where}.columns is no list of columns", on="answer")
