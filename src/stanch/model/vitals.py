"""One reading of a server's vital signs, as PostgreSQL itself reports them.

None always means "not to be had" (a missing right, a version without it), never zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

NOTHING_TO_REPLAY_BYTES = 8192
"""An idle server's insert position may stand behind a page header that nobody has sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """The settings that say how many sessions fit, and where the data is."""

    max_connections: int
    superuser_reserved_connections: int
    reserved_connections: int | None = None
    """From version 16 on; slots for members of pg_use_reserved_connections."""
    data_directory: str | None = None

    @property
    def usable_connections(self) -> int:
        """Slots that a role without any privilege can have."""
        kept = self.superuser_reserved_connections + (self.reserved_connections or 0)
        return max(0, self.max_connections - kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionGroup:
    """Client sessions that look alike from outside; all names are the clients' own words."""

    application_name: str
    usename: str
    datname: str
    state: str
    sessions: int
    oldest_state_age_s: float | None = None
    """How long the longest of them has been in this state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimit:
    """A role or database that has used at least four fifths of its own connection limit."""

    scope: str
    """`role` or `database`."""
    name: str
    used: int
    allowed: int

    @property
    def hit(self) -> bool:
        return self.used >= self.allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionVitals:
    """The client sessions of a server, counted in one reading.

    `active`, `active_without_wait` and `oldest_xact_age_s` leave out the session that asks;
    `client_backends`, `by_state` and `groups` count it, because it holds a slot too. A session
    still proving who it is holds a slot and is in none of these.
    """

    client_backends: int
    active: int
    active_without_wait: int
    """Running on a processor, or waiting for one: no wait event."""
    waiting_on_lock: int
    oldest_lock_wait_s: float | None = None
    """Version 14 on: since the wait began. Version 13: since the statement began."""
    oldest_xact_age_s: float | None = None
    oldest_work_xact_age_s: float | None = None
    """Without the tools that have to hold a transaction for hours, such as pg_dump."""
    oldest_dump_xact_age_s: float | None = None
    """Of those tools, by the application_name they give themselves."""
    oldest_query_age_s: float | None = None
    """Of active sessions that neither wait for a lock nor belong to such a tool."""
    oldest_idle_in_transaction_s: float | None = None
    by_state: tuple[tuple[str, int], ...] = ()
    by_wait: tuple[tuple[str, int], ...] = ()
    """Of the active ones, by wait_event_type; `none` runs on a processor or waits for one."""
    autovacuum_workers: int | None = None
    oldest_autovacuum_xact_age_s: float | None = None
    groups: tuple[SessionGroup, ...] = ()
    """The twenty largest."""
    limits: tuple[ConnectionLimit, ...] = ()

    def in_state(self, state: str) -> int:
        """How many sessions are in a state, by pg_stat_activity's name for it."""
        return dict(self.by_state).get(state, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkCounters:
    """Sums over all databases since the statistics were last reset."""

    commits: int
    rollbacks: int
    deadlocks: int
    temp_files: int
    temp_bytes: int
    checksum_failures: int | None = None
    """None: data checksums are off, so nobody counts."""
    rows_updated: int | None = None
    """Also by what was rolled back."""
    rows_deleted: int | None = None
    sessions: int | None = None
    """Ever begun; None: nobody counts before version 14."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiverVitals:
    """What became of the WAL files handed to the archive."""

    archives: bool = True
    """This server hands over files now: archive_mode, and on a standby only `always`."""
    segment_bytes: int = 16 * 2**20
    """Of one WAL file, which is handed over once it is full."""
    archived_count: int
    failed_count: int
    last_archived_at: datetime | None = None
    last_failed_at: datetime | None = None
    last_failed_wal: str | None = None

    @property
    def failing(self) -> bool:
        """The last attempt failed and nothing was archived since."""
        if self.last_failed_at is None:
            return False
        return self.last_archived_at is None or self.last_archived_at < self.last_failed_at


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotVitals:
    """One replication slot and the WAL it keeps from being recycled."""

    name: str
    slot_type: str
    active: bool
    wal_status: str | None = None
    retained_bytes: int | None = None
    """None: the slot reserves nothing yet, or has lost what it needed."""
    unconfirmed_bytes: int | None = None
    """Of a logical slot: written since what its consumer has confirmed."""
    inactive_since: datetime | None = None
    """From version 17 on; None while it is active."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderVitals:
    """One receiver of this server's WAL and how far it is behind, in bytes.

    Without pg_monitor only the pid is known.
    """

    pid: int
    application_name: str | None = None
    client_addr: str | None = None
    state: str | None = None
    sync_state: str | None = None
    sent_lag_bytes: int | None = None
    write_lag_bytes: int | None = None
    flush_lag_bytes: int | None = None
    replay_lag_bytes: int | None = None
    """None also for receivers that do not replay."""
    write_lag_s: float | None = None
    flush_lag_s: float | None = None
    replay_lag_s: float | None = None
    """As the server measured it last; None also soon after the receiver has caught up. It stands
    still while the receiver does: a paused standby shows in its own vitals, and in bytes."""

    @property
    def late_s(self) -> float | None:
        """How late replay is; zero where all that was written is replayed, however long ago."""
        if self.replay_lag_bytes is not None and self.replay_lag_bytes <= NOTHING_TO_REPLAY_BYTES:
            return 0.0
        return self.replay_lag_s


@dataclass(frozen=True, slots=True, kw_only=True)
class StandbyVitals:
    """What a server in recovery says about its own replay."""

    receiver_status: str | None = None
    """`streaming`, or a state before it; None: no WAL receiver runs, or pg_monitor is missing."""
    receiver_silent_s: float | None = None
    """Since the primary's last message."""
    received_bytes_to_replay: int | None = None
    """None where WAL comes from the archive alone."""
    last_replayed_xact_age_s: float | None = None
    replay_paused: bool = False
    sender_host: str | None = None
    """Whom it receives WAL from, as its own settings call it; None also without pg_monitor."""
    sender_port: int | None = None

    @property
    def late_s(self) -> float | None:
        """How late replay is. None without a streaming receiver: what there would be to replay
        cannot be known here.
        """
        to_replay = self.received_bytes_to_replay
        if self.receiver_status != "streaming" or to_replay is None:
            return None
        return 0.0 if to_replay <= 0 else self.last_replayed_xact_age_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """Everything one sample says about one server."""

    at: datetime
    """The server's clock, not ours."""
    postmaster_start: datetime
    version_num: int
    in_recovery: bool
    transaction_read_only: bool
    """Of the asking session: true on a standby, and wherever the session asks to be read-only."""
    sees_sessions: bool
    """False: the role lacks pg_read_all_stats (part of pg_monitor), so `sessions` is None."""
    settings: ServerSettings
    backends: int
    """All sessions that are in a database, known without any privilege."""
    sessions: SessionVitals | None
    work: WorkCounters
    archiver: ArchiverVitals | None = None
    slots: tuple[SlotVitals, ...] = ()
    senders: tuple[SenderVitals, ...] = ()
    standby: StandbyVitals | None = None
    """None: the server is not in recovery."""
    xid_age_max: int | None = None
    mxid_age_max: int | None = None
    prepared_xacts: int = 0
    oldest_prepared_xact_age_s: float | None = None
    timeline: int | None = None
    """Written to by a primary, received by a standby; None where none is received."""
    wal_lsn: str | None = None
    """Insert position on a primary, replayed position on a standby."""
    wal_position_bytes: int | None = None
    """The same as a number, for rates."""
