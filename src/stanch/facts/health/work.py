"""Sessions whose transaction has been open for long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from stanch.facts.reading import Answer, read_objects
from stanch.facts.sql import load

SESSIONS_SQL: Final = load("health_sessions")


@dataclass(frozen=True, slots=True, kw_only=True)
class LongSession:
    """A session whose transaction has been open for a while; names and query are its own words."""

    pid: int
    usename: str
    datname: str
    application_name: str
    state: str
    wait_event: str
    xact_age_s: float
    query_age_s: float | None
    state_age_s: float | None
    query: str


def parse_sessions(payload: object) -> tuple[LongSession, ...]:
    """What the answer to SESSIONS_SQL says. Raises ProbeFailed."""
    return tuple(_session(part) for part in read_objects(payload, "sessions"))


def _session(part: Answer) -> LongSession:
    kind, event = part.text("wait_event_type"), part.text("wait_event")
    return LongSession(
        pid=part.whole("pid"),
        usename=part.text("usename"),
        datname=part.text("datname"),
        application_name=part.text("application_name"),
        state=part.text("state"),
        wait_event=f"{kind}:{event}" if kind else "",
        xact_age_s=part.age_s("xact_age_s") or 0.0,
        query_age_s=part.age_s("query_age_s"),
        state_age_s=part.age_s("state_age_s"),
        query=part.text("query"),
    )
