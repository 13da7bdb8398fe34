"""Whether WAL reaches the standbys as fast as it is written."""

from __future__ import annotations

from stanch.diagnose.ask import YES_NO, clue_on
from stanch.diagnose.clues.lag import (
    LAG_BYTES,
    LATE_BYTES_MIN,
    ahead_bytes,
    is_suspended,
    lag_text,
    worst,
)
from stanch.diagnose.evidence import Evidence
from stanch.diagnose.figures import Figures
from stanch.diagnose.history import History
from stanch.diagnose.inside import Activity
from stanch.diagnose.outside import ServerProcesses
from stanch.model.shown import human_bytes

SOCKET_FULL = ("WalSenderMain", "WalSenderWriteData")
"""Where a walsender waits whose socket takes no more; at the first also with nothing to send."""


def _unsent(figures: Figures, evidence: Evidence) -> YES_NO:
    lag = worst(evidence)
    if lag is None and figures.value("in_recovery"):
        return ""
    if lag is None:
        return False, "nobody who receives WAL here is far behind"
    return lag.sending_bytes >= 0.5 * lag.total_bytes, lag_text(lag)


def _catching_up(_figures: Figures, evidence: Evidence) -> YES_NO:
    lag = worst(evidence)
    if lag is None:
        return ""
    return lag.state == "catchup", f'standby "{lag.name}" is in state {lag.state}'


def _sender_waits(activity: Activity, evidence: Evidence) -> YES_NO:
    lag = worst(evidence)
    if lag is None:
        return ""
    name = lag.name
    found = [
        d
        for d in activity.doings
        if d.backend_type == "walsender" and d.application_name in (name, "")
    ]
    if not found:
        return f'what the walsender of "{name}" waits for was not read'
    waits = found[0].wait_event or "no wait"
    said = f'the walsender of "{name}" is at {waits}'
    # With WAL left to send it would be sending, did anybody take it.
    return any(d.wait_event in SOCKET_FULL for d in found), said


def _suspended(_processes: ServerProcesses, evidence: Evidence) -> YES_NO:
    lag = worst(evidence)
    if lag is None or not lag.pid:
        return ""
    who = f'the walsender of "{lag.name}" (process {lag.pid})'
    if is_suspended(lag, evidence):
        return True, f"{who} is suspended, by a signal or a debugger"
    return False, f"{who} is not suspended"


def _primary_ahead(_cluster: object, evidence: Evidence) -> YES_NO:
    ahead = ahead_bytes(evidence)
    if ahead is None:
        return ""
    said = f"its primary is {human_bytes(max(0.0, ahead))} ahead of what was received here"
    return ahead >= LAG_BYTES, said


def _was_level(history: History, evidence: Evidence) -> YES_NO:
    course = history.of("replay_lag_bytes_max")
    if worst(evidence) is None:
        return ""
    if course is None or course.trough is None:
        return "replay_lag_bytes_max is not recorded"
    said = f"since the onset the lag was never below {human_bytes(course.trough)}"
    return course.trough < LATE_BYTES_MIN / 4, said


unsent = clue_on(
    "wal_unsent",
    "Is most of what a standby is behind not even sent?",
    lambda e: e.figures,
    _unsent,
    reads=("sender", "sent_lag_bytes", "flush_lag_bytes", "replay_lag_bytes"),
)

catching_up = clue_on(
    "standby_catches_up",
    "Has the standby connected anew and is still catching up?",
    lambda e: e.figures,
    _catching_up,
    reads=("sender",),
)

sender_waits = clue_on(
    "sender_waits_for_network",
    "Does the walsender wait for the other end to take what it sends?",
    lambda e: e.activity,
    _sender_waits,
)

sender_suspended = clue_on(
    "sender_suspended",
    "Is the walsender itself suspended (state T)?",
    lambda e: e.processes,
    _suspended,
    reads=("sender",),
)

primary_ahead = clue_on(
    "primary_ahead",
    "Has the primary written much that this standby has not received?",
    lambda e: e.cluster,
    _primary_ahead,
)

was_level = clue_on(
    "lag_was_level",
    "Had the standby caught up since the onset?",
    lambda e: e.history,
    _was_level,
    reads=("replay_lag_bytes_max",),
)
