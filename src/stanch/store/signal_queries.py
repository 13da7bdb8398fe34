"""What can be asked about signals and heartbeats, and the door to both for the service."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from sqlalchemy import Connection, case, delete, func, select, update
from sqlalchemy.dialects.sqlite import insert as insert_or

from stanch.model.ids import IncidentId
from stanch.model.signals import Beat, Routed, SignalStatus, StoredSignal
from stanch.store import signals
from stanch.store.chain import from_us, storable, to_us
from stanch.store.schema import heartbeat, meta, signal
from stanch.store.signal_rows import from_row
from stanch.store.signals import Taken, Told
from stanch.store.transaction import Op, Tx

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How many alerts fire now."""

    firing: int
    unmatched: int
    owed: int
    """Whose state the incident does not know yet."""


def owed(conn: Connection, *, at: datetime, limit: int) -> list[StoredSignal]:
    """Rows whose incident has to hear of them, the longest owed first."""
    wanted = select(signal).where(signal.c.owed_us <= to_us(at))
    found = conn.execute(wanted.order_by(signal.c.owed_us).limit(limit))
    return [from_row(row) for row in found.mappings()]


def next_owed_at(conn: Connection) -> datetime | None:
    us = conn.execute(select(func.min(signal.c.owed_us))).scalar()
    return None if us is None else from_us(us)


def listed(conn: Connection, *, firing_only: bool, limit: int) -> list[StoredSignal]:
    """What fires first; of that, what matches no target; of that, the newest."""
    fires = case((signal.c.status == SignalStatus.FIRING.value, 0), else_=1)
    known = case((signal.c.target.is_(None), 0), else_=1)
    wanted = select(signal).order_by(fires, known, signal.c.changed_us.desc()).limit(limit)
    if firing_only:
        wanted = wanted.where(signal.c.status == SignalStatus.FIRING.value)
    return [from_row(row) for row in conn.execute(wanted).mappings()]


def standing(conn: Connection) -> Standing:
    fires = signal.c.status == SignalStatus.FIRING.value
    firing, unmatched = conn.execute(
        select(func.count(), func.count(case((signal.c.target.is_(None), 1)))).where(fires)
    ).one()
    waiting = conn.execute(select(func.count()).where(signal.c.owed_us.is_not(None)))
    return Standing(firing=firing, unmatched=unmatched, owed=waiting.scalar_one())


def incidents_told(conn: Connection, *, limit: int) -> list[IncidentId]:
    """Incidents that were told of something that fires now."""
    told = (
        signal.c.status == SignalStatus.FIRING.value,
        signal.c.told == SignalStatus.FIRING.value,
        signal.c.incident_id.is_not(None),
    )
    found = conn.execute(select(signal.c.incident_id).where(*told).distinct().limit(limit))
    return [IncidentId(row[0]) for row in found]


def under(conn: Connection, incident_id: IncidentId | None, symptom: str) -> int:
    """How many alerts that fire an incident knows under one symptom."""
    same = (
        signal.c.incident_id == incident_id,
        signal.c.symptom == storable(symptom),
        signal.c.told == SignalStatus.FIRING.value,
    )
    return int(conn.execute(select(func.count()).where(*same)).scalar_one())


def note(conn: Connection, name: str) -> str | None:
    return conn.execute(select(meta.c.value).where(meta.c.name == storable(name))).scalar()


# --- heartbeats ---------------------------------------------------------------------------------


def beat(name: str, *, at: datetime) -> Op[None]:
    """It was heard."""

    def run(tx: Tx) -> None:
        row = {"name": storable(name), "since_us": to_us(at), "heard_us": to_us(at), "times": 1}
        again = {
            "heard_us": to_us(at),
            "times": heartbeat.c.times + 1,
            "grace_us": None,
        }
        put = insert_or(heartbeat).on_conflict_do_update(index_elements=["name"], set_=again)
        tx.conn.execute(put, row)

    return run


def expect(names: Sequence[str], *, at: datetime, started: bool) -> Op[None]:
    """From now on exactly these are waited for; a start gives each silence its grace, once."""

    def run(tx: Tx) -> None:
        wanted = [storable(name) for name in names]
        tx.conn.execute(delete(heartbeat).where(heartbeat.c.name.not_in(wanted)))
        if started:
            ungraced = heartbeat.c.grace_us.is_(None)
            tx.conn.execute(update(heartbeat).where(ungraced).values(grace_us=to_us(at)))
        for name in wanted:
            row = {"name": name, "since_us": to_us(at), "times": 0}
            tx.conn.execute(insert_or(heartbeat).on_conflict_do_nothing(), row)

    return run


def beats(conn: Connection) -> list[Beat]:
    return [
        Beat(
            name=row.name,
            since=from_us(row.since_us),
            heard_at=None if row.heard_us is None else from_us(row.heard_us),
            count=row.times,
            grace_from=None if row.grace_us is None else from_us(row.grace_us),
        )
        for row in conn.execute(select(heartbeat).order_by(heartbeat.c.name))
    ]


# --- the door -----------------------------------------------------------------------------------


class Rows(Protocol):
    """What a store lets others do with rows of their own."""

    async def write(self, op: Op[T]) -> T: ...

    async def ask(self, query: Callable[[Connection], T]) -> T: ...


class SignalRows:
    """Signals and heartbeats of one store. Everything may raise StoreUnavailable."""

    def __init__(self, rows: Rows, *, rows_max: int = signals.ROWS_MAX) -> None:
        self._rows = rows
        self._rows_max = rows_max

    async def take(
        self, arrivals: Sequence[Routed], *, at: datetime, notes: Mapping[str, str] | None = None
    ) -> Taken:
        """Durable once this returns."""
        return await self._rows.write(
            signals.take(arrivals, at=at, notes=notes, rows_max=self._rows_max)
        )

    async def owed(self, *, at: datetime, limit: int) -> Sequence[StoredSignal]:
        return await self._rows.ask(lambda conn: owed(conn, at=at, limit=limit))

    async def next_owed_at(self) -> datetime | None:
        return await self._rows.ask(next_owed_at)

    async def tell(self, told: Sequence[Told]) -> None:
        if told:
            await self._rows.write(signals.tell(told))

    async def postpone(self, row: StoredSignal, until: datetime) -> None:
        await self._rows.write(signals.postpone(row.id, until))

    async def tell_again(
        self, incident_id: IncidentId, *, heard_after: datetime, at: datetime
    ) -> int:
        return await self._rows.write(
            signals.tell_again(incident_id, heard_after=heard_after, at=at)
        )

    async def follow(self, merged_id: IncidentId, into: IncidentId) -> None:
        await self._rows.write(signals.follow(merged_id, into))

    async def expire(self, quiet_s: Mapping[str, float], *, at: datetime) -> int:
        return await self._rows.write(signals.expire(quiet_s, at=at))

    async def listed(self, *, firing_only: bool, limit: int) -> Sequence[StoredSignal]:
        return await self._rows.ask(lambda c: listed(c, firing_only=firing_only, limit=limit))

    async def standing(self) -> Standing:
        return await self._rows.ask(standing)

    async def incidents_told(self, *, limit: int) -> Sequence[IncidentId]:
        return await self._rows.ask(lambda conn: incidents_told(conn, limit=limit))

    async def under(self, incident_id: IncidentId | None, symptom: str) -> int:
        return await self._rows.ask(lambda conn: under(conn, incident_id, symptom))

    async def note(self, name: str) -> str | None:
        return await self._rows.ask(lambda conn: note(conn, name))

    async def beat(self, name: str, *, at: datetime) -> None:
        """Durable once this returns."""
        await self._rows.write(beat(name, at=at))

    async def expect(self, names: Sequence[str], *, at: datetime, started: bool) -> None:
        await self._rows.write(expect(names, at=at, started=started))

    async def beats(self) -> Sequence[Beat]:
        return await self._rows.ask(beats)
