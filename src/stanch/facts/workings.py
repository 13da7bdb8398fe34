"""What goes on inside a server beyond its vital signs: statements, and what their answers mean."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from stanch.facts.reading import Answer, read_object
from stanch.facts.redacting import CUT, redacted
from stanch.facts.sql import load
from stanch.model.readings import Reading
from stanch.model.shown import shortened

WORKINGS_SQL: Final = load("workings")
TABLES_SQL: Final = load("workings_tables")
"""Of the database that is asked in."""
FOLDERS_SQL: Final = load("workings_folders")
MORE_FROM: Final = (
    (14, load("workings_14")),
    (15, load("workings_15")),
    # By itself: a slot that is dropped meanwhile is an error.
    (15, load("workings_spill")),
)
"""Further numbers, each from a version on."""

ASKED_CHARS = 500
"""Longer statements are cut by the question itself."""
TEXT_CHARS_MAX = 300
LAST_STATEMENT: Final = "last_statement"
"""The only number beside which a statement stands; its literals are replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doing:
    """Sessions that do the same: the same work for the same application, waiting for the same."""

    backend_type: str
    datname: str
    usename: str
    application_name: str
    state: str
    """Empty for the server's own processes."""
    wait_type: str
    """Empty: on a processor, or waiting for one."""
    wait_event: str
    query_id: str
    """From version 14 on, and only where compute_query_id is on."""
    query: str
    """Of the one that runs longest; literals are replaced."""
    sessions: int
    oldest_query_s: float | None
    oldest_xact_s: float | None
    oldest_pid: int
    oldest_backend_start: datetime | None = None
    oldest_query_start: datetime | None = None
    """With the pid it is that statement and no other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A statement that sessions finished within the last second, and have begun no other since."""

    datname: str
    usename: str
    application_name: str
    query: str
    """Literals are replaced."""
    sessions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Locks of one process that shut others out: AccessExclusive on a table, advisory ones, and the
    one that whoever commits notifications takes (`object`)."""

    pid: int
    """0: a prepared transaction."""
    lock_type: str
    granted: bool
    relation: str
    """Empty where it is not in the database that was asked in."""
    state: str
    application_name: str
    backend_type: str
    xact_s: float | None
    state_s: float | None
    locks: int
    backend_start: datetime | None = None
    query_start: datetime | None = None
    """Of the statement it runs, or ran last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workings:
    """The answer to WORKINGS_SQL."""

    doings: tuple[Doing, ...]
    ended: tuple[Ended, ...]
    held: tuple[Held, ...]
    figures: tuple[Reading, ...]


def parse_workings(payload: str) -> Workings:
    """Raises: ProbeFailed, where the answer is not what the statement gives."""
    answer = read_object(payload, "workings")
    return Workings(
        doings=tuple(_doing(part) for part in answer.parts("groups")),
        ended=tuple(_ended(part) for part in answer.parts("ended")),
        held=tuple(_held(part) for part in answer.parts("locks")),
        figures=_figures(answer),
    )


def parse_figures(payload: str) -> tuple[Reading, ...]:
    """Of the other statements here. Raises: ProbeFailed."""
    return _figures(read_object(payload, "workings"))


def _figures(answer: Answer) -> tuple[Reading, ...]:
    return tuple(_figure(part) for part in answer.parts("figures"))


def _figure(part: Answer) -> Reading:
    name, detail = part.text("name"), part.text("detail")
    return Reading(
        name=name,
        value=part.number_or_none("value"),
        subject=_short(part, "subject"),
        detail=shortened(redacted(detail) if name == LAST_STATEMENT else detail, TEXT_CHARS_MAX),
    )


def _statement(text: str) -> str:
    """Without literals; one that the question cut ends in an ellipsis, however short it became."""
    told = redacted(text)
    whole = len(text) < ASKED_CHARS or told.endswith(CUT)
    return shortened(told if whole else told + CUT, TEXT_CHARS_MAX)


def _doing(part: Answer) -> Doing:
    return Doing(
        backend_type=_short(part, "backend_type"),
        datname=_short(part, "datname"),
        usename=_short(part, "usename"),
        application_name=_short(part, "application_name"),
        state=part.text("state"),
        wait_type=part.text("wait_event_type"),
        wait_event=part.text("wait_event"),
        query_id=part.text("query_id"),
        query=_statement(part.text("query")),
        sessions=part.whole("sessions"),
        oldest_query_s=part.age_s("oldest_query_s"),
        oldest_xact_s=part.age_s("oldest_xact_s"),
        oldest_pid=part.whole_or_none("oldest_pid") or 0,
        oldest_backend_start=part.moment_or_none("oldest_backend_start"),
        oldest_query_start=part.moment_or_none("oldest_query_start"),
    )


def _ended(part: Answer) -> Ended:
    return Ended(
        datname=_short(part, "datname"),
        usename=_short(part, "usename"),
        application_name=_short(part, "application_name"),
        query=_statement(part.text("query")),
        sessions=part.whole("sessions"),
    )


def _held(part: Answer) -> Held:
    return Held(
        pid=part.whole_or_none("pid") or 0,
        lock_type=part.text("locktype"),
        granted=part.flag("granted"),
        relation=_short(part, "relation"),
        state=part.text("state"),
        application_name=_short(part, "application_name"),
        backend_type=part.text("backend_type"),
        xact_s=part.age_s("xact_s"),
        state_s=part.age_s("state_s"),
        locks=part.whole("locks"),
        backend_start=part.moment_or_none("backend_start"),
        query_start=part.moment_or_none("query_start"),
    )


def _short(part: Answer, name: str) -> str:
    return shortened(part.text(name), TEXT_CHARS_MAX)
