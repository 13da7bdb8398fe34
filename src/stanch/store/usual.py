"""What was learned to be usual, as rows: of every target and rule one a subject, of bounded size.

The store knows nothing of their content; whoever learned it says what a row holds and checks it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol, TypeVar

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects.sqlite import insert as insert_or

from stanch.model.ids import TargetName
from stanch.store.chain import storable, to_us
from stanch.store.schema import usual
from stanch.store.transaction import Op, Tx

T = TypeVar("T")

KEPT_S = 60 * 86_400.0
"""What was not learned anew for so long tells of weeks that nobody remembers."""
ROWS_OF_TARGET_MAX = 200
TARGETS_AT_ONCE = 100

_PUT = insert_or(usual).prefix_with("OR REPLACE")


@dataclass(frozen=True, slots=True, kw_only=True)
class UsualRow:
    """One series: which it is, when it was last learned from, and what was learned."""

    target: TargetName
    rule: str
    subject: str
    learned_at: datetime
    content: bytes


class Kept(NamedTuple):
    """One series as it was found; whatever stands in the file, so nothing of it is certain."""

    target: TargetName
    rule: str
    subject: str
    content: Any


class Shelf(Protocol):
    """What is needed of the store."""

    async def write(self, op: Op[T]) -> T: ...
    async def ask(self, query: Callable[[Connection], T]) -> T: ...


def put(rows: Sequence[UsualRow]) -> Op[None]:
    """Keep these series, each in the place of what was kept of it before."""

    def run(tx: Tx) -> None:
        if rows:
            tx.conn.execute(_PUT, [_as_values(row) for row in rows])

    return run


def _as_values(row: UsualRow) -> dict[str, object]:
    return {
        "target": storable(row.target),
        "rule": row.rule,
        "subject": storable(row.subject),
        "learned_us": to_us(row.learned_at),
        "content": row.content,
    }


def forget(*, at: datetime, rows_max: int = ROWS_OF_TARGET_MAX) -> Op[int]:
    """Drop what is too old, and what is more than a target may have; how many rows there were."""

    def run(tx: Tx) -> int:
        before_us = to_us(at - timedelta(seconds=KEPT_S))
        old = tx.conn.execute(delete(usual).where(usual.c.learned_us < before_us)).rowcount
        newest_first = usual.c.learned_us.desc()
        place = func.row_number().over(partition_by=usual.c.target, order_by=newest_first)
        ranked = select(usual.c.id, place.label("place")).subquery()
        surplus = select(ranked.c.id).where(ranked.c.place > rows_max)
        return old + tx.conn.execute(delete(usual).where(usual.c.id.in_(surplus))).rowcount

    return run


def of_targets(conn: Connection, targets: Sequence[TargetName]) -> list[Kept]:
    """What is kept of these targets; what was learned from last comes first."""
    found: list[Kept] = []
    names = {storable(name): name for name in targets}
    columns = (usual.c.target, usual.c.rule, usual.c.subject, usual.c.content)
    for some in _batches(list(names)):
        wanted = select(*columns).where(usual.c.target.in_(some))
        rows = conn.execute(wanted.order_by(usual.c.learned_us.desc()))
        found += [Kept(names[name], str(rule), str(of), said) for name, rule, of, said in rows]
    return found


def _batches(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), TARGETS_AT_ONCE):
        yield names[start : start + TARGETS_AT_ONCE]
