"""Who keeps WAL until its volume is full: an archive that takes none, slots that nobody reads."""

from __future__ import annotations

from datetime import datetime

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.abandoned import abandoned_facts
from stanch.diagnose.causes.common import DOC, Facts
from stanch.diagnose.causes.disk import NEVER_FAIL_OVER, NEVER_IN_PG_WAL, disk_facts
from stanch.diagnose.causes.ids import (
    ARCHIVER_FAILING,
    DISK_FULL_WAL,
    LAG_SENDING,
    SLOT_INACTIVE,
    SLOT_STUCK,
    WAL_BURST,
)
from stanch.diagnose.clues import archive, left_wal, slots, wal
from stanch.diagnose.clues.space import is_full, volume, wal_write_refused
from stanch.diagnose.evidence import Evidence, value_of
from stanch.model.changes import ItemKind
from stanch.model.shown import human_bytes, span
from stanch.model.symptoms import SymptomKind

NEVER_DISCARD = (
    "Do not set archive_command to something that discards (/bin/true): every backup made before "
    "ends at that hole."
)
NEVER_RESTART = "Do not restart the server: the WAL stays retained, and the slot stays as it is."


def _with(evidence: Evidence, **more: str | float | bool | None) -> Facts:
    """What room there is, and who takes it: here that is known better than by amounts."""
    return tuple({**dict(disk_facts(evidence, "wal")), **more}.items())


def _has_room(evidence: Evidence) -> bool:
    """There is room, and there was all the time that was looked back over."""
    return not wal.is_short(evidence) and not wal_write_refused.ask(evidence).yes


def _lasts(evidence: Evidence) -> str:
    left_s, seen = wal.fills_in_s(evidence), volume(evidence, "wal")
    if seen is not None and is_full(seen, evidence):
        return " The volume of pg_wal is full."
    return f" At this rate its volume is full in {span(left_s)}." if left_s else ""


def _told_since(evidence: Evidence, kind: SymptomKind) -> datetime | None:
    return min((s.since for s in evidence.symptoms if s.kind is kind), default=None)


# --- the archive --------------------------------------------------------------------------------


def _tell_archiver(evidence: Evidence) -> str:
    hangs = archive.archive_hangs.ask(evidence)
    if hangs.yes:
        return f"WAL is not archived: {hangs.text}.{_lasts(evidence)}"
    file, code = archive.failed_file(evidence), archive.exit_code(evidence)
    how = f" with exit code {code}" if code is not None else ""
    why = {126: ": it may not be executed", 127: ": it is not there"}.get(code or 0, "")
    which = f" for {file}" if file else ""
    kept = value_of(evidence.retention)
    files = kept.ready_files if kept is not None else None
    waiting = f"; {files} WAL files wait" if files else ""
    return f"WAL is not archived: the command fails{how}{why}{which}{waiting}.{_lasts(evidence)}"


def _archive_began(evidence: Evidence) -> datetime | None:
    told = (
        _told_since(evidence, SymptomKind.ARCHIVE_FAILING),
        _told_since(evidence, SymptomKind.ARCHIVE_STALLED),
        archive.archive_hangs.ask(evidence).at,
    )
    return min((at for at in told if at is not None), default=None)


def _archiver_facts(evidence: Evidence) -> Facts:
    kept = value_of(evidence.retention)
    files = kept.ready_files if kept is not None else None
    waiting = None if kept is None or files is None else files * kept.wal_segment_bytes
    return _with(
        evidence,
        retainer="archiver",
        retained_bytes=waiting,
        ready_files=files,
        last_failed_wal=archive.failed_file(evidence) or None,
        archive_exit_code=archive.exit_code(evidence),
    )


archiver_failing = Cause(
    id=ARCHIVER_FAILING,
    section=Section.DISK,
    sentence="The archive command (or library) fails, or hangs and never comes back; WAL stays in "
    "pg_wal until it is archived.",
    onset=Onset.AT_ONCE,
    impact="At once for recovery: nothing newer can be restored. For everybody when the volume of "
    "pg_wal is full.",
    prior=-3.0,
    weighs=(
        Weigh(clue=archive.archive_failing, yes=3.0, no=-6.0, now=True),
        # That nothing fails is then what it looks like.
        Weigh(clue=archive.archive_hangs, yes=11.0, no=0.0, now=True),
        Weigh(clue=archive.archive_told_stalled, yes=11.0, no=0.0, now=True),
        Weigh(clue=archive.archive_failures_logged, yes=2.5, no=-0.5),
        Weigh(clue=archive.segments_wait, yes=1.5, no=-2.0, now=True),
        Weigh(clue=archive.none_archived, yes=1.5, no=-1.5, now=True),
        Weigh(clue=archive.archive_told_failing, yes=2.5, no=-0.5, now=True),
        Weigh(clue=left_wal.archive_left, yes=4.5, no=-4.0, now=True),
    ),
    shown_by=(
        (archive.archive_failing, True),
        (archive.archive_hangs, True),
        (archive.archive_told_stalled, True),
        (left_wal.archive_left, True),
    ),
    tell=_tell_archiver,
    facts=_archiver_facts,
    subject=archive.failed_file,
    apart={
        SLOT_INACTIVE: "Which is as old as the oldest file in pg_wal: the first .ready in "
        "archive_status, or the restart_lsn of a slot?",
        WAL_BURST: "Is pg_stat_archiver.last_failed_time newer than last_archived_time?",
    },
    symptoms=(
        SymptomKind.ARCHIVE_FAILING,
        SymptomKind.ARCHIVE_STALLED,
        SymptomKind.DISK_FILLING,
        SymptomKind.DISK_LOW,
        SymptomKind.DISK_FULL,
    ),
    brings_about=(DISK_FULL_WAL,),
    follows_change=(ItemKind.SETTING, ItemKind.DEPLOY, ItemKind.ROLLOUT, ItemKind.SERVER),
    began=_archive_began,
    impact_in_s=wal.fills_in_s,
    hurts_later=_has_room,
    safe_first="Run the archive command by hand for the file that failed and mend what it says "
    "(credentials, space, network); a file that is in the archive already and is the same has to "
    "count as success. One that hangs: see what the archiver's child waits for, and end that child "
    "alone; the server tries again by itself.",
    never=(
        NEVER_DISCARD,
        NEVER_IN_PG_WAL,
        "Do not switch archive_mode off: it takes a restart, and the archive gets a hole.",
        NEVER_FAIL_OVER,
    ),
    forbids=("set_aside_lock_file",),
    runbook="disk-full",
    source=f"{DOC}continuous-archiving.html#BACKUP-ARCHIVING-WAL",
)

# --- slots --------------------------------------------------------------------------------------


def _slot_facts(evidence: Evidence, slot: slots.SlotSeen | None) -> Facts:
    if slot is None:
        return _with(evidence)
    return _with(
        evidence,
        retainer=f"slot:{slot.name}",
        retained_bytes=round(slot.retained_bytes),
        slot=slot.name,
        slot_type=slot.kind or None,
        slot_active=slot.active,
        wal_status=slot.status or None,
    )


def _slot_lasts_s(evidence: Evidence) -> float | None:
    """Where slots may keep only so much, a slot is lost long before the volume is full."""
    limit = wal.setting_bytes(evidence, "max_slot_wal_keep_size")
    return None if limit is not None and limit >= 0 else wal.fills_in_s(evidence)


def _slot_text(slot: slots.SlotSeen) -> str:
    kind = f"{slot.kind} slot" if slot.kind else "slot"
    return f'{kind} "{slot.name}" retains {human_bytes(slot.retained_bytes)} of WAL'


def _slot_ends(evidence: Evidence) -> str:
    limit = wal.setting_bytes(evidence, "max_slot_wal_keep_size")
    if limit is not None and limit >= 0:
        return f" Beyond {human_bytes(limit)} (max_slot_wal_keep_size) it is lost."
    return _lasts(evidence)


def _tell_inactive(evidence: Evidence) -> str:
    slot = slots.unused_slot(evidence)
    if slot is None:
        return "A slot without a consumer retains WAL."
    consumer = "has no consumer" if slot.active is False else "nobody is known to read from it"
    return f"The {_slot_text(slot)} and {consumer}.{_slot_ends(evidence)}"


def _tell_stuck(evidence: Evidence) -> str:
    slot = slots.used_slot(evidence)
    if slot is None:
        return "A slot whose consumer is connected does not move."
    return (
        f"The {_slot_text(slot)}: its consumer is connected and confirms nothing."
        f"{_slot_ends(evidence)}"
    )


def _name(slot: slots.SlotSeen | None) -> str:
    return slot.name if slot is not None else ""


SLOT_SYMPTOMS = (
    SymptomKind.SLOT_RETAINS_WAL,
    SymptomKind.DISK_FILLING,
    SymptomKind.DISK_LOW,
    SymptomKind.DISK_FULL,
)

slot_inactive = Cause(
    id=SLOT_INACTIVE,
    section=Section.DISK,
    sentence="A replication slot without a consumer keeps all WAL since its consumer left.",
    onset=Onset.CREEPING,
    impact="When the volume of pg_wal is full, for everybody; before that, vacuum is held back by "
    "a logical slot.",
    prior=-3.0,
    weighs=(
        Weigh(clue=slots.slot_unused, yes=4.0, no=-6.0, now=True),
        Weigh(clue=left_wal.slot_left, yes=5.5, no=-6.0, now=True),
        Weigh(clue=slots.slot_told_unused, yes=1.5, no=-0.5, now=True),
        Weigh(clue=slots.slot_keeps_many_times, yes=2.0, no=0.0, now=True),
        Weigh(clue=wal.retention_hurts, yes=1.5, no=-2.0, now=True),
    ),
    shown_by=((slots.slot_unused, True), (left_wal.slot_left, True)),
    tell=_tell_inactive,
    facts=lambda e: (
        *(known := _slot_facts(e, slots.unused_slot(e))),
        *abandoned_facts(e, full=dict(known).get("volume_full") is True),
    ),
    subject=lambda e: _name(slots.unused_slot(e)),
    apart={
        SLOT_STUCK: "Is pg_replication_slots.active true for the slot that retains most?",
        WAL_BURST: "Does pg_replication_slots show a slot whose restart_lsn is far behind?",
    },
    symptoms=(SymptomKind.SLOT_INACTIVE, SymptomKind.STANDBY_GONE, *SLOT_SYMPTOMS),
    brings_about=(DISK_FULL_WAL,),
    follows_change=(ItemKind.DEPLOY, ItemKind.ROLLOUT, ItemKind.SERVER, ItemKind.OBJECT),
    began=lambda e: _told_since(e, SymptomKind.SLOT_INACTIVE),
    impact_in_s=_slot_lasts_s,
    hurts_later=_has_room,
    safe_first="Bring its consumer back; where nobody can, set max_slot_wal_keep_size so that the "
    "slot is lost before the volume is full, and drop it only when its owner has agreed.",
    never=(
        "Do not drop the slot before its owner has agreed: a logical consumer has to copy "
        "everything anew, and a standby may have to be rebuilt.",
        NEVER_IN_PG_WAL,
        NEVER_FAIL_OVER,
        NEVER_RESTART,
    ),
    forbids=("set_aside_lock_file",),
    runbook="slot-inactive",
    source=f"{DOC}warm-standby.html#STREAMING-REPLICATION-SLOTS",
)

slot_stuck = Cause(
    id=SLOT_STUCK,
    section=Section.DISK,
    sentence="A replication slot's consumer is connected and confirms nothing, so WAL piles up "
    "behind a slot that looks alive.",
    onset=Onset.AT_ONCE,
    impact="When the volume of pg_wal is full, for everybody; at once for whoever reads what the "
    "consumer should have taken over.",
    prior=-3.0,
    weighs=(
        Weigh(clue=slots.slot_used, yes=2.0, no=-5.0, now=True),
        Weigh(clue=slots.slot_told_stuck, yes=3.5, no=-0.5, now=True),
        Weigh(clue=slots.slot_keeps_everything, yes=3.0, no=-3.0, now=True),
        Weigh(clue=slots.sender_waits, yes=1.0, no=0.0, now=True),
        Weigh(clue=slots.consumer_stands_still, yes=3.5, no=-3.0, now=True),
    ),
    shown_by=(
        (slots.slot_told_stuck, True),
        (slots.slot_keeps_everything, True),
        (slots.consumer_stands_still, True),
    ),
    tell=_tell_stuck,
    facts=lambda e: _slot_facts(e, slots.used_slot(e)),
    subject=lambda e: _name(slots.used_slot(e)),
    apart={
        ARCHIVER_FAILING: "Does confirmed_flush_lsn (of a physical slot restart_lsn) stand still "
        "while pg_current_wal_lsn() moves on?",
        WAL_BURST: "Does confirmed_flush_lsn (of a physical slot restart_lsn) move at all?",
        LAG_SENDING: "Has the receiver said anything lately (reply_time in pg_stat_replication)?",
    },
    symptoms=(SymptomKind.SLOT_STUCK, *SLOT_SYMPTOMS),
    brings_about=(DISK_FULL_WAL, LAG_SENDING),
    follows_change=(ItemKind.DEPLOY, ItemKind.ROLLOUT, ItemKind.RELATION, ItemKind.OBJECT),
    began=lambda e: _told_since(e, SymptomKind.SLOT_STUCK),
    impact_in_s=_slot_lasts_s,
    hurts_later=_has_room,
    safe_first="Restart the consumer, not the server; see its own log for what it cannot take "
    "over, and whether a long transaction here holds restart_lsn back.",
    never=(
        "Do not drop the slot: its consumer is there and would have to copy everything anew.",
        NEVER_IN_PG_WAL,
        NEVER_FAIL_OVER,
        NEVER_RESTART,
    ),
    forbids=("set_aside_lock_file",),
    runbook="disk-full",
    source=f"{DOC}logicaldecoding-explanation.html#LOGICALDECODING-REPLICATION-SLOTS",
)
