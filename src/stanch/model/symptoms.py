"""What is observed, before anyone knows why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from stanch.model.ids import TargetName


class SymptomKind(StrEnum):
    """Everything the watch can observe; the value is what appears in timelines and policies.

    Each has its words, limits and severity in `policy/rules/*.yaml` under the same name.
    """

    SERVER_DOWN = "server_down"
    CONNECTIONS_HIGH = "connections_high"
    CONNECTIONS_EXHAUSTED = "connections_exhausted"
    SESSIONS_BLOCKED = "sessions_blocked"
    DISK_LOW = "disk_low"
    DISK_FULL = "disk_full"
    UNWATCHED = "unwatched"
    """The server answers, but does not let the watch in: nobody knows how it is."""
    OTHER_CLUSTER = "other_cluster"
    """Another database cluster answers in the place of the one that is watched."""
    BLIND = "blind"
    """Many unrelated targets fell silent at once, or one is long in doubt: more likely it is the
    watch that cannot see."""
    REPORTED = "reported"
    """A person declared it."""
    OUTSIDE_ALERT = "outside_alert"
    """Another monitor says so."""
    DISK_SHORT = "disk_short"
    DISK_FILLING = "disk_filling"
    INODES_LOW = "inodes_low"
    CONNECTION_LIMIT_NEAR = "connection_limit_near"
    LONG_TRANSACTION = "long_transaction"
    LONG_DUMP = "long_dump"
    IDLE_IN_TRANSACTION = "idle_in_transaction"
    SLOW_QUERY = "slow_query"
    DEADLOCKS = "deadlocks"
    TEMP_FILES_FLOOD = "temp_files_flood"
    PREPARED_TRANSACTION_OLD = "prepared_transaction_old"
    ARCHIVE_FAILING = "archive_failing"
    ARCHIVE_STALLED = "archive_stalled"
    SLOT_RETAINS_WAL = "slot_retains_wal"
    SLOT_INACTIVE = "slot_inactive"
    SLOT_STUCK = "slot_stuck"
    SLOT_LOST = "slot_lost"
    REPLICATION_LAG = "replication_lag"
    REPLICATION_DELAY = "replication_delay"
    STANDBY_GONE = "standby_gone"
    XID_WRAPAROUND = "xid_wraparound"
    MXID_WRAPAROUND = "mxid_wraparound"
    CHECKSUM_FAILURES = "checksum_failures"
    PENDING_RESTART = "pending_restart"
    POOL_EXHAUSTED = "pool_exhausted"
    POOL_HIGH = "pool_high"
    POOL_WAITING = "pool_waiting"
    POOL_WAIT_LONG = "pool_wait_long"
    ERROR_RATE_HIGH = "error_rate_high"
    ERROR_RATE_RAISED = "error_rate_raised"
    ERROR_BUDGET_BURN = "error_budget_burn"
    LATENCY_UNUSUAL = "latency_unusual"
    REQUESTS_SILENT = "requests_silent"
    LOG_ERRORS = "log_errors"
    HEALTH_CHECK_FAILING = "health_check_failing"
    HEALTH_CHECK_SLOW = "health_check_slow"
    MEMORY_LOW = "memory_low"
    CPU_STOLEN = "cpu_stolen"
    LOAD_HIGH = "load_high"
    CLOCK_OFF = "clock_off"
    OOM_KILL = "oom_kill"
    CONTAINER_RESTARTING = "container_restarting"
    SERVICE_STOPPED = "service_stopped"
    VOLUME_READ_ONLY = "volume_read_only"
    STORAGE_ERRORS = "storage_errors"
    BACKUP_OLD = "backup_old"
    BACKUP_FAILED = "backup_failed"
    BACKUP_VERIFICATION_FAILED = "backup_verification_failed"
    BACKUP_SMALL = "backup_small"
    BACKUP_RETENTION_SHORT = "backup_retention_short"
    BACKUP_LATEST_WRONG = "backup_latest_wrong"
    BACKUP_UPLOADS_LEFT = "backup_uploads_left"
    BACKUP_UNSEEN = "backup_unseen"
    ARCHIVE_GAP = "archive_gap"
    ARCHIVE_HOLES = "archive_holes"
    SEQUENCE_NEAR_END = "sequence_near_end"
    INT4_KEY_NEAR_END = "int4_key_near_end"
    COLLATION_CHANGED = "collation_changed"
    INDEX_INVALID = "index_invalid"
    TABLE_BLOATED = "table_bloated"
    NEW_DANGEROUS_ROLE = "new_dangerous_role"
    HBA_ERRORS = "hba_errors"
    SETTINGS_ERRORS = "settings_errors"
    STATEMENT_SLOWER = "statement_slower"
    LOG_CORRUPTION = "log_corruption"
    LOG_CONFIG_ERROR = "log_config_error"
    LOGIN_FAILURES = "login_failures"
    CERTIFICATE_EXPIRING = "certificate_expiring"
    CERTIFICATE_UNTRUSTED = "certificate_untrusted"
    LAYER_SLOW = "layer_slow"
    WRITES_FAILING = "writes_failing"
    CANARY_UNUSABLE = "canary_unusable"
    LOG_OUT_OF_MEMORY = "log_out_of_memory"
    PROCESS_CRASHED = "process_crashed"
    LOG_UNREAD = "log_unread"
    ADDRESSES_BANNED = "addresses_banned"
    STORAGE_STALLED = "storage_stalled"
    SLOW_LOOK_OVERDUE = "slow_look_overdue"


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
    rank: int = 0
    """How severe it was when it was told, 1 the worst; 0: nobody said."""

    @property
    def key(self) -> str:
        """Same key, same symptom: what joins, clears and flaps together."""
        return f"{self.kind.value}:{self.subject}" if self.subject else self.kind.value
