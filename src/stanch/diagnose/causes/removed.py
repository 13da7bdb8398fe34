"""A data directory that was emptied, in part or whole, or whose volume is not mounted."""

from __future__ import annotations

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC, Facts, server_facts
from stanch.diagnose.causes.ids import (
    CANNOT_START,
    CRASHED,
    DATA_FILES_REMOVED,
    KILLED,
    NO_VALID_CHECKPOINT,
    PAGE_CORRUPTION,
    STALE_LOCK_FILE,
    STOPPED_CLEANLY,
    UPGRADE_FAILED,
)
from stanch.diagnose.clues import directory, lock, startup
from stanch.diagnose.evidence import Evidence, value_of
from stanch.model.symptoms import SymptomKind


def _tell(evidence: Evidence) -> str:
    lives = lock.postmaster_alive.ask(evidence).yes
    more = "; a server process still has its files open" if lives else ""
    gone = directory.said_gone(evidence)
    if not gone and (folder := directory.database_folder_gone(evidence)):
        gone = f"{folder}, the folder of a database, is not there"
    return f"Files of the data directory are gone: {gone}{more}."


def _facts(evidence: Evidence) -> Facts:
    files = value_of(evidence.files)
    return (
        *server_facts(evidence),
        ("version_file_present", bool(files.version) if files else None),
        ("control_file_present", files.control_file if files else None),
    )


data_files_removed = Cause(
    id=DATA_FILES_REMOVED,
    section=Section.DATA,
    sentence="Files that every data directory has are gone: somebody deleted them on the wrong "
    "machine or in the wrong folder, or the volume they lie on is not mounted there.",
    onset=Onset.AT_ONCE,
    impact="At once for new sessions; those that have their files open go on for a while, and no "
    "start will work.",
    prior=-3.0,
    weighs=(
        Weigh(clue=directory.files_gone, yes=13.0, no=-7.0, now=True),
        Weigh(clue=directory.database_folder, yes=13.0, no=0.0, now=True),
        # pg_upgrade moves the control file away for good.
        Weigh(clue=startup.control_set_aside, yes=-9.0, no=0.0),
    ),
    shown_by=((directory.files_gone, True), (directory.database_folder, True)),
    tell=_tell,
    facts=_facts,
    apart={
        CANNOT_START: "Is PG_VERSION there, in the data directory itself?",
        NO_VALID_CHECKPOINT: "Is only global/pg_control gone, or PG_VERSION as well?",
        UPGRADE_FAILED: "Is there a global/pg_control.old beside the missing control file?",
        STOPPED_CLEANLY: "Is PG_VERSION there, in the data directory itself?",
    },
    symptoms=(SymptomKind.SERVER_DOWN, SymptomKind.UNWATCHED, SymptomKind.LOG_CORRUPTION),
    brings_about=(
        CANNOT_START,
        NO_VALID_CHECKPOINT,
        STOPPED_CLEANLY,
        CRASHED,
        KILLED,
        STALE_LOCK_FILE,
        PAGE_CORRUPTION,
    ),
    safe_first="See whether the volume is mounted (findmnt). If it is: stop whatever deletes, end "
    "no server process that still lives, for what it has open can be copied from /proc/PID/fd, "
    "keep the WAL and the archive, and restore to another place.",
    never=(
        "Do not start it or its container, and do not run initdb: images make a new, empty cluster "
        "in an empty folder, over what could still be recovered.",
        "Do not end server processes that still live: with them go the files they have open.",
        "Do not let a standby or an archive follow it before a copy of them is safe.",
    ),
    forbids=("start_server", "set_aside_lock_file", "free_space"),
    runbook="",
    source=f"{DOC}storage-file-layout.html",
)
