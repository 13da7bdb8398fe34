"""What a line of a server's log is about: by SQLSTATE first, by its text second.

The texts are PostgreSQL's own English messages (`lc_messages`); in another language only what has
a SQLSTATE in the log is recognised. Any session can raise any text and any SQLSTATE (RAISE LOG …),
so a class is evidence, never proof; what only the postmaster says should come from its pid.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Final


class LogClass(StrEnum):
    """The kinds of lines a responder cares about."""

    SHUTDOWN_REQUEST_SMART = "shutdown_request_smart"
    SHUTDOWN_REQUEST_FAST = "shutdown_request_fast"
    SHUTDOWN_REQUEST_IMMEDIATE = "shutdown_request_immediate"
    SHUT_DOWN = "shut_down"
    STARTING = "starting"
    READY = "ready"
    CRASH_CHILD_SIGNAL = "crash_child_signal"
    REINITIALIZING = "reinitializing"
    INTERRUPTED_RECOVERY = "interrupted_recovery"
    REDO_IN_PROGRESS = "redo_in_progress"
    NO_SPACE_DATA = "no_space_data"
    NO_SPACE_WAL = "no_space_wal"
    NO_SPACE_LOG = "no_space_log"
    NO_SPACE_SHARED_MEMORY = "no_space_shared_memory"
    """Shared memory (dev/shm) is too small; the disks are fine."""
    TOO_MANY_CLIENTS = "too_many_clients"
    TOO_MANY_FOR_ROLE = "too_many_for_role"
    """A role's or a database's own limit, not the server's."""
    LOCK_FILE_EXISTS = "lock_file_exists"
    SHARED_MEMORY_IN_USE = "shared_memory_in_use"
    WRONG_PERMISSIONS = "wrong_permissions"
    OUT_OF_MEMORY = "out_of_memory"
    LOCK_FILE_REMOVED = "lock_file_removed"
    """postmaster.pid vanished or is another server's; the server stops itself."""
    INVALID_PAGE = "invalid_page"
    PANIC_FSYNC = "panic_fsync"
    AUTH_FAILED = "auth_failed"
    HBA_REJECTED = "hba_rejected"
    STILL_WAITING_LOCK = "still_waiting_lock"
    DEADLOCK = "deadlock"
    ARCHIVE_FAILED = "archive_failed"
    CONFIG_ERROR = "config_error"
    START_GAVE_UP = "start_gave_up"
    """A start that ends for a reason other than the settings file, in words only a start has."""
    LIBRARY_MISSING = "library_missing"
    """A library that cannot be loaded: it ends a start where the postmaster says so, and a session
    where a session does."""
    LOCK_TABLE_FULL = "lock_table_full"
    """Shared memory for locks is used up (max_locks_per_transaction); memory is not."""
    TOO_MANY_FILES = "too_many_files"
    FORK_FAILED = "fork_failed"
    """No process for a connection: a limit of processes, or memory."""
    NO_CHECKPOINT = "no_checkpoint"
    """The start finds no checkpoint to recover from, or a damaged control file."""
    STATEMENT_TIMEOUT = "statement_timeout"
    LOCK_TIMEOUT = "lock_timeout"
    CANCELED = "canceled"
    """A statement that somebody called off."""
    RECOVERY_CONFLICT = "recovery_conflict"
    READ_ONLY = "read_only"
    NO_SUCH_TABLE = "no_such_table"
    NO_SUCH_COLUMN = "no_such_column"
    PERMISSION_DENIED = "permission_denied"
    UNIQUE_VIOLATION = "unique_violation"
    SEQUENCE_EXHAUSTED = "sequence_exhausted"
    INTEGER_OUT_OF_RANGE = "integer_out_of_range"
    XID_WRAPAROUND = "xid_wraparound"
    """Warnings before transaction ids run out, and the refusal of new ones."""
    MULTIXACT_WRAPAROUND = "multixact_wraparound"
    WAL_REMOVED = "wal_removed"
    """A receiver asks for WAL that is gone."""
    TIMELINE_DIVERGED = "timeline_diverged"
    PROMOTED = "promoted"
    PRIMARY_UNREACHABLE = "primary_unreachable"
    """What a standby says of the primary it cannot follow."""
    APPLY_WORKER_ENDED = "apply_worker_ended"
    APPLY_WORKER_STARTED = "apply_worker_started"
    CHECKPOINTS_TOO_OFTEN = "checkpoints_too_often"
    AUTOVACUUM_CANCELED = "autovacuum_canceled"
    AUTOVACUUM_OFF = "autovacuum_off"
    TEMP_FILE = "temp_file"
    TEMP_LIMIT = "temp_limit"
    TLS_REFUSED = "tls_refused"
    PASSWORD_EXPIRED = "password_expired"  # noqa: S105  # the name of a class of lines
    CONNECTION_RECEIVED = "connection_received"
    CONNECTION_LOST = "connection_lost"
    TOAST_DAMAGED = "toast_damaged"
    INDEX_DAMAGED = "index_damaged"
    CATALOG_DAMAGED = "catalog_damaged"
    COLLATION_MISMATCH = "collation_mismatch"
    SYNC_WAIT_CANCELED = "sync_wait_canceled"
    NEEDS_RESTART = "needs_restart"
    """A changed setting waits for a restart."""
    RELOADED = "reloaded"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Classified:
    """The class of one line and the numbers its text names."""

    log_class: LogClass
    named_pid: int | None = None
    """The process the line is about, where that is not its writer."""
    signal: int | None = None


_TEXT_MAX: Final = 2048
_FATAL: Final = frozenset({"FATAL", "PANIC"})
_SERVER: Final = frozenset({"LOG", "WARNING", "FATAL", "PANIC"})
_ANY: Final = frozenset[str]()
_NO_SPACE: Final = r"No space left on device"


@dataclass(frozen=True, slots=True)
class _Rule:
    log_class: LogClass
    sqlstates: frozenset[str]
    """Empty: whatever the SQLSTATE, or none known."""
    text: re.Pattern[str] | None
    severities: frozenset[str]
    """Empty: any. A client's ERROR may quote anything, so what only the server says names its
    own severities."""


def _rule(
    log_class: LogClass, sqlstates: str, text: str | None, severities: frozenset[str] = _ANY
) -> _Rule:
    pattern = None if text is None else re.compile(text)
    return _Rule(log_class, frozenset(sqlstates.split()), pattern, severities)


# The first rule that fits wins. Where one SQLSTATE stands for several classes the text decides
# first, and the class that a bare SQLSTATE means comes last.
_BY_SQLSTATE: Final = (
    _rule(LogClass.TOO_MANY_FOR_ROLE, "53300", r"^too many connections for (role|database) "),
    _rule(LogClass.TOO_MANY_CLIENTS, "53300", None),
    _rule(LogClass.NO_SPACE_SHARED_MEMORY, "53100", r"shared memory segment"),
    _rule(LogClass.NO_SPACE_WAL, "53100", r"pg_wal/|log file \"?[0-9A-F]{24}|WAL segment"),
    _rule(LogClass.NO_SPACE_DATA, "53100", None),
    _rule(LogClass.LOCK_TABLE_FULL, "53200", r"^out of shared memory"),
    _rule(LogClass.OUT_OF_MEMORY, "53200", None),
    _rule(LogClass.TOO_MANY_FILES, "53000", r"Too many open files"),
    _rule(LogClass.TEMP_LIMIT, "53400", r"^temporary file size exceeds"),
    _rule(LogClass.RECOVERY_CONFLICT, "40001 40P01 57P04", r"conflict with recovery"),
    _rule(LogClass.DEADLOCK, "40P01", None),
    _rule(LogClass.STATEMENT_TIMEOUT, "57014", r"statement timeout"),
    _rule(LogClass.LOCK_TIMEOUT, "55P03", None),
    _rule(LogClass.AUTOVACUUM_CANCELED, "57014", r"^canceling autovacuum task"),
    _rule(LogClass.CANCELED, "57014", None),
    _rule(LogClass.READ_ONLY, "25006", None),
    _rule(LogClass.NO_SUCH_TABLE, "42P01", None),
    _rule(LogClass.NO_SUCH_COLUMN, "42703", None),
    _rule(LogClass.UNIQUE_VIOLATION, "23505", None),
    _rule(LogClass.SEQUENCE_EXHAUSTED, "2200H", None),
    _rule(LogClass.INTEGER_OUT_OF_RANGE, "22003", r"^(integer|smallint) out of range"),
    _rule(LogClass.MULTIXACT_WRAPAROUND, "54000", r"[Mm]ulti[Xx]act"),
    _rule(LogClass.XID_WRAPAROUND, "54000", r"wraparound|XIDs"),
    _rule(LogClass.PERMISSION_DENIED, "42501", r"^(permission denied |must be )"),
    _rule(LogClass.WAL_REMOVED, "58P01", r"^requested WAL segment "),
    _rule(LogClass.HBA_REJECTED, "28000", r"pg_hba\.conf"),
    _rule(LogClass.AUTH_FAILED, "28000 28P01", None),
    _rule(LogClass.TOAST_DAMAGED, "XX001", r"^(missing|unexpected) chunk number "),
    _rule(LogClass.INVALID_PAGE, "XX001 XX002", r"^invalid page|^page verification failed"),
    _rule(LogClass.INDEX_DAMAGED, "XX002", None),
    _rule(LogClass.INVALID_PAGE, "XX001", None),
    _rule(
        LogClass.CATALOG_DAMAGED,
        "XX000",
        r"^cache lookup failed for |^could not open relation with OID ",
    ),
    _rule(LogClass.SHARED_MEMORY_IN_USE, "F0001", r"shared memory block"),
    _rule(LogClass.LOCK_FILE_EXISTS, "F0001", None),
    _rule(LogClass.CONFIG_ERROR, "F0000", None),
)

_BY_TEXT: Final = (
    _rule(LogClass.SHUTDOWN_REQUEST_SMART, "", r"^received smart shutdown request", _SERVER),
    _rule(LogClass.SHUTDOWN_REQUEST_FAST, "", r"^received fast shutdown request", _SERVER),
    _rule(LogClass.SHUTDOWN_REQUEST_IMMEDIATE, "", r"^received immediate shutdown", _SERVER),
    _rule(LogClass.SHUT_DOWN, "", r"^database system is shut down", _SERVER),
    _rule(LogClass.STARTING, "", r"^starting PostgreSQL ", _SERVER),
    _rule(LogClass.READY, "", r"^database system is ready to accept (read[- ]only )?conn", _SERVER),
    _rule(
        LogClass.CRASH_CHILD_SIGNAL,
        "",
        r"^[^\"()\n]{1,80}(?:\"[^\n]{0,200}\" )?\(PID (?P<pid>\d{1,10})\) was terminated by "
        r"signal (?P<signal>\d{1,3})",
        _SERVER,
    ),
    _rule(LogClass.REINITIALIZING, "", r"^all server processes terminated; reinit", _SERVER),
    _rule(
        LogClass.INTERRUPTED_RECOVERY,
        "",
        r"^database system (was interrupted|shutdown was interrupted|was not properly shut down)",
        _SERVER,
    ),
    _rule(LogClass.REDO_IN_PROGRESS, "", r"^redo (starts at|in progress)", _SERVER),
    _rule(
        LogClass.LOCK_FILE_REMOVED,
        "",
        r"data directory lock file is invalid|^lock file \"[^\"]*\" contains wrong PID"
        r"|^could not open file \"postmaster\.pid\": No such file",
        _SERVER,
    ),
    _rule(LogClass.LOCK_FILE_EXISTS, "", r"^lock file \"[^\n]*\" already exists", _FATAL),
    _rule(LogClass.SHARED_MEMORY_IN_USE, "", r"^pre-existing shared memory block", _FATAL),
    _rule(
        LogClass.WRONG_PERMISSIONS,
        "",
        r"^data directory \"[^\n]*\" has (invalid permissions|wrong ownership)"
        r"|^could not [^\n]*: Permission denied",
        _FATAL,
    ),
    _rule(
        LogClass.START_GAVE_UP,
        "",
        r"^could not create any (TCP/IP|Unix-domain) sockets"
        r"|^database files are incompatible with server"
        r"|^required WAL directory \"[^\n]*\" does not exist"
        r"|^recovery aborted because of insufficient parameter settings"
        r"|^hot standby is not possible because "
        r"|^could not (map anonymous shared memory|create shared memory segment|create semaphores)"
        r"|^could not create lock file \"[^\n]*\.s\.PGSQL\.\d+\.lock\""
        r"|^could not find the database system|^could not access the server configuration file"
        r"|^could not access directory \"/|^\"/[^\n]*\" is not a valid data directory"
        r"|^WAL (streaming|archival) [^\n]*wal_level"
        r"|^\"?max_wal_senders\"? must be less than|^\"?superuser_reserved_connections\"? "
        r"|^could not load (server certificate|private key|root certificate) file"
        r"|^private key file \"[^\n]*\" has group or world access"
        r"|^could not open log file \"/"
        r"|^must specify restore_command when standby mode is not enabled"
        r"|^recovery ended before configured recovery target was reached",
        frozenset({"FATAL"}),
    ),
    _rule(
        LogClass.LIBRARY_MISSING,
        "",
        r"^could not access file \"[^\n]*\": No such file|^could not load library \""
        r"|^incompatible library \"",
        frozenset({"FATAL"}),
    ),
    _rule(LogClass.PANIC_FSYNC, "", r"^could not (fsync|fdatasync) ", frozenset({"PANIC"})),
    _rule(
        LogClass.ARCHIVE_FAILED,
        "",
        r"^archive command (failed with exit code|was terminated by signal|exited with unrec)"
        r"|^archiving write-ahead log file \"[^\n]*\" failed",
        _SERVER,
    ),
    _rule(
        LogClass.CONFIG_ERROR,
        "",
        r"^configuration file \"[^\n]*\" contains errors|^could not load [^\n]*pg_hba\.conf"
        r"|^pg_hba\.conf was not reloaded|^(syntax error|unrecognized configuration parameter) "
        r"[^\n]*in file \"",
        _SERVER,
    ),
    _rule(
        LogClass.STILL_WAITING_LOCK,
        "",
        r"^process (?P<pid>\d{1,10}) still waiting for \w+ on ",
        _SERVER,
    ),
    _rule(LogClass.FORK_FAILED, "", r"^could not fork [^\n]*process", _SERVER),
    _rule(
        LogClass.NO_CHECKPOINT,
        "",
        r"^could not locate (a valid|required) checkpoint record|^invalid (primary )?checkpoint "
        r"|^incorrect checksum in control file|^could not (open|read) file \"global/pg_control\"",
        _FATAL,
    ),
    _rule(
        LogClass.MULTIXACT_WRAPAROUND,
        "",
        r"^database [^\n]* must be vacuumed before \d+ more MultiXactIds?",
        _SERVER,
    ),
    _rule(LogClass.XID_WRAPAROUND, "", r"^database [^\n]* must be vacuumed within \d+ tr", _SERVER),
    _rule(LogClass.PROMOTED, "", r"^received promote request|^selected new timeline ID", _SERVER),
    _rule(
        LogClass.TIMELINE_DIVERGED,
        "",
        r"^requested timeline \d+ is not a child of|^highest timeline \d+ of the primary is behind"
        r"|^new timeline \d+ (forked off|is not a child of) (current )?database system timeline",
    ),
    _rule(
        LogClass.WAL_REMOVED,
        "",
        r"^(could not receive data from WAL stream: ERROR: +)?requested WAL segment \w+ has "
        r"already been removed",
    ),
    _rule(
        LogClass.PRIMARY_UNREACHABLE,
        "",
        r"^could not connect to the primary server|^terminating walreceiver due to timeout"
        r"|^replication terminated by primary server|^could not receive data from WAL stream",
        _SERVER,
    ),
    _rule(
        LogClass.APPLY_WORKER_STARTED,
        "",
        r"^logical replication apply worker for subscription \"[^\n]*\" has started",
        _SERVER,
    ),
    _rule(
        LogClass.APPLY_WORKER_ENDED,
        "",
        r"^background worker \"logical replication (apply )?worker\" \(PID (?P<pid>\d{1,10})\) "
        r"exited",
        _SERVER,
    ),
    _rule(LogClass.CHECKPOINTS_TOO_OFTEN, "", r"^checkpoints are occurring too freq", _SERVER),
    _rule(LogClass.AUTOVACUUM_CANCELED, "", r"^canceling autovacuum task"),
    _rule(LogClass.AUTOVACUUM_OFF, "", r"^autovacuum not started because of miscon", _SERVER),
    _rule(LogClass.TEMP_FILE, "", r"^temporary file: path ", _SERVER),
    _rule(LogClass.TLS_REFUSED, "", r"^could not accept SSL connection", _SERVER),
    _rule(LogClass.CONNECTION_RECEIVED, "", r"^connection received: host=", _SERVER),
    _rule(
        LogClass.CONNECTION_LOST,
        "",
        r"^could not (receive data from|send data to) client|^unexpected EOF on client connection",
        _SERVER,
    ),
    _rule(
        LogClass.COLLATION_MISMATCH,
        "",
        r"^database \"[^\n]*\" has a collation version mismatch"
        r"|^collation \"[^\n]*\" has version mismatch",
        _SERVER,
    ),
    _rule(LogClass.SYNC_WAIT_CANCELED, "", r"^canceling (the )?wait for synchronous repl", _SERVER),
    _rule(
        LogClass.NEEDS_RESTART,
        "",
        r"^parameter \"[^\n]*\" cannot be changed without restarting the server",
        _SERVER,
    ),
    _rule(LogClass.RELOADED, "", r"^received SIGHUP, reloading configuration files", _SERVER),
    # Beware: `could not write to log file "0000…"` with a name is a WAL file.
    _rule(LogClass.NO_SPACE_LOG, "", rf"^could not write to log file: {_NO_SPACE}"),
)

# Without a SQLSTATE in the log, from the text alone. Statements raise these too, so only the
# wording that the server itself uses counts, from the beginning of the message.
_WITHOUT_SQLSTATE: Final = (
    _rule(LogClass.TOO_MANY_FOR_ROLE, "", r"^too many connections for (role|database) ", _FATAL),
    _rule(
        LogClass.TOO_MANY_CLIENTS,
        "",
        r"^(sorry, too many clients already|remaining connection slots are reserved for"
        r"|number of requested standby connections exceeds)",
        _FATAL,
    ),
    _rule(
        LogClass.NO_SPACE_SHARED_MEMORY,
        "",
        rf"^could not [^\n]*shared memory segment[^\n]*{_NO_SPACE}",
    ),
    _rule(
        LogClass.NO_SPACE_WAL,
        "",
        rf"^could not [^\n]*(pg_wal/|log file \"?[0-9A-F]{{24}}|WAL segment)[^\n]*{_NO_SPACE}",
    ),
    _rule(
        LogClass.NO_SPACE_DATA,
        "",
        rf"^could not [^\n]*({_NO_SPACE}|: wrote only \d+ of \d+ bytes at block \d+$)",
    ),
    _rule(LogClass.LOCK_TABLE_FULL, "", r"^out of shared memory"),
    _rule(LogClass.OUT_OF_MEMORY, "", r"^out of memory"),
    _rule(LogClass.TOO_MANY_FILES, "", r"Too many open files"),
    _rule(LogClass.TEMP_LIMIT, "", r"^temporary file size exceeds temp_file_limit"),
    _rule(
        LogClass.RECOVERY_CONFLICT,
        "",
        r"^(canceling statement|terminating connection) due to conflict with recovery",
    ),
    _rule(LogClass.STATEMENT_TIMEOUT, "", r"^canceling statement due to statement timeout"),
    _rule(LogClass.LOCK_TIMEOUT, "", r"^canceling statement due to lock timeout"),
    _rule(LogClass.CANCELED, "", r"^canceling statement due to user request"),
    _rule(LogClass.READ_ONLY, "", r"^cannot execute [A-Z ]+ in a read-only transaction"),
    _rule(LogClass.NO_SUCH_TABLE, "", r"^relation \"[^\n]*\" does not exist"),
    _rule(LogClass.NO_SUCH_COLUMN, "", r"^column [^\n]* does not exist"),
    _rule(LogClass.PERMISSION_DENIED, "", r"^permission denied for "),
    _rule(LogClass.UNIQUE_VIOLATION, "", r"^duplicate key value violates unique constraint"),
    _rule(LogClass.SEQUENCE_EXHAUSTED, "", r"^nextval: reached (maximum|minimum) value of"),
    _rule(LogClass.INTEGER_OUT_OF_RANGE, "", r"^(integer|smallint) out of range"),
    _rule(
        LogClass.MULTIXACT_WRAPAROUND,
        "",
        r"^database is not accepting commands that (generate|assign) new MultiXactIds"
        r"|^multixact \"members\" limit exceeded",
    ),
    _rule(
        LogClass.XID_WRAPAROUND,
        "",
        r"^database is not accepting commands (to avoid wraparound|that assign new )",
    ),
    _rule(LogClass.TOAST_DAMAGED, "", r"^(missing|unexpected) chunk number \d+ "),
    _rule(LogClass.CATALOG_DAMAGED, "", r"^cache lookup failed for |^could not open relation with"),
    _rule(LogClass.INVALID_PAGE, "", r"^invalid page in block|^page verification failed"),
    _rule(
        LogClass.HBA_REJECTED,
        "",
        r"^(no pg_hba\.conf entry for|pg_hba\.conf rejects)",
        _FATAL,
    ),
    _rule(
        LogClass.AUTH_FAILED,
        "",
        r"^\S+ authentication failed for user|^role \"[^\n]*\" (does not exist|is not permitted)",
        _FATAL,
    ),
    _rule(LogClass.DEADLOCK, "", r"^deadlock detected", frozenset({"ERROR"})),
)


@cache
def _rules_for(severity: str, sqlstate: str) -> tuple[_Rule, ...]:
    """What can fit a record at all, in the order in which it is tried."""
    rules = _BY_SQLSTATE + _BY_TEXT if sqlstate else _BY_TEXT + _WITHOUT_SQLSTATE
    return tuple(
        rule
        for rule in rules
        if (not rule.sqlstates or sqlstate in rule.sqlstates)
        and (not rule.severities or severity in rule.severities)
    )


_KNOWN_STATES: Final = frozenset[str]().union(*(rule.sqlstates for rule in _BY_SQLSTATE))
_KNOWN_SEVERITIES: Final = _SERVER | {"ERROR"}
_UNKNOWN: Final = "?"
"""For every state or severity that no rule names: strangers' words must not fill a cache."""


def classify(severity: str, sqlstate: str | None, message: str) -> Classified:
    """What one record is about. Cost: some dozens of anchored patterns over 2,048 characters."""
    text = message[:_TEXT_MAX]
    known = "" if sqlstate in (None, "", "00000") else sqlstate
    state = known if not known or known in _KNOWN_STATES else _UNKNOWN
    rules = _rules_for(severity if severity in _KNOWN_SEVERITIES else _UNKNOWN, state)
    for rule in rules:
        match = None if rule.text is None else rule.text.search(text)
        if rule.text is None or match is not None:
            groups = {} if match is None else match.groupdict()
            return Classified(
                log_class=rule.log_class,
                named_pid=_number(groups.get("pid")),
                signal=_number(groups.get("signal")),
            )
    return Classified(log_class=LogClass.OTHER)


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)
