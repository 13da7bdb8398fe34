"""Which line is of which kind: tables, SQLSTATE first and the server's own English words second.

The first rule that fits wins.
"""

from __future__ import annotations

from typing import Final

from stanch.facts.log_class import LogClass
from stanch.facts.log_rule import FATAL as _FATAL
from stanch.facts.log_rule import NO_SPACE as _NO_SPACE
from stanch.facts.log_rule import rule as _rule

SERVER: Final = frozenset({"LOG", "WARNING", "FATAL", "PANIC"})
_RAN: Final = r"^(?:duration: [\d.]+ ms  )?(?:statement|execute [^\n:]{1,80}): \s{0,20}"
"""Of log_statement and log_min_duration_statement. What is looked for stands alone: what comes with
others is a script."""
_LOGGED: Final = frozenset({"LOG"})
_PART: Final = r"(\"[^\"\n]{1,130}\"|[\w$]{1,130})"
_TABLE: Final = rf"(only\s+)?{_PART}(\.{_PART}){{0,2}}(\s+(as\s+)?\w{{1,63}})?"
_END: Final = r"\s{0,20};?\s{0,20}$"


# The first rule that fits wins. Where one SQLSTATE stands for several classes the text decides
# first, and the class that a bare SQLSTATE means comes last.
BY_SQLSTATE: Final = (
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
    _rule(LogClass.SESSION_ENDED, "57P01", None, _FATAL),
    _rule(LogClass.READ_ONLY, "25006", None),
    _rule(LogClass.NO_SUCH_TABLE, "42P01", None),
    _rule(LogClass.NO_SUCH_COLUMN, "42703", None),
    _rule(LogClass.NO_SUCH_DATABASE, "3D000", r"^database \"", _FATAL),
    _rule(LogClass.APPLY_FAILED, "23505", r"^conflict detected on relation \""),
    _rule(LogClass.UNIQUE_VIOLATION, "23505", None),
    _rule(LogClass.SEQUENCE_EXHAUSTED, "2200H", None),
    _rule(
        LogClass.INTEGER_OUT_OF_RANGE,
        "22003",
        r"^(integer|smallint) out of range"
        r"|^value \"-?\d{1,30}\" is out of range for type (integer|smallint)",
    ),
    _rule(LogClass.MULTIXACT_WRAPAROUND, "54000", r"[Mm]ulti[Xx]act"),
    _rule(LogClass.XID_WRAPAROUND, "54000", r"wraparound|XIDs"),
    _rule(LogClass.PERMISSION_DENIED, "42501", r"^(permission denied |must be )"),
    _rule(LogClass.WAL_REMOVED, "58P01", r"^requested WAL segment "),
    # From version 18 on; before, whoever came with such a slot was told of the file alone.
    _rule(LogClass.WAL_REMOVED, "55000", r"^can no longer access replication slot "),
    _rule(LogClass.LIBRARY_MISSING, "58P01", r"^could not (access file|load library) \""),
    _rule(LogClass.HBA_REJECTED, "28000", r"pg_hba\.conf"),
    _rule(LogClass.LOGIN_NOT_PERMITTED, "28000", r"^role \"[^\n]*\" is not permitted to log in"),
    _rule(LogClass.ROLE_UNKNOWN, "28000", r"^role \"[^\n]*\" does not exist"),
    _rule(LogClass.AUTH_FAILED, "28000 28P01", None),
    _rule(
        LogClass.TOAST_DAMAGED,
        "XX001",
        r"^(missing|unexpected) chunk number |^compressed (pglz|lz4) data is corrupt",
    ),
    _rule(LogClass.NO_CHECKPOINT, "XX001", r"^could not read file \"global/pg_control\"", _FATAL),
    _rule(LogClass.INVALID_PAGE, "XX001 XX002", r"^invalid page|^page verification failed"),
    _rule(LogClass.INDEX_DAMAGED, "XX002", None),
    # What amcheck finds between a table and its index is told with the code of damaged data.
    _rule(LogClass.INDEX_DAMAGED, "XX001", r"^heap tuple \([\d,]+\) from table "),
    _rule(LogClass.INVALID_PAGE, "XX001", None),
    # A file of rows, or of what became of transactions, is not where it has to be.
    _rule(
        LogClass.INVALID_PAGE,
        "58P01",
        r"^could not open file \"(base|global)/|^could not access status of transaction ",
    ),
    _rule(
        LogClass.CATALOG_DAMAGED,
        "XX000",
        r"^cache lookup failed for |^could not open relation with OID "
        r"|^(pg_\w{1,60} )?catalog is missing \d|^could not find pg_class (entry|tuple) for ",
    ),
    _rule(LogClass.SHARED_MEMORY_IN_USE, "F0001", r"shared memory block"),
    _rule(LogClass.LOCK_FILE_EXISTS, "F0001", None),
    _rule(LogClass.CONFIG_ERROR, "F0000", None),
)

BY_TEXT: Final = (
    _rule(LogClass.SHUTDOWN_REQUEST_SMART, "", r"^received smart shutdown request", SERVER),
    _rule(LogClass.SHUTDOWN_REQUEST_FAST, "", r"^received fast shutdown request", SERVER),
    _rule(LogClass.SHUTDOWN_REQUEST_IMMEDIATE, "", r"^received immediate shutdown", SERVER),
    _rule(LogClass.SHUT_DOWN, "", r"^database system is shut down", SERVER),
    _rule(LogClass.STARTING, "", r"^starting PostgreSQL ", SERVER),
    _rule(LogClass.READY, "", r"^database system is ready to accept (read[- ]only )?conn", SERVER),
    _rule(
        LogClass.CRASH_CHILD_SIGNAL,
        "",
        r"^[^\"()\n]{1,80}(?:\"[^\n]{0,200}\" )?\(PID (?P<pid>\d{1,10})\) was terminated by "
        r"signal (?P<signal>\d{1,3})",
        SERVER,
    ),
    # With code 0 or 1 a process ends alone, and how the startup process ends a start tells itself.
    _rule(
        LogClass.CRASH_CHILD_EXIT,
        "",
        r"^(?!startup process )[^\"()\n]{1,80}(?:\"[^\n]{0,200}\" )?\(PID (?P<pid>\d{1,10})\) "
        r"exited with exit code (?![01]$)\d{1,3}$",
        SERVER,
    ),
    _rule(LogClass.REINITIALIZING, "", r"^all server processes terminated; reinit", SERVER),
    _rule(
        LogClass.INTERRUPTED_RECOVERY,
        "",
        r"^database system (was interrupted|shutdown was interrupted|was not properly shut down)",
        SERVER,
    ),
    _rule(LogClass.REDO_IN_PROGRESS, "", r"^redo (starts at|in progress)", SERVER),
    _rule(
        LogClass.LOCK_FILE_REMOVED,
        "",
        r"data directory lock file is invalid|^lock file \"[^\"]*\" contains wrong PID"
        r"|^could not open file \"postmaster\.pid\": No such file",
        SERVER,
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
    # Whatever the system said of it: a file that is too short has no code of its own.
    _rule(
        LogClass.LIBRARY_MISSING,
        "",
        r"^could not load library \"/|^could not access file \"[^\n]*\": (No such file|Permission)",
        frozenset({"ERROR"}),
    ),
    _rule(LogClass.PANIC_FSYNC, "", r"^could not (fsync|fdatasync) ", frozenset({"PANIC"})),
    _rule(
        LogClass.ARCHIVE_FAILED,
        "",
        r"^archive command (failed with exit code|was terminated by signal|exited with unrec)"
        r"|^archiving write-ahead log file \"[^\n]*\" failed",
        SERVER,
    ),
    _rule(
        LogClass.CONFIG_ERROR,
        "",
        r"^configuration file \"[^\n]*\" contains errors|^could not load [^\n]*pg_hba\.conf"
        # From version 17 on with its path.
        r"|^(/[^\n]*/)?pg_hba\.conf was not reloaded"
        r"|^(syntax error|unrecognized configuration parameter) "
        r"[^\n]*in file \"",
        SERVER,
    ),
    # What a reload or a start says of one value; sessions are told the same as an ERROR.
    _rule(
        LogClass.CONFIG_ERROR,
        "",
        r"^invalid value for parameter \"|^parameter \"[^\n]*\" requires an? "
        r"|^[^\n]{1,200} is outside the valid range for parameter \"",
        _LOGGED,
    ),
    _rule(
        LogClass.STILL_WAITING_LOCK,
        "",
        r"^process (?P<pid>\d{1,10}) still waiting for \w+ on ",
        SERVER,
    ),
    _rule(LogClass.FORK_FAILED, "", r"^could not fork [^\n]*process", SERVER),
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
        SERVER,
    ),
    _rule(LogClass.XID_WRAPAROUND, "", r"^database [^\n]* must be vacuumed within \d+ tr", SERVER),
    _rule(LogClass.PROMOTED, "", r"^received promote request|^selected new timeline ID", SERVER),
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
        r"already been removed"
        r"|^(could not start WAL streaming: ERROR: +)?can no longer access replication slot ",
    ),
    _rule(
        LogClass.PRIMARY_UNREACHABLE,
        "",
        # Newer versions say first who it is.
        r"^((streaming replication receiver|synchronization worker) \"[^\n]{1,80}\" )?"
        r"could not connect to the primary server|^terminating walreceiver due to timeout"
        r"|^replication terminated by primary server|^could not receive data from WAL stream",
        SERVER,
    ),
    _rule(
        LogClass.APPLY_WORKER_STARTED,
        "",
        r"^logical replication apply worker for subscription \"[^\n]*\" has started",
        SERVER,
    ),
    _rule(
        LogClass.APPLY_WORKER_ENDED,
        "",
        r"^background worker \"logical replication (apply )?worker\" \(PID (?P<pid>\d{1,10})\) "
        r"exited",
        SERVER,
    ),
    _rule(
        LogClass.APPLY_FAILED,
        "",
        r"^logical replication target relation \"|^conflict detected on relation \""
        r"|^subscription \"[^\n]*\" has been disabled because of an error",
    ),
    _rule(
        LogClass.CHECKPOINT_FORCED, "", r"^checkpoint starting: (immediate|fast) force wait", SERVER
    ),
    _rule(LogClass.CHECKPOINTS_TOO_OFTEN, "", r"^checkpoints are occurring too freq", SERVER),
    _rule(LogClass.AUTOVACUUM_CANCELED, "", r"^canceling autovacuum task"),
    _rule(LogClass.AUTOVACUUM_OFF, "", r"^autovacuum not started because of miscon", SERVER),
    _rule(LogClass.TEMP_FILE, "", r"^temporary file: path ", SERVER),
    _rule(LogClass.TLS_REFUSED, "", r"^could not accept SSL connection", SERVER),
    _rule(LogClass.CONNECTION_RECEIVED, "", r"^connection received: host=", SERVER),
    _rule(
        LogClass.CONNECTION_LOST,
        "",
        r"^could not (receive data from|send data to) client|^unexpected EOF on client connection",
        SERVER,
    ),
    _rule(
        LogClass.COLLATION_MISMATCH,
        "",
        r"^database \"[^\n]*\" has (a collation version mismatch|no actual collation version)"
        r"|^collation \"[^\n]*\" has version mismatch",
        SERVER,
    ),
    _rule(LogClass.SYNC_WAIT_CANCELED, "", r"^canceling (the )?wait for synchronous repl", SERVER),
    _rule(
        LogClass.NEEDS_RESTART,
        "",
        r"^parameter \"[^\n]*\" cannot be changed without restarting the server",
        SERVER,
    ),
    _rule(LogClass.RELOADED, "", r"^received SIGHUP, reloading configuration files", SERVER),
    # What a base backup finds; its end by this is an error with a code of its own.
    _rule(LogClass.INVALID_PAGE, "", r"^checksum verification failed in file \"", SERVER),
    _rule(
        LogClass.OBJECT_DROPPED,
        "",
        rf"{_RAN}(?i:drop\s+(foreign\s+)?(table|schema|database)\b)[^;'$]{{1,1000}}{_END}",
        _LOGGED,
    ),
    _rule(LogClass.TABLE_TRUNCATED, "", rf"{_RAN}(?i:truncate\b)[^;'$]{{1,1000}}{_END}", _LOGGED),
    _rule(
        LogClass.WHOLE_TABLE_DELETED,
        "",
        rf"{_RAN}(?i:delete\s+from\s+{_TABLE}(\s+where\s+(true|1\s?=\s?1))?){_END}",
        _LOGGED,
    ),
    _rule(
        LogClass.WHOLE_TABLE_UPDATED,
        "",
        rf"{_RAN}(?i:update\s+{_TABLE}\s+set\s(?![\s\S]{{0,1500}}\bwhere\b))[^;]{{1,1500}}{_END}",
        _LOGGED,
    ),
    # Beware: `could not write to log file "0000…"` with a name is a WAL file.
    _rule(LogClass.NO_SPACE_LOG, "", rf"^could not write to log file: {_NO_SPACE}"),
)
