"""Wakes and leases: what is due when, and who is at it.

A row outlives what was due in it, because its epoch must grow for as long as the incident exists:
an old lease may never be mistaken for a new one.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, case, func, or_, select, tuple_, update
from sqlalchemy.dialects.sqlite import insert as insert_or

from stanch.model.ids import IncidentId
from stanch.model.timeline import Claim, Lane
from stanch.store.chain import from_us, storable, to_us
from stanch.store.schema import wake
from stanch.store.transaction import Op, Tx

LEASE_S_MAX = 3_600.0

_NEW = insert_or(wake)
_UPSERT = _NEW.on_conflict_do_update(
    index_elements=["incident_id", "lane"], set_={"due_us": _NEW.excluded.due_us}
)


def recompute(
    tx: Tx,
    incident_id: IncidentId,
    due: Mapping[Lane, datetime | None],
    *,
    before: frozenset[Lane] | None,
) -> frozenset[Lane]:
    """Note what is due after an append; who holds a lease keeps it.

    Takes and returns the lanes in which something is due: where nothing was and nothing is,
    nothing needs to be written.
    """
    rows: list[dict[str, object]] = []
    for lane in Lane:
        at = due.get(lane)
        if at is None and before is not None and lane not in before:
            continue
        due_us = None if at is None else to_us(at)
        rows.append({"incident_id": incident_id, "lane": lane.value, "due_us": due_us, "epoch": 0})
    if rows:
        tx.conn.execute(_UPSERT, rows)
    return frozenset(lane for lane in Lane if due.get(lane) is not None)


def claim(lane: Lane, *, at: datetime, lease_s: float, limit: int) -> Op[tuple[Claim, ...]]:
    """Take leases on what is due at `at`, the longest due first, in one conditional UPDATE."""
    assert 0 < lease_s <= LEASE_S_MAX, f"a lease of {lease_s} s"
    at_us = to_us(at)

    def run(tx: Tx) -> tuple[Claim, ...]:
        now_us = tx.lease_clock_us()
        due = (
            select(wake.c.incident_id, wake.c.lane)
            .where(wake.c.lane == lane.value, wake.c.due_us <= at_us, unheld(now_us))
            .order_by(wake.c.due_us, wake.c.incident_id)
            .limit(limit)
        )
        take = (
            update(wake)
            .where(tuple_(wake.c.incident_id, wake.c.lane).in_(due))
            .values(
                owner=tx.owner,
                epoch=wake.c.epoch + 1,
                lease_until_us=now_us + int(lease_s * 1_000_000),
            )
            .returning(wake.c.incident_id, wake.c.epoch, wake.c.due_us)
        )
        taken = [tuple(row) for row in tx.conn.execute(take)]
        return tuple(
            Claim(
                incident_id=IncidentId(incident_id),
                lane=lane,
                owner=tx.owner,
                epoch=epoch,
                due_at=from_us(due_us),
            )
            for incident_id, epoch, due_us in sorted(taken, key=lambda row: (row[2], row[0]))
        )

    return run


def release(lease: Claim, *, retry_at: datetime | None) -> Op[None]:
    """Give a lease back; a lease that somebody else holds by now is left alone.

    `retry_at` puts off only what was claimed: a due moment that an append has moved meanwhile
    stands.
    """
    retry_us = None if retry_at is None else to_us(retry_at)
    due_us = to_us(lease.due_at)

    def run(tx: Tx) -> None:
        give = update(wake).where(_is(lease)).values(owner=None, lease_until_us=None)
        if retry_us is not None:
            same = and_(wake.c.due_us == due_us, wake.c.due_us < retry_us)
            give = give.values(due_us=case((same, retry_us), else_=wake.c.due_us))
        tx.conn.execute(give)

    return run


def void_leases() -> Op[None]:
    """Forget all leases: their holders are dead, as holding the directory's lock proves."""

    def run(tx: Tx) -> None:
        held = update(wake).where(wake.c.owner.is_not(None))
        tx.conn.execute(held.values(owner=None, lease_until_us=None))

    return run


def is_held(tx: Tx, lease: Claim) -> bool:
    """Is it still this owner's, at this epoch, and not expired?"""
    held = select(wake.c.epoch).where(_is(lease), ~unheld(tx.lease_clock_us()))
    return tx.conn.execute(held).first() is not None


def unheld(now_us: int) -> ColumnElement[bool]:
    """Wakes nobody has a living lease on.

    A lease that would outlast the longest possible one was written under another clock.
    """
    beyond = now_us + int(LEASE_S_MAX * 1_000_000)
    return or_(
        wake.c.owner.is_(None),
        wake.c.lease_until_us.is_(None),
        wake.c.lease_until_us <= now_us,
        wake.c.lease_until_us > beyond,
    )


def next_due(conn: Connection, lane: Lane, *, now_us: int) -> datetime | None:
    """The earliest moment at which something without a living lease is due."""
    earliest = select(func.min(wake.c.due_us)).where(wake.c.lane == lane.value, unheld(now_us))
    due_us = conn.execute(earliest).scalar()
    return None if due_us is None else from_us(due_us)


def _is(lease: Claim) -> ColumnElement[bool]:
    return and_(
        wake.c.incident_id == storable(lease.incident_id),
        wake.c.lane == lease.lane.value,
        wake.c.owner == lease.owner,
        wake.c.epoch == lease.epoch,
    )
