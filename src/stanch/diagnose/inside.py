"""What is kept of what a server tells of its inside."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from stanch.facts.workings import Doing, Ended, Held
from stanch.model.changes import NotedChange


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionGroup:
    """Client sessions that look alike."""

    application_name: str
    usename: str
    state: str
    sessions: int
    oldest_state_s: float = 0.0
    """Longest time any of them has been in this state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions:
    """Who holds the connections.

    Source: pg_stat_activity (pg_monitor to see others' states), or the titles of the server's
    processes where no session can be had; those carry no application name and no ages.
    """

    max_connections: int | None
    reserved: int = 0
    client_backends: int
    groups: tuple[SessionGroup, ...]
    waiting: int = 0
    """Client sessions waiting for a heavyweight lock."""
    oldest_wait_s: float = 0.0
    oldest_idle_in_transaction_s: float = 0.0
    limits_hit: tuple[str, ...] = ()
    """Roles and databases that have reached a connection limit of their own, as words."""
    postmaster_start: datetime | None = None
    in_recovery: bool = False
    changes_waiting: tuple[str, ...] | None = None
    """Commands that wait for a lock and take a table for themselves; None where titles were not
    what told, because the session that asks knows the locks themselves."""

    @property
    def usable(self) -> int | None:
        """Slots an ordinary role can have."""
        return None if self.max_connections is None else self.max_connections - self.reserved


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """One tree of waiting sessions, told by its root: it blocks others and waits for none."""

    root_pid: int
    """0: a prepared transaction, which has no session."""
    root_backend_start: datetime | None = None
    root_xact_start: datetime | None = None
    root_state: str = ""
    root_application: str = ""
    root_usename: str = ""
    root_datname: str = ""
    root_backend_type: str = ""
    root_state_change: datetime | None = None
    root_in_state_s: float = 0.0
    prepared_gid: str = ""
    """Set for a prepared transaction."""
    waiters: int
    oldest_wait_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Chains:
    """All blocking chains of the moment, most waiters first."""

    chains: tuple[Chain, ...]
    old_idle: tuple[Chain, ...] = ()
    """Sessions idle in a transaction that block nobody yet, oldest first (`waiters` is 0)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One replication slot and how much WAL it keeps."""

    name: str
    active: bool | None
    retained_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """What keeps WAL from being recycled."""

    slots: tuple[Slot, ...] = ()
    archive_mode: bool | None = None
    archiver_failing: bool | None = None
    """Its newest attempt failed."""
    ready_files: int | None = None
    """Segments waiting for the archiver (pg_wal/archive_status/*.ready)."""
    wal_keep_bytes: int = 0
    wal_segment_bytes: int = 16 * 1024 * 1024
    wal_end_bytes: int | None = None
    """Where WAL ends on disk, at most one segment beyond the truth; None: not read from disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """Who does what and waits for what, and who shuts others out."""

    doings: tuple[Doing, ...]
    held: tuple[Held, ...]
    ended: tuple[Ended, ...] = ()
    """What was done a moment ago by sessions that are idle now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What was seen to change in the hours before, as the incident notes it."""

    changes: tuple[NotedChange, ...]
