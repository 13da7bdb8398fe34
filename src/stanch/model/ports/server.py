"""What stages ask of a watched server, without naming a driver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

SqlValue = str | int | float | bool | None
"""A parameter; the statement casts it (`%(pid)s::int`) where its place does not say the type."""

SqlParams = Mapping[str, SqlValue]
"""Values by the names that the statement uses, as `%(name)s`."""

Row = Mapping[str, str | None]
"""One row as PostgreSQL's own text for each value, by column name; None is NULL."""


class ServerReader(Protocol):
    """Read-only questions to one server; parameters go by name."""

    async def fetch_json(
        self, sql: str, params: SqlParams | None = None, *, timeout_s: float
    ) -> str:
        """The text of the one JSON value that the statement returns.

        Raises: ProbeFailed when there is no answer in time, no session, or an error instead.
        """
        ...

    async def fetch_rows(
        self, sql: str, params: SqlParams | None = None, *, timeout_s: float
    ) -> tuple[Row, ...]:
        """All rows of the statement, in the server's order.

        Raises: ProbeFailed when there is no answer in time, no session, or an error instead.
        """
        ...


ActOutcome = Literal["done", "failed", "not_sent", "in_doubt"]
"""`failed`: the server said no. `not_sent`: it never left us. `in_doubt`: sent, no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acted:
    """How one statement of the acting session went."""

    outcome: ActOutcome
    rows: tuple[Row, ...] = ()
    sqlstate: str | None = None
    detail: str = ""


class ServerActor(Protocol):
    """Changing questions to one server, each sent at most once."""

    async def execute(
        self, sql: str, params: SqlParams | None = None, *, deadline_s: float
    ) -> Acted:
        """Run one statement. Never repeats it: an unknown outcome is `in_doubt`, not an error."""
        ...


LOCK_WAIT_S = 2.0
"""What waits longer for a lock would have everybody else queue behind it."""


class ServerVisits(Protocol):
    """Short sessions of the acting role, each for one statement, in a database of their own.

    Where what is done belongs to a database (a table's statistics, its rights), or takes longer
    than the acting session may be busy. A session that finds another database cluster than the one
    that is watched asks and does nothing.
    """

    async def fetch_rows(
        self, database: str, sql: str, params: SqlParams | None = None, *, timeout_s: float
    ) -> tuple[Row, ...]:
        """All rows of a question, read only. Raises: ProbeFailed."""
        ...

    async def execute(
        self,
        database: str,
        sql: str,
        params: SqlParams | None = None,
        *,
        deadline_s: float,
        lock_wait_s: float = LOCK_WAIT_S,
    ) -> Acted:
        """One statement, sent at most once; the server ends it when the deadline has passed, or
        when it waited for one lock for longer than `lock_wait_s`."""
        ...
