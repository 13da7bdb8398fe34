"""Whether a target is well enough to be asked what can wait."""

from __future__ import annotations

from stanch.model.samples import Sample
from stanch.model.vitals import SessionVitals

CONNECTIONS_USED_MAX = 0.8
"""The visit takes a slot; beyond this somebody else may need it."""
LOCK_WAIT_S = 1.0
"""Shorter waits for locks are a busy server's everyday life."""


def in_the_way(sample: Sample | None) -> str:
    """Why nothing that can wait should be asked now; empty where nothing speaks against it."""
    if sample is None:
        return "nobody has looked yet"
    if sample.reach is not None or sample.unread or not sample.lets_in:
        return "the server is not well"
    vitals = sample.vitals
    if vitals is None:
        return "the server gave no vitals"
    if vitals.sessions is not None and _wait_for_locks(vitals.sessions):
        return "sessions wait for locks"
    used = vitals.sessions.client_backends if vitals.sessions else vitals.backends
    if used > CONNECTIONS_USED_MAX * vitals.settings.usable_connections:
        return "connections are short"
    return ""


def _wait_for_locks(sessions: SessionVitals) -> bool:
    """Before version 14 nobody knows for how long: there, anybody who waits is enough."""
    waited_s = sessions.oldest_lock_wait_s
    return sessions.waiting_on_lock > 0 and (waited_s is None or waited_s >= LOCK_WAIT_S)
