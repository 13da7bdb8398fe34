"""Long transactions, and the statements that took most time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from stanch.facts.reading import Answer, read_object, read_objects
from stanch.facts.sql import load

SESSIONS_SQL: Final = load("health_sessions")
STATEMENTS_SQL: Final = load("health_statements")
STATEMENT_TEXTS_SQL: Final = load("health_statement_texts")
"""Takes `queryids`: the ids with commas between."""
SEARCH_PATH_SQL: Final = (
    "SELECT set_config('search_path', 'pg_catalog, ' || quote_ident(%(schema)s::text), false)"
)
"""Where the statements' function is found; in our session alone."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementRead:
    """What one statement cost since the statistics were reset."""

    queryid: str
    database: str
    role: str
    calls: int
    total_ms: float
    mean_ms: float
    max_ms: float
    rows: int
    query: str | None = None
    """Its first 300 characters; None: the text was not to be had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementsRead:
    statements: int
    total_ms: float
    largest: tuple[StatementRead, ...]


def parse_sessions(payload: object) -> tuple[LongSession, ...]:
    """What the answer to SESSIONS_SQL says. Raises ProbeFailed."""
    return tuple(_session(part) for part in read_objects(payload, "sessions"))


def parse_statements(payload: object) -> StatementsRead:
    """What the answer to STATEMENTS_SQL says. Raises ProbeFailed."""
    answer = read_object(payload, "statements")
    return StatementsRead(
        statements=answer.whole("statements"),
        total_ms=answer.age_s("total_ms") or 0.0,
        largest=tuple(_statement(part) for part in answer.parts("largest")),
    )


def with_texts(read: StatementsRead, payload: object) -> StatementsRead:
    """The same with the texts that the answer to STATEMENT_TEXTS_SQL gives. Raises ProbeFailed."""
    parts = read_objects(payload, "texts")
    texts = {part.text("queryid"): part.text("query") for part in parts}
    largest = tuple(replace(one, query=texts.get(one.queryid)) for one in read.largest)
    return replace(read, largest=largest)


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


def _statement(part: Answer) -> StatementRead:
    return StatementRead(
        queryid=part.text("queryid"),
        database=part.text("database"),
        role=part.text("role"),
        calls=part.whole("calls"),
        total_ms=part.age_s("total_ms") or 0.0,
        mean_ms=part.age_s("mean_ms") or 0.0,
        max_ms=part.age_s("max_ms") or 0.0,
        rows=part.whole("rows"),
    )
