"""Whether there is something to restore from, as the watch of backups has recorded it."""

from __future__ import annotations

from stanch.diagnose.cause import Answer, Clue
from stanch.diagnose.clues.wal import DAY_S
from stanch.diagnose.evidence import Evidence, value_of
from stanch.diagnose.history import Course
from stanch.model.diagnosis import Missing
from stanch.model.shown import human_bytes, shortened, span
from stanch.model.symptoms import Symptom, SymptomKind

UNUSABLE = "backup_unusable_s"
SEEN_MISSING = "archive_missed_bytes"


def symptom(evidence: Evidence, *kinds: SymptomKind) -> Symptom | None:
    """The one that stands longest of these kinds."""
    found = [s for s in evidence.symptoms if s.kind in kinds]
    return min(found, key=lambda s: (s.since, s.key), default=None)


def worst(evidence: Evidence, name: str) -> Course | None:
    """The place of which a number is highest now."""
    history = value_of(evidence.history)
    told = [c for c in history.named(name) if c.now is not None] if history else []
    return max(told, key=lambda c: (c.now or 0.0, c.subject), default=None)


def where(evidence: Evidence, name: str, *kinds: SymptomKind) -> str:
    """The place it is about."""
    told, course = symptom(evidence, *kinds), worst(evidence, name)
    if told is not None and told.subject:
        return told.subject
    return course.subject if course is not None and course.now else ""


def _told(found: Symptom) -> Answer:
    about = f" at {shortened(found.subject, 80)}" if found.subject else ""
    said = f": {shortened(found.detail, 140)}" if found.detail else ""
    text = f"{found.kind.value}{about} stands since {found.since:%Y-%m-%d %H:%M} UTC{said}"
    return Answer(yes=True, text=text, at=found.since)


def _recorded(
    clue_id: str, question: str, name: str, kinds: tuple[SymptomKind, ...], *, no: str
) -> Clue:
    """What the watch says stands, or the last value that was recorded; without both, nothing."""

    def ask(evidence: Evidence) -> Answer:
        found, course = symptom(evidence, *kinds), worst(evidence, name)
        if found is not None:
            return _told(found)
        if course is None:
            missing = evidence.history
            reason = missing.reason if isinstance(missing, Missing) else f"{name} is not recorded"
            return Answer(yes=None, text=reason)
        if not course.now:
            return Answer(yes=False, text=no)
        about = f" of {shortened(course.subject, 80)}" if course.subject else ""
        return Answer(yes=True, text=f"{name}{about} is {course.now:g}")

    return Clue(id=clue_id, question=question, ask=ask, reads=(name,))


def age_s(evidence: Evidence) -> float | None:
    """Of the newest good backup in the place that is worst off."""
    course = worst(evidence, "backup_age_s")
    return None if course is None else course.now


def _old(evidence: Evidence) -> Answer:
    """How old is too old is for the policy to say: by its rule, or by the limit of that rule."""
    found, age = symptom(evidence, SymptomKind.BACKUP_OLD), age_s(evidence)
    if found is not None:
        return _told(found)
    if age is None:
        return Answer(yes=None, text="the age of the newest backup is not recorded")
    said, old_s = f"the newest good backup is {span(age)} old", evidence.backup_old_s
    # A rule waits a while before it wakes somebody; who asks is told what is so now.
    if old_s is not None and age >= old_s:
        return Answer(yes=True, text=f"{said}; {span(old_s)} is the limit")
    if age < DAY_S:
        return Answer(yes=False, text=said)
    return Answer(yes=None, text=f"{said}, which policy may allow")


def _unusable(evidence: Evidence) -> Answer:
    course, told = worst(evidence, UNUSABLE), symptom(evidence, SymptomKind.BACKUP_FAILED)
    if course is None:
        return Answer(yes=None, text="whether the newest backup shows a fault is not recorded")
    if not course.now:
        return Answer(yes=False, text="the newest backup shows no fault")
    why = f": {shortened(told.detail, 140)}" if told is not None and told.detail else ""
    at = told.since if told is not None else None
    said = f"the newest backup of {shortened(course.subject, 80)} is there and is not whole{why}"
    return Answer(yes=True, text=said, at=at)


def _seen_missing(evidence: Evidence) -> Answer:
    """One walk has not found them: they are lost, unless they were being renamed just then."""
    course = worst(evidence, SEEN_MISSING)
    if course is None:
        return Answer(yes=None, text="what the newest walk of the archive found is not recorded")
    if not course.now:
        return Answer(yes=False, text="the newest walk through the archive missed no file")
    said = f"{human_bytes(course.now)} of WAL were not inside it at the newest walk"
    return Answer(yes=True, text=f"{said} ({shortened(course.subject, 80)}), and later ones were")


def _holes(evidence: Evidence) -> Answer:
    """Those that two walks have missed; of what one has missed the next one tells more."""
    told = _confirmed_holes.ask(evidence)
    if told.yes is False and _seen_missing(evidence).yes:
        return Answer(yes=None, text="the next walk through the archive has to tell")
    return told


def _gap(evidence: Evidence) -> Answer:
    """The newest files may be on their way: a gap counts once the watch has seen it last, or where
    it was there before anything else was wrong."""
    found = symptom(evidence, SymptomKind.ARCHIVE_GAP)
    course = worst(evidence, "archive_gap_segments")
    if found is not None:
        return _told(found)
    if course is None:
        return Answer(yes=None, text="how far the archive reaches is not recorded")
    if not course.now and _seen_missing(evidence).yes:
        # Its end says nothing of what is missing before it.
        return Answer(yes=None, text="")
    if not course.now:
        return Answer(yes=False, text="the archive reaches as far as the server believes")
    said = f"{course.now:.0f} WAL files are not in the archive"
    if course.low is not None and course.low >= 1:
        return Answer(yes=True, text=f"{said}, and {course.low:.0f} were not before")
    return Answer(yes=None, text=f"{said} yet")


backup_failed = _recorded(
    "backup_failed",
    "Did the last backup fail?",
    "backup_failed",
    (SymptomKind.BACKUP_FAILED,),
    no="the last backup did not fail",
)
backup_old = Clue(
    id="backup_old",
    question="Is the newest good backup older than policy allows?",
    ask=_old,
    reads=("backup_age_s",),
)
backup_unverified = _recorded(
    "backup_unverified",
    "Did the newest backup that was tested fail its test?",
    "backup_verification_failed",
    (SymptomKind.BACKUP_VERIFICATION_FAILED,),
    no="the newest backup that was tested stood its test",
)
_confirmed_holes = _recorded(
    "archive_holes",
    "Are WAL files missing inside the archive?",
    "archive_holes",
    (SymptomKind.ARCHIVE_HOLES,),
    no="no WAL file is missing inside the archive",
)
archive_holes = Clue(
    id=_confirmed_holes.id,
    question=_confirmed_holes.question,
    ask=_holes,
    reads=(*_confirmed_holes.reads, SEEN_MISSING),
)
archive_seen_missing = Clue(
    id="archive_seen_missing",
    question="Did the newest walk through the archive miss files before its newest one?",
    ask=_seen_missing,
    reads=(SEEN_MISSING,),
)
backup_unusable = Clue(
    id="backup_unusable",
    question="Is the newest backup there, and not whole?",
    ask=_unusable,
    reads=(UNUSABLE,),
)
archive_gap = Clue(
    id="archive_gap",
    question="Does the archive end before what the server believes archived?",
    ask=_gap,
    reads=("archive_gap_segments",),
)


def _odd(evidence: Evidence) -> Answer:
    kinds = (SymptomKind.BACKUP_SMALL, SymptomKind.BACKUP_LATEST_WRONG)
    found = symptom(evidence, *kinds)
    if found is not None:
        return _told(found)
    return Answer(yes=None, text="")


backup_odd = Clue(
    id="backup_odd", question="Is the newest backup far smaller than usual?", ask=_odd
)
