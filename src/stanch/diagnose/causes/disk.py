"""Full volumes."""

from __future__ import annotations

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC, Facts, server_facts
from stanch.diagnose.causes.ids import (
    CONNECTION_STORM,
    CRASHED,
    DISK_FULL_DATA,
    DISK_FULL_WAL,
    KILLED,
)
from stanch.diagnose.clues import space
from stanch.diagnose.evidence import Evidence
from stanch.model.changes import ItemKind
from stanch.model.shown import human_bytes
from stanch.model.symptoms import SymptomKind

NEVER_IN_PG_WAL = "Do not delete or move anything in pg_wal: the server needs it to start."
NEVER_IN_BASE = "Do not delete anything in base or pg_xact: those are the rows."
NEVER_FAIL_OVER = "Do not fail over for this: the standby keeps the same data and the same WAL."


def disk_facts(evidence: Evidence, holds: str) -> Facts:
    """The volume that holds `data`, `wal` or `log`, what is free of it, and what retains WAL."""
    seen, kept = space.volume(evidence, holds), space.retainer(evidence)
    return (
        *server_facts(evidence),
        ("volume", seen.mount_point if seen else None),
        ("device", seen.device if seen else None),
        ("volume_full", space.is_full(seen, evidence) if seen else None),
        ("free_bytes", seen.free_bytes if seen else None),
        ("total_bytes", seen.total_bytes if seen else None),
        ("retainer", kept.name),
        ("retained_bytes", kept.retained_bytes),
    )


def _space(evidence: Evidence, holds: str) -> str:
    seen = space.volume(evidence, holds)
    if seen is None:
        return "its volume"
    free, total = human_bytes(seen.free_bytes), human_bytes(seen.total_bytes)
    return f"{seen.mount_point} ({free} of {total} free)"


def _tell_data(evidence: Evidence) -> str:
    seen = space.volume(evidence, "data")
    if seen is not None and not space.is_full(seen, evidence):
        return f"The data volume was full; there is room again: {_space(evidence, 'data')}."
    both = ", WAL with it" if space.shares_volume(evidence) else ""
    return f"The data volume is full: {_space(evidence, 'data')}{both}."


def _tell_wal(evidence: Evidence) -> str:
    seen = space.volume(evidence, "wal")
    kept = space.retainer(evidence)
    amount = human_bytes(kept.retained_bytes) if kept.retained_bytes else "an unknown amount"
    who = {
        "unknown": "What retains WAL is not known",
        "none": "Nothing retains WAL beyond what the server itself needs",
        "archiver": f"The archiver fails and {amount} wait for it",
        "wal_keep": f"wal_keep_size retains {amount}",
    }.get(kept.name, f"{kept.name.replace(':', ' ', 1)} retains {amount}")
    room = _space(evidence, "wal")
    if seen is not None and not space.is_full(seen, evidence):
        return f"The volume of pg_wal was full; there is room again: {room}. {who}."
    return f"The volume of pg_wal is full: {room}. {who}."


def _mount(holds: str, evidence: Evidence) -> str:
    seen = space.volume(evidence, holds)
    return seen.mount_point if seen else ""


disk_full_data = Cause(
    id=DISK_FULL_DATA,
    section=Section.DISK,
    sentence="The volume of the data directory (or of a tablespace) has no space left.",
    onset=Onset.CREEPING,
    impact="At once for everything that writes; reads go on.",
    family="data_disk",
    prior=-3.0,
    weighs=(
        Weigh(clue=space.data_full, yes=6.0, no=-6.0, now=True),
        Weigh(clue=space.data_write_refused, yes=3.0, no=-0.5),
        Weigh(clue=space.fell_for_data, yes=4.5, no=0.0),
        # Retained WAL that fills a shared volume is told by its own cause.
        Weigh(clue=space.wal_fills_shared, yes=-12.0, no=0.5, now=True),
    ),
    tell=_tell_data,
    facts=lambda e: disk_facts(e, "data"),
    subject=lambda e: _mount("data", e),
    apart={
        DISK_FULL_WAL: "What grew: pg_wal or base?",
    },
    symptoms=(SymptomKind.DISK_FULL, SymptomKind.DISK_LOW, SymptomKind.SERVER_DOWN),
    brings_about=(CONNECTION_STORM, CRASHED, KILLED),
    follows_change=(
        ItemKind.DEPLOY,
        ItemKind.RELATION,
        ItemKind.SETTING,
    ),
    safe_first="Cancel the statement that grows, then free what is known to be safe (ballast, old "
    "server logs) or grow the volume.",
    never=(
        "Do not run VACUUM FULL: it needs as much space again.",
        NEVER_IN_BASE,
        NEVER_IN_PG_WAL,
        NEVER_FAIL_OVER,
    ),
    forbids=("set_aside_lock_file",),
    runbook="disk-full",
    source=f"{DOC}disk-full.html",
)

disk_full_wal = Cause(
    id=DISK_FULL_WAL,
    section=Section.DISK,
    sentence="The volume of pg_wal has no space left; the server stops until there is some.",
    onset=Onset.CREEPING,
    impact="At once for everybody: the server ends itself, and ends again with each start.",
    family="wal_disk",
    prior=-3.0,
    weighs=(
        Weigh(clue=space.wal_full, yes=4.0, no=-6.0, now=True),
        Weigh(clue=space.wal_own_or_filling, yes=3.0, no=-6.0, now=True),
        Weigh(clue=space.wal_write_refused, yes=3.0, no=-0.5),
        Weigh(clue=space.fell_for_wal, yes=3.0, no=0.0),
    ),
    tell=_tell_wal,
    facts=lambda e: disk_facts(e, "wal"),
    subject=lambda e: _mount("wal", e),
    symptoms=(SymptomKind.DISK_FULL, SymptomKind.DISK_LOW, SymptomKind.SERVER_DOWN),
    brings_about=(CONNECTION_STORM, CRASHED, KILLED),
    follows_change=(
        ItemKind.SETTING,
        ItemKind.DEPLOY,
    ),
    safe_first="Grow the volume or free what is known to be safe; then mend what retains the WAL "
    "(the slot's consumer, the archive command).",
    never=(
        NEVER_IN_PG_WAL,
        "Do not run pg_resetwal: it loses committed rows.",
        NEVER_FAIL_OVER,
        "Do not set archive_command to something that discards: backups lose their WAL.",
        "Do not drop a replication slot before its owner has agreed.",
    ),
    forbids=("set_aside_lock_file",),
    runbook="disk-full",
    source=f"{DOC}wal-configuration.html",
)
