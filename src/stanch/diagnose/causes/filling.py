"""What beside rows and WAL fills a volume: temporary files, server logs, many small files."""

from __future__ import annotations

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC, Facts
from stanch.diagnose.causes.disk import NEVER_IN_BASE, NEVER_IN_PG_WAL, disk_facts
from stanch.diagnose.causes.ids import (
    CONNECTION_STORM,
    DISK_FULL_DATA,
    DISK_FULL_WAL,
    INODES_EXHAUSTED,
    LOG_VOLUME_FULL,
    TEMP_FILE_SPILL,
)
from stanch.diagnose.clues import filling, space
from stanch.diagnose.evidence import Evidence, value_of
from stanch.diagnose.inside import Activity
from stanch.facts.workings import Doing
from stanch.model.changes import ItemKind
from stanch.model.shown import human_bytes
from stanch.model.symptoms import SymptomKind

DISK_SYMPTOMS = (SymptomKind.DISK_FILLING, SymptomKind.DISK_LOW, SymptomKind.DISK_FULL)

# --- temporary files ----------------------------------------------------------------------------


def _doing(evidence: Evidence) -> Doing | None:
    """What the process does that wrote the most."""
    found = filling.spiller(evidence)
    activity: Activity | None = value_of(evidence.activity)
    if found is None or activity is None:
        return None
    return next((d for d in activity.doings if d.oldest_pid == found[0]), None)


def _tell_temp(evidence: Evidence) -> str:
    taken, found, doing = (
        filling.temp_bytes(evidence),
        filling.spiller(evidence),
        _doing(evidence),
    )
    refused = filling.temp_refused(evidence)
    if not taken and refused is not None:
        return f"A statement filled the volume with temporary files and was refused: {refused.text}"
    who = f"; most of them are of session {found[0]}" if found else ""
    app = f' (application "{doing.application_name}")' if doing and doing.application_name else ""
    return f"Temporary files take {human_bytes(taken or 0)} of the data volume{who}{app}."


def _temp_facts(evidence: Evidence) -> Facts:
    found, doing = filling.spiller(evidence), _doing(evidence)
    taken = filling.temp_bytes(evidence)
    return (
        *disk_facts(evidence, "data"),
        ("temp_bytes", None if taken is None else round(taken)),
        ("spiller_pid", found[0] if found else None),
        ("spiller_bytes", round(found[1]) if found else None),
        ("application_name", doing.application_name if doing else None),
        ("usename", doing.usename if doing else None),
    )


temp_file_spill = Cause(
    id=TEMP_FILE_SPILL,
    section=Section.DISK,
    sentence="Sorts, hashes or cursors that do not fit in work_mem fill the volume with temporary "
    "files.",
    onset=Onset.AT_ONCE,
    impact="When the volume is full, for everything that writes.",
    prior=-3.0,
    weighs=(
        Weigh(clue=filling.temp_takes, yes=4.0, no=-1.0, now=True),
        # A report may take half a volume that has the room: that is what it is there for.
        Weigh(clue=filling.data_short, yes=2.5, no=-3.5, now=True),
        # The space is free again once the statement has failed: then only the log tells.
        Weigh(clue=filling.temp_write_refused, yes=8.5, no=-0.5),
    ),
    shown_by=((filling.temp_takes, True), (filling.temp_write_refused, True)),
    tell=_tell_temp,
    facts=_temp_facts,
    subject=lambda e: str(found[0]) if (found := filling.spiller(e)) else "",
    apart={
        DISK_FULL_DATA: "How much does pgsql_tmp take (pg_ls_tmpdir), and does the space come back "
        "when the largest statement is canceled?",
        LOG_VOLUME_FULL: "What is larger: pgsql_tmp or the folder of server logs?",
    },
    symptoms=(SymptomKind.TEMP_FILES_FLOOD, *DISK_SYMPTOMS),
    brings_about=(DISK_FULL_DATA,),
    follows_change=(ItemKind.DEPLOY, ItemKind.ROLLOUT, ItemKind.SETTING, ItemKind.RELATION),
    safe_first="Cancel the statement that writes the most of them (pg_cancel_backend); the space "
    "is free at once. Then give its role a temp_file_limit.",
    never=(
        "Do not raise work_mem for everybody: what spilled to disk then takes memory, in every "
        "session at once.",
        "Do not delete files in pgsql_tmp while the server runs: their statements read them.",
        NEVER_IN_BASE,
    ),
    forbids=("set_aside_lock_file",),
    runbook="disk-full",
    source=f"{DOC}runtime-config-resource.html#GUC-TEMP-FILE-LIMIT",
)

# --- the server log -----------------------------------------------------------------------------


def _tell_log(evidence: Evidence) -> str:
    fills, storm = filling.log_fills.ask(evidence), filling.log_storm.ask(evidence)
    every = filling.logs_all.ask(evidence)
    why = f"; {every.text}" if every.yes else ""
    rate = f"; {storm.text}" if storm.yes else ""
    return f"The server log fills its volume: {fills.text}{rate}{why}."


def _log_facts(evidence: Evidence) -> Facts:
    volumes, rate = value_of(evidence.volumes), filling.lines_per_s(evidence)
    return (
        *disk_facts(evidence, "log"),
        ("log_bytes", volumes.log_bytes if volumes else None),
        ("log_lines_per_s", None if rate is None else round(rate)),
    )


def _log_mount(evidence: Evidence) -> str:
    seen = space.volume(evidence, "log")
    return seen.mount_point if seen else ""


log_volume_full = Cause(
    id=LOG_VOLUME_FULL,
    section=Section.DISK,
    sentence="The server log fills its volume: too much is logged, or old logs are never removed.",
    onset=Onset.CREEPING,
    impact="On a volume of its own: lines are lost and the server goes on. On the data volume: for "
    "everything that writes.",
    prior=-3.0,
    weighs=(
        Weigh(clue=filling.log_fills, yes=6.0, no=-6.0, now=True),
        Weigh(clue=filling.log_storm, yes=1.0, no=-0.5, now=True),
        Weigh(clue=filling.logs_all, yes=1.0, no=0.0, now=True),
        Weigh(clue=filling.log_refused, yes=2.0, no=0.0),
    ),
    shown_by=((filling.log_fills, True),),
    tell=_tell_log,
    facts=_log_facts,
    subject=_log_mount,
    apart={
        DISK_FULL_DATA: "What takes the most of the volume: the folder of server logs, or base?",
    },
    symptoms=DISK_SYMPTOMS,
    brings_about=(DISK_FULL_DATA,),
    follows_change=(ItemKind.SETTING, ItemKind.DEPLOY, ItemKind.ROLLOUT, ItemKind.EXTENSION),
    safe_first="Take back what makes it log so much (log_statement, log_min_duration_statement, "
    "auto_explain, an application that fails in a loop), reload, then compress or move old logs.",
    never=(
        "Do not delete the log that is being written: its space stays taken until the server lets "
        "go of it, and what happened is lost.",
        NEVER_IN_BASE,
        NEVER_IN_PG_WAL,
    ),
    forbids=("set_aside_lock_file",),
    runbook="disk-full",
    source=f"{DOC}logfile-maintenance.html",
)

# --- inodes -------------------------------------------------------------------------------------


def _tell_inodes(evidence: Evidence) -> str:
    seen = filling.without_inodes(evidence)
    if seen is None:
        return "A volume has no inode left: no file can be made."
    free = human_bytes(seen.free_bytes)
    return f"{seen.mount_point} has {free} free and not one inode: no file can be made on it."


def _inode_facts(evidence: Evidence) -> Facts:
    seen = filling.without_inodes(evidence)
    holds = next((part for part in ("data", "wal", "log") if seen and part in seen.holds), "data")
    kept = value_of(evidence.retention)
    return (
        *disk_facts(evidence, holds),
        ("free_inodes", seen.free_inodes if seen else None),
        ("ready_files", kept.ready_files if kept else None),
    )


inodes_exhausted = Cause(
    id=INODES_EXHAUSTED,
    section=Section.DISK,
    sentence="A volume has room, but no inode: nobody can make a file on it.",
    onset=Onset.CREEPING,
    impact="At once for whatever makes files: new tables and indexes, sorts, WAL.",
    prior=-3.0,
    weighs=(Weigh(clue=filling.no_inodes, yes=7.0, no=-7.0, now=True),),
    shown_by=((filling.no_inodes, True),),
    tell=_tell_inodes,
    facts=_inode_facts,
    subject=lambda e: seen.mount_point if (seen := filling.without_inodes(e)) else "",
    apart={
        DISK_FULL_DATA: "Does df -i show free inodes where df shows free bytes?",
        DISK_FULL_WAL: "Does df -i show free inodes where df shows free bytes?",
    },
    symptoms=(SymptomKind.INODES_LOW, SymptomKind.DISK_FULL),
    brings_about=(CONNECTION_STORM, DISK_FULL_DATA, DISK_FULL_WAL),
    follows_change=(ItemKind.DEPLOY, ItemKind.ROLLOUT, ItemKind.RELATION, ItemKind.SETTING),
    safe_first="Find the folder with the most files (du --inodes) and remove what is not "
    "PostgreSQL's: spool, sessions, old logs. A new file system takes another number of inodes.",
    never=(
        NEVER_IN_BASE,
        NEVER_IN_PG_WAL,
        "Do not delete status files in pg_wal/archive_status: the server archives by them.",
        "Do not grow the volume without looking: not every file system gets more inodes by it.",
    ),
    forbids=("set_aside_lock_file",),
    runbook="disk-full",
    source=f"{DOC}disk-full.html",
)
