"""One table that is to be analyzed or vacuumed: what it is, and what speaks against it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from stanch.facts.reading import read_object
from stanch.facts.sql import load

MAINTAINED_SQL: Final = load("maintained_table")
"""Takes the oid of the table; asked in its database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintainedTable:
    """A table as the acting role sees it. Source: pg_class, pg_locks, pg_stat_activity."""

    oid: int
    schema: str
    table: str
    quoted: str
    """Both names as the server itself quotes them: safe in a statement."""
    ordinary: bool
    """A table or materialized view of this database, not temporary."""
    in_recovery: bool
    may_maintain: bool
    """Owner of it or of the database, or (17 and newer) MAINTAIN on it or pg_maintain."""
    role: str
    version_num: int
    bytes: int
    """With what is out of line, without indexes; as of the last VACUUM or ANALYZE."""
    xid_age: int | None
    analyzed: datetime | None
    vacuumed: datetime | None
    dead_rows: int
    locked: str
    """Who holds or wants a lock that this has to wait for; empty: nobody."""
    holder: str
    """Who keeps dead rows from being removed furthest; empty: nobody."""
    holder_xids: int | None
    holder_s: float | None
    """Of a slot it is not known."""


def parse_maintained(payload: object) -> MaintainedTable | None:
    """What the answer to MAINTAINED_SQL says; None: there is no such table. Raises: ProbeFailed."""
    answer = read_object(payload, "maintained_table")
    if not answer.fields:
        return None
    return MaintainedTable(
        oid=answer.whole("oid"),
        schema=answer.text("schema"),
        table=answer.text("table"),
        quoted=answer.text("quoted"),
        ordinary=answer.flag("ordinary"),
        in_recovery=answer.flag("in_recovery"),
        may_maintain=answer.flag("may_maintain"),
        role=answer.text("role"),
        version_num=answer.whole("version_num"),
        bytes=answer.whole("bytes"),
        xid_age=answer.whole_or_none("xid_age"),
        analyzed=answer.moment_or_none("analyzed"),
        vacuumed=answer.moment_or_none("vacuumed"),
        dead_rows=answer.whole("dead_rows"),
        locked=answer.text("locked"),
        holder=answer.text("holder"),
        holder_xids=answer.whole_or_none("holder_xids"),
        holder_s=answer.age_s("holder_s"),
    )


def analyze_statement(table: MaintainedTable) -> str:
    """ANALYZE of that table by the name it has now."""
    return f"ANALYZE {table.quoted}"


def vacuum_statement(table: MaintainedTable, *, to_freeze: bool) -> str:
    """Plain VACUUM: never FULL, and never the last pages given back, which locks everybody out.

    With ids short, indexes are left as they are, too: what counts is to be through soon.
    """
    options = "TRUNCATE off, INDEX_CLEANUP off" if to_freeze else "TRUNCATE off"
    return f"VACUUM ({options}) {table.quoted}"
