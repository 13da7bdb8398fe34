"""How far ids and sequences have been used up, and what keeps ids from being freed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from stanch.facts.reading import Answer, read_object
from stanch.facts.sql import load

AGES_SQL: Final = load("health_ages")
SEQUENCES_SQL: Final = load("health_sequences")


@dataclass(frozen=True, slots=True, kw_only=True)
class Aged:
    """Something with an age in transaction ids: a database, a table, or who holds them back."""

    name: str
    kind: str
    xid_age: int
    mxid_age: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AgesRead:
    """Each list oldest first."""

    databases: tuple[Aged, ...]
    tables: tuple[Aged, ...]
    """Of this database alone."""
    holders: tuple[Aged, ...]
    """Sessions, prepared transactions and slots that keep old row versions alive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceRead:
    schema: str
    name: str
    owner: str
    """The column it serves, as table.column; empty where it serves none."""
    last_value: int | None
    max_value: int
    """The end of the sequence, or of the column's type where that comes first."""
    cycles: bool
    used: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SequencesRead:
    sequences: int
    read: int
    locked: int
    forbidden: int
    nearest: tuple[SequenceRead, ...]


def parse_ages(payload: object) -> AgesRead:
    """What the answer to AGES_SQL says. Raises ProbeFailed."""
    answer = read_object(payload, "ages")
    return AgesRead(
        databases=tuple(_aged(part, "database") for part in answer.parts("databases")),
        tables=tuple(_aged(part, "table") for part in answer.parts("tables")),
        holders=tuple(_aged(part, part.text("kind")) for part in answer.parts("holders")),
    )


def parse_sequences(payload: object) -> SequencesRead:
    """What the answer to SEQUENCES_SQL says. Raises ProbeFailed."""
    answer = read_object(payload, "sequences")
    return SequencesRead(
        sequences=answer.whole("sequences"),
        read=answer.whole("read"),
        locked=answer.whole("locked"),
        forbidden=answer.whole("forbidden"),
        nearest=tuple(_sequence(part) for part in answer.parts("nearest")),
    )


def _aged(part: Answer, kind: str) -> Aged:
    schema = part.text("schema")
    return Aged(
        name=f"{schema}.{part.text('name')}" if schema else part.text("name"),
        kind=kind,
        xid_age=part.whole_or_none("xid_age") or 0,
        mxid_age=part.whole_or_none("mxid_age") or 0,
    )


def _sequence(part: Answer) -> SequenceRead:
    table, column = part.text("table"), part.text("column")
    return SequenceRead(
        schema=part.text("schema"),
        name=part.text("name"),
        owner=f"{table}.{column}" if table else "",
        last_value=part.whole_or_none("last_value"),
        max_value=part.whole("max_value"),
        cycles=part.flag("cycles"),
        used=part.age_s("used") or 0.0,
    )
