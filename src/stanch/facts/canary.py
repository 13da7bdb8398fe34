"""What the server says about writes of the canary that are under way."""

from __future__ import annotations

from typing import Final

from stanch.facts.reading import read_object
from stanch.facts.sql import load

CANARY_SESSIONS_SQL: Final = load("canary_sessions")
"""Takes no parameters."""

WAITS: Final = {
    "SyncRep": "a synchronous standby that does not confirm",
    "WALWrite": "the WAL to be written",
    "WALSync": "the WAL to reach the disk",
    "WalSync": "the WAL to reach the disk",
    "WalWrite": "the WAL to be written",
}


def parse_canary_sessions(payload: str) -> tuple[float, str] | None:
    """Age of the oldest and what it waits for; None where there is none. Raises: ProbeFailed."""
    answer = read_object(payload, "canary_sessions")
    age_s = answer.age_s("age_s")
    if age_s is None:
        return None
    event = answer.text("wait_event")
    kind = answer.text("wait_event_type")
    return age_s, WAITS.get(event) or (f"{kind}: {event}" if event else "")
