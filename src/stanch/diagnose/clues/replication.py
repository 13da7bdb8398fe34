"""Standbys that are gone, commits that wait for one, and WAL that is no longer there."""

from __future__ import annotations

import re

from stanch.diagnose.ask import YES_NO, clue_on, clue_on_figures, clue_on_log
from stanch.diagnose.evidence import Evidence
from stanch.diagnose.figures import Figures
from stanch.diagnose.inside import Activity
from stanch.facts.workings import Doing
from stanch.model.readings import Reading as Figure
from stanch.model.shown import span
from stanch.model.symptoms import SymptomKind

SYNC_WAIT_S = 2.0
"""A commit waits for its standby a few milliseconds; for seconds only where none answers."""
SYNC_STATES = frozenset({"sync", "quorum"})
_ASKED_FOR = re.compile(r"\s*(?:(?:first|any)\s+)?(\d{1,4})\s*\(", re.IGNORECASE)


def _sync_waiters(activity: Activity, _evidence: Evidence) -> YES_NO:
    found = sync_waiters(activity)
    if not found:
        return False, "no session waits for a synchronous standby"
    oldest = max(d.oldest_query_s or 0.0 for d in found)
    n = sum(d.sessions for d in found)
    return oldest >= SYNC_WAIT_S, f"{n} sessions wait for SyncRep, the longest for {span(oldest)}"


def sync_waiters(activity: Activity) -> tuple[Doing, ...]:
    """Sessions whose commit waits for a standby."""
    return tuple(d for d in activity.doings if d.wait_event == "SyncRep")


def _sync_named(figures: Figures, _evidence: Evidence) -> YES_NO:
    names = figures.setting("synchronous_standby_names")
    if names is None:
        return "synchronous_standby_names was not told"
    return bool(names), f"synchronous_standby_names is '{names[:100]}'"


def sync_asked_for(names: str) -> int:
    """How many standbys a commit waits for, by synchronous_standby_names; a bare list asks for the
    first of them."""
    found = _ASKED_FOR.match(names)
    return int(found[1]) if found is not None else 1


def sync_standbys(figures: Figures) -> tuple[str, ...]:
    """Names of the connected standbys that commits wait for."""
    senders = figures.named("sender")
    return tuple(s.subject for s in senders if s.detail.partition(" ")[2] in SYNC_STATES)


def _no_sync(figures: Figures, _evidence: Evidence) -> YES_NO:
    names = figures.setting("synchronous_standby_names")
    if not names:
        return ""
    if not figures.named("standbys"):
        return "who receives WAL was not told"
    found, asked_for = sync_standbys(figures), sync_asked_for(names)
    others = len(figures.named("sender")) - len(found)
    if not found:
        return True, f"no synchronous standby is connected ({others} others)"
    said = f'"{found[0]}" is connected as a synchronous standby'
    if len(found) < asked_for:
        return True, f"{len(found)} of {asked_for} are connected: {said}"
    return False, said


def _standby_gone(evidence: Evidence) -> bool:
    return any(s.kind is SymptomKind.STANDBY_GONE for s in evidence.symptoms)


def _gone(figures: Figures, evidence: Evidence) -> YES_NO:
    if not figures.named("standbys"):
        return "who receives WAL was not told"
    return _standby_gone(evidence), "the watch saw a standby leave" if _standby_gone(
        evidence
    ) else "no standby was seen to leave"


def _lost(slots: tuple[Figure, ...], _evidence: Evidence) -> YES_NO:
    lost = [slot.subject for slot in slots if slot.detail == "lost"]
    if not lost:
        return False, f"none of {len(slots)} slots is lost"
    return True, f'slot "{lost[0]}" has lost WAL that its consumer needs'


def _streams(streaming: tuple[Figure, ...], _evidence: Evidence) -> YES_NO:
    found = streaming[0]
    return bool(found.value), f"the WAL receiver is {found.detail}"


sync_wait = clue_on(
    "sync_wait",
    "Do commits wait for a synchronous standby for seconds?",
    lambda e: e.activity,
    _sync_waiters,
)

sync_named = clue_on(
    "sync_standbys_named",
    "Does synchronous_standby_names name somebody?",
    lambda e: e.figures,
    _sync_named,
)

no_sync_standby = clue_on(
    "no_sync_standby",
    "Are fewer synchronous standbys connected than commits wait for?",
    lambda e: e.figures,
    _no_sync,
    reads=("sender", "standbys"),
)

standby_gone = clue_on(
    "standby_left",
    "Was a standby seen to leave?",
    lambda e: e.figures,
    _gone,
    reads=("standbys",),
)

sync_canceled = clue_on_log(
    "sync_wait_canceled",
    "Does the log show waits for a synchronous standby that were called off?",
    ("sync_wait_canceled",),
)

removed_logged = clue_on_log(
    "wal_removed_logged",
    "Does the log show a standby that asks for WAL that is gone?",
    ("wal_removed",),
    # It asks again every five seconds (wal_retrieve_retry_interval).
    within_s=120.0,
)

slot_lost = clue_on_figures(
    "slot_lost",
    "Has a slot lost WAL that its consumer needs?",
    "slot_retained_bytes",
    _lost,
)

receiver_streams = clue_on_figures(
    "receiver_streams",
    "Does this standby receive WAL just now?",
    "receiver_streaming",
    _streams,
)
