"""From the log's bytes and the lock file to the few facts a diagnosis keeps of them."""

from __future__ import annotations

import hashlib
import posixpath
from collections import Counter
from collections.abc import Sequence

from stanch.diagnose.outside import LockFileSeen, LockState, Log, LogCount, LogEvent
from stanch.facts.lock_file import LockFile, LockFileState, LockFileVerdict
from stanch.facts.log_class import STATEMENTS, LogClass
from stanch.facts.log_lines import LogFormat, LogParser
from stanch.facts.log_records import LogRecord
from stanch.facts.redacting import redacted
from stanch.model.diagnosis import Missing
from stanch.model.host import LockFileRead, LogChunk, ProcessInfo, SharedMemory
from stanch.model.shown import shortened

EVENTS_MAX = 100
"""Of each of the two kinds: the server's life, and everything else worth a class."""
TELLING_MAX = 50
ENDED_MAX = 10
"""Of sessions that somebody ended: a server that is shut down ends all of them."""
TEXT_CHARS_MAX = 300
COMMAND_CHARS_MAX = 200
WHO_MAX = 5
WHO_CHARS_MAX = 120

LIFE = frozenset(
    {
        LogClass.SHUTDOWN_REQUEST_SMART,
        LogClass.SHUTDOWN_REQUEST_FAST,
        LogClass.SHUTDOWN_REQUEST_IMMEDIATE,
        LogClass.SHUT_DOWN,
        LogClass.STARTING,
        LogClass.READY,
        LogClass.CRASH_CHILD_SIGNAL,
        LogClass.REINITIALIZING,
        LogClass.INTERRUPTED_RECOVERY,
        LogClass.LOCK_FILE_EXISTS,
        LogClass.SHARED_MEMORY_IN_USE,
        LogClass.LOCK_FILE_REMOVED,
        LogClass.PANIC_FSYNC,
        LogClass.CONFIG_ERROR,
        LogClass.START_GAVE_UP,
        LogClass.NO_CHECKPOINT,
        LogClass.TIMELINE_DIVERGED,
    }
)
"""Lines that come seldom and decide much: a flood of refused logins must not push them out."""
DETAILED = frozenset(
    {
        LogClass.CONFIG_ERROR,
        LogClass.START_GAVE_UP,
        LogClass.LIBRARY_MISSING,
        LogClass.NO_CHECKPOINT,
        LogClass.OUT_OF_MEMORY,
        LogClass.FORK_FAILED,
        LogClass.TOO_MANY_FILES,
    }
)
"""Of these the server writes DETAIL and HINT itself: no rows and no literals are in them."""


ABOUT_DATA = frozenset(
    {
        LogClass.INTEGER_OUT_OF_RANGE,
        LogClass.INVALID_PAGE,
        LogClass.TOAST_DAMAGED,
        LogClass.INDEX_DAMAGED,
        LogClass.CATALOG_DAMAGED,
    }
)
"""Of these it is the statement that says which table is affected."""
RAN = "Failed process was running: "
"""What the server itself says of a process that was ended by a signal."""
APART = frozenset({LogClass.OTHER, LogClass.SESSION_ENDED})
TELLING = STATEMENTS | ABOUT_DATA
"""What is missed by many is told by few lines of these: they are kept beside the flood."""


def log_from(chunk: LogChunk, *, log_timezone: str = "") -> Log:
    """The classified events at the end of the log, oldest first."""
    parser = LogParser(LogFormat.of_path(chunk.path), log_timezone=log_timezone or None)
    records = [*parser.feed(chunk.content), *parser.flush()]
    life = [n for n, r in enumerate(records) if _is_life(r)][-EVENTS_MAX:]
    told = [n for n, r in enumerate(records) if r.log_class in TELLING][-TELLING_MAX:]
    ended = [n for n, r in enumerate(records) if r.log_class == LogClass.SESSION_ENDED][-ENDED_MAX:]
    rest = [n for n, r in enumerate(records) if not _is_life(r) and r.log_class not in APART]
    kept = sorted({*life, *told, *ended, *rest[-EVENTS_MAX:]})
    return Log(
        path=chunk.path,
        events=tuple(_event(records[n]) for n in kept),
        records_read=len(records),
        begins_at=next((r.at for r in records if r.at is not None), None),
        counts=counts_of(records),
    )


def counts_of(records: Sequence[LogRecord]) -> tuple[LogCount, ...]:
    """All records worth a class, counted by it."""
    by_class: dict[LogClass, list[LogRecord]] = {}
    for record in records:
        if record.log_class is not LogClass.OTHER:
            by_class.setdefault(record.log_class, []).append(record)
    return tuple(_count(kind, found) for kind, found in sorted(by_class.items()))


def _count(kind: LogClass, records: Sequence[LogRecord]) -> LogCount:
    times = [record.at for record in records if record.at is not None]
    who = Counter(said for record in records if (said := who_of(record)))
    most = sorted(who.items(), key=lambda item: (-item[1], item[0]))[:WHO_MAX]
    return LogCount(
        kind=kind.value,
        lines=len(records),
        first_at=min(times, default=None),
        last_at=max(times, default=None),
        who=tuple(most),
    )


def who_of(record: LogRecord) -> str:
    """`role@database (application)`, as far as the record says."""
    if not record.user and not record.database:
        return ""
    application = f" ({record.application_name})" if record.application_name else ""
    return shortened(f"{record.user}@{record.database}{application}", WHO_CHARS_MAX)


def _is_life(record: LogRecord) -> bool:
    return record.log_class in LIFE or record.severity == "PANIC"


def _event(record: LogRecord) -> LogEvent:
    told = redacted(record.message) if record.log_class in STATEMENTS else record.message
    asked = _asked(record)
    return LogEvent(
        kind=record.log_class.value,
        text=told[:TEXT_CHARS_MAX],
        at=record.at,
        sqlstate=record.sqlstate or "",
        who=who_of(record),
        severity=record.severity,
        signal=record.signal,
        named_pid=record.named_pid,
        pid=record.pid,
        statement=shortened(redacted(asked), TEXT_CHARS_MAX),
        detail=_detail(record),
    )


def _asked(record: LogRecord) -> str:
    """The statement that tells what is affected, or which brought the process down."""
    if record.log_class in ABOUT_DATA:
        return record.statement
    _, ran, asked = record.detail.partition(RAN)
    return asked if ran and record.log_class is LogClass.CRASH_CHILD_SIGNAL else ""


def _detail(record: LogRecord) -> str:
    if record.log_class not in DETAILED:
        return ""
    return shortened(record.detail or record.hint, TEXT_CHARS_MAX)


NO_LOCK_FILE = LockFileSeen(present=False)


def lock_from(
    read: LockFileRead,
    lock: LockFile,
    verdict: LockFileVerdict,
    *,
    holder: ProcessInfo | Missing | None,
    shared_memory: SharedMemory | Missing,
    owner_uid: int | Missing,
    boot_id: str | Missing,
) -> LockFileSeen:
    """The lock file with what is known of the process that has its PID now."""
    states: dict[LockFileState, LockState] = {
        LockFileState.LIVE: "live",
        LockFileState.STALE: "stale",
        LockFileState.UNPROVEN: "unproven",
    }
    # Where nobody collects the dead at once, a killed postmaster keeps its PID for a while: it is
    # no living server, though PostgreSQL refuses to start until it is gone. The guards know that.
    seen = holder if isinstance(holder, ProcessInfo) and holder.state != "zombie" else None
    attached = None if isinstance(shared_memory, Missing) else shared_memory.attached > 0
    return LockFileSeen(
        present=True,
        state=states[verdict.state],
        pid=lock.pid,
        inode=read.inode,
        sha256=hashlib.sha256(read.content).hexdigest(),
        boot_id="" if isinstance(boot_id, Missing) else boot_id,
        holder_pid=seen.pid if seen else None,
        holder_command=_command(seen) if seen else "",
        holder_is_postmaster=_is_server(seen, lock) if seen else None,
        holder_blocks_start=_blocks(seen, owner_uid) if seen else None,
        holder_unknown=isinstance(holder, Missing),
        shared_memory_attached=attached,
        unproven=tuple(p.name.value for p in verdict.proofs if p.ok is not True),
    )


def _command(process: ProcessInfo) -> str:
    return (process.title or process.exe or "unknown")[:COMMAND_CHARS_MAX]


def _is_server(process: ProcessInfo, lock: LockFile) -> bool | None:
    """A postgres started when the file says; None where the executable is not shown."""
    if process.exe is not None:
        name = posixpath.basename(process.exe.removesuffix(" (deleted)"))
    elif process.title:
        # Other users' executables are hidden, but not their command lines.
        name = posixpath.basename(process.title.split(" ")[0].rstrip(":"))
    else:
        return None
    if name not in {"postgres", "postmaster"}:
        return False
    # A postgres of another data directory has the PID: it is a server, but not this one.
    if process.cwd is not None and lock.data_directory is not None:
        here = posixpath.normpath(lock.data_directory)
        return posixpath.normpath(process.cwd) == here
    return True


def _blocks(process: ProcessInfo, owner_uid: int | Missing) -> bool | None:
    """PostgreSQL asks whether it may signal the process; only its own user's say yes."""
    if isinstance(owner_uid, Missing) or process.uid is None:
        return None
    return process.uid == owner_uid
