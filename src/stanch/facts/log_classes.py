"""What a line of a server's log is about: by SQLSTATE first, by its text second.

The texts are PostgreSQL's own English messages (`lc_messages`); in another language only what has
a SQLSTATE in the log is recognised. Any session can raise any text and any SQLSTATE (RAISE LOG …),
so a class is evidence, never proof; what only the postmaster says should come from its pid.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
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
    _rule(LogClass.OUT_OF_MEMORY, "53200", None),
    _rule(LogClass.DEADLOCK, "40P01", None),
    _rule(LogClass.HBA_REJECTED, "28000", r"pg_hba\.conf"),
    _rule(LogClass.AUTH_FAILED, "28000 28P01", None),
    _rule(LogClass.INVALID_PAGE, "XX001 XX002", None),
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
    _rule(LogClass.OUT_OF_MEMORY, "", r"^out of memory"),
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


def classify(severity: str, sqlstate: str | None, message: str) -> Classified:
    """What one record is about. Cost: some dozens of anchored patterns over 2,048 characters."""
    text = message[:_TEXT_MAX]
    known = sqlstate if sqlstate not in (None, "", "00000") else None
    rules = _BY_SQLSTATE + _BY_TEXT if known else _BY_TEXT + _WITHOUT_SQLSTATE
    for rule in rules:
        if rule.sqlstates and known not in rule.sqlstates:
            continue
        if rule.severities and severity not in rule.severities:
            continue
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
