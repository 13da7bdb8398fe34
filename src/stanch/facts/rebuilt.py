"""One index that is to be built anew: what it is, and what speaks against it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from stanch.facts.reading import read_object
from stanch.facts.sql import load

REBUILT_SQL: Final = load("rebuilt_index")
"""Takes table_oid, schema and name; asked in its database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuiltIndex:
    """An index as the acting role sees it. Source: pg_index, pg_locks, pg_stat_activity."""

    oid: int
    schema: str
    name: str
    quoted: str
    """Both names as the server itself quotes them: safe in a statement."""
    table: str
    valid: bool
    unique: bool
    rebuildable: bool
    """Can be, beside its users: no exclusion constraint, not partitioned, not the system's."""
    in_recovery: bool
    may_rebuild: bool
    """Owner of it, or (17 and newer) MAINTAIN on its table or pg_maintain."""
    role: str
    version_num: int
    table_bytes: int
    """As of the last VACUUM or ANALYZE; an index takes less, with few exceptions."""
    definition: str
    locked: str
    """Who holds or wants a lock that this has to wait for, another build too; empty: nobody."""
    left_behind: str
    """Invalid indexes of that table whose names are those of rebuilds that were cut short."""
    oldest: str
    """The oldest transaction of the database; empty: there is none."""
    oldest_s: float | None


def parse_rebuilt(payload: object) -> RebuiltIndex | None:
    """What the answer to REBUILT_SQL says; None: there is no such index. Raises: ProbeFailed."""
    answer = read_object(payload, "rebuilt_index")
    if not answer.fields:
        return None
    return RebuiltIndex(
        oid=answer.whole("oid"),
        schema=answer.text("schema"),
        name=answer.text("name"),
        quoted=answer.text("quoted"),
        table=answer.text("table"),
        valid=answer.flag("valid"),
        unique=answer.flag("unique"),
        rebuildable=answer.flag("rebuildable"),
        in_recovery=answer.flag("in_recovery"),
        may_rebuild=answer.flag("may_rebuild"),
        role=answer.text("role"),
        version_num=answer.whole("version_num"),
        table_bytes=answer.whole("table_bytes"),
        definition=answer.text("definition"),
        locked=answer.text("locked"),
        left_behind=answer.text("left_behind"),
        oldest=answer.text("oldest"),
        oldest_s=answer.age_s("oldest_s"),
    )


def rebuild_statement(index: RebuiltIndex) -> str:
    """Of that index by the name it has now, beside those who read and write the table."""
    return f"REINDEX INDEX CONCURRENTLY {index.quoted}"
