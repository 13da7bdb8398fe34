"""Storage that does not answer, or that has lost what it was given."""

from __future__ import annotations

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC, Facts, server_facts
from stanch.diagnose.causes.ids import (
    CHECKPOINT_STORM,
    CONNECTIONS_LOAD,
    CRASHED,
    DISK_FULL_DATA,
    FSYNC_FAILED,
    MAINTENANCE_OVERLOAD,
    NOISY_NEIGHBOUR,
    STATEMENT_TIMEOUTS,
    STORAGE_STALLED,
    WAL_BURST,
)
from stanch.diagnose.clues import neighbours, storage, wire
from stanch.diagnose.evidence import Evidence, value_of
from stanch.model.changes import ItemKind
from stanch.model.symptoms import SymptomKind


def _tell_stalled(evidence: Evidence) -> str:
    seen = storage.waiting_for_storage(evidence)
    less = storage.commits_fell.ask(evidence)
    stands = storage.flush_stands.ask(evidence)
    rate = "".join(f"; {answer.text}" for answer in (less, stands) if answer.yes)
    if seen is None or not seen[0]:
        kernel = storage.kernel_stall.ask(evidence)
        return f"Storage does not answer{f': {kernel.text}' if kernel.yes else ''}."
    return (
        f"Storage does not answer in time: {seen[0]} of {seen[1]} active sessions wait for it, "
        f"most in {seen[2]}{rate}."
    )


def _stalled_facts(evidence: Evidence) -> Facts:
    seen, processes = storage.waiting_for_storage(evidence), value_of(evidence.processes)
    return (
        *server_facts(evidence),
        ("waiting_sessions", seen[0] if seen else None),
        ("active_sessions", seen[1] if seen else None),
        ("wait_event", seen[2] if seen else None),
        ("processes_in_state_d", processes.waiting_for_storage if processes else None),
    )


def _tell_fsync(evidence: Evidence) -> str:
    event = storage.fsync_panic(evidence)
    said = f": {event.text}" if event is not None else ""
    return (
        "Storage failed to keep what it had taken, and the server ended itself for it; what it "
        f"wrote last may be lost{said}."
    )


storage_stalled = Cause(
    id=STORAGE_STALLED,
    section=Section.DISK,
    sentence="Storage answers far too slowly, or not at all; the work asked of it is the usual.",
    onset=Onset.AT_ONCE,
    impact="At once for whoever reads what is not in memory, and for every commit.",
    prior=-3.0,
    weighs=(
        # A server whose data does not fit in memory waits for storage all day long.
        Weigh(clue=storage.io_waits, yes=2.0, no=-3.0, now=True),
        # Measured, whatever was usual: no work that is asked of a disk explains it.
        Weigh(clue=storage.flush_stands, yes=5.0, no=-0.5, now=True),
        # A lost index makes one statement read everything; that is no fault of the storage.
        Weigh(clue=storage.waits_alike, yes=0.5, no=-3.5, now=True),
        Weigh(clue=storage.commits_fell, yes=2.0, no=-2.0, now=True),
        Weigh(clue=storage.no_more_asked, yes=1.0, no=-2.0, now=True),
        Weigh(clue=storage.in_d_state, yes=0.5, no=-0.5, now=True),
        Weigh(clue=storage.kernel_stall, yes=6.0, no=0.0, now=True),
        Weigh(clue=storage.kernel_errors, yes=1.5, no=0.0, now=True),
        Weigh(clue=neighbours.job_runs, yes=-4.0, no=0.0, now=True),
    ),
    shown_by=(
        (storage.io_waits, True),
        (storage.flush_stands, True),
        (storage.kernel_stall, True),
    ),
    tell=_tell_stalled,
    facts=_stalled_facts,
    apart={
        WAL_BURST: "Has the number of reads and writes a second grown, or only the time each of "
        "them takes (iostat -x)?",
        CHECKPOINT_STORM: "Does the log say that checkpoints are occurring too frequently?",
        MAINTENANCE_OVERLOAD: "Does a backup, a dump or a rebuild of this server run?",
        NOISY_NEIGHBOUR: "Do other machines or programs use the same device (its own metrics)?",
        FSYNC_FAILED: "Does the log end with a PANIC for an fsync, or do sessions just wait?",
    },
    symptoms=(
        SymptomKind.STORAGE_STALLED,
        SymptomKind.LATENCY_UNUSUAL,
        SymptomKind.WRITES_FAILING,
        SymptomKind.HEALTH_CHECK_SLOW,
    ),
    brings_about=(CONNECTIONS_LOAD, STATEMENT_TIMEOUTS),
    follows_change=(ItemKind.EVENT, ItemKind.IMAGE, ItemKind.ROLLOUT),
    safe_first="Look at the device (iostat -x, the volume's own metrics, dmesg); where a standby "
    "has storage of its own that is well, fail over to it.",
    never=(
        "Do not restart the server: shutdown and recovery both wait for the same storage.",
        "Do not switch fsync off: the next crash would damage the data.",
        "Do not end waiting sessions with SIGKILL: the server would crash and have to recover from "
        "that storage.",
    ),
    forbids=("start_server", "set_aside_lock_file", "end_idle_sessions"),
    runbook="",
    source=f"{DOC}wal-reliability.html",
)

fsync_failed = Cause(
    id=FSYNC_FAILED,
    section=Section.DISK,
    sentence="Storage reported that it could not keep data it had taken (a failed fsync); the "
    "server ends itself, because it cannot know what is on disk.",
    onset=Onset.AT_ONCE,
    impact="At once for everybody; after recovery for whoever meets pages that never reached the "
    "disk.",
    prior=-3.0,
    weighs=(
        Weigh(clue=storage.fsync_failed, yes=7.0, no=-7.0),
        Weigh(clue=storage.kernel_errors, yes=1.5, no=0.0),
        Weigh(clue=wire.refused, yes=0.5, no=0.0, now=True),
    ),
    shown_by=((storage.fsync_failed, True),),
    tell=_tell_fsync,
    facts=server_facts,
    apart={
        CRASHED: "Does the PANIC in the log name an fsync?",
        DISK_FULL_DATA: "Does the message end in Input/output error or in No space left on device?",
    },
    symptoms=(SymptomKind.SERVER_DOWN, SymptomKind.STORAGE_ERRORS, SymptomKind.PROCESS_CRASHED),
    brings_about=(CRASHED,),
    follows_change=(ItemKind.EVENT, ItemKind.IMAGE),
    began=lambda e: event.at if (event := storage.fsync_panic(e)) else None,
    safe_first="Look at the kernel's log and the device first; fail over to a standby on other "
    "storage, and check the data here (pg_amcheck, checksums) before anybody trusts it.",
    never=(
        "Do not start the server on that storage and trust what it says: the kernel may have "
        "dropped the pages and forgotten it.",
        "Do not switch data_sync_retry or fsync off to get over it.",
        "Do not run pg_resetwal: recovery from the last checkpoint may bring the rows back.",
    ),
    forbids=("start_server", "set_aside_lock_file"),
    runbook="",
    source=f"{DOC}runtime-config-error-handling.html#GUC-DATA-SYNC-RETRY",
)
