"""What is observed, before anyone knows why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from stanch.model.ids import TargetName


class SymptomKind(StrEnum):
    """Everything the watch can observe; the value is what appears in timelines and policies."""

    SERVER_DOWN = "server_down"
    CONNECTIONS_HIGH = "connections_high"
    CONNECTIONS_EXHAUSTED = "connections_exhausted"
    SESSIONS_BLOCKED = "sessions_blocked"
    DISK_LOW = "disk_low"
    DISK_FULL = "disk_full"
    UNWATCHED = "unwatched"
    """The server answers, but does not let the watch in: nobody knows how it is."""
    BLIND = "blind"
    """Many unrelated targets fell silent at once: more likely it is the watch that cannot see."""
    REPORTED = "reported"
    """A person declared it."""
    OUTSIDE_ALERT = "outside_alert"
    """Another monitor says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Symptom:
    """One observation about one target that a healthy target does not show."""

    kind: SymptomKind
    target: TargetName
    since: datetime
    """When it began, as far as the samples tell; never later than when it was noticed."""
    subject: str = ""
    """What on the target, where there are several: a volume's mount point, say."""
    measured: float | None = None
    limit: float | None = None
    unit: str = ""
    detail: str = ""
    """One sentence for a person; may quote the server, so it is shown escaped."""

    @property
    def key(self) -> str:
        """Same key, same symptom: what joins, clears and flaps together."""
        return f"{self.kind.value}:{self.subject}" if self.subject else self.kind.value
