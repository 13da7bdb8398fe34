"""Signals and heartbeats in the store: rows beside the timelines, durable before they are answered.

They are the same file and the same commits as the journal, so "stored" means the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import cast

from sqlalchemy import Connection, and_, bindparam, case, delete, func, select, update
from sqlalchemy.dialects.sqlite import insert as insert_or

from stanch.model.ids import IncidentId, TargetName
from stanch.model.signals import Routed, Signal, SignalStatus, StoredSignal
from stanch.store.chain import storable, to_us
from stanch.store.schema import meta, signal
from stanch.store.signal_rows import as_values, ended, from_row, merged, signal_id
from stanch.store.transaction import Op, Tx

ROWS_MAX = 50_000
"""Different alerts of one source; beyond, one row stands for the rest."""
AT_ONCE_MAX = 500
"""Rows asked for in one statement."""
REST_KEY = "more-than-are-kept"
REST_QUIET_S = 3_600.0
"""The row that stands for the rest is over when nothing new had to be put into it for so long."""
KEPT_S = 30 * 86_400.0
"""Alerts that are over are kept for so long."""

_PUT = insert_or(signal).prefix_with("OR REPLACE")
_COUNT = (
    update(signal)
    .where(signal.c.id == bindparam("row"))
    .values(times=signal.c.times + bindparam("more"), heard_us=bindparam("heard"))
)
_AS_IT_WAS_READ = and_(
    signal.c.status == bindparam("now_told"),
    signal.c.rank == bindparam("read_rank"),
    signal.c.target.is_not_distinct_from(bindparam("read_target")),
)
_TELL = (
    update(signal)
    .where(signal.c.id == bindparam("row"))
    .values(
        told=bindparam("now_told"),
        incident_id=bindparam("now_incident"),
        symptom=bindparam("now_symptom"),
        # Changed while it was being told: whatever it is now is owed.
        owed_us=case(
            (_AS_IT_WAS_READ, None), else_=func.coalesce(signal.c.owed_us, bindparam("heard"))
        ),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What storing some arrivals came to."""

    stored: int = 0
    """Arrivals that are in a row now."""
    never_began: int = 0
    """Ends of alerts that nobody here knew of."""
    beyond: int = 0
    """Arrivals for which there was no row left."""
    owed: int = 0
    """Rows an incident has to hear of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A row, as it was read, and the incident that has heard of it; none: it is only listed."""

    row: StoredSignal
    incident_id: IncidentId | None = None
    symptom: str = ""


def take(
    arrivals: Sequence[Routed],
    *,
    at: datetime,
    notes: Mapping[str, str] | None = None,
    rows_max: int = ROWS_MAX,
) -> Op[Taken]:
    """Put arrivals into their rows, in order; `notes` are kept in the same commit."""

    def run(tx: Tx) -> Taken:
        for name, value in (notes or {}).items():
            row = {"name": storable(name), "value": storable(value)}
            tx.conn.execute(insert_or(meta).prefix_with("OR REPLACE"), row)
        return _take(tx.conn, arrivals, at, rows_max)

    return run


def _take(conn: Connection, arrivals: Sequence[Routed], at: datetime, rows_max: int) -> Taken:
    ids = [signal_id(a.signal.source, a.signal.key) for a in arrivals]
    glimpses = _glimpses(conn, ids)
    repeats = Counter[str]()
    news = list[tuple[str, Routed]]()
    changing = set[str]()
    for row_id, arrived in zip(ids, arrivals, strict=True):
        # In a burst nearly all is repetition, and that costs a number in a row.
        seen = glimpses.get(row_id) if row_id not in changing else None
        if seen is not None and seen == _glimpse_of(arrived):
            repeats[row_id] += 1
        else:
            changing.add(row_id)
            news.append((row_id, arrived))
    _count(conn, repeats, at)
    taken = _take_news(conn, news, at, rows_max) if news else Taken()
    return replace(taken, stored=taken.stored + repeats.total())


def _take_news(
    conn: Connection, news: Sequence[tuple[str, Routed]], at: datetime, rows_max: int
) -> Taken:
    known = _known(conn, [row_id for row_id, _ in news])
    room = _Room(conn, rows_max)
    changed: dict[str, StoredSignal] = {}
    never_began = beyond = 0
    for row_id, arrived in news:
        before = changed.get(row_id) or known.get(row_id)
        if before is None and arrived.signal.status is SignalStatus.RESOLVED:
            never_began += 1
            continue
        if before is None and not room.take(arrived.signal.source):
            beyond += 1
            arrived = _rest(arrived, rows_max)
            row_id = signal_id(arrived.signal.source, arrived.signal.key)
            before = changed.get(row_id) or _known(conn, [row_id]).get(row_id)
        after = merged(before, arrived, at)
        if after is not None:
            changed[row_id] = after
    _put(conn, changed.values())
    return Taken(
        stored=len(news) - never_began,
        never_began=never_began,
        beyond=beyond,
        owed=sum(row.owed_at is not None for row in changed.values()),
    )


_Glimpse = tuple[str, str | None, int, str, str, str]


def _glimpses(conn: Connection, ids: Sequence[str]) -> dict[str, _Glimpse]:
    """Enough of each row to tell a repeat from news; none where the source's clock counts."""
    columns = (signal.c.target, signal.c.rank, signal.c.title, signal.c.detail, signal.c.severity)
    found: dict[str, _Glimpse] = {}
    for some in _batches(ids):
        wanted = select(signal.c.id, signal.c.status, *columns).where(
            signal.c.id.in_(some), signal.c.occurred_us.is_(None)
        )
        for row_id, *glimpse in conn.execute(wanted):
            found[row_id] = cast("_Glimpse", tuple(glimpse))
    return found


def _glimpse_of(arrived: Routed) -> _Glimpse | None:
    one = arrived.signal
    if one.occurred_at is not None:
        return None
    texts = (storable(one.title), storable(one.detail), storable(one.severity))
    target = storable(arrived.target) if arrived.target else None
    return (one.status.value, target, arrived.rank, *texts)


def _count(conn: Connection, repeats: Mapping[str, int], at: datetime) -> None:
    if repeats:
        heard_us = to_us(at)
        rows = [{"row": i, "more": n, "heard": heard_us} for i, n in repeats.items()]
        conn.execute(_COUNT, rows)


class _Room:
    """How many more rows each source may have; asked only when one is needed."""

    def __init__(self, conn: Connection, rows_max: int) -> None:
        self._conn = conn
        self._rows_max = rows_max
        self._left: dict[str, int] = {}

    def take(self, source: str) -> bool:
        """Room for one more; what is long over gives way."""
        left = self._left.get(source)
        if left is None:
            left = self._rows_max - self._count(source)
            if left <= 0:
                left += self._make_room(source)
        self._left[source] = left - 1
        return left > 0

    def _count(self, source: str) -> int:
        counted = select(func.count()).where(signal.c.source == storable(source))
        return int(self._conn.execute(counted).scalar_one())

    def _make_room(self, source: str) -> int:
        over = (
            select(signal.c.id)
            .where(
                signal.c.source == storable(source),
                signal.c.status == SignalStatus.RESOLVED.value,
                signal.c.owed_us.is_(None),
            )
            .order_by(signal.c.heard_us)
            .limit(max(1, self._rows_max // 10))
        )
        return self._conn.execute(delete(signal).where(signal.c.id.in_(over))).rowcount


def _rest(arrived: Routed, rows_max: int) -> Routed:
    """What stands for every alert for which there is no row."""
    target = arrived.target or TargetName("")
    one = arrived.signal
    rest = Signal(
        source=one.source,
        key=f"{REST_KEY}/{target}" if target else REST_KEY,
        status=SignalStatus.FIRING,
        title=f"more than {rows_max} different alerts of {one.source}; this stands for the rest",
        severity=one.severity,
        detail=f"the newest: {one.title}",
        digest=one.digest,
        bounded=("too_many_keys",),
    )
    return replace(arrived, signal=rest)


def _known(conn: Connection, ids: Sequence[str]) -> dict[str, StoredSignal]:
    found: dict[str, StoredSignal] = {}
    for some in _batches(ids):
        for row in conn.execute(select(signal).where(signal.c.id.in_(some))).mappings():
            found[str(row["id"])] = from_row(row)
    return found


def _batches(ids: Sequence[str]) -> Iterator[list[str]]:
    unique = list(dict.fromkeys(ids))
    for start in range(0, len(unique), AT_ONCE_MAX):
        yield unique[start : start + AT_ONCE_MAX]


def _put(conn: Connection, rows: Iterable[StoredSignal]) -> None:
    values = [as_values(row) for row in rows]
    if values:
        conn.execute(_PUT, values)


def tell(told: Sequence[Told]) -> Op[None]:
    """Incidents know the states the rows were read with; a newer state stays owed."""

    def run(tx: Tx) -> None:
        rows = [
            {
                "row": one.row.id,
                "now_told": one.row.signal.status.value,
                "now_incident": one.incident_id,
                "now_symptom": storable(one.symptom),
                "read_rank": one.row.rank,
                "read_target": storable(one.row.target) if one.row.target else None,
                "heard": to_us(one.row.heard_at),
            }
            for one in told
        ]
        if rows:
            tx.conn.execute(_TELL, rows)

    return run


def postpone(row_id: str, until: datetime) -> Op[None]:
    """Tell it later, if it still has to be told then."""

    def run(tx: Tx) -> None:
        owed = (signal.c.id == row_id, signal.c.owed_us.is_not(None))
        tx.conn.execute(update(signal).where(*owed).values(owed_us=to_us(until)))

    return run


def tell_again(incident_id: IncidentId, *, heard_after: datetime, at: datetime) -> Op[int]:
    """What still fires although its incident ended is owed once more."""

    def run(tx: Tx) -> int:
        still = (
            signal.c.incident_id == incident_id,
            signal.c.status == SignalStatus.FIRING.value,
            signal.c.told == SignalStatus.FIRING.value,
            signal.c.heard_us > to_us(heard_after),
        )
        values = {"told": None, "owed_us": to_us(at)}
        return tx.conn.execute(update(signal).where(*still).values(values)).rowcount

    return run


def follow(merged_id: IncidentId, into: IncidentId) -> Op[None]:
    """What an incident knew is known by the one it was merged into."""

    def run(tx: Tx) -> None:
        same = signal.c.incident_id == merged_id
        tx.conn.execute(update(signal).where(same).values(incident_id=into))

    return run


def expire(quiet_s: Mapping[str, float], *, at: datetime, limit: int = AT_ONCE_MAX) -> Op[int]:
    """End what was not repeated for as long as its source's rule says; forget what is long over."""

    def run(tx: Tx) -> int:
        count = 0
        rules = [(signal.c.source == storable(s), after_s) for s, after_s in quiet_s.items()]
        rules.append((signal.c.key.startswith(REST_KEY, autoescape=True), REST_QUIET_S))
        for whose, after_s in rules:
            before_us = to_us(at - timedelta(seconds=after_s))
            silent = select(signal).where(
                whose,
                signal.c.status == SignalStatus.FIRING.value,
                signal.c.heard_us < before_us,
            )
            found = tx.conn.execute(silent.limit(limit)).mappings()
            rows = [ended(from_row(row), at) for row in found]
            _put(tx.conn, rows)
            count += len(rows)
        _forget(tx.conn, at, limit)
        return count

    return run


def _forget(conn: Connection, at: datetime, limit: int) -> None:
    old = (
        select(signal.c.id)
        .where(
            signal.c.status == SignalStatus.RESOLVED.value,
            signal.c.owed_us.is_(None),
            signal.c.heard_us < to_us(at - timedelta(seconds=KEPT_S)),
        )
        .limit(limit)
    )
    conn.execute(delete(signal).where(signal.c.id.in_(old)))
