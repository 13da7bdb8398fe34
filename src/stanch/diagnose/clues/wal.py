"""How fast WAL is written, how long its volume lasts, and whether checkpoints keep up."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from stanch.diagnose.ask import YES_NO, clue_on, clue_on_course
from stanch.diagnose.cause import Answer, Clue
from stanch.diagnose.clues.space import answers_again, fell_on, is_full, retainer, volume
from stanch.diagnose.evidence import Evidence, value_of
from stanch.diagnose.figures import Figures
from stanch.diagnose.history import Course
from stanch.diagnose.inside import Activity
from stanch.diagnose.outside import Log, Volumes
from stanch.model.shown import human_bytes, span
from stanch.model.symptoms import SymptomKind

SHORT_SHARE = 0.1
"""A volume with less of its space free is short of it."""
DAY_S = 86400.0
SETTLED_S = 60.0
BURST_TIMES_MIN = 5.0
BURST_BYTES_S_MIN = 4 * 1024**2
"""A quiet server writes five times as much in any minute."""
STORM_LINES_MIN = 4
STORM_LINES_MANY = 300
STORM_S_MIN = 60.0
"""One large statement sets off several within a second, and it is over."""
STORM_GAP_S_MAX = 60.0
"""Twice what checkpoint_warning calls too often."""
CLOSE_S_MAX = 2.0
"""Lines that are counted and not kept, and came this close in the mean, had no pause between."""
TOO_OFTEN = "checkpoints_too_often"

_SIZE = re.compile(r"(-?\d{1,15}) ?(B|kB|MB|GB|TB)?")
_UNITS = {"": 1, "B": 1, "kB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}


def setting_bytes(evidence: Evidence, name: str) -> float | None:
    """A setting that is a size, as SHOW tells it (`1GB`, `-1`); None where it was not read."""
    figures = value_of(evidence.figures)
    found = _SIZE.fullmatch((figures.setting(name) if figures else None) or "")
    return None if found is None else float(found[1]) * _UNITS[found[2] or ""]


def is_short(evidence: Evidence) -> bool | None:
    """The volume of pg_wal is full or nearly so; None where it was not read."""
    wal = volume(evidence, "wal")
    if wal is None:
        return None
    return is_full(wal, evidence) or wal.free_bytes < SHORT_SHARE * wal.total_bytes


def fills_in_s(evidence: Evidence) -> float | None:
    """How long the free bytes of the WAL volume last at the rate at which WAL is written.

    What is written in the first minute of trouble may be one statement; until then what is usual
    counts.
    """
    wal, history = volume(evidence, "wal"), value_of(evidence.history)
    written = history.of("wal_bytes_total") if history else None
    if wal is None or is_full(wal, evidence) or history is None or written is None:
        return None
    lasted_s = (history.ends_at - history.onset).total_seconds()
    rate = written.now if lasted_s >= SETTLED_S else written.usual
    return round(wal.free_bytes / rate, 0) if rate else None


def _hurts(evidence: Evidence) -> Answer:
    told = next((s for s in evidence.symptoms if s.kind in TROUBLE), None)
    if told is not None:
        said = f"{told.kind.value} stands since {told.since:%H:%M:%S} UTC"
        return Answer(yes=True, text=said, at=told.since)
    left_s, short = fills_in_s(evidence), is_short(evidence)
    if short is None:
        return Answer(yes=None, text="the volume of pg_wal was not read")
    if short:
        return Answer(yes=True, text="the volume of pg_wal is short of space")
    if left_s is not None and left_s < DAY_S:
        return Answer(yes=True, text=f"the volume of pg_wal has room for {span(left_s)} more")
    if fell_on(evidence, "wal") is not None and not answers_again(evidence):
        return Answer(yes=True, text="the server went down because the volume of pg_wal was full")
    return Answer(yes=False, text="the volume of pg_wal has room")


def _burst_hurts(evidence: Evidence) -> Answer:
    """Recycled WAL needs no more room: here only what is seen counts, never how long room lasts."""
    told = next((s for s in evidence.symptoms if s.kind in BEHIND), None)
    if told is not None:
        said = f"{told.kind.value} stands since {told.since:%H:%M:%S} UTC"
        return Answer(yes=True, text=said, at=told.since)
    short = is_short(evidence)
    if short is None:
        return Answer(yes=None, text="the volume of pg_wal was not read")
    if short:
        return Answer(yes=True, text="the volume of pg_wal is short of space")
    return Answer(yes=False, text="the volume of pg_wal has room, and nobody lags behind")


FILLING = frozenset(
    {
        SymptomKind.DISK_FULL,
        SymptomKind.DISK_LOW,
        SymptomKind.DISK_SHORT,
        SymptomKind.DISK_FILLING,
    }
)
BEHIND = FILLING | {SymptomKind.REPLICATION_LAG, SymptomKind.REPLICATION_DELAY}
TROUBLE = FILLING | {
    SymptomKind.SLOT_RETAINS_WAL,
    SymptomKind.SLOT_INACTIVE,
    SymptomKind.SLOT_STUCK,
}


def _burst(course: Course, _evidence: Evidence) -> YES_NO:
    if course.usual is None or course.now is None:
        return "how much WAL is usual was not recorded"
    usual, now = human_bytes(course.usual), human_bytes(course.now)
    burst = course.now >= max(BURST_TIMES_MIN * course.usual, BURST_BYTES_S_MIN)
    return burst, f"{now} of WAL a second are written, usually {usual}"


def _burst_in_two_looks(evidence: Evidence) -> Answer:
    """By the recording, which knows what is usual; else by the mean of all that was counted."""
    recorded, pace = _RECORDED.ask(evidence), value_of(evidence.pace)
    if recorded.yes is not None or pace is None or pace.wal_bytes is None:
        return recorded
    now, mean = pace.rate(pace.wal_bytes), pace.mean(pace.wal_bytes)
    said = f"{human_bytes(now)} of WAL a second, {human_bytes(mean)} in the mean of all time"
    return Answer(yes=now >= max(BURST_TIMES_MIN * mean, BURST_BYTES_S_MIN), text=said)


def _nothing_keeps(_volumes: Volumes, evidence: Evidence) -> YES_NO:
    kept = retainer(evidence)
    if kept.name == "unknown":
        return "what retains WAL was not read"
    if kept.is_named:
        amount = human_bytes(kept.retained_bytes or 0)
        return False, f"{kept.name.replace(':', ' ', 1)} retains {amount}"
    return True, "nothing retains WAL beyond what the server itself needs"


def _bulk(figures: Figures, _evidence: Evidence) -> YES_NO:
    running = [f for f in figures.named("progress") if f.value and f.subject in BULK]
    if not figures.named("progress"):
        return "what is in progress was not told"
    if not running:
        return False, "no COPY, no index and no CLUSTER is in progress"
    return True, ", ".join(f"{f.value:.0f} {f.subject} in progress" for f in running)


BULK = frozenset({"copy", "create index", "cluster"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Storm:
    """Checkpoints that came too early, one soon after the other."""

    first_at: datetime
    last_at: datetime
    lines: int

    @property
    def lasted_s(self) -> float:
        return (self.last_at - self.first_at).total_seconds()

    @property
    def every_s(self) -> float:
        return self.lasted_s / max(1, self.lines - 1)


def _storm(log: Log) -> _Storm | None:
    """The newest one. Of many only the last lines are kept, and all of them counted."""
    times = [e.at for e in log.events if e.kind == TOO_OFTEN and e.at is not None]
    run: list[datetime] = []
    for at in reversed(times):
        if run and (run[-1] - at).total_seconds() > STORM_GAP_S_MAX:
            break
        run.append(at)
    if not run:
        return None
    kept = _Storm(first_at=run[-1], last_at=run[0], lines=len(run))
    count = log.count(TOO_OFTEN)
    if len(run) < len(times) or count is None or count.first_at is None:
        return kept
    whole = _Storm(first_at=count.first_at, last_at=kept.last_at, lines=count.lines)
    return whole if whole.every_s <= CLOSE_S_MAX else kept


def _too_often(log: Log, evidence: Evidence) -> YES_NO:
    if not log.records_read:
        return f"nothing of use in {log.path}"
    storm = _storm(log)
    if storm is None:
        return False, f"no checkpoint came too early in {log.path}"
    age_s = (evidence.at - storm.last_at).total_seconds()
    if age_s > STORM_GAP_S_MAX:
        return False, f"the newest checkpoint that came too early is {span(age_s)} old"
    said = f"{storm.lines} checkpoints came too early"
    lasts = storm.lasted_s >= STORM_S_MIN and storm.lines >= STORM_LINES_MIN
    # So many lines leave no room for a minute in the part of the log that is read.
    if not lasts and storm.lines < STORM_LINES_MANY:
        return False, f"{said}, within {span(storm.lasted_s)}"
    every_s = storm.every_s
    often = f"one every {span(every_s)}" if every_s >= 1 else f"{1 / every_s:.0f} a second"
    return True, f"{said}, {often}", storm.last_at


def _writers_wait(activity: Activity, _evidence: Evidence) -> YES_NO:
    waits = ("WALSYNC", "WALWRITE", "DATAFILESYNC", "DATAFILEFLUSH", "DATAFILEWRITE")
    found = [d for d in activity.doings if d.wait_event.upper() in waits and d.state == "active"]
    if not found:
        return False, "nobody waits for writing"
    waiting = sum(d.sessions for d in found)
    return True, f"{waiting} sessions wait for writing, most in {found[0].wait_event}"


retention_hurts = Clue(
    id="retention_hurts",
    question="Does the volume of pg_wal run out within a day, or has the watch spoken up?",
    ask=_hurts,
    reads=("wal_bytes_total",),
)
burst_hurts = Clue(
    id="burst_hurts",
    question="Is the volume of pg_wal short of space, or does a standby lag behind?",
    ask=_burst_hurts,
)
_RECORDED = clue_on_course(
    "wal_burst", "Is far more WAL written than usual?", ("wal_bytes_total", ""), _burst
)
wal_burst = Clue(
    id=_RECORDED.id, question=_RECORDED.question, ask=_burst_in_two_looks, reads=_RECORDED.reads
)
nothing_keeps_wal = clue_on(
    "nothing_keeps_wal",
    "Does nothing retain WAL beyond what the server needs?",
    lambda e: e.volumes,
    _nothing_keeps,
)
bulk_work = clue_on(
    "bulk_work",
    "Is a COPY, an index or a CLUSTER in progress?",
    lambda e: e.figures,
    _bulk,
    reads=("progress",),
)
checkpoints_too_often = clue_on(
    "checkpoints_too_often",
    "Does the log say again and again that checkpoints come too often?",
    lambda e: e.log,
    _too_often,
)
writers_wait = clue_on(
    "writers_wait", "Do sessions wait for writing?", lambda e: e.activity, _writers_wait
)
