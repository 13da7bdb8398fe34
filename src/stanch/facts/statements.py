"""What statements have cost, as the extension pg_stat_statements counts it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from stanch.facts.reading import Answer, read_object, read_objects
from stanch.facts.sql import load
from stanch.model.errors import ProbeFailed

HOME_SQL: Final = load("statements_home")
USABLE_SINCE: Final = (1, 8)
INFO_SINCE: Final = (1, 9)
"""The extension's version from which on it tells of entries that it dropped."""

_STATEMENTS: Final = load("statements")
_TEXTS: Final = load("statement_texts")
_INFO: Final = (
    "(SELECT json_build_object('dealloc', i.dealloc, 'reset_at', extract(epoch FROM i.stats_reset))"
    " FROM {schema}.pg_stat_statements_info AS i)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementsHome:
    """The extension as it is installed in one database."""

    schema: str
    version: str
    loaded: bool
    """The server has loaded its library; else it counts nothing."""
    allowed: bool
    """This role may use its schema."""

    @property
    def unusable(self) -> str:
        """Why it cannot be asked, with what to do; empty where it can. To ask all the same would
        put an error into the server's log each time."""
        if not self.loaded:
            return "pg_stat_statements is not loaded: add it to shared_preload_libraries, restart"
        if self._number < USABLE_SINCE:
            return (
                f"version {self.version} of pg_stat_statements is too old:"
                " ALTER EXTENSION pg_stat_statements UPDATE"
            )
        if not self.allowed:
            return "this role may not use the schema of pg_stat_statements: GRANT USAGE ON SCHEMA"
        return ""

    @property
    def has_info(self) -> bool:
        return self._number >= INFO_SINCE

    @property
    def _number(self) -> tuple[int, int]:
        found = re.match(r"(\d{1,4})\.(\d{1,4})", self.version)
        return (0, 0) if found is None else (int(found[1]), int(found[2]))


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementRead:
    """What one statement cost since its entry was made."""

    queryid: str
    """A whole number, below zero as often as not."""
    database: str
    role: str
    calls: int
    total_ms: float
    mean_ms: float
    max_ms: float
    rows: int
    userid: int = 0
    dbid: int = 0
    top_level: bool = True
    """False: run inside a function; counted apart."""
    since_s: float | None = None
    """When its entry was made, in seconds since 1970; from version 17 on."""
    query: str | None = None
    """Its first 300 characters; None: the text was not to be had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementsRead:
    statements: int
    total_ms: float
    largest: tuple[StatementRead, ...]
    """Those that took most time and those that ran most often; most time first."""
    sees_all: bool = True
    """False: only the role's own statements have an id."""
    dropped: int | None = None
    """How often entries were dropped to make room; None: this version does not tell."""
    reset_at_s: float | None = None


def statements_sql(home: StatementsHome) -> str:
    """The question about statements, for the extension as it is installed there."""
    info = _INFO if home.has_info else "NULL"
    return _STATEMENTS.replace("{info}", info).replace("{schema}", quoted_name(home.schema))


def statement_texts_sql(home: StatementsHome, statements: Iterable[StatementRead]) -> str:
    """The question about their texts. No parameters: a schema's name may look like one."""
    ids = ", ".join(str(int(one.queryid)) for one in statements)
    return _TEXTS.replace("{queryids}", ids).replace("{schema}", quoted_name(home.schema))


def quoted_name(name: str) -> str:
    """A name as part of a statement, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def parse_home(payload: object) -> StatementsHome | None:
    """What the answer to HOME_SQL says; None: not installed. Raises ProbeFailed."""
    return home_of(read_object(payload, "home"))


def home_of(answer: Answer) -> StatementsHome | None:
    """The same of an answer that was read before. Raises ProbeFailed."""
    part = answer.part_or_none("home")
    if part is None:
        return None
    return StatementsHome(
        schema=part.text("schema"),
        version=part.text("version"),
        loaded=part.flag("loaded"),
        allowed=part.flag("allowed"),
    )


def parse_statements(payload: object) -> StatementsRead:
    """What the answer to `statements_sql` says. Raises ProbeFailed."""
    answer = read_object(payload, "statements")
    info = answer.part_or_none("info")
    return StatementsRead(
        statements=answer.whole("statements"),
        total_ms=answer.age_s("total_ms") or 0.0,
        largest=tuple(_statement(part) for part in answer.parts("largest")),
        sees_all=answer.flag("sees_all"),
        dropped=None if info is None else info.whole_or_none("dealloc"),
        reset_at_s=None if info is None else info.number_or_none("reset_at"),
    )


def with_texts(read: StatementsRead, payload: object) -> StatementsRead:
    """The same with the texts that the answer to `statement_texts_sql` gives. Raises
    ProbeFailed."""
    parts = read_objects(payload, "texts")
    texts = {part.text("queryid"): part.text("query") for part in parts}
    largest = tuple(replace(one, query=texts.get(one.queryid)) for one in read.largest)
    return replace(read, largest=largest)


def _statement(part: Answer) -> StatementRead:
    return StatementRead(
        queryid=_id(part),
        database=part.text("database"),
        role=part.text("role"),
        calls=part.whole("calls"),
        total_ms=part.age_s("total_ms") or 0.0,
        mean_ms=part.age_s("mean_ms") or 0.0,
        max_ms=part.age_s("max_ms") or 0.0,
        rows=part.whole("rows"),
        userid=part.whole("userid"),
        dbid=part.whole("dbid"),
        top_level=part.flag("top_level"),
        since_s=part.number_or_none("since"),
    )


def _id(part: Answer) -> str:
    queryid = part.text("queryid")
    if not re.fullmatch(r"-?[0-9]{1,20}", queryid):
        raise ProbeFailed(f"the answer's {part.where}.queryid is not a number", on="answer")
    return queryid
