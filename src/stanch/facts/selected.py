"""Sessions picked by what they are and do: which were meant, and how each one is ended."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from stanch.facts.reading import Answer, read_objects
from stanch.facts.redacting import redacted
from stanch.facts.sql import load

SELECTED_SQL: Final = load("selected_sessions")
"""Takes the pids; see `selected_parameters`."""
END_SELECTED_SQL: Final = load("end_selected_session")
"""Takes pid, backend_start, state and state_change; answers as END_SESSION_SQL does."""

_BOUND: Final = re.compile(r"([1-9][0-9]{0,9})@([0-9T:.+-]{19,40})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundSession:
    """One session as a plan names it: a pid alone may be somebody else's by now."""

    pid: int
    backend_start: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectedSession:
    """One session now. Source: pg_stat_activity. Every name is the client's own word."""

    pid: int
    backend_start: datetime | None
    backend_type: str
    usename: str
    datname: str
    application_name: str
    client_addr: str | None
    """None: over a socket of the machine, or hidden."""
    state: str
    """Empty: hidden."""
    state_change: datetime | None
    state_age_s: float | None
    has_written: bool
    """Its transaction has an id: what it wrote would be rolled back."""
    superuser: bool | None
    replicates: bool
    query: str
    """Literals are replaced."""


def bound_text(sessions: Iterable[BoundSession]) -> str:
    """As a fact of a plan: `4711@2026-03-14T07:00:00+00:00`, with spaces between."""
    return " ".join(f"{s.pid}@{s.backend_start.isoformat()}" for s in sessions)


def parse_bound(text: str) -> tuple[BoundSession, ...] | None:
    """The sessions that a plan names; None where the text is not exactly of that form."""
    found: dict[int, BoundSession] = {}
    for word in text.split(" "):
        match = _BOUND.fullmatch(word)
        began = _moment(match[2]) if match else None
        if match is None or began is None or int(match[1]) in found:
            return None
        found[int(match[1])] = BoundSession(pid=int(match[1]), backend_start=began)
    return tuple(found.values())


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None


def selected_parameters(sessions: Iterable[BoundSession]) -> dict[str, int | str | bool | None]:
    """The parameters of SELECTED_SQL."""
    return {"pids": ",".join(str(session.pid) for session in sessions)}


def parse_selected(payload: object) -> tuple[SelectedSession, ...]:
    """What the answer to SELECTED_SQL says. Raises: ProbeFailed."""
    return tuple(_selected(answer) for answer in read_objects(payload, "selected_sessions"))


def end_selected_parameters(
    pid: int, backend_start: datetime, *, state: str, state_change: datetime
) -> dict[str, int | str | bool | None]:
    """The parameters of END_SELECTED_SQL, exact to the microsecond."""
    return {
        "pid": pid,
        "backend_start": backend_start.isoformat(),
        "state": state,
        "state_change": state_change.isoformat(),
    }


def _selected(answer: Answer) -> SelectedSession:
    superuser = answer.fields.get("superuser")
    return SelectedSession(
        pid=answer.whole("pid"),
        backend_start=answer.moment_or_none("backend_start"),
        backend_type=answer.text("backend_type"),
        usename=answer.text("usename"),
        datname=answer.text("datname"),
        application_name=answer.text("application_name"),
        client_addr=answer.text_or_none("client_addr"),
        state=answer.text("state"),
        state_change=answer.moment_or_none("state_change"),
        state_age_s=answer.age_s("state_age_s"),
        has_written=answer.flag("has_written"),
        superuser=superuser if isinstance(superuser, bool) else None,
        replicates=answer.flag("replicates"),
        query=redacted(answer.text("query")),
    )
