"""Whether WAL reaches the archive."""

from __future__ import annotations

import re
from datetime import timedelta

from stanch.diagnose.ask import YES_NO, clue_on, clue_on_course, clue_on_symptom
from stanch.diagnose.evidence import Evidence, is_lately, value_of
from stanch.diagnose.figures import Figures
from stanch.diagnose.history import Course
from stanch.diagnose.inside import Retention
from stanch.diagnose.outside import Log, LogEvent
from stanch.model.shown import human_bytes, span
from stanch.model.symptoms import SymptomKind

FAILURES_MIN = 3
"""The archiver tries that often before it takes a pause."""
WAITING_SEGMENTS_MIN = 3
HANGS_S_MIN = 90.0
"""An archiver that missed that there is something to do looks by itself every minute."""
ENDED_WITHIN_S = 180.0
"""An archiver that ends itself is started again within a minute."""

_CODE = re.compile(r"failed with exit code (\d{1,4})")


def newest_failure(evidence: Evidence) -> LogEvent | None:
    """The log's newest word on an archive command that failed."""
    log = value_of(evidence.log)
    return None if log is None else log.newest("archive_failed")


def exit_code(evidence: Evidence) -> int | None:
    """What the archive command ended with; the pause after three failures names none."""
    log = value_of(evidence.log)
    for event in reversed(log.events if log else ()):
        found = _CODE.search(event.text) if event.kind == "archive_failed" else None
        if found is not None:
            return int(found[1])
    return None


def failed_file(evidence: Evidence) -> str:
    """The WAL file that the archive did not take."""
    figures = value_of(evidence.figures)
    found = figures.of("archive_failing") if figures else None
    return found.detail if found is not None and found.value else ""


def _ended_itself(evidence: Evidence) -> LogEvent | None:
    """The archiver's end by a command that a signal ended or that is not there.

    pg_stat_archiver does not count these: the archiver is gone before it could.
    """
    event = newest_failure(evidence)
    if event is None or event.severity != "FATAL" or event.at is None:
        return None
    return event if (evidence.at - event.at).total_seconds() <= ENDED_WITHIN_S else None


def _archive_failing(figures: Figures, evidence: Evidence) -> YES_NO:
    kept = value_of(evidence.retention)
    if kept is not None and kept.archive_mode is False:
        return False, "archiving is switched off"
    ended = _ended_itself(evidence)
    if ended is not None:
        return True, f"the archiver ended: {ended.text}", ended.at
    failing = figures.value("archive_failing")
    if failing and figures.value("in_recovery") and newest_failure(evidence) is None:
        # What failed while it was a primary stays in pg_stat_archiver.
        return "a standby archives only where archive_mode is always"
    if failing is None:
        return "pg_stat_archiver was not told"
    if not failing:
        return False, "the last attempt to archive a WAL file succeeded, or there was none"
    return True, f"the last attempt to archive failed, at {failed_file(evidence) or 'a WAL file'}"


def _archive_hangs(figures: Figures, evidence: Evidence) -> YES_NO:
    ready, idle_s = figures.of("archive_ready_age_s"), figures.value("archive_idle_s")
    failing = figures.value("archive_failing")
    if failing is None:
        return "pg_stat_archiver was not told"
    if ready is None or ready.value is None:
        return ""
    if failing:
        return False, "attempts to archive end, and fail"
    if ready.value < HANGS_S_MIN:
        return False, f"the WAL file that waits longest has waited for {span(ready.value)}"
    if idle_s is not None and idle_s < HANGS_S_MIN:
        return (
            False,
            f"a WAL file was archived {span(idle_s)} ago: the archive is behind, and works",
        )
    file = ready.detail.removesuffix(".ready")
    ended = "none has ever ended" if idle_s is None else f"the newest ended {span(idle_s)} ago"
    since = evidence.at - timedelta(seconds=ready.value)
    said = f"{file} has waited for {span(ready.value)} without an attempt that ended; {ended}"
    return True, said, since


def _failures_logged(log: Log, evidence: Evidence) -> YES_NO:
    if not log.records_read:
        return f"nothing of use in {log.path}"
    count, newest = log.count("archive_failed"), log.newest("archive_failed")
    if count is None or newest is None or count.last_at is None:
        return False, f"no failed archive command in {log.path}"
    age_s = (evidence.at - count.last_at).total_seconds()
    if not is_lately(evidence, count.last_at):
        return False, f"the newest failed archive command is {span(age_s)} old"
    said = f"{count.lines} lines tell of it, the newest: {newest.text}"
    return count.lines >= FAILURES_MIN, said, count.last_at


def _segments_wait(kept: Retention, _evidence: Evidence) -> YES_NO:
    if kept.ready_files is None:
        return "archive_status was not read"
    waiting = human_bytes(kept.ready_files * kept.wal_segment_bytes)
    said = f"{kept.ready_files} WAL files ({waiting}) wait for the archive"
    return kept.ready_files >= WAITING_SEGMENTS_MIN, said


def _none_archived(course: Course, evidence: Evidence) -> YES_NO:
    history = value_of(evidence.history)
    failed = history.of("archive_failed_total") if history else None
    if course.peak is None or failed is None or failed.peak is None:
        return "archiving was not recorded since it began"
    if not course.peak and failed.peak:
        return True, "since it began attempts failed, and none succeeded"
    if not course.peak:
        return "since it began nothing was there to be archived"
    return False, "since it began WAL files were archived"


archive_failing = clue_on(
    "archive_failing",
    "Do attempts to archive WAL fail?",
    lambda e: e.figures,
    _archive_failing,
    reads=("archive_failing", "in_recovery"),
)
archive_hangs = clue_on(
    "archive_hangs",
    "Does WAL wait for an attempt to archive that does not end?",
    lambda e: e.figures,
    _archive_hangs,
    reads=("archive_ready_age_s", "archive_idle_s", "archive_failing"),
)
archive_failures_logged = clue_on(
    "archive_failures_logged",
    "Does the log show the archive command failing again and again?",
    lambda e: e.log,
    _failures_logged,
)
segments_wait = clue_on(
    "segments_wait",
    "Do WAL files wait for the archive?",
    lambda e: e.retention,
    _segments_wait,
)
none_archived = clue_on_course(
    "none_archived",
    "Was nothing archived since it began, while attempts failed?",
    ("archived_total", ""),
    _none_archived,
)
archive_told_failing = clue_on_symptom(
    "archive_told_failing",
    "Has archiving failed for longer than is allowed?",
    SymptomKind.ARCHIVE_FAILING,
)
archive_told_stalled = clue_on_symptom(
    "archive_told_stalled",
    "Was nothing archived for longer than is allowed, while WAL was written?",
    SymptomKind.ARCHIVE_STALLED,
)
