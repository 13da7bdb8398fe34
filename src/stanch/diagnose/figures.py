"""Numbers by name: what a server says about itself now, in the names that a recording has, too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from stanch.model.readings import Reading
from stanch.model.vitals import ArchiverVitals, SenderVitals, SlotVitals, StandbyVitals, Vitals


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Everything one look gave. A name that is not there was not asked, or cannot be had."""

    items: tuple[Reading, ...]

    def named(self, name: str) -> tuple[Reading, ...]:
        """Every subject of one name."""
        return tuple(figure for figure in self.items if figure.name == name)

    def of(self, name: str, subject: str = "") -> Reading | None:
        return next((f for f in self.items if f.name == name and f.subject == subject), None)

    def value(self, name: str, subject: str = "") -> float | None:
        """The number; None where there is none."""
        found = self.of(name, subject)
        return None if found is None else found.value

    def setting(self, name: str) -> str | None:
        """A setting of the server as it holds for the session that asked; None: not asked."""
        found = self.of("setting", name)
        return None if found is None else found.detail


def figures_from(vitals: Vitals, *more: Iterable[Reading]) -> Figures:
    """The vital signs by name, and what other questions gave."""
    return Figures(items=(*_of_vitals(vitals), *(figure for found in more for figure in found)))


def _figure(name: str, value: float | None, subject: str = "", detail: str = "") -> Reading:
    return Reading(
        name=name, value=None if value is None else float(value), subject=subject, detail=detail
    )


def _idle_s(archiver: ArchiverVitals, at: datetime) -> float | None:
    """Since the newest attempt to archive a file ended; None: none has."""
    tried = [t for t in (archiver.last_archived_at, archiver.last_failed_at) if t is not None]
    return max(0.0, (at - max(tried)).total_seconds()) if tried else None


def _of_vitals(vitals: Vitals) -> Iterator[Reading]:
    yield from _of_sessions(vitals)
    work, archiver = vitals.work, vitals.archiver
    yield _figure("commits_total", work.commits)
    yield _figure("rollbacks_total", work.rollbacks)
    yield _figure("deadlocks_total", work.deadlocks)
    yield _figure("temp_bytes_total", work.temp_bytes)
    yield _figure("checksum_failures_total", work.checksum_failures)
    if archiver is not None:
        yield _figure("archived_total", archiver.archived_count)
        yield _figure("archive_failed_total", archiver.failed_count)
        yield _figure("archive_failing", archiver.failing, detail=archiver.last_failed_wal or "")
        yield _figure("archive_idle_s", _idle_s(archiver, vitals.at))
    for slot in vitals.slots:
        yield from _of_slot(slot)
    for sender in vitals.senders:
        yield from _of_sender(sender)
    if vitals.standby is not None:
        yield from _of_standby(vitals.standby)
    yield _figure("in_recovery", vitals.in_recovery)
    yield _figure("standbys", len(vitals.senders))
    yield _figure("timeline", vitals.timeline)
    yield _figure("version_num", vitals.version_num)
    yield _figure("wal_bytes_total", vitals.wal_position_bytes, detail=vitals.wal_lsn or "")
    yield _figure("xid_age", vitals.xid_age_max)
    yield _figure("mxid_age", vitals.mxid_age_max)
    yield _figure("prepared_xacts", vitals.prepared_xacts)
    yield _figure("prepared_xact_age_s", vitals.oldest_prepared_xact_age_s)


def _of_sessions(vitals: Vitals) -> Iterator[Reading]:
    seen = vitals.sessions
    yield _figure("usable_connections", vitals.settings.usable_connections)
    if seen is None:
        return
    idle = sum(n for state, n in seen.by_state if state.startswith("idle in transaction"))
    yield _figure("client_backends", seen.client_backends)
    yield _figure("active_sessions", seen.active)
    yield _figure("active_without_wait", seen.active_without_wait)
    yield _figure("sessions_waiting_on_lock", seen.waiting_on_lock)
    yield _figure("idle_in_transaction_sessions", idle)
    yield _figure("oldest_lock_wait_s", seen.oldest_lock_wait_s)
    yield _figure("oldest_xact_age_s", seen.oldest_xact_age_s)
    yield _figure("oldest_query_age_s", seen.oldest_query_age_s)
    yield _figure("oldest_idle_in_transaction_s", seen.oldest_idle_in_transaction_s)
    yield _figure("autovacuum_workers", seen.autovacuum_workers)
    yield _figure("oldest_autovacuum_xact_age_s", seen.oldest_autovacuum_xact_age_s)
    for kind, sessions in seen.by_wait:
        yield _figure("active_by_wait", sessions, kind)


def _of_slot(slot: SlotVitals) -> Iterator[Reading]:
    state = slot.wal_status or ""
    yield _figure("slot_retained_bytes", slot.retained_bytes, slot.name, state)
    yield _figure("slot_active", slot.active, slot.name, slot.slot_type)
    if slot.unconfirmed_bytes is not None:
        yield _figure("slot_unconfirmed_bytes", slot.unconfirmed_bytes, slot.name)


def _of_sender(sender: SenderVitals) -> Iterator[Reading]:
    name = sender.application_name or f"walsender {sender.pid}"
    yield _figure("sender", sender.pid, name, f"{sender.state or ''} {sender.sync_state or ''}")
    yield _figure("sent_lag_bytes", sender.sent_lag_bytes, name)
    yield _figure("write_lag_bytes", sender.write_lag_bytes, name)
    yield _figure("flush_lag_bytes", sender.flush_lag_bytes, name)
    yield _figure("replay_lag_bytes", sender.replay_lag_bytes, name)
    yield _figure("replay_lag_s", sender.late_s, name)


def _of_standby(standby: StandbyVitals) -> Iterator[Reading]:
    streams = standby.receiver_status == "streaming"
    yield _figure("receiver_streaming", streams, detail=standby.receiver_status or "none")
    yield _figure("receiver_silent_s", standby.receiver_silent_s)
    yield _figure("received_bytes_to_replay", standby.received_bytes_to_replay)
    yield _figure("last_replayed_xact_age_s", standby.last_replayed_xact_age_s)
    yield _figure("replay_paused", standby.replay_paused)
