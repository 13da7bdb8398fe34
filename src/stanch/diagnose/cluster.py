"""What is known of the other servers of a cluster, as each of them said of itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

FRESH = timedelta(seconds=10)
"""Who has not told of itself for longer may be anything by now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One server of a cluster; what nobody has read is empty or None."""

    target: str
    seen_at: datetime | None = None
    """When it last told of itself."""
    primary: bool | None = None
    """Not in recovery: it takes writes."""
    system_identifier: str = ""
    timeline: int | None = None
    position_bytes: int | None = None
    """Inserted by a primary, replayed by a standby."""
    running_since: datetime | None = None
    promoted_at: datetime | None = None
    """When it was seen to turn from a standby into a primary."""
    replay_paused: bool | None = None
    """Of a standby: pg_is_wal_replay_paused()."""
    unreplayed_bytes: int | None = None
    """Received by a standby and not replayed."""

    def is_fresh(self, at: datetime) -> bool:
        """It told of itself just now."""
        return self.seen_at is not None and at - self.seen_at <= FRESH


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSeen:
    """All servers that belong together, the one in question among them."""

    members: tuple[Member, ...]
    declared: bool = False
    """By the policy; else they were seen to stream from each other."""

    def of(self, target: str) -> Member | None:
        return next((member for member in self.members if member.target == target), None)

    def others(self, target: str) -> tuple[Member, ...]:
        return tuple(member for member in self.members if member.target != target)
