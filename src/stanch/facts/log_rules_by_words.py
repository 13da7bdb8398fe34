"""Which line is of which kind where the log has no SQLSTATE: by the server's own words alone."""

from __future__ import annotations

from typing import Final

from stanch.facts.log_class import LogClass
from stanch.facts.log_rule import FATAL as _FATAL
from stanch.facts.log_rule import NO_SPACE as _NO_SPACE
from stanch.facts.log_rule import rule as _rule

# Without a SQLSTATE in the log, from the text alone. Statements raise these too, so only the
# wording that the server itself uses counts, from the beginning of the message.
WITHOUT_SQLSTATE: Final = (
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
    _rule(
        LogClass.SESSION_ENDED, "", r"^terminating connection due to administrator command", _FATAL
    ),
    _rule(LogClass.READ_ONLY, "", r"^cannot execute [A-Z ]+ in a read-only transaction"),
    _rule(LogClass.NO_SUCH_TABLE, "", r"^relation \"[^\n]*\" does not exist"),
    _rule(LogClass.NO_SUCH_COLUMN, "", r"^column [^\n]* does not exist"),
    _rule(LogClass.NO_SUCH_DATABASE, "", r"^database \"[^\n]*\" does not exist", _FATAL),
    _rule(LogClass.PERMISSION_DENIED, "", r"^permission denied (for|to) |^must be owner of "),
    _rule(LogClass.UNIQUE_VIOLATION, "", r"^duplicate key value violates unique constraint"),
    _rule(LogClass.SEQUENCE_EXHAUSTED, "", r"^nextval: reached (maximum|minimum) value of"),
    _rule(
        LogClass.INTEGER_OUT_OF_RANGE,
        "",
        r"^(integer|smallint) out of range"
        r"|^value \"-?\d{1,30}\" is out of range for type (integer|smallint)",
    ),
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
    _rule(
        LogClass.TOAST_DAMAGED,
        "",
        r"^(missing|unexpected) chunk number \d+ |^compressed (pglz|lz4) data is corrupt",
    ),
    _rule(
        LogClass.INDEX_DAMAGED,
        "",
        r"^index \"[^\n]*\" contains (unexpected zero|corrupted) page"
        r"|^heap tuple \([\d,]+\) from table \"|^(item|cross page item) order invariant violated"
        r"|^failed to re-find (parent key|tuple) |^right sibling's left-link doesn't match"
        r"|^could not find left sibling of block|^left link changed unexpectedly",
    ),
    _rule(
        LogClass.CATALOG_DAMAGED,
        "",
        r"^(pg_\w{1,60} )?catalog is missing \d+ attribute|^could not find pg_class entry for ",
    ),
    _rule(
        LogClass.INVALID_PAGE,
        "",
        r"^could not open file \"(base|global)/|^could not access status of transaction "
        r"|^could not read blocks? [\d.]{1,30} in file \"[^\n\"]*\": read only \d+ of \d+ bytes",
    ),
    _rule(LogClass.CATALOG_DAMAGED, "", r"^cache lookup failed for |^could not open relation with"),
    _rule(LogClass.INVALID_PAGE, "", r"^invalid page in block|^page verification failed"),
    _rule(
        LogClass.HBA_REJECTED,
        "",
        r"^(no pg_hba\.conf entry for|pg_hba\.conf rejects)",
        _FATAL,
    ),
    _rule(LogClass.LOGIN_NOT_PERMITTED, "", r"^role \"[^\n]*\" is not permitted to log", _FATAL),
    _rule(LogClass.ROLE_UNKNOWN, "", r"^role \"[^\n]*\" does not exist", _FATAL),
    _rule(LogClass.AUTH_FAILED, "", r"^\S+ authentication failed for user", _FATAL),
    _rule(LogClass.DEADLOCK, "", r"^deadlock detected", frozenset({"ERROR"})),
)
