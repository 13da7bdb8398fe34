"""What Patroni says of a server and of its cluster."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PatroniMember:
    """One line of `GET /cluster`."""

    name: str
    role: str
    """`leader`, `standby_leader`, `replica`, `sync_standby`, …"""
    state: str
    """`running`, `streaming`, `stopped`, `start failed`, …"""
    timeline: int | None = None
    lag_bytes: int | None = None

    @property
    def leads(self) -> bool:
        """It holds the leader's key."""
        return self.role.endswith("leader") or self.role in ("master", "primary")


@dataclass(frozen=True, slots=True, kw_only=True)
class PatroniSeen:
    """`GET /patroni` of one server's Patroni, and `GET /cluster`.

    Source: https://patroni.readthedocs.io/en/latest/rest_api.html
    """

    name: str
    """Of its cluster (`scope`)."""
    state: str
    role: str
    unlocked: bool
    """Nobody holds the leader's key."""
    paused: bool
    """Patroni only looks on (maintenance mode)."""
    dcs_seen_at: datetime | None
    """When it last reached the store in which the leader's key lies."""
    members: tuple[PatroniMember, ...]
    """Empty: Patroni could not say."""

    @property
    def leads_here(self) -> bool:
        """The server that was asked about leads its cluster."""
        return self.role in ("master", "primary", "standby_leader")

    @property
    def leader(self) -> str:
        """The member that leads; empty: none."""
        return next((m.name for m in self.members if m.leads), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class PatroniServer:
    """What `GET /patroni` says of the one server it runs; exactly enough to tell it from others."""

    scope: str
    name: str
    """Of the member; empty before version 3.1."""
    state: str
    role: str
    """In this version's own word, `master` or `primary`, `replica`, `standby_leader`."""
    system_identifier: str
    started_at: datetime | None
    """The server's pg_postmaster_start_time(); None: it does not run."""
    unlocked: bool
    """Nobody holds the leader's key."""
    paused: bool
    restart_scheduled: bool
    """Somebody asked for a restart at a later moment."""
