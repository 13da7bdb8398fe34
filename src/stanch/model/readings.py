"""One number about one target, by a name that a rule can read. Missing is None, never zero.

A sample that carries a name carries every subject of it: what is not among them any more is gone,
and its symptom clears. A source that looked and found no subject at all says so with one reading
that has an empty subject and a good value.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Unit(StrEnum):
    """What a reading or a limit is counted in; the value is the word after a number."""

    PERCENT = "%"
    BYTES = "bytes"
    SECONDS = "s"
    MILLISECONDS = "ms"
    DAYS = "days"
    COUNT = ""
    PER_MINUTE = "a minute"
    BYTES_PER_S = "bytes/s"
    TIMES = "times"


_ENDINGS = {
    "_pct": Unit.PERCENT,
    "_bytes": Unit.BYTES,
    "_bytes_total": Unit.BYTES,
    "_s": Unit.SECONDS,
    "_ms": Unit.MILLISECONDS,
    "_days": Unit.DAYS,
    "_days_left": Unit.DAYS,
}


def unit_of(name: str) -> Unit:
    """The unit of a reading, by the ending of its name."""
    return next((unit for end, unit in _ENDINGS.items() if name.endswith(end)), Unit.COUNT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one source says about one thing at one moment."""

    name: str
    """The unit is its ending: `_bytes`, `_pct`, `_s`; `_total` counts up since some start."""
    value: float | None
    """None: it was looked for and cannot be had."""
    subject: str = ""
    """Which slot, volume, pool, service; empty where a target has only one."""
    detail: str = ""
    """A sentence for a person; may quote the server, so it is shown escaped."""
    since: datetime | None = None
    """Onset, where the source itself knows it."""
