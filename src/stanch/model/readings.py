"""One number about one target, by a name that a rule can read. Missing is None, never zero."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


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
