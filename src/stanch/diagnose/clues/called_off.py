"""Statements that the server itself ends: deadlocks, timeouts, no room for another lock."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

from stanch.diagnose.ask import YES_NO, clue_on, clue_on_course, clue_on_log
from stanch.diagnose.cause import Clue
from stanch.diagnose.evidence import Evidence, value_of
from stanch.diagnose.figures import Figures
from stanch.diagnose.history import Course
from stanch.diagnose.outside import Log
from stanch.model.shown import span

DEADLOCKS_MIN = 5
"""So many within two minutes; one now and then is what retries are for."""
LATELY_S = 120.0
PER_SECOND_MIN = DEADLOCKS_MIN / 60.0
FULL_LATELY_S = 300.0
LOCK_TABLE_SHARE = 0.8
TIMEOUTS_MIN = 5
CEASED_LINES_MIN = 5
CEASED_S_MIN = 2.0
CEASED_TIMES = 2.0
"""As long as twice the longest pause; what comes at random hardly ever pauses so."""


# --- whether it goes on ---------------------------------------------------------------------------


def ceased(clue_id: str, question: str, *kinds: str) -> Clue:
    """Whether lines of these classes came one after the other, and none has for much longer than
    ever between two of them."""

    def judge(log: Log, evidence: Evidence) -> YES_NO:
        since = evidence.at - timedelta(seconds=LATELY_S)
        times = sorted(e.at for e in log.events if e.kind in kinds and e.at and e.at >= since)
        if len(times) < CEASED_LINES_MIN:
            return ""
        quiet_s = (evidence.at - times[-1]).total_seconds()
        longest_s = max((b - a).total_seconds() for a, b in pairwise(times))
        said = f"none for {span(quiet_s)}; before, at most {span(longest_s)} lay between two"
        return quiet_s >= max(CEASED_S_MIN, CEASED_TIMES * longest_s), said

    return clue_on(clue_id, question, lambda e: e.log, judge)


# --- deadlocks ------------------------------------------------------------------------------------


def lately(log: Log, evidence: Evidence, *kinds: str) -> int:
    """Lines of these classes within the last two minutes, as far as they were kept."""
    since = evidence.at - timedelta(seconds=LATELY_S)
    return sum(e.kind in kinds and e.at is not None and e.at >= since for e in log.events)


def _deadlocks_logged(log: Log, evidence: Evidence) -> YES_NO:
    if not log.records_read:
        return f"nothing of use in {log.path}"
    found = lately(log, evidence, "deadlock")
    newest = log.newest("deadlock")
    said = f"{found} deadlocks in the log of the last {span(LATELY_S)}"
    return found >= DEADLOCKS_MIN, said, newest.at if newest else None


def _deadlocks_rise(course: Course, _evidence: Evidence) -> YES_NO:
    if course.now is None:
        return "deadlocks are not counted any more"
    said = f"{course.now * 60:.0f} deadlocks a minute"
    if course.usual is None:
        return course.now >= PER_SECOND_MIN, said
    usually = f"{said}, usually {course.usual * 60:.0f}"
    return course.now >= max(PER_SECOND_MIN, 3 * course.usual), usually


deadlocks_logged = clue_on(
    "deadlocks_logged",
    "Does the log show deadlocks one after the other (40P01)?",
    lambda e: e.log,
    _deadlocks_logged,
)
deadlocks_ceased = ceased("deadlocks_ceased", "Have the deadlocks stopped?", "deadlock")
deadlocks_rise = clue_on_course(
    "deadlocks_rise",
    "Are there many more deadlocks a minute than usual?",
    ("deadlocks_total", ""),
    _deadlocks_rise,
)


# --- the lock table -------------------------------------------------------------------------------


def lock_slots(figures: Figures) -> int | None:
    """How many locks the table is made for; the server has a little more."""
    sizes = [
        _number(figures.setting(name))
        for name in ("max_locks_per_transaction", "max_connections", "max_prepared_transactions")
    ]
    if sizes[0] is None or sizes[1] is None:
        return None
    return sizes[0] * (sizes[1] + (sizes[2] or 0))


def _number(setting: str | None) -> int | None:
    return int(setting) if setting is not None and setting.isdecimal() else None


def _slots_used(figures: Figures, _evidence: Evidence) -> YES_NO:
    room, used = lock_slots(figures), figures.value("lock_slots_used")
    if room is None or used is None:
        return "how many locks are held, or fit, was not read"
    said = f"{used:.0f} locks are held; the table is made for {room}"
    return used >= LOCK_TABLE_SHARE * room, said


lock_table_logged = clue_on_log(
    "lock_table_logged",
    "Does the log show that the lock table was full (53200, out of shared memory)?",
    ("lock_table_full",),
    within_s=FULL_LATELY_S,
)
lock_table_ceased = ceased("lock_table_ceased", "Has the lock table room again?", "lock_table_full")
lock_slots_used = clue_on(
    "lock_slots_used",
    "Is the lock table nearly full?",
    lambda e: e.figures,
    _slots_used,
    reads=("lock_slots_used",),
)


# --- timeouts -------------------------------------------------------------------------------------


def timeouts(evidence: Evidence) -> tuple[int, int]:
    """Statements called off lately: by statement_timeout, by lock_timeout."""
    log = value_of(evidence.log)
    if log is None:
        return 0, 0
    return lately(log, evidence, "statement_timeout"), lately(log, evidence, "lock_timeout")


def _timeouts_logged(log: Log, evidence: Evidence) -> YES_NO:
    if not log.records_read:
        return f"nothing of use in {log.path}"
    statements, locks = timeouts(evidence)
    newest = log.newest("statement_timeout", "lock_timeout")
    said = (
        f"{statements} statements called off by statement_timeout and {locks} by lock_timeout in "
        f"the last {span(LATELY_S)}"
    )
    return statements + locks >= TIMEOUTS_MIN, said, newest.at if newest else None


timeouts_logged = clue_on(
    "timeouts_logged",
    "Does the log show statements called off by a timeout, one after the other?",
    lambda e: e.log,
    _timeouts_logged,
)
timeouts_ceased = ceased(
    "timeouts_ceased",
    "Have timeouts stopped calling statements off?",
    "statement_timeout",
    "lock_timeout",
)
