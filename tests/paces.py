"""Two looks at a server's counters made by hand: a healthy server at work, and what differs."""

from __future__ import annotations

from typing import Any

import evidences as w
from stanch.diagnose.evidence import Reading
from stanch.facts.pace import Grown, Pace, StatementPace, TablePace

DAY_S = 86400.0


def grown(before: float, by: float) -> Grown:
    return Grown(before=before, by=by)


def table(name: str = "public.orders", **differs: Any) -> TablePace:
    """A table that is read by its index, and whole by a report every hour."""
    usual: dict[str, Any] = {
        "rows": 400_000,
        "indexed": ("id",),
        "whole_scans": grown(240, 0),
        "whole_rows": grown(96e6, 0),
        "index_scans": grown(80e6, 90),
        "index_rows": grown(160e6, 180),
    }
    return TablePace(name=name, **(usual | differs))


def statement(query_id: str, *, calls: Grown, ms: Grown) -> StatementPace:
    return StatementPace(query_id=query_id, calls=calls, ms=ms)


def pace(*tables: TablePace, **differs: Any) -> Reading[Pace]:
    """Ten days of a hundred commits a second, and one second of the same."""
    usual: dict[str, Any] = {
        "seconds": 1.0,
        "counted_s": 10 * DAY_S,
        "commits": grown(86.4e6, 110),
        "rollbacks": grown(1e5, 0),
        "sessions": grown(864e3, 1),
        "wal_bytes": grown(9e12, 1e6),
        "tables": tables or (table(),),
    }
    return w.read(Pace(**(usual | differs)))


READ_WHOLE = table(whole_scans=grown(240, 25), whole_rows=grown(96e6, 10e6))
"""Since a moment ago it is read whole 25 times a second."""
ALWAYS_WHOLE = table(
    rows=35_000, whole_scans=grown(26e6, 30), whole_rows=grown(9.1e11, 1.05e6), indexed=("id",)
)
"""A small one that every request reads whole, as it always did."""

VITALS: dict[str, Any] = {
    "at": "2026-03-01T03:00:00+00:00",
    "postmaster_start": "2026-03-01T01:00:00+00:00",
    "version_num": 180000,
    "in_recovery": False,
    "transaction_read_only": True,
    "sees_sessions": True,
    "settings": {"max_connections": 100, "superuser_reserved_connections": 3},
    "backends": 5,
    "sessions": {
        "client_backends": 5,
        "active": 1,
        "active_without_wait": 1,
        "waiting_on_lock": 0,
        "by_state": {"idle": 5},
    },
    "work": {"commits": 1, "rollbacks": 0, "deadlocks": 0, "temp_files": 0, "temp_bytes": 0},
    "prepared_xacts": 0,
}
"""The vital signs of a server on which little goes on."""
