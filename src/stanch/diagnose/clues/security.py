"""Rights that grew or shrank, and data that leaves."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

from stanch.diagnose.ask import YES_NO, clue_on, clue_on_course
from stanch.diagnose.cause import Answer, Clue
from stanch.diagnose.clues.logins import many_roles
from stanch.diagnose.clues.refusals import lately, lines_lately, period
from stanch.diagnose.evidence import Evidence, value_of
from stanch.diagnose.figures import Figures
from stanch.diagnose.history import Course
from stanch.diagnose.inside import Activity, Changes
from stanch.diagnose.outside import Log
from stanch.facts.workings import Doing
from stanch.model.changes import NotedChange
from stanch.model.readings import Reading
from stanch.model.shown import shortened
from stanch.model.symptoms import SymptomKind

TEXT_CHARS_MAX: Final = 200
BEFORE_S: Final = 7200.0
"""A change of rights is looked for so long before the first refusal."""
DENIED: Final = "permission_denied"
DENIED_MIN: Final = 10
DENIED_PER_S: Final = 0.05
DENIED_OFTEN: Final = 10
"""Within a minute: whoever was never allowed to, such as a probe, asks more seldom."""
OFTEN_S: Final = 60.0
SURGE_TIMES: Final = 5.0
ONE_SHARE: Final = 0.8
FAILURES_PER_S: Final = 0.1

DANGEROUS: Final = re.compile(
    r"\b(superuser|pg_write_server_files|pg_execute_server_program)\b", re.IGNORECASE
)
_NOT_DANGEROUS: Final = re.compile(r"\bnosuperuser\b", re.IGNORECASE)
_TAKEN: Final = re.compile(r"\brevoke\b|\bowner\b|\bset schema\b|\bdrop owned\b", re.IGNORECASE)
_PROGRAM: Final = re.compile(r"\bcopy\b.{0,300}\b(?:to|from)\s+program\b", re.IGNORECASE | re.S)
OWN_TOOLS: Final = (
    *("pg_dump", "pg_dumpall", "pg_basebackup", "pg_receivewal", "pgBackRest", "barman", "wal-g"),
    *("pg_sync_", "pg_upgrade"),
)
"""How programs that copy whole tables as their daily work call themselves."""


# --- rights that grew ---------------------------------------------------------------------------


def gained(evidence: Evidence) -> NotedChange | None:
    """The newest change that gave somebody rights over everything."""
    changes = value_of(evidence.changes)
    found = [c for c in changes.changes if _gives(c)] if changes is not None else []
    return max(found, key=lambda c: (c.at, c.what), default=None)


def _gives(change: NotedChange) -> bool:
    """Of an inventory: had not before, and has now. Of a statement: ALTER, CREATE or GRANT."""
    if change.kind != "role":
        return False
    before, became, after = change.told.partition("; is: ")
    if became:
        return bool(DANGEROUS.search(after)) and not DANGEROUS.search(before)
    if change.told.startswith("is gone") or _TAKEN.search(change.told):
        return False
    return bool(DANGEROUS.search(change.told)) and not _NOT_DANGEROUS.search(change.told)


def _dangerous_rose(evidence: Evidence) -> Answer:
    for symptom in evidence.symptoms:
        if symptom.kind is SymptomKind.NEW_DANGEROUS_ROLE:
            detail = f": {symptom.detail}" if symptom.detail else ""
            text = f"more roles have dangerous rights than before{detail}"
            return Answer(yes=True, text=text[:300], at=symptom.since)
    history, figures = value_of(evidence.history), value_of(evidence.figures)
    course = history.of("dangerous_roles") if history is not None else None
    counted = figures.value("dangerous_roles") if figures is not None else None
    # What the watch read last is what was so before, to whoever counts now.
    before = course.usual if course is not None else None
    if before is None and course is not None and counted is not None:
        before = course.now
    now = max((n for n in (counted, course.now if course else None) if n is not None), default=None)
    if before is None or now is None:
        return Answer(yes=None, text="how many roles have dangerous rights is not recorded")
    said = f"{now:.0f} roles have dangerous rights; usual are {before:.0f}"
    return Answer(yes=now > before, text=said)


def newest_member(evidence: Evidence) -> Reading | None:
    """The role that was made a member of one with dangerous rights within what is looked back
    over; its detail is that one."""
    figures = value_of(evidence.figures)
    found = [
        one
        for one in (figures.named("dangerous_member_age_s") if figures is not None else ())
        if one.value is not None and one.value <= evidence.lookback_s
    ]
    return min(found, key=lambda one: (one.value or 0.0, one.subject), default=None)


def _became_member(figures: Figures, evidence: Evidence) -> YES_NO:
    if figures.of("dangerous_roles") is None:
        return "whose rights reach over files and programs was not told"
    found = newest_member(evidence)
    if found is None or found.value is None:
        return ""
    since = evidence.at - timedelta(seconds=found.value)
    return True, f'role "{found.subject}" is a member of {found.detail} since about then', since


def _gained(_changes: Changes, evidence: Evidence) -> YES_NO:
    change = gained(evidence)
    if change is None:
        return False, "no change that gives a role dangerous rights was seen"
    said = f'role "{change.what}": {change.told}'
    return True, shortened(said, TEXT_CHARS_MAX), change.at


def program_run(evidence: Evidence) -> Doing | None:
    """A session that runs a program of the server's machine through COPY."""
    activity = value_of(evidence.activity)
    found = [d for d in activity.doings if _PROGRAM.search(d.query)] if activity is not None else []
    return next(iter(found), None)


def _program(_activity: Activity, evidence: Evidence) -> YES_NO:
    doing = program_run(evidence)
    if doing is None:
        return False, "no session runs a program through COPY"
    return True, f'role "{doing.usename}" runs a program through COPY (pid {doing.oldest_pid})'


dangerous_rose = Clue(
    id="dangerous_rose",
    question="Have more roles rights over everything, or over files and programs, than before?",
    ask=_dangerous_rose,
    reads=("dangerous_roles",),
)
became_member = clue_on(
    "became_member",
    "Was a role made a member of one that may write the server's files or run its programs?",
    lambda e: e.figures,
    _became_member,
    reads=("dangerous_roles", "dangerous_member_age_s"),
)
rights_gained = clue_on(
    "rights_gained",
    "Was a role seen to be given such rights?",
    lambda e: e.changes,
    _gained,
)
program_runs = clue_on(
    "program_runs",
    "Does a session run a program of the server's machine (COPY ... PROGRAM)?",
    lambda e: e.activity,
    _program,
)


# --- rights that were taken ---------------------------------------------------------------------


def taken(evidence: Evidence) -> NotedChange | None:
    """The newest change of rights or owners before logins and statements were refused."""
    changes = value_of(evidence.changes)
    found = [
        change
        for change in (changes.changes if changes is not None else ())
        if (evidence.at - change.at).total_seconds() <= BEFORE_S and _takes(change)
    ]
    return max(found, key=lambda c: (c.at, c.what), default=None)


def _takes(change: NotedChange) -> bool:
    if change.kind not in ("object", "role", "relation", "database"):
        return False
    before, became, after = change.told.partition("; is: ")
    if became and change.kind == "relation":
        return before.split(",")[0] != f"was: {after.split(',')[0]}"
    if became and change.kind == "role":
        return "member of" in before and before.partition("member of")[2] not in after
    return _TAKEN.search(change.told) is not None


def most_denied(evidence: Evidence) -> str:
    """Who is refused most, where the log says it; empty where nobody stands out."""
    log = value_of(evidence.log)
    count = log.count(DENIED) if log is not None else None
    if count is None or not count.who or count.who[0][1] < ONE_SHARE * count.lines:
        return ""
    return count.who[0][0]


def _denied(log: Log, evidence: Evidence) -> YES_NO:
    if not log.records_read:
        return f"nothing of use in {log.path}"
    lines, events = lines_lately(evidence, DENIED), lately(evidence, DENIED)
    if not events:
        return (
            False,
            f"no statement refused for want of rights in {period(evidence)}",
        )
    said = f"{lines} statements refused in {period(evidence)}, the newest: {events[-1].text}"
    return lines >= DENIED_MIN, shortened(said, TEXT_CHARS_MAX), events[-1].at


def _denied_last_minute(evidence: Evidence) -> int:
    since = evidence.at - timedelta(seconds=OFTEN_S)
    return sum(e.at is not None and e.at >= since for e in lately(evidence, DENIED))


def _denied_often(log: Log, evidence: Evidence) -> YES_NO:
    if not log.records_read:
        return f"nothing of use in {log.path}"
    denied = _denied_last_minute(evidence)
    return denied >= DENIED_OFTEN, f"{denied} of them within the last minute"


def _denied_rose(course: Course, evidence: Evidence) -> YES_NO:
    if course.now is None:
        return "it is not read any more"
    usual = course.usual or 0.0
    # The recording counts what the watch has read by then: the log itself is ahead of it.
    now = max(course.now, _denied_last_minute(evidence) / OFTEN_S)
    said = f"{now:.2f} refusals a second; usual are {usual:.2f}"
    return now >= DENIED_PER_S and now >= SURGE_TIMES * usual, said


def _taken(_changes: Changes, evidence: Evidence) -> YES_NO:
    change = taken(evidence)
    if change is None:
        return False, "no change of rights or owners was seen shortly before"
    said = f"{change.kind} {change.what}: {change.told}"
    return True, shortened(said, TEXT_CHARS_MAX), change.at


denied_logged = clue_on(
    "denied_logged",
    "Does the log show many statements refused for want of rights (42501)?",
    lambda e: e.log,
    _denied,
)
denied_often = clue_on(
    "denied_often",
    "Are ten and more of them from the last minute?",
    lambda e: e.log,
    _denied_often,
)
denied_rose = clue_on_course(
    "denied_rose",
    "Are many times as many refused as usual?",
    ("log_class_total", DENIED),
    _denied_rose,
)
rights_taken = clue_on(
    "rights_taken",
    "Were rights or owners changed shortly before?",
    lambda e: e.changes,
    _taken,
)


# --- logins that somebody tries -----------------------------------------------------------------


def _failures_rose(course: Course, _evidence: Evidence) -> YES_NO:
    if course.now is None:
        return "failed logins are not counted any more"
    usual = course.usual or 0.0
    said = f"{60 * course.now:.0f} logins a minute fail; usual are {60 * usual:.0f}"
    return course.now >= FAILURES_PER_S and course.now >= SURGE_TIMES * usual, said


failures_rose = clue_on_course(
    "failures_rose",
    "Do many times as many logins fail as usual?",
    ("auth_failures_total", "database"),
    _failures_rose,
)


# --- data that leaves ---------------------------------------------------------------------------


def copying(evidence: Evidence) -> Reading | None:
    """The largest COPY out of the server that runs now."""
    figures = value_of(evidence.figures)
    found = figures.named("copying_out") if figures is not None else ()
    return max(found, key=lambda f: (f.value or 0.0, f.subject), default=None)


def is_own_tool(found: Reading) -> bool:
    """The application of its detail is one of those that copy tables every day."""
    application = found.detail.partition(", ")[0]
    return application.startswith(OWN_TOOLS)


def _copying(_figures: Figures, evidence: Evidence) -> YES_NO:
    found = copying(evidence)
    if found is None:
        return False, "no session copies data out"
    said = f'role "{found.subject}" copies data out of the server ({found.detail})'
    return True, shortened(said, TEXT_CHARS_MAX)


def _by_stranger(_figures: Figures, evidence: Evidence) -> YES_NO:
    found = copying(evidence)
    if found is None:
        return ""
    if is_own_tool(found):
        return False, f"it is one that does so every day: {shortened(found.detail, 100)}"
    return True, f"it is no backup and no dump: {shortened(found.detail, 100)}"


def _role_new(changes: Changes, evidence: Evidence) -> YES_NO:
    found = copying(evidence)
    if found is None:
        return ""
    for change in changes.changes:
        if change.kind == "role" and change.what == found.subject:
            said = f'role "{change.what}": {change.told}'
            return True, shortened(said, TEXT_CHARS_MAX), change.at
    return False, f'role "{found.subject}" is as it was'


def _after_attack(evidence: Evidence) -> Answer:
    tried, rose = many_roles.ask(evidence), failures_rose.ask(evidence)
    if tried.yes or rose.yes:
        return Answer(yes=True, text=tried.text if tried.yes else rose.text, at=tried.at)
    if tried.yes is None and rose.yes is None:
        return Answer(yes=None, text="failed logins are not told")
    return Answer(yes=False, text="no flood of failed logins came before")


copying_out = clue_on(
    "copying_out",
    "Does a session copy a table out of the server now?",
    lambda e: e.figures,
    _copying,
    reads=("copying_out",),
)
copied_by_stranger = clue_on(
    "copied_by_stranger",
    "Does something else than a backup or a dump do it?",
    lambda e: e.figures,
    _by_stranger,
    reads=("copying_out",),
)
copied_by_changed_role = clue_on(
    "copied_by_changed_role",
    "Is its role new, or was it changed lately?",
    lambda e: e.changes,
    _role_new,
)
after_attack = Clue(
    id="after_attack",
    question="Did many failed logins come before?",
    ask=_after_attack,
    reads=("auth_failures_total",),
)
