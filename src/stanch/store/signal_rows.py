"""Signals as rows: what a new arrival makes of what is known, and how a row is written.

One row a source and key, whatever the flood: arrivals are counted in it. `owed_us` is the outbox:
a row whose state the incident does not know yet stands there until it does, crash or no crash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, cast

from sqlalchemy import RowMapping

from stanch.model.ids import IncidentId, TargetName
from stanch.model.signals import Routed, Signal, SignalStatus, StoredSignal
from stanch.store.chain import from_us, storable, to_us
from stanch.store.failures import corrupt


def signal_id(source: str, key: str) -> str:
    """The row's name: fixed length, whatever a source calls its alerts."""
    text = f"{source}\0{key}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(text).hexdigest()[:32]


def merged(before: StoredSignal | None, arrived: Routed, at: datetime) -> StoredSignal | None:
    """What is known after one more arrival; None: an end of something that never began."""
    signal = arrived.signal
    if before is None:
        if signal.status is SignalStatus.RESOLVED:
            return None
        return StoredSignal(
            id=signal_id(signal.source, signal.key),
            signal=signal,
            target=arrived.target,
            rank=arrived.rank,
            first_at=at,
            heard_at=at,
            changed_at=at,
            owed_at=at,
        )
    if _old_news(before.signal, signal):
        return replace(before, heard_at=at, count=before.count + 1)
    changed = before.signal.status is not signal.status
    after = replace(
        before,
        signal=signal if signal.status is SignalStatus.FIRING else _ended(before.signal, signal),
        target=arrived.target,
        rank=arrived.rank,
        heard_at=at,
        changed_at=at if changed else before.changed_at,
        count=before.count + 1,
        changes=before.changes + changed,
    )
    return replace(after, owed_at=_owed(before, after, at))


def _old_news(before: Signal, signal: Signal) -> bool:
    """Delivered late: the source itself says that something newer was heard already."""
    if before.occurred_at is None or signal.occurred_at is None:
        return False
    return signal.occurred_at < before.occurred_at


def _ended(before: Signal, end: Signal) -> Signal:
    """What fired, with its end; the words of an end are often those of a form."""
    return replace(
        before,
        status=SignalStatus.RESOLVED,
        ends_at=end.ends_at,
        occurred_at=end.occurred_at,
        digest=end.digest,
    )


def _owed(before: StoredSignal, after: StoredSignal, at: datetime) -> datetime | None:
    """Whether the incident has to hear of it, and from when."""
    status = after.signal.status
    if status is not (after.told or SignalStatus.RESOLVED):
        return before.owed_at or at
    moved = after.target != before.target or after.rank < before.rank
    return at if status is SignalStatus.FIRING and moved else None


def ended(row: StoredSignal, at: datetime) -> StoredSignal:
    """Over because nobody repeated it."""
    signal = replace(row.signal, status=SignalStatus.RESOLVED, ends_at=at)
    after = replace(row, signal=signal, changed_at=at, changes=row.changes + 1)
    return replace(after, owed_at=_owed(row, after, at))


def as_values(row: StoredSignal) -> dict[str, Any]:
    """The columns of a row."""
    signal = row.signal
    return {
        "id": row.id,
        "source": storable(signal.source),
        "key": storable(signal.key),
        "status": signal.status.value,
        "title": storable(signal.title),
        "severity": storable(signal.severity),
        "detail": storable(signal.detail),
        "starts_us": _us(signal.starts_at),
        "ends_us": _us(signal.ends_at),
        "occurred_us": _us(signal.occurred_at),
        # ASCII, so that whatever strangers put into it can be stored.
        "labels": json.dumps(dict(signal.labels)),
        "links": json.dumps(signal.links),
        "reported": int(signal.reported),
        "digest": storable(signal.digest),
        "target": storable(row.target) if row.target else None,
        "rank": row.rank,
        "first_us": to_us(row.first_at),
        "heard_us": to_us(row.heard_at),
        "changed_us": to_us(row.changed_at),
        "times": row.count,
        "changes": row.changes,
        "told": row.told.value if row.told else None,
        "owed_us": _us(row.owed_at),
        "incident_id": row.incident_id,
        "symptom": storable(row.symptom),
    }


def from_row(row: RowMapping) -> StoredSignal:
    """The signal behind a row. Raises StoreCorrupt where it cannot be one."""
    try:
        return _read(cast("Mapping[str, Any]", row))
    except (ValueError, TypeError, AttributeError) as error:
        raise corrupt("it cannot be read", on=f"signal {row['id']!r}") from error


def _read(v: Mapping[str, Any]) -> StoredSignal:
    signal = Signal(
        source=v["source"],
        key=v["key"],
        status=SignalStatus(v["status"]),
        title=v["title"],
        severity=v["severity"],
        detail=v["detail"],
        starts_at=_moment(v["starts_us"]),
        ends_at=_moment(v["ends_us"]),
        occurred_at=_moment(v["occurred_us"]),
        labels=MappingProxyType({str(k): str(s) for k, s in json.loads(v["labels"]).items()}),
        links=tuple(map(str, json.loads(v["links"]))),
        reported=bool(v["reported"]),
        digest=v["digest"],
    )
    return StoredSignal(
        id=v["id"],
        signal=signal,
        target=TargetName(v["target"]) if v["target"] else None,
        rank=v["rank"],
        first_at=from_us(v["first_us"]),
        heard_at=from_us(v["heard_us"]),
        changed_at=from_us(v["changed_us"]),
        count=v["times"],
        changes=v["changes"],
        told=SignalStatus(v["told"]) if v["told"] else None,
        owed_at=_moment(v["owed_us"]),
        incident_id=IncidentId(v["incident_id"]) if v["incident_id"] else None,
        symptom=v["symptom"],
    )


def _us(at: datetime | None) -> int | None:
    return None if at is None else to_us(at)


def _moment(us: int | None) -> datetime | None:
    return None if us is None else from_us(us)
