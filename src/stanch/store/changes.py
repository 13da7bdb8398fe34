"""What changed at targets, beside the timelines: bounded rows, there after a restart.

One commit takes a look's inventories and what they show, so that no difference is told twice and
none is lost between the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from sqlalchemy import ColumnElement, Connection, delete, func, inspect, select
from sqlalchemy.dialects.sqlite import insert as insert_or

from stanch.model.changes import Change, ItemKind, Look
from stanch.store.chain import from_us, storable, to_us
from stanch.store.change_rows import as_values, change_id, digest_of, from_row, packed, unpacked
from stanch.store.schema import change, inventory, looked
from stanch.store.transaction import Op, Tx
from stanch.watch.changes.diff import changes_between, condensed
from stanch.watch.changes.joining import joined, repeats

T = TypeVar("T")

EVERYWHERE = ""
"""The target of a change that is no single target's."""
KEPT_S = 30 * 86_400.0
KEPT_MAX = 1_000
"""Of one target; the oldest give way."""
NEAR = timedelta(hours=1)
"""So far back a newcomer may belong to what is known; looks that were skipped included."""
FLOOD_S = 600.0
FLOOD_MAX = 60
"""Statements of one target in ten minutes; beyond, one row each sort stands for the rest."""
NEAR_MAX = 2 * FLOOD_MAX
PLACES_MAX = 256
"""Inventories of one target."""

_PUT = insert_or(change).prefix_with("OR REPLACE")


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What became known about one target."""

    target: str
    changes: Sequence[Change] = ()
    looks: Sequence[Look] = ()


Touched = Mapping[str, Mapping[str, Change]]
"""By target, rows by their names."""


def note(news: Sequence[News], *, at: datetime) -> Op[Touched]:
    """Keep what became known; answers the rows that are new or another now."""

    def run(tx: Tx) -> Touched:
        found = {one.target: _note(tx.conn, one) for one in news}
        old = change.c.at_us < to_us(at - timedelta(seconds=KEPT_S))
        tx.conn.execute(delete(change).where(old))
        return {target: rows for target, rows in found.items() if rows}

    return run


def _note(conn: Connection, news: News) -> Mapping[str, Change]:
    arrived = list(news.changes)
    differences: list[Change] = []
    for look in news.looks:
        differences += _compared(conn, news.target, look)
    if not arrived and not differences:
        return {}
    rows = _Rows(conn, news.target, [*arrived, *differences])
    for one in arrived:
        rows.take(one)
    # What a statement explains is told one by one; of the rest a crowd is one story.
    for one in condensed([d for d in differences if not rows.joins(d)]):
        rows.put(change_id(news.target, one), one)
    rows.write()
    return rows.touched


@dataclass(slots=True)
class _Rows:
    """The rows of one target that newcomers may belong to."""

    conn: Connection
    target: str
    arrived: Sequence[Change]
    near: dict[str, Change] = field(init=False)
    touched: dict[str, Change] = field(default_factory=dict[str, Change])
    statements_near: dict[tuple[object, ...], str] = field(init=False)
    statements: int = field(init=False)

    def __post_init__(self) -> None:
        first = min(one.since or one.at for one in self.arrived) - NEAR
        wanted = (
            select(change)
            .where(change.c.target == storable(self.target), change.c.at_us >= to_us(first))
            .order_by(change.c.at_us.desc())
            .limit(NEAR_MAX)
        )
        found = self.conn.execute(wanted).mappings()
        self.near = {row["id"]: from_row(row) for row in reversed(list(found))}
        self.statements_near = {_facts(c): row_id for row_id, c in self.near.items()}
        newest = max(one.at for one in self.arrived)
        lately = newest - timedelta(seconds=FLOOD_S)
        self.statements = sum(c.source == "log" and c.at >= lately for c in self.near.values())

    def take(self, one: Change) -> None:
        row_id = change_id(self.target, one)
        if row_id in self.near:
            self._again(row_id, one)
        elif one.failed and (tried := self._tried(one)) is not None:
            self.put(tried, replace(self.near[tried], failed=True))
        elif self.joins(one) or repeats(self.near.values(), one) or self._repeated(one):
            return
        elif one.source == "log" and self.statements >= FLOOD_MAX:
            self._beyond(one)
        elif not self._kept(row_id):
            self.statements += one.source == "log"
            self.put(row_id, one)

    def joins(self, one: Change) -> bool:
        """Whether it belonged to a row that is known."""
        found = joined(self.near, one)
        if found is not None:
            self.put(*found)
        return found is not None

    def put(self, row_id: str, one: Change) -> None:
        self.near[row_id] = self.touched[row_id] = one
        self.statements_near[_facts(one)] = row_id

    def write(self) -> None:
        rows = [as_values(row_id, self.target, one) for row_id, one in self.touched.items()]
        if not rows:
            return
        self.conn.execute(_PUT, rows)
        mine = change.c.target == storable(self.target)
        newest = select(change.c.id).where(mine).order_by(change.c.at_us.desc()).limit(KEPT_MAX)
        self.conn.execute(delete(change).where(mine, change.c.id.not_in(newest)))

    def _kept(self, row_id: str) -> bool:
        """Told before, longer ago than what is near."""
        there = select(func.count()).where(change.c.id == row_id)
        return bool(self.conn.execute(there).scalar_one())

    def _again(self, row_id: str, one: Change) -> None:
        if one.times > self.near[row_id].times:
            self.put(row_id, replace(self.near[row_id], times=one.times))

    def _repeated(self, one: Change) -> bool:
        """What a job runs again and again is one row, with how often and when last."""
        row_id = self.statements_near.get(_facts(one)) if one.how else None
        if row_id is None or _facts(self.near[row_id]) != _facts(one):
            return False
        row = self.near[row_id]
        if row.at < one.at:
            self.put(row_id, replace(row, at=one.at, times=row.times + one.times))
        return True

    def _tried(self, one: Change) -> str | None:
        """The newest row of the statement that the server now says it refused."""
        same = (one.how, one.by)
        tried = [i for i, c in self.near.items() if (c.how, c.by) == same and not c.failed]
        return tried[-1] if tried else None

    def _beyond(self, one: Change) -> None:
        words = " ".join(one.how.split()[:2])
        slot = int(one.at.timestamp() // FLOOD_S)
        key = f"more/{slot}/{words}/{one.by}"
        rest = replace(
            one, what=f"more of {words}", how="", kind=ItemKind.OBJECT, key=key, failed=False
        )
        row_id = change_id(self.target, rest)
        known = self.near.get(row_id)
        self.put(row_id, rest if known is None else replace(known, times=known.times + 1))


def _facts(change: Change) -> tuple[object, ...]:
    """What is the same whenever a statement is run."""
    said = (change.kind, change.what, change.how, change.by, change.source, change.failed)
    return (*said, change.before, change.after)


# --- inventories --------------------------------------------------------------------------------


def _compared(conn: Connection, target: str, look: Look) -> list[Change]:
    """What a look shows against the one before, which may be another process's."""
    mine = inventory.c.target == storable(target)
    seen, read = _looked_at_each(conn, target), {look.lane: look.at}
    digests = {
        row.place: row.digest
        for row in conn.execute(select(inventory.c.place, inventory.c.digest).where(mine))
    }
    found: list[Change] = []
    for one in look.inventories:
        digest, place = digest_of(one), storable(one.place)
        if len(digests.keys() | {place}) > PLACES_MAX:
            continue
        read_at, since = one.read_at or look.at, seen.get(place, seen.get(look.lane))
        if one.read_at is not None:
            read[place] = read_at
        if digests.get(place) == digest:
            continue
        before = None
        if place in digests:
            kept = select(inventory.c.content).where(mine, inventory.c.place == place)
            before = unpacked(conn.execute(kept).scalar_one())
        if before is not None:
            found += changes_between(before, one.items, at=read_at, since=since, source=one.source)
        digests[place] = digest
        row = {"target": storable(target), "place": place, "digest": digest}
        put = insert_or(inventory).prefix_with("OR REPLACE")
        conn.execute(put, {**row, "content": packed(one)})
    gone = [
        place
        for place in digests
        if place.startswith(f"{look.lane}/") and place not in {storable(p) for p in look.places}
    ]
    for place in gone:
        conn.execute(delete(inventory).where(mine, inventory.c.place == place))
        conn.execute(delete(looked).where(*_looked_there(target, place)))
        read.pop(place, None)
    rows = [
        {"target": storable(target), "lane": lane, "at_us": to_us(at)} for lane, at in read.items()
    ]
    conn.execute(insert_or(looked).prefix_with("OR REPLACE"), rows)
    return found


def _looked_at_each(conn: Connection, target: str) -> dict[str, datetime]:
    """When each lane was done last, and when each place that has a time of its own was read."""
    wanted = select(looked.c.lane, looked.c.at_us).where(looked.c.target == storable(target))
    return {row.lane: from_us(row.at_us) for row in conn.execute(wanted)}


def _looked_at(conn: Connection, target: str, lane: str) -> datetime | None:
    us = conn.execute(select(looked.c.at_us).where(*_looked_there(target, lane))).scalar()
    return None if us is None else from_us(us)


def _looked_there(target: str, lane: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return (looked.c.target == storable(target), looked.c.lane == lane)


def forget_others(targets: Iterable[str], *, at: datetime) -> Op[None]:
    """Forget the inventories of targets that left the policy so long ago that nobody asks."""
    kept = [storable(target) for target in targets]
    before_us = to_us(at - timedelta(seconds=KEPT_S))

    def run(tx: Tx) -> None:
        old = select(looked.c.target).where(
            looked.c.target.not_in(kept), looked.c.at_us < before_us
        )
        tx.conn.execute(delete(inventory).where(inventory.c.target.in_(old)))
        tx.conn.execute(
            delete(looked).where(looked.c.target.not_in(kept), looked.c.at_us < before_us)
        )

    return run


# --- asked --------------------------------------------------------------------------------------


def changes_of(
    conn: Connection, target: str, *, since: datetime, until: datetime | None, limit: int
) -> list[Change]:
    """Of this target and of everywhere, oldest first; of too many the newest."""
    if not _there(conn):
        return []
    wanted = (
        select(change)
        .where(
            change.c.target.in_([storable(target), EVERYWHERE]),
            change.c.at_us >= to_us(since),
        )
        .order_by(change.c.at_us.desc(), change.c.id)
        .limit(limit)
    )
    if until is not None:
        # What was seen later may have been done before.
        done_us = func.coalesce(change.c.since_us, change.c.at_us)
        wanted = wanted.where(done_us <= to_us(until))
    return [from_row(row) for row in reversed(list(conn.execute(wanted).mappings()))]


def lately(conn: Connection, *, since: datetime, each: int) -> Touched:
    """The newest of every target, oldest first."""
    if not _there(conn):
        return {}
    place = func.row_number().over(partition_by=change.c.target, order_by=change.c.at_us.desc())
    ranked = select(change, place.label("place")).where(change.c.at_us >= to_us(since)).subquery()
    found: dict[str, dict[str, Change]] = {}
    wanted = select(ranked).where(ranked.c.place <= each).order_by(ranked.c.at_us)
    for row in conn.execute(wanted).mappings():
        found.setdefault(row["target"], {})[row["id"]] = from_row(row)
    return found


def looked_at(conn: Connection, target: str, *, lane: str) -> datetime | None:
    """When a whole look of this lane ended last."""
    return _looked_at(conn, target, lane) if _there(conn) else None


def _there(conn: Connection) -> bool:
    """A store that an older release wrote, looked into before this one has migrated it."""
    return inspect(conn).has_table("change")


class Rows(Protocol):
    """What a store lets others do with rows of their own."""

    async def write(self, op: Op[T]) -> T: ...

    async def ask(self, query: Callable[[Connection], T]) -> T: ...
