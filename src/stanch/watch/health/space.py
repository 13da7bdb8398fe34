"""Sections about room on disk: databases, the largest tables, what of them is empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from stanch.facts.health.space import DatabaseSize
from stanch.facts.tables import BLOAT_PAGES_MIN, TableRead, TablesRead, bloat_share
from stanch.model.shown import span
from stanch.watch.health.report import Judgement, Line, Section, part, size, thousands

BLOAT_LOOK = 0.4
BLOAT_BYTES_MIN = 100 * 2**20
DEAD_LOOK = 0.2
DEAD_ROWS_MIN = 10_000
DATABASES_SHOWN = 10
SHOWN_MIN = 3


def size_section(sizes: Sequence[DatabaseSize]) -> Section:
    """Every database with its size; nothing here is judged, because room is the machine's."""
    known = sum(one.size_bytes or 0 for one in sizes)
    lines = [
        Line(
            what=one.name,
            value="not readable" if one.size_bytes is None else size(one.size_bytes),
            share=(one.size_bytes or 0) / known if known else None,
            figures={"size_bytes": one.size_bytes},
        )
        for one in sizes[:DATABASES_SHOWN]
    ]
    total = Line(what="all databases", value=size(known), figures={"size_bytes": known})
    rest = len(sizes) - len(lines)
    note = f"{rest} smaller databases are not shown." if rest > 0 else ""
    return Section(id="size", title="Size", lines=(total, *lines), note=note)


def tables_section(
    read: TablesRead, *, at: datetime, sizes: Mapping[str, int] | None = None
) -> Section:
    """The largest tables, each with its empty room and dead rows. `sizes` are those of this moment
    by full name with the database, of the tables that could be asked."""
    block, now = read.block_bytes, sizes or {}
    exact = {table: now.get(f"{read.database}.{table.full_name}") for table in read.largest}
    counted = {table: table.all_pages * block for table in read.largest}
    bytes_of = {table: exact[table] or counted[table] for table in read.largest}
    total_bytes = read.pages * block + sum(bytes_of.values()) - sum(counted.values())
    largest = sorted(bytes_of, key=lambda table: -bytes_of[table])
    shown = [t for n, t in enumerate(largest) if _is_shown(n, bytes_of[t], block)]
    lines = [
        Line(
            what=f"all {thousands(read.tables)} tables",
            value=size(total_bytes),
            figures={"tables": read.tables, "size_bytes": total_bytes},
        ),
        *(_table(t, block, at=at, all_bytes=bytes_of[t], total_bytes=total_bytes) for t in shown),
    ]
    note = _note(
        old=sum(exact[table] is None for table in shown),
        unknown=sum(bloat_share(table, block) is None for table in shown),
    )
    return Section(id="tables", title="Largest tables", lines=tuple(lines), note=note)


def _note(*, old: int, unknown: int) -> str:
    said = "Empty room is an estimate. Tables not shown count as of their last VACUUM or ANALYZE"
    said += f", and so do {old} that could not be asked at this moment." if old else "."
    if unknown:
        said += (
            f" Of {unknown} empty room cannot be estimated: too small, never analyzed, or their"
            " statistics may not be read by this role."
        )
    return said


def _is_shown(place: int, all_bytes: int, block_bytes: int) -> bool:
    """The three largest, and whatever is worth a bar beside them."""
    return all_bytes > 0 and (place < SHOWN_MIN or all_bytes >= BLOAT_PAGES_MIN * block_bytes)


def _table(
    table: TableRead, block_bytes: int, *, at: datetime, all_bytes: int, total_bytes: int
) -> Line:
    bloat = bloat_share(table, block_bytes)
    bloat_bytes = None if bloat is None else round(bloat * table.pages * block_bytes)
    said = [size(all_bytes)]
    if bloat is not None and bloat_bytes is not None:
        said.append(f"{part(bloat)} of the rows' pages empty ({size(bloat_bytes)})")
    dead = table.dead_rows / max(1, table.dead_rows + table.live_rows)
    if table.dead_rows >= DEAD_ROWS_MIN:
        said.append(f"{thousands(table.dead_rows)} dead rows")
    judgement, why, do = _judged_table(
        table, dead=dead, bloat=bloat or 0.0, bytes_=bloat_bytes or 0
    )
    if table.vacuumed_at is not None and judgement is not Judgement.OK:
        said.append(f"last vacuumed {span((at - table.vacuumed_at).total_seconds())} ago")
    return Line(
        what=table.full_name,
        value=", ".join(said),
        judgement=judgement,
        why=why,
        do=do,
        share=all_bytes / total_bytes if total_bytes else None,
        figures={
            "size_bytes": all_bytes,
            "table_bytes": table.pages * block_bytes,
            "indexes_bytes": table.index_pages * block_bytes,
            "toast_bytes": table.toast_pages * block_bytes,
            "rows": table.rows,
            "dead_rows": table.dead_rows,
            "bloat_share": None if bloat is None else round(bloat, 3),
            "bloat_bytes": bloat_bytes,
        },
    )


def _judged_table(
    table: TableRead, *, dead: float, bloat: float, bytes_: int
) -> tuple[Judgement, str, str]:
    if table.dead_rows >= DEAD_ROWS_MIN and dead >= DEAD_LOOK:
        return (
            Judgement.LOOK,
            f"{part(dead)} of its rows are dead: autovacuum does not keep up, or something keeps"
            " old row versions alive.",
            "See who holds them back under Wraparound, then let VACUUM run; give this table a lower"
            " autovacuum_vacuum_scale_factor.",
        )
    if bloat >= BLOAT_LOOK and bytes_ >= BLOAT_BYTES_MIN:
        return (
            Judgement.LOOK,
            "Much of it is empty room that every scan reads and every backup carries.",
            "It is used again as the table grows; to give it back, rebuild with pg_repack in a"
            " quiet hour (VACUUM FULL locks the table and needs as much room again).",
        )
    return Judgement.OK, "", ""
