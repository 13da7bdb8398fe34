"""What became of one write of the canary."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Wrote(StrEnum):
    """What a write says about the writes of others."""

    DONE = "done"
    FAILED = "failed"
    """The server refused it for a reason that meets every write."""
    STANDBY = "standby"
    """Nothing was written: the server takes no writes by design."""
    UNUSABLE = "unusable"
    """Something is wrong with the canary itself: its table, its rights. No verdict."""
    UNKNOWN = "unknown"
    """No session, or one that ended: nobody knows, and others tell why. No verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOutcome:
    """One write that came to its end."""

    wrote: Wrote
    ms: float | None = None
    """From the first byte sent to the answer, without the login; None where nothing was written."""
    detail: str = ""
    """Why it was not done; may quote the server, so it is shown escaped."""
    sqlstate: str = ""
    written_at: datetime | None = None
    """The moment in the row, by the server's clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderWay:
    """A write whose answer has not come yet."""

    age_s: float
    since: datetime
    waits_for: str = ""
    """In words, as far as the server tells."""
