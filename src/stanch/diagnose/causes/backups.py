"""Nothing to restore from: backups that fail, that fail their test, archives with holes."""

from __future__ import annotations

from stanch.diagnose.cause import Answer, Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC, Facts
from stanch.diagnose.causes.ids import (
    ARCHIVE_GAP,
    ARCHIVER_FAILING,
    BACKUP_FAILED,
    BACKUP_UNRESTORABLE,
)
from stanch.diagnose.clues import backups
from stanch.diagnose.evidence import Evidence
from stanch.diagnose.history import Course
from stanch.model.changes import ItemKind
from stanch.model.shown import shortened, span
from stanch.model.symptoms import SymptomKind

NEVER_EXPIRE = "Do not expire or delete older backups: they may be the last good ones."
FAILED = ("backup_failed", SymptomKind.BACKUP_FAILED, SymptomKind.BACKUP_OLD)
UNVERIFIED = ("backup_verification_failed", SymptomKind.BACKUP_VERIFICATION_FAILED)
HOLES = ("archive_holes", SymptomKind.ARCHIVE_HOLES, SymptomKind.ARCHIVE_GAP)


def _said(*answers: Answer) -> str:
    return "; ".join(answer.text for answer in answers if answer.yes)


def _tell_failed(evidence: Evidence) -> str:
    failed, old = backups.backup_failed.ask(evidence), backups.backup_old.ask(evidence)
    head = "The last backup failed" if failed.yes else "There is no backup as young as promised"
    age_s = backups.age_s(evidence)
    newest = f"; the newest good one is {span(age_s)} old" if age_s is not None else ""
    return f"{head}{newest} ({shortened(_said(failed, old), 200)})."


def _tell_unverified(evidence: Evidence) -> str:
    tested = backups.backup_unverified.ask(evidence)
    unusable = backups.backup_unusable.ask(evidence)
    if tested.yes or not unusable.yes:
        said = shortened(_said(tested), 200)
        return f"A backup did not stand its test and may not be restorable ({said})."
    return f"The newest backup cannot be restored ({shortened(unusable.text, 220)})."


def _unverified_where(evidence: Evidence) -> str:
    return backups.where(evidence, *UNVERIFIED) or backups.where(evidence, backups.UNUSABLE)


def _tell_gap(evidence: Evidence) -> str:
    holes, gap = backups.archive_holes.ask(evidence), backups.archive_gap.ask(evidence)
    inside = holes if holes.yes else backups.archive_seen_missing.ask(evidence)
    where = "inside" if inside.yes else "at the end of"
    return f"WAL files are missing {where} the archive ({shortened(_said(inside, gap), 220)})."


def _whole(course: Course | None) -> int | None:
    return None if course is None or course.now is None else round(course.now)


def _facts(evidence: Evidence, place: str) -> Facts:
    missing = backups.worst(evidence, "archive_holes")
    gap = backups.worst(evidence, "archive_gap_segments")
    age_s = backups.age_s(evidence)
    return (
        ("place", place or None),
        ("backup_age_s", None if age_s is None else round(age_s)),
        ("archive_holes", _whole(missing)),
        ("archive_gap_segments", _whole(gap)),
    )


backup_failed = Cause(
    id=BACKUP_FAILED,
    section=Section.DATA,
    sentence="Backups fail, or none was made for longer than policy allows.",
    onset=Onset.CREEPING,
    impact="For nobody today; for everybody on the day on which the server is lost.",
    prior=-3.0,
    weighs=(
        Weigh(clue=backups.backup_failed, yes=6.0, no=-1.5, now=True),
        Weigh(clue=backups.backup_old, yes=6.0, no=-1.5, now=True),
        # A backup that failed its test counts as failed, too; it is told by its own cause.
        Weigh(clue=backups.backup_unverified, yes=-5.0, no=0.0, now=True),
        Weigh(clue=backups.backup_unusable, yes=-5.0, no=0.0, now=True),
    ),
    shown_by=((backups.backup_failed, True), (backups.backup_old, True)),
    tell=_tell_failed,
    facts=lambda e: _facts(e, backups.where(e, *FAILED)),
    subject=lambda e: backups.where(e, *FAILED),
    apart={
        BACKUP_UNRESTORABLE: "Did the newest backup end with an error, or did it end well and fail "
        "its test?",
        ARCHIVER_FAILING: "Which fails: the backup job, or archive_command (pg_stat_archiver)?",
    },
    symptoms=(SymptomKind.BACKUP_FAILED, SymptomKind.BACKUP_OLD),
    follows_change=(ItemKind.SETTING, ItemKind.ROLE, ItemKind.DEPLOY, ItemKind.SERVER),
    began=lambda e: s.since if (s := backups.symptom(e, *FAILED[1:])) else None,
    safe_first="Read the backup tool's own log for the first error, mend that, and make a backup "
    "now; from a standby where the primary is busy.",
    never=(
        NEVER_EXPIRE,
        "Do not take a running backup for a backup: only one that has ended well counts.",
    ),
    hurts_later=lambda _e: True,
    runbook="",
    source=f"{DOC}backup.html",
)

backup_unrestorable = Cause(
    id=BACKUP_UNRESTORABLE,
    section=Section.DATA,
    sentence="A backup was made and did not stand its test: it may not be restorable.",
    onset=Onset.CREEPING,
    impact="For nobody today; for everybody on the day on which it is needed.",
    prior=-3.0,
    weighs=(
        Weigh(clue=backups.backup_unverified, yes=7.0, no=-6.0, now=True),
        Weigh(clue=backups.backup_unusable, yes=6.5, no=0.0, now=True),
        Weigh(clue=backups.backup_odd, yes=0.5, no=0.0, now=True),
    ),
    shown_by=((backups.backup_unverified, True), (backups.backup_unusable, True)),
    tell=_tell_unverified,
    facts=lambda e: _facts(e, _unverified_where(e)),
    subject=_unverified_where,
    symptoms=(SymptomKind.BACKUP_VERIFICATION_FAILED, SymptomKind.BACKUP_SMALL),
    # What is not whole is no backup: the newest good one becomes too old.
    brings_about=(BACKUP_FAILED,),
    follows_change=(ItemKind.SERVER, ItemKind.IMAGE, ItemKind.SETTING),
    began=lambda e: s.since if (s := backups.symptom(e, UNVERIFIED[1])) else None,
    safe_first="Find out whether the server's own pages are damaged (checksums, pg_amcheck) or "
    "only the copy; then make a new full backup elsewhere and restore it once to prove it.",
    never=(
        NEVER_EXPIRE,
        "Do not trust a green status: only a restore proves a backup.",
        "Do not repair pages on the server first: the damaged state may be all there is to look "
        "at.",
    ),
    hurts_later=lambda _e: True,
    runbook="",
    source=f"{DOC}app-pgverifybackup.html",
)

archive_gap = Cause(
    id=ARCHIVE_GAP,
    section=Section.DATA,
    sentence="WAL files are missing in the archive: a restore ends before the first of them.",
    onset=Onset.CREEPING,
    impact="For nobody today; for everybody on the day on which a restore has to go past the gap.",
    prior=-3.0,
    weighs=(
        Weigh(clue=backups.archive_holes, yes=6.0, no=-1.5, now=True),
        Weigh(clue=backups.archive_gap, yes=6.0, no=-1.5, now=True),
        # Of one walk; the server fills its archive in order.
        Weigh(clue=backups.archive_seen_missing, yes=4.0, no=0.0, now=True),
    ),
    shown_by=(
        (backups.archive_holes, True),
        (backups.archive_gap, True),
        (backups.archive_seen_missing, True),
    ),
    tell=_tell_gap,
    facts=lambda e: _facts(e, backups.where(e, *HOLES)),
    subject=lambda e: backups.where(e, *HOLES),
    apart={
        BACKUP_UNRESTORABLE: "Is it a WAL file that is missing, or the backup itself that is "
        "damaged?",
        ARCHIVER_FAILING: "Does pg_stat_archiver count failures, or does the server believe that "
        "everything was archived?",
    },
    symptoms=(SymptomKind.ARCHIVE_GAP, SymptomKind.ARCHIVE_HOLES),
    follows_change=(ItemKind.SETTING, ItemKind.SERVER, ItemKind.DEPLOY),
    began=lambda e: s.since if (s := backups.symptom(e, *HOLES[1:])) else None,
    safe_first="Make a new base backup now, from which on nothing is missing; then see whether the "
    "missing files still lie in pg_wal, here or on a standby, and bring them in.",
    never=(
        NEVER_EXPIRE,
        "Do not trust a green status: pg_stat_archiver believes whatever the command returns.",
        "Do not set archive_command to something that discards: it is how such gaps come about.",
    ),
    hurts_later=lambda _e: True,
    runbook="",
    source=f"{DOC}continuous-archiving.html",
)
