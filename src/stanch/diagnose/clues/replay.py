"""What the replay of WAL on a standby waits for."""

from __future__ import annotations

from datetime import timedelta

from stanch.diagnose.ask import YES_NO, clue_on, clue_on_log
from stanch.diagnose.clues.lag import LATE_S, backlog, lag_text, replayer, worst
from stanch.diagnose.cluster import Member
from stanch.diagnose.evidence import Evidence, value_of
from stanch.diagnose.figures import Figures
from stanch.diagnose.history import History
from stanch.diagnose.inside import Activity
from stanch.diagnose.outside import Log
from stanch.facts.workings import Doing
from stanch.model.shown import human_bytes, span

CANCELLED_WITHIN_S = 120.0
CANCELLED_MIN = 3


def is_conflict(doing: Doing) -> bool:
    """It waits for a session of the standby: for its snapshot, its lock, or its pinned page."""
    return (
        doing.wait_event.startswith("RecoveryConflict")
        or doing.wait_type == "Lock"
        or doing.wait_event == "BufferPin"
    )


def in_the_way(evidence: Evidence) -> Doing | None:
    """On a standby: the client sessions with the oldest transaction."""
    activity = value_of(evidence.activity)
    clients = [
        d
        for d in (activity.doings if activity else ())
        if d.backend_type == "client backend" and d.oldest_xact_s is not None
    ]
    return max(clients, key=lambda d: (d.oldest_xact_s or 0.0, -d.oldest_pid), default=None)


def cancelled(evidence: Evidence) -> int:
    """How many statements of this standby were cancelled for replay within the last minutes; zero
    where they are few: one is what max_standby_streaming_delay is for."""
    log = value_of(evidence.log)
    since = evidence.at - timedelta(seconds=CANCELLED_WITHIN_S)
    events = log.events if log is not None else ()
    found = [e for e in events if e.kind == "recovery_conflict" and e.at and e.at >= since]
    return len(found) if len(found) >= CANCELLED_MIN else 0


def _unreplayed(figures: Figures, evidence: Evidence) -> YES_NO:
    behind = backlog(evidence)
    if behind is not None:
        late = f", {span(behind.late_s)} late" if behind.late_s is not None else ""
        return True, f"{human_bytes(behind.bytes)} are received and not replayed{late}"
    if cancelled(evidence):
        return ""
    if figures.value("in_recovery"):
        return False, "all that was received is replayed, or nearly"
    lag = worst(evidence)
    if lag is None:
        return False, "nobody who receives WAL here is far behind"
    return lag.replaying_bytes >= 0.5 * lag.total_bytes, lag_text(lag)


def _in_conflict(_activity: Activity, evidence: Evidence) -> YES_NO:
    doing = replayer(evidence)
    if doing is None:
        return ""
    waits = f"{doing.wait_type}:{doing.wait_event}" if doing.wait_event else "nothing"
    if not is_conflict(doing) and cancelled(evidence):
        return ""
    return is_conflict(doing), f"the process that replays WAL waits for {waits}"


def _replay_works(_activity: Activity, evidence: Evidence) -> YES_NO:
    doing = replayer(evidence)
    if doing is None:
        return ""
    at = f"{doing.wait_type}:{doing.wait_event}" if doing.wait_event else "on a processor"
    return doing.wait_type in ("", "IO"), f"the process that replays WAL is at {at}"


def paused_elsewhere(evidence: Evidence) -> Member | None:
    """On a primary: the standby that says itself that its replay is paused, with most to replay."""
    cluster, figures = value_of(evidence.cluster), value_of(evidence.figures)
    own = cluster.of(evidence.target) if cluster is not None else None
    if cluster is None or own is None or figures is None or figures.value("in_recovery"):
        return None
    found = [
        member
        for member in cluster.others(evidence.target)
        if member.replay_paused
        and (member.unreplayed_bytes or 0) > 0
        and member.is_fresh(evidence.at)
        and member.system_identifier == own.system_identifier
    ]
    return max(found, key=lambda m: (m.unreplayed_bytes or 0, m.target), default=None)


def _paused(figures: Figures, evidence: Evidence) -> YES_NO:
    other = paused_elsewhere(evidence)
    if other is not None:
        waiting = human_bytes(other.unreplayed_bytes or 0)
        return True, f'"{other.target}" says that its replay is paused, with {waiting} to replay'
    if not figures.value("in_recovery"):
        return ""
    if not figures.value("replay_paused"):
        return False, "replay is not paused"
    waiting = figures.value("received_bytes_to_replay") or 0.0
    said = f"replay is paused, {human_bytes(max(0.0, waiting))} wait to be replayed"
    return waiting > 0, said


def _old_reader(_activity: Activity, evidence: Evidence) -> YES_NO:
    if replayer(evidence) is None:
        return ""
    reader = in_the_way(evidence)
    if reader is None or (reader.oldest_xact_s or 0.0) < LATE_S:
        return False, "no session of the standby has an old transaction"
    return True, f"session {reader.oldest_pid} has read for {span(reader.oldest_xact_s or 0.0)}"


def _moves(history: History, evidence: Evidence) -> YES_NO:
    course = history.of("wal_bytes_total")
    if backlog(evidence) is None:
        return ""
    if course is None or course.now is None:
        return "wal_bytes_total is not recorded"
    return course.now > 0, f"replay goes on at {human_bytes(course.now)} a second"


def _cancelled(log: Log, evidence: Evidence) -> YES_NO:
    if not log.records_read:
        return f"nothing of use in {log.path}"
    lines, within = cancelled(evidence), span(CANCELLED_WITHIN_S)
    if not lines:
        return False, f"no statements were cancelled for replay again and again within {within}"
    return True, f"{lines} statements were cancelled for replay within {within}"


cancelled_again = clue_on(
    "cancelled_for_replay",
    "Are statements cancelled for replay again and again?",
    lambda e: e.log,
    _cancelled,
)

unreplayed = clue_on(
    "wal_unreplayed",
    "Is most of what a standby is behind received, but not replayed?",
    lambda e: e.figures,
    _unreplayed,
    reads=("received_bytes_to_replay", "last_replayed_xact_age_s", "replay_lag_bytes"),
)

in_conflict = clue_on(
    "replay_in_conflict",
    "Does replay wait for a session of the standby?",
    lambda e: e.activity,
    _in_conflict,
)

replay_works = clue_on(
    "replay_works",
    "Is the process that replays WAL at work (a processor or a read), waiting for nobody?",
    lambda e: e.activity,
    _replay_works,
)

paused = clue_on(
    "replay_paused",
    "Is replay paused while WAL waits to be replayed?",
    lambda e: e.figures,
    _paused,
    reads=("replay_paused", "received_bytes_to_replay"),
)

old_reader = clue_on(
    "old_reader_on_standby",
    "Has a session of the standby an old transaction?",
    lambda e: e.activity,
    _old_reader,
)

replay_moves = clue_on(
    "replay_moves",
    "Does the replayed position move all the time?",
    lambda e: e.history,
    _moves,
    reads=("wal_bytes_total",),
)

conflicts_logged = clue_on_log(
    "recovery_conflicts_logged",
    "Does the log show statements cancelled because of a conflict with recovery?",
    ("recovery_conflict",),
)
