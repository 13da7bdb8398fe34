"""What beside rows and WAL fills a volume: temporary files, server logs, inodes."""

from __future__ import annotations

from stanch.diagnose.ask import YES_NO, clue_on
from stanch.diagnose.cause import Answer, Clue
from stanch.diagnose.clues.space import is_full, volume
from stanch.diagnose.clues.wal import FILLING, SHORT_SHARE
from stanch.diagnose.evidence import Evidence, is_lately, value_of
from stanch.diagnose.figures import Figures
from stanch.diagnose.outside import Log, LogEvent, Volume, Volumes
from stanch.model.shown import human_bytes, span

TEMP_SHARE_MIN = 0.2
"""Temporary files that take this share of a volume are worth naming when it is short."""
LOG_SHARE_MIN = 0.5
LINES_PER_S_MIN = 100.0
LINES_MIN = 500
"""Fewer lines tell nothing about how many there are a second."""
TEMP_FOLDER = "pgsql_tmp"


def is_short(seen: Volume, evidence: Evidence) -> bool:
    """Full, or nearly so."""
    return is_full(seen, evidence) or seen.free_bytes < SHORT_SHARE * seen.total_bytes


def _room(seen: Volume) -> str:
    free, total = human_bytes(seen.free_bytes), human_bytes(seen.total_bytes)
    return f"{seen.mount_point} has {free} of {total} free"


# --- temporary files ----------------------------------------------------------------------------


def temp_bytes(evidence: Evidence) -> float | None:
    """What the files of running statements take: by the folders, else by the server's word."""
    volumes, figures = value_of(evidence.volumes), value_of(evidence.figures)
    if volumes is not None and volumes.temp_bytes is not None:
        return float(volumes.temp_bytes)
    told = figures.named("temp_files_bytes") if figures else ()
    return sum(f.value or 0.0 for f in told) if told else None


def spiller(evidence: Evidence) -> tuple[int, float] | None:
    """The process that wrote the most of them, and how much; only the server tells who."""
    figures = value_of(evidence.figures)
    told = [f for f in figures.named("temp_files_bytes") if f.subject.isdigit()] if figures else []
    most = max(told, key=lambda f: (f.value or 0.0, f.subject), default=None)
    return None if most is None or not most.value else (int(most.subject), most.value)


def _temp_takes(volumes: Volumes, evidence: Evidence) -> YES_NO:
    data, taken = volume(evidence, "data"), temp_bytes(evidence)
    if data is None:
        return "the volume of the data directory was not read"
    if taken is None:
        return "the size of temporary files was not read"
    share = taken / max(1, data.total_bytes)
    said = f"temporary files take {human_bytes(taken)}, {share:.0%} of the volume"
    return share >= TEMP_SHARE_MIN, said


def _data_short(_volumes: Volumes, evidence: Evidence) -> YES_NO:
    data = volume(evidence, "data")
    if data is None:
        return "the volume of the data directory was not read"
    filling = any(s.kind in FILLING and s.subject == data.mount_point for s in evidence.symptoms)
    return filling or is_short(data, evidence), _room(data)


def temp_refused(evidence: Evidence) -> LogEvent | None:
    """A temporary file that could not be written for want of space, not long ago."""
    log = value_of(evidence.log)
    for event in reversed(log.events if log else ()):
        if event.kind == "no_space_data" and TEMP_FOLDER in event.text and event.at is not None:
            return event if is_lately(evidence, event.at) else None
    return None


def _temp_refused(log: Log, evidence: Evidence) -> YES_NO:
    if not log.records_read:
        return f"nothing of use in {log.path}"
    event = temp_refused(evidence)
    if event is None:
        return False, "no temporary file was refused for want of space"
    return True, f"the log says: {event.text}", event.at


# --- the server log -----------------------------------------------------------------------------


def _own_log(evidence: Evidence) -> Volume | None:
    """The log's volume where it holds nothing else of the server's."""
    seen = volume(evidence, "log")
    return None if seen is None or {"data", "wal"} & set(seen.holds) else seen


def _log_fills(volumes: Volumes, evidence: Evidence) -> YES_NO:
    seen, own = volume(evidence, "log"), _own_log(evidence)
    if seen is None:
        return "the volume of the server log was not read"
    if own is not None:
        return is_full(own, evidence), f"the log has a volume of its own: {_room(own)}"
    if not is_short(seen, evidence):
        return False, _room(seen)
    if volumes.log_bytes is None:
        return "how much of the volume is logs is not known"
    share = volumes.log_bytes / max(1, seen.total_bytes - seen.free_bytes)
    said = f"server logs take {human_bytes(volumes.log_bytes)}, {share:.0%} of what is used"
    return share >= LOG_SHARE_MIN, said


def lines_per_s(evidence: Evidence) -> float | None:
    """How fast the log grows at its end; None where the part that was read is too small."""
    log = value_of(evidence.log)
    if log is None or log.begins_at is None or log.records_read < LINES_MIN:
        return None
    seconds = (evidence.at - log.begins_at).total_seconds()
    return log.records_read / max(1.0, seconds)


def _log_storm(log: Log, evidence: Evidence) -> YES_NO:
    if not log.records_read:
        return f"nothing of use in {log.path}"
    rate = lines_per_s(evidence)
    if rate is None or rate < LINES_PER_S_MIN:
        return False, "the log grows by less than a hundred lines a second"
    most = max(log.counts, key=lambda c: (c.lines, c.kind), default=None)
    kind = f", most of them {most.kind.replace('_', ' ')}" if most else ""
    return True, f"{rate:.0f} lines a second go to the log{kind}"


def _logs_all(figures: Figures, _evidence: Evidence) -> YES_NO:
    statements = figures.setting("log_statement")
    slow = figures.setting("log_min_duration_statement")
    if statements is None and slow is None:
        return "the settings of the log were not read"
    if statements == "all" or slow == "0":
        which = "log_statement = all" if statements == "all" else "log_min_duration_statement = 0"
        return True, f"every statement goes to the log ({which})"
    return False, "not every statement goes to the log"


def _log_refused(log: Log, evidence: Evidence) -> YES_NO:
    if not log.records_read:
        return f"nothing of use in {log.path}"
    event = log.newest("no_space_log")
    if event is None or event.at is None:
        return False, "no line of the log was refused for want of space"
    age_s = (evidence.at - event.at).total_seconds()
    if not is_lately(evidence, event.at):
        return False, f"the newest line that was refused is {span(age_s)} old"
    return True, f"the log says: {event.text}", event.at


# --- inodes -------------------------------------------------------------------------------------


def without_inodes(evidence: Evidence) -> Volume | None:
    """A volume of the server with bytes to spare and not one inode."""
    volumes = value_of(evidence.volumes)
    for seen in volumes.volumes if volumes else ():
        if seen.free_inodes == 0 and seen.free_bytes > evidence.disk_full_free_bytes:
            return seen
    return None


def _no_inodes(evidence: Evidence) -> Answer:
    volumes, seen = value_of(evidence.volumes), without_inodes(evidence)
    if seen is not None:
        text = f"{_room(seen)}, and not one inode: no file can be made"
        return Answer(yes=True, text=text)
    if volumes is None:
        return Answer(yes=None, text="no volume was read")
    if all(v.free_inodes is None for v in volumes.volumes):
        return Answer(yes=None, text="these file systems do not count inodes")
    return Answer(yes=False, text="every volume has free inodes, or no free bytes either")


temp_takes = clue_on(
    "temp_takes",
    "Do temporary files take much of the data volume?",
    lambda e: e.volumes,
    _temp_takes,
    reads=("temp_files_bytes",),
)
data_short = clue_on(
    "data_short", "Is the data volume short of space?", lambda e: e.volumes, _data_short
)
temp_write_refused = clue_on(
    "temp_write_refused",
    "Does the log show temporary files that could not grow (53100)?",
    lambda e: e.log,
    _temp_refused,
)
log_fills = clue_on(
    "log_fills", "Is it the server log that fills its volume?", lambda e: e.volumes, _log_fills
)
log_storm = clue_on(
    "log_storm", "Does the log grow by hundreds of lines a second?", lambda e: e.log, _log_storm
)
logs_all = clue_on(
    "logs_all", "Does every statement go to the log?", lambda e: e.figures, _logs_all
)
log_refused = clue_on(
    "log_refused",
    "Were lines of the log refused for want of space?",
    lambda e: e.log,
    _log_refused,
)
no_inodes = Clue(
    id="no_inodes", question="Has a volume free bytes and not one inode?", ask=_no_inodes
)
