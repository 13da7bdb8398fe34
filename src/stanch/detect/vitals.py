"""Readings of a server's vitals: plain functions from the typed answer to a number.

Only those that some rule reads. Nothing is built for a rule that stays quiet: a getter is asked,
its number compared, and only for what is bad a sentence is made. What shows only over time (since
when archiving fails or stands still, how long a slot has not moved) is kept in `Lasting`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from stanch.model.vitals import SenderVitals, SlotVitals, Vitals

One = Callable[["Vitals", "Lasting"], float | None]
Many = Callable[["Vitals", "Lasting"], "Iterable[tuple[str, float | None]] | None"]
"""None: it cannot be told which subjects there are, so none of them is gone."""

MOVED_BYTES_MIN = 16 * 2**20
"""A slot counts as stuck only while more than a WAL segment was written since it last moved."""

NOT_STANDBYS = re.compile(r"pg_basebackup|pg_\d+_sync_\d+_\d+")
"""Receivers that come and go by design: backups, and the first copy of a table to a subscriber."""


@dataclass(slots=True)
class _Slot:
    inactive_since: datetime | None = None
    position_bytes: int = 0
    stuck_since: datetime | None = None


@dataclass(slots=True)
class _Archive:
    archived_count: int = -1
    position_bytes: int = 0
    """Where WAL was written to when the count was first seen as it is."""
    waits_since: datetime | None = None
    """A whole file was written since then, so that at least one is ready, and none was taken."""


@dataclass(slots=True)
class Lasting:
    """Since when something has been so, as far as we have looked. Times are the server's."""

    archive_failing_since: datetime | None = None
    archive: _Archive = field(default_factory=_Archive)
    slots: dict[str, _Slot] = field(default_factory=dict[str, _Slot])

    def note(self, vitals: Vitals) -> None:
        archiver = vitals.archiver
        if archiver is None or not archiver.failing:
            self.archive_failing_since = None
        elif self.archive_failing_since is None:
            self.archive_failing_since = archiver.last_failed_at
        self.archive = _archive(self.archive, vitals)
        if vitals.slots or self.slots:
            known = self.slots
            self.slots = {
                s.name: _slot(known.get(s.name, _Slot()), s, vitals) for s in vitals.slots
            }


def _archive(before: _Archive, vitals: Vitals) -> _Archive:
    archiver, position_bytes = vitals.archiver, vitals.wal_position_bytes
    if archiver is None or position_bytes is None or not archiver.archives:
        return _Archive()
    if archiver.archived_count != before.archived_count:
        return _Archive(archived_count=archiver.archived_count, position_bytes=position_bytes)
    waits = position_bytes - before.position_bytes >= archiver.segment_bytes
    # Attempts that fail have a rule of their own.
    if not waits or archiver.failing:
        return replace(before, waits_since=None)
    return replace(before, waits_since=before.waits_since or vitals.at)


def _slot(before: _Slot, slot: SlotVitals, vitals: Vitals) -> _Slot:
    if slot.retained_bytes is None or vitals.wal_position_bytes is None:
        return _Slot()
    # A logical slot may confirm for hours while one long transaction holds its restart_lsn.
    behind_bytes = slot.retained_bytes if slot.unconfirmed_bytes is None else slot.unconfirmed_bytes
    position_bytes = vitals.wal_position_bytes - behind_bytes
    moved = position_bytes != before.position_bytes or behind_bytes < MOVED_BYTES_MIN
    inactive_since = slot.inactive_since or before.inactive_since or vitals.at
    return _Slot(
        inactive_since=None if slot.active else inactive_since,
        position_bytes=position_bytes,
        stuck_since=None if moved or not slot.active else before.stuck_since or vitals.at,
    )


def _age_s(since: datetime | None, vitals: Vitals) -> float:
    return 0.0 if since is None else max(0.0, (vitals.at - since).total_seconds())


# --- one number a server ------------------------------------------------------------------------


def connections_used_pct(vitals: Vitals, _: Lasting) -> float | None:
    """Share of the slots an ordinary role can have."""
    usable = vitals.settings.usable_connections
    if usable <= 0:
        return None
    used = vitals.sessions.client_backends if vitals.sessions else vitals.backends
    return 100.0 * used / usable


def _archive_failing_s(vitals: Vitals, lasting: Lasting) -> float | None:
    if vitals.archiver is None:
        return None
    return _age_s(lasting.archive_failing_since, vitals)


def _archive_stalled_s(vitals: Vitals, lasting: Lasting) -> float | None:
    if vitals.archiver is None:
        return None
    return _age_s(lasting.archive.waits_since, vitals)


def _standbys(vitals: Vitals, _: Lasting) -> float | None:
    if not vitals.sees_sessions:
        return None
    names = (sender.application_name or "" for sender in vitals.senders)
    return float(sum(1 for name in names if not NOT_STANDBYS.fullmatch(name)))


ONE: Mapping[str, One] = {
    "connections_used_pct": connections_used_pct,
    "sessions_waiting_on_lock": lambda v, _: v.sessions.waiting_on_lock if v.sessions else None,
    "oldest_lock_wait_s": lambda v, _: v.sessions.oldest_lock_wait_s if v.sessions else None,
    "oldest_xact_age_s": lambda v, _: v.sessions.oldest_work_xact_age_s if v.sessions else None,
    "oldest_dump_xact_age_s": lambda v, _: (
        v.sessions.oldest_dump_xact_age_s if v.sessions else None
    ),
    "oldest_query_age_s": lambda v, _: v.sessions.oldest_query_age_s if v.sessions else None,
    "oldest_idle_in_transaction_s": lambda v, _: (
        v.sessions.oldest_idle_in_transaction_s if v.sessions else None
    ),
    "deadlocks_total": lambda v, _: v.work.deadlocks,
    "temp_bytes_total": lambda v, _: v.work.temp_bytes,
    "checksum_failures_total": lambda v, _: v.work.checksum_failures,
    "prepared_xact_age_s": lambda v, _: v.oldest_prepared_xact_age_s if v.prepared_xacts else 0.0,
    "archive_failing_s": _archive_failing_s,
    "archive_stalled_s": _archive_stalled_s,
    "standbys": _standbys,
    "xid_age": lambda v, _: v.xid_age_max,
    "mxid_age": lambda v, _: v.mxid_age_max,
}


# --- one number a subject -----------------------------------------------------------------------


def _limits(vitals: Vitals, _: Lasting) -> Iterable[tuple[str, float | None]] | None:
    if vitals.sessions is None:
        return None
    return (
        (f"{limit.scope} {limit.name}", 100.0 * limit.used / max(1, limit.allowed))
        for limit in vitals.sessions.limits
    )


def _retained(vitals: Vitals, _: Lasting) -> Iterable[tuple[str, float | None]]:
    return ((s.name, s.retained_bytes) for s in vitals.slots)


def _inactive(vitals: Vitals, lasting: Lasting) -> Iterable[tuple[str, float | None]]:
    return ((name, _age_s(s.inactive_since, vitals)) for name, s in lasting.slots.items())


def _stuck(vitals: Vitals, lasting: Lasting) -> Iterable[tuple[str, float | None]]:
    return ((name, _age_s(s.stuck_since, vitals)) for name, s in lasting.slots.items())


def _lost(vitals: Vitals, _: Lasting) -> Iterable[tuple[str, float | None]]:
    return (
        (s.name, None if s.wal_status is None and s.retained_bytes else float(_is_lost(s)))
        for s in vitals.slots
    )


def _is_lost(slot: SlotVitals) -> bool:
    return slot.wal_status == "lost"


def _replay_lag(vitals: Vitals, _: Lasting) -> Iterable[tuple[str, float | None]] | None:
    # Without pg_monitor receivers have no names.
    if not vitals.sees_sessions:
        return None
    worst: dict[str, float | None] = {}
    for sender in vitals.senders:
        name, value = standby_name(sender), sender.replay_lag_bytes
        known = worst.get(name)
        worst[name] = value if known is None else max(known, value or 0)
    return worst.items()


def _late(vitals: Vitals, _: Lasting) -> Iterable[tuple[str, float | None]] | None:
    """Of each standby that streams from here; of a standby also its own, without a subject."""
    if not vitals.sees_sessions:
        return None
    worst: dict[str, float | None] = {}
    if vitals.standby is not None:
        worst[""] = vitals.standby.late_s
    for sender in vitals.senders:
        if sender.replay_lag_bytes is None:
            continue
        name, late_s = standby_name(sender), sender.late_s
        known = worst.get(name)
        worst[name] = late_s if known is None else max(known, late_s or 0.0)
    return worst.items()


def standby_name(sender: SenderVitals) -> str:
    """How people call a receiver: its own name, with its address where it has one."""
    name = sender.application_name or f"walsender {sender.pid}"
    return f"{name} {sender.client_addr}" if sender.client_addr else name


MANY: Mapping[str, Many] = {
    "connection_limit_used_pct": _limits,
    "slot_retained_bytes": _retained,
    "slot_inactive_s": _inactive,
    "slot_stuck_s": _stuck,
    "slot_lost": _lost,
    "replay_lag_bytes": _replay_lag,
    "replay_lag_s": _late,
}


# --- sentences ----------------------------------------------------------------------------------


def _used(vitals: Vitals) -> str:
    used = vitals.sessions.client_backends if vitals.sessions else vitals.backends
    return f"{used} of {vitals.settings.usable_connections} connections in use"


def _waiting(vitals: Vitals) -> str:
    sessions = vitals.sessions
    waiting, oldest_s = (
        (sessions.waiting_on_lock, sessions.oldest_lock_wait_s or 0.0) if sessions else (0, 0.0)
    )
    return f"{waiting} sessions wait for locks, the oldest for {oldest_s:.0f} s"


def _failed_wal(vitals: Vitals) -> str:
    wal = vitals.archiver.last_failed_wal if vitals.archiver else None
    return f"last failed: {wal}" if wal else ""


DETAIL: Mapping[str, Callable[[Vitals], str]] = {
    "connections_used_pct": _used,
    "sessions_waiting_on_lock": _waiting,
    "archive_failing_s": _failed_wal,
}


def detail_of(name: str, vitals: Vitals) -> str:
    """The sentence of a reading; empty where the number says it all."""
    said = DETAIL.get(name)
    return said(vitals) if said is not None else ""
