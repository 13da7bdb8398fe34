"""Whether storage answers, and whether what it said was true."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from stanch.diagnose.ask import YES_NO, clue_on, clue_on_course, clue_on_symptom
from stanch.diagnose.cause import Answer, Clue
from stanch.diagnose.evidence import Evidence, value_of
from stanch.diagnose.figures import Figures
from stanch.diagnose.history import Course, History
from stanch.diagnose.inside import Activity
from stanch.diagnose.outside import Log, LogEvent, ServerProcesses
from stanch.facts.workings import Doing
from stanch.model.shown import human_bytes, span
from stanch.model.symptoms import SymptomKind

WAITING_MIN = 3
WAITING_SHARE_MIN = 0.5
QUEUED = frozenset({"WALWRITE", "WALINSERT"})
"""Whoever waits for one of these locks waits for the one session that writes."""
LESS_SHARE_MAX = 0.5
AS_USUAL_TIMES_MAX = 1.5
IN_D_MIN = 3
HUNG_WITHIN_S = 180.0
"""The kernel repeats itself every two minutes while a process hangs; what is older may be over."""
STOOD_S = 0.35
"""A slow disk takes a twentieth of this, and one that has much to do a fifth."""
STALLED_BYTES_S_MAX = 2 * 1024 * 1024
PANIC_WITHIN_S = 6 * 3600.0
"""PostgreSQL comes back by itself; what it has lost, it has lost then, too."""


def _active(activity: Activity) -> list[Doing]:
    return [
        d for d in activity.doings if d.backend_type == "client backend" and d.state == "active"
    ]


def _waits(doing: Doing) -> bool:
    queued = doing.wait_type == "LWLock" and doing.wait_event.upper() in QUEUED
    return doing.wait_type == "IO" or queued


def waiting_for_storage(evidence: Evidence) -> tuple[int, int, str] | None:
    """Of the active client sessions: how many wait for storage, how many there are, for what."""
    activity = value_of(evidence.activity)
    if activity is None:
        return None
    active = _active(activity)
    waits = [d for d in active if _waits(d)]
    most = max(waits, key=lambda d: (d.sessions, d.wait_event), default=None)
    return (
        sum(d.sessions for d in waits),
        sum(d.sessions for d in active),
        "" if most is None else f"{most.wait_type}:{most.wait_event}",
    )


def _flush_stood(evidence: Evidence) -> tuple[float, float] | None:
    """For how long no flush ended although sessions waited, and the bytes flushed a second; None:
    nobody waited for one, or there was no time to look."""
    figures = value_of(evidence.figures)
    if figures is None:
        return None
    stood, rate = figures.value("wal_flush_stood_s"), figures.value("wal_flushed_bytes_per_s")
    return None if stood is None or rate is None else (stood, rate)


def _flush_stands(_figures: Figures, evidence: Evidence) -> YES_NO:
    """A disk that writes at speed is not stalled: there is much to write."""
    seen = _flush_stood(evidence)
    if seen is None:
        return ""
    stood_s, rate = seen
    said = f"no flush of WAL ended for {stood_s:.1f} s, while sessions waited for it"
    if stood_s >= STOOD_S and rate < STALLED_BYTES_S_MAX:
        return True, f"{said}; {human_bytes(rate)} a second were flushed"
    return False, f"{human_bytes(rate)} of WAL a second are flushed, none in over {stood_s:.1f} s"


def _io_waits(_activity: Activity, evidence: Evidence) -> YES_NO:
    seen = waiting_for_storage(evidence)
    assert seen is not None
    waiting, active, most = seen
    if not waiting:
        return False, "no session waits for storage"
    said = f"{waiting} of {active} active sessions wait for storage, most in {most}"
    # Where a flush is seen to hang, few who wait are enough.
    least = 1 if flush_stands.ask(evidence).yes else WAITING_MIN
    return waiting >= max(least, WAITING_SHARE_MIN * active), said


def _waits_alike(activity: Activity, _evidence: Evidence) -> YES_NO:
    """One statement that reads far too much waits for storage as well: then the others do not."""
    waits = [d for d in _active(activity) if _waits(d)]
    waiting = sum(d.sessions for d in waits)
    if not waiting:
        return ""
    writing = sum(d.sessions for d in waits if not d.wait_event.upper().endswith("READ"))
    if writing >= WAITING_SHARE_MIN * waiting:
        return True, f"{writing} of {waiting} that wait have something to write"
    by_statement = Counter[str]()
    for doing in waits:
        by_statement[doing.query_id or doing.query] += doing.sessions
    largest = by_statement.most_common(1)[0][1]
    said = f"{largest} of {waiting} that wait to read run the same statement"
    return largest < WAITING_SHARE_MIN * waiting, said


def _commits_fell(history: History, _evidence: Evidence) -> YES_NO:
    done, active = history.of("commits_total"), history.of("active_sessions")
    if done is None or done.usual is None or done.now is None:
        return "how much is usually done was not recorded"
    if active is None or active.usual is None or active.now is None:
        return "how many sessions usually work was not recorded"
    said = f"{done.now:.0f} commits a second, usually {done.usual:.0f}"
    busy = f"{active.now:.0f} sessions at work, usually {active.usual:.0f}"
    less = done.now <= LESS_SHARE_MAX * done.usual and active.now >= active.usual
    return less, f"{said}; {busy}"


def _no_more_asked(course: Course, _evidence: Evidence) -> YES_NO:
    if course.usual is None or course.now is None:
        return "how much WAL is usual was not recorded"
    if course.now <= AS_USUAL_TIMES_MAX * course.usual:
        return True, "no more is written than usual"
    return False, f"{course.now / max(1.0, course.usual):.1f} times as much is written as usual"


def _in_d(processes: ServerProcesses, _evidence: Evidence) -> YES_NO:
    count = processes.waiting_for_storage
    return count >= IN_D_MIN, f"{count} of the server's processes are in uninterruptible sleep"


def fsync_panic(evidence: Evidence) -> LogEvent | None:
    """The line with which the server went down because storage had not kept what it was given."""
    log = value_of(evidence.log)
    event = log.newest("panic_fsync") if log else None
    if event is None or event.at is None:
        return event
    return event if (evidence.at - event.at).total_seconds() <= PANIC_WITHIN_S else None


def _fsync_panic(log: Log, evidence: Evidence) -> YES_NO:
    if not log.records_read:
        return f"nothing of use in {log.path}"
    event = fsync_panic(evidence)
    if event is None:
        return False, "no fsync has failed in the part of the log that was read"
    when = f"{span((evidence.at - event.at).total_seconds())} ago" if event.at else "once"
    return True, f"{when} the log said: {event.text}", event.at


flush_stands = clue_on(
    "flush_stands",
    "Does a flush of WAL that sessions wait for take a third of a second or longer?",
    lambda e: e.figures,
    _flush_stands,
    reads=("wal_flush_stood_s", "wal_flushed_bytes_per_s"),
)


def _or_in_its_log(watched: Clue) -> Clue:
    """Where the watch sees nothing, or nobody watches, what the kernel's own log says of the
    server's processes."""

    def ask(evidence: Evidence) -> Answer:
        kernel, answer = value_of(evidence.kernel), watched.ask(evidence)
        stalls = kernel.stalls if kernel is not None and not answer.yes else ()
        newest = stalls[-1] if stalls else None
        if newest is None or (evidence.at - newest.at).total_seconds() > HUNG_WITHIN_S:
            return answer
        told = f"the kernel's log has process {newest.pid} ({newest.name}) hang for minutes"
        return Answer(yes=True, text=told, at=newest.at)

    return replace(watched, ask=ask)


io_waits = clue_on(
    "io_waits", "Do most active sessions wait for storage?", lambda e: e.activity, _io_waits
)
waits_alike = clue_on(
    "waits_alike",
    "Do writers, or readers of many kinds, wait for storage alike?",
    lambda e: e.activity,
    _waits_alike,
)
commits_fell = clue_on(
    "commits_fell",
    "Is less done than usual, although as many sessions are at work?",
    lambda e: e.history,
    _commits_fell,
    reads=("commits_total", "active_sessions"),
)
no_more_asked = clue_on_course(
    "no_more_asked",
    "Is no more asked of storage than usual?",
    ("wal_bytes_total", ""),
    _no_more_asked,
)
in_d_state = clue_on(
    "in_d_state",
    "Are several of the server's processes in uninterruptible sleep (state D)?",
    lambda e: e.processes,
    _in_d,
)
kernel_stall = _or_in_its_log(
    clue_on_symptom(
        "kernel_stall",
        "Does the kernel tell of tasks that waited for storage for minutes?",
        SymptomKind.STORAGE_STALLED,
    )
)
kernel_errors = clue_on_symptom(
    "kernel_errors",
    "Does the kernel tell of storage errors?",
    SymptomKind.STORAGE_ERRORS,
    SymptomKind.VOLUME_READ_ONLY,
)
fsync_failed = clue_on(
    "fsync_failed",
    "Did the server end itself because an fsync failed?",
    lambda e: e.log,
    _fsync_panic,
)
