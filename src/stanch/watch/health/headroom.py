"""Sections about what runs out in the end: transaction ids, MultiXact ids, sequences."""

from __future__ import annotations

from stanch.facts.health.headroom import Aged, AgesRead, SequenceRead, SequencesRead
from stanch.watch.health.report import Judgement, Line, Section, judged, part, thousands

IDS = 2**31
XID_LOOK, XID_DANGER = 0.25, 0.5
"""Of 2,147,483,648. Anti-wraparound vacuums begin at a tenth; at the end the server stops."""
SEQUENCE_LOOK, SEQUENCE_DANGER = 0.75, 0.9
HOLDER_LOOK = 10_000_000
COLUMN_ENDS = (2**15 - 1, 2**31 - 1)
"""Of smallint and integer."""


def wraparound_section(read: AgesRead) -> Section:
    """The oldest database by either count, the oldest tables, and who holds ids back."""
    lines: list[Line] = []
    if read.databases:
        oldest = max(read.databases, key=lambda d: d.xid_age)
        lines.append(_age("transaction ids", oldest, oldest.xid_age))
        multi = max(read.databases, key=lambda d: d.mxid_age)
        lines.append(_age("MultiXact ids", multi, multi.mxid_age))
    lines += [
        Line(
            what="oldest table here",
            value=f"{table.name}, {thousands(table.xid_age)} transactions old",
            figures={"xid_age": table.xid_age},
        )
        for table in read.tables[:1]
    ]
    lines += [_holder(holder) for holder in read.holders]
    return Section(id="wraparound", title="Wraparound", lines=tuple(lines))


def _age(what: str, of: Aged, age: int) -> Line:
    used = age / IDS
    judgement = judged(used, look=XID_LOOK, danger=XID_DANGER)
    bad = judgement is not Judgement.OK
    return Line(
        what=what,
        value=f"{part(used)} used, {thousands(age)} in database {of.name}",
        judgement=judgement,
        why="VACUUM does not keep up: at the end the server refuses every write." if bad else "",
        do="End what holds ids back below, then VACUUM (FREEZE) the oldest tables, largest last."
        if bad
        else "",
        share=used,
        figures={"age": age, "used_share": round(used, 4), "database": of.name},
    )


def _holder(holder: Aged) -> Line:
    bad = holder.xid_age >= HOLDER_LOOK
    return Line(
        what=f"held back by {holder.kind} {holder.name}",
        value=f"{thousands(holder.xid_age)} transactions",
        judgement=Judgement.LOOK if bad else Judgement.OK,
        why="Nothing that changed since can be freed by VACUUM." if bad else "",
        do="End the session, resolve the prepared transaction, or drop the unused slot."
        if bad
        else "",
        figures={"xid_age": holder.xid_age, "kind": holder.kind},
    )


def sequences_section(read: SequencesRead) -> Section:
    """The sequences nearest to their end, or to that of the column they fill."""
    left_out = (
        (read.forbidden, "may not be read by this role"),
        (read.locked, "are locked just now"),
        (read.sequences - read.read - read.forbidden - read.locked, "are beyond the 500 read"),
    )
    note = "; ".join(f"{n} {why}" for n, why in left_out if n > 0)
    if read.sequences and not read.read:
        return Section(
            id="sequences",
            title="Sequences",
            missing=f"none of {read.sequences} could be read: {note}. GRANT pg_read_all_data"
            " (version 14 on) lets this role read them.",
        )
    lines = tuple(_sequence(one) for one in read.nearest)
    none = Line(what="sequences", value="there are none")
    return Section(
        id="sequences",
        title="Sequences",
        lines=lines or (none,),
        note=f"{note[0].upper()}{note[1:]}." if note else "",
    )


def _sequence(one: SequenceRead) -> Line:
    judgement = judged(one.used, look=SEQUENCE_LOOK, danger=SEQUENCE_DANGER)
    if one.cycles:
        judgement = Judgement.OK
    bad = judgement is not Judgement.OK
    if one.max_value in COLUMN_ENDS and one.owner:
        do = "Move the column to bigint in time (new column, backfill, switch); not in one ALTER."
    else:
        do = "Raise its MAXVALUE with ALTER SEQUENCE, if what it fills has room for more."
    serves = f" for {one.owner}" if one.owner else ""
    return Line(
        what=f"{one.schema}.{one.name}{serves}",
        value=f"{part(one.used)} used of {thousands(one.max_value)}"
        + (", begins anew at its end" if one.cycles else ""),
        judgement=judgement,
        why="At its end every insert that needs a new value fails." if bad else "",
        do=do if bad else "",
        share=min(1.0, one.used),
        figures={
            "last_value": one.last_value,
            "max_value": one.max_value,
            "used_share": round(one.used, 4),
        },
    )
