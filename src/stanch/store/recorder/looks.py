"""What of a sample goes into a recording: columns, readings, groups of sessions, the state."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from stanch.model.host import Volume
from stanch.model.readings import Reading
from stanch.model.samples import Sample
from stanch.model.vitals import SessionVitals, Vitals
from stanch.store.recorder.columns import THOUSANDTHS, Column

_SESSIONS: Final = (
    ("client_backends", 1),
    ("active_sessions", 1),
    ("active_without_wait", 1),
    ("sessions_waiting_on_lock", 1),
    ("idle_in_transaction_sessions", 1),
    ("oldest_lock_wait_s", THOUSANDTHS),
    ("oldest_xact_age_s", THOUSANDTHS),
    ("oldest_query_age_s", THOUSANDTHS),
    ("oldest_idle_in_transaction_s", THOUSANDTHS),
)
_REST: Final = (
    ("backends", 1),
    ("usable_connections", 1),
    ("in_recovery", 1),
    ("commits_total", 1),
    ("rollbacks_total", 1),
    ("deadlocks_total", 1),
    ("temp_bytes_total", 1),
    ("checksum_failures_total", 1),
    ("archived_total", 1),
    ("archive_failed_total", 1),
    ("wal_bytes_total", 1),
    ("standbys", 1),
    ("replay_lag_bytes_max", 1),
    ("slot_retained_bytes_max", 1),
    ("xid_age", 1),
    ("mxid_age", 1),
    ("prepared_xacts", 1),
    ("prepared_xact_age_s", THOUSANDTHS),
    ("rows_updated_total", 1),
    ("rows_deleted_total", 1),
    ("sessions_total", 1),
)
FIXED: Final[tuple[Column, ...]] = tuple((name, "", scale) for name, scale in _SESSIONS + _REST)
"""The columns of every look that brings vitals."""
NOTHING: Final[tuple[int | None, ...]] = (None,) * len(FIXED)
_NO_SESSIONS: Final[tuple[int | None, ...]] = (None,) * len(_SESSIONS)

GROUPS_MAX = 10
GROUP_NAME_CHARS_MAX = 32
STATE_CHARS_MAX = 200


def fixed_values(vitals: Vitals | None) -> tuple[int | None, ...]:
    """One number a fixed column, in their order."""
    if vitals is None:
        return NOTHING
    sessions, work, archiver = vitals.sessions, vitals.work, vitals.archiver
    return (
        *(_NO_SESSIONS if sessions is None else _session_values(sessions)),
        vitals.backends,
        vitals.settings.usable_connections,
        int(vitals.in_recovery),
        work.commits,
        work.rollbacks,
        work.deadlocks,
        work.temp_bytes,
        work.checksum_failures,
        None if archiver is None else archiver.archived_count,
        None if archiver is None else archiver.failed_count,
        vitals.wal_position_bytes,
        len(vitals.senders),
        _largest(s.replay_lag_bytes for s in vitals.senders),
        _largest(s.retained_bytes for s in vitals.slots),
        vitals.xid_age_max,
        vitals.mxid_age_max,
        vitals.prepared_xacts,
        _thousandths(vitals.oldest_prepared_xact_age_s),
        work.rows_updated,
        work.rows_deleted,
        work.sessions,
    )


def _session_values(sessions: SessionVitals) -> tuple[int | None, ...]:
    idle = sum(n for state, n in sessions.by_state if state.startswith("idle in transaction"))
    return (
        sessions.client_backends,
        sessions.active,
        sessions.active_without_wait,
        sessions.waiting_on_lock,
        idle,
        _thousandths(sessions.oldest_lock_wait_s),
        _thousandths(sessions.oldest_xact_age_s),
        _thousandths(sessions.oldest_query_age_s),
        _thousandths(sessions.oldest_idle_in_transaction_s),
    )


def _largest(values: Iterable[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)


def _thousandths(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * THOUSANDTHS)


def grouped(readings: Iterable[Reading]) -> dict[str, list[tuple[str, float | None]]]:
    """Readings by their name: a name that comes at all comes with every subject."""
    found: dict[str, list[tuple[str, float | None]]] = {}
    for reading in readings:
        found.setdefault(reading.name, []).append((reading.subject, reading.value))
    return found


def volume_values(volumes: Iterable[Volume]) -> list[tuple[str, float | None]]:
    """Free bytes by mount point; several parts of a server may lie on one."""
    return [*{volume.mount_point: volume.free_bytes for volume in volumes}.items()]


def group_rows(sessions: SessionVitals) -> list[tuple[object, ...]]:
    """The largest groups: application, role, database, state, how many, seconds in that state."""
    return [
        (
            group.application_name[:GROUP_NAME_CHARS_MAX],
            group.usename[:GROUP_NAME_CHARS_MAX],
            group.datname[:GROUP_NAME_CHARS_MAX],
            group.state,
            group.sessions,
            None if group.oldest_state_age_s is None else round(group.oldest_state_age_s, 1),
        )
        for group in sessions.groups[:GROUPS_MAX]
    ]


def state_key(sample: Sample) -> tuple[object, ...]:
    """What has to differ for a state to be told anew: words that count seconds differ always."""
    reach = sample.reach
    if reach is None:
        return (sample.vitals is not None, sample.lets_in)
    return (reach.state, sample.lets_in, sample.confirmed, len(sample.doubts), sample.lost_at)


def state_of(sample: Sample) -> dict[str, object]:
    """How the target looked from outside, without what differs at every look."""
    reach = sample.reach
    if reach is None:
        state = "up" if sample.vitals is not None else "unread"
        return {"state": state, "lets_in": sample.lets_in, "detail": _cut(sample.unread)}
    failed = reach.failed_layer
    return {
        "state": reach.state.value,
        "lets_in": sample.lets_in,
        "confirmed": sample.confirmed,
        "detail": _cut(sample.unread or (f"{failed.name}: {failed.detail}" if failed else "")),
        "doubts": [_cut(doubt) for doubt in sample.doubts[:4]],
        "lost_at": sample.lost_at.isoformat() if sample.lost_at else None,
    }


def _cut(text: str) -> str:
    return text[:STATE_CHARS_MAX]


def milliseconds(at: datetime) -> int:
    """Since 1970."""
    return round(at.timestamp() * 1000)
