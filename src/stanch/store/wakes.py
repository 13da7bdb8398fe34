"""Wakes and leases: what is due when, and who is at it.

A row outlives what was due in it, because its epoch must grow for as long as the incident exists:
an old lease may never be mistaken for a new one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    and_,
    bindparam,
    case,
    func,
    or_,
    select,
    tuple_,
    update,
)
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


# Built once: putting a statement together costs more than running it, and lanes ask all the time.
_UNHELD: ColumnElement[bool] = or_(
    wake.c.owner.is_(None),
    wake.c.lease_until_us.is_(None),
    wake.c.lease_until_us <= bindparam("now"),
    # A lease that would outlast the longest possible one was written under another clock.
    wake.c.lease_until_us > bindparam("beyond"),
)
_DUE = (
    select(wake.c.incident_id, wake.c.lane)
    .where(wake.c.lane == bindparam("of_lane"), wake.c.due_us <= bindparam("until"), _UNHELD)
    .order_by(wake.c.due_us, wake.c.incident_id)
    .limit(bindparam("most"))
)
_TAKE = (
    update(wake)
    .where(tuple_(wake.c.incident_id, wake.c.lane).in_(_DUE))
    .values(
        owner=bindparam("taker"), epoch=wake.c.epoch + 1, lease_until_us=bindparam("lease_until")
    )
    .returning(wake.c.incident_id, wake.c.epoch, wake.c.due_us)
)
_NEXT = select(func.min(wake.c.due_us)).where(wake.c.lane == bindparam("of_lane"), _UNHELD)
_IS = and_(
    wake.c.incident_id == bindparam("of_incident"),
    wake.c.lane == bindparam("of_lane"),
    wake.c.owner == bindparam("taker"),
    wake.c.epoch == bindparam("at_epoch"),
)
_HELD = select(wake.c.epoch).where(_IS, ~_UNHELD)
_GIVE = update(wake).where(_IS).values(owner=None, lease_until_us=None)
_UNMOVED = and_(wake.c.due_us == bindparam("claimed_due"), wake.c.due_us < bindparam("retry"))
_PUT_OFF = _GIVE.values(
    due_us=case((_UNMOVED, bindparam("retry", type_=BigInteger)), else_=wake.c.due_us)
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
        values = {
            "of_lane": lane.value,
            "until": at_us,
            "most": limit,
            "taker": tx.owner,
            "lease_until": now_us + int(lease_s * 1_000_000),
        }
        taken = [tuple(row) for row in tx.conn.execute(_TAKE, values | _at(now_us))]
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
        if retry_us is None:
            tx.conn.execute(_GIVE, _of(lease))
        else:
            tx.conn.execute(_PUT_OFF, _of(lease) | {"claimed_due": due_us, "retry": retry_us})

    return run


def void_leases() -> Op[None]:
    """Forget all leases: their holders are dead, as holding the directory's lock proves."""

    def run(tx: Tx) -> None:
        held = update(wake).where(wake.c.owner.is_not(None))
        tx.conn.execute(held.values(owner=None, lease_until_us=None))

    return run


def is_held(tx: Tx, lease: Claim) -> bool:
    """Is it still this owner's, at this epoch, and not expired?"""
    return tx.conn.execute(_HELD, _of(lease) | _at(tx.lease_clock_us())).first() is not None


def next_due(conn: Connection, lane: Lane, *, now_us: int) -> datetime | None:
    """The earliest moment at which something without a living lease is due."""
    due_us = conn.execute(_NEXT, {"of_lane": lane.value} | _at(now_us)).scalar()
    return None if due_us is None else from_us(due_us)


@dataclass(frozen=True, slots=True)
class Dues:
    """What was due next in each lane at one moment of the clock that leases are measured by."""

    now_us: int
    at: Mapping[Lane, datetime]


def dues() -> Op[Dues]:
    """`next_due` of every lane, beside what else is done in the same transaction."""

    def run(tx: Tx) -> Dues:
        now_us = tx.lease_clock_us()
        # One by one: each then stops at the first row that fits, in the order of the index.
        found = {lane: next_due(tx.conn, lane, now_us=now_us) for lane in Lane}
        return Dues(now_us=now_us, at={lane: at for lane, at in found.items() if at is not None})

    return run


def _at(now_us: int) -> dict[str, int]:
    return {"now": now_us, "beyond": now_us + int(LEASE_S_MAX * 1_000_000)}


def _of(lease: Claim) -> dict[str, str | int]:
    return {
        "of_incident": storable(lease.incident_id),
        "of_lane": lease.lane.value,
        "taker": lease.owner,
        "at_epoch": lease.epoch,
    }
