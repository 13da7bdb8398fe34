"""A server that was told to stop and does not end."""

from __future__ import annotations

from stanch.diagnose.ask import YES_NO, clue_on
from stanch.diagnose.clues import ending
from stanch.diagnose.evidence import Evidence, value_of
from stanch.diagnose.outside import Log
from stanch.model.shown import span

WAITS_S_MIN = 30.0
"""A fast shutdown is done once its last checkpoint is; most take a few seconds."""


def how_asked(evidence: Evidence) -> str:
    """`smart`, `fast` or `immediate`; empty where no log tells."""
    event = ending.request(evidence)
    return ending.SHUTDOWN_REQUESTS[event.kind] if event is not None else ""


def asked_ago_s(evidence: Evidence) -> float | None:
    event = ending.request(evidence)
    if event is None or event.at is None:
        return None
    return max(0.0, (evidence.at - event.at).total_seconds())


def processes_left(evidence: Evidence) -> int | None:
    processes = value_of(evidence.processes)
    if processes is None or processes.postmaster_pid is None:
        return None
    return processes.children


def _asked_long_ago(_log: Log, evidence: Evidence) -> YES_NO:
    ago_s = asked_ago_s(evidence)
    if ago_s is None:
        return "since when it is told to stop is not in the log"
    at = ending.request(evidence)
    said = f"it was told to stop {span(ago_s)} ago ({how_asked(evidence)})"
    return ago_s >= WAITS_S_MIN, said, at.at if at else None


asked_long_ago = clue_on(
    "asked_long_ago",
    "Was it told to stop longer ago than a shutdown takes?",
    lambda e: e.log,
    _asked_long_ago,
)
