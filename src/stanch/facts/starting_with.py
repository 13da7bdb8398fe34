"""What sessions start with, by role and by database, and the statements that change it.

The statements come from the server: names are quoted by it, looked up by oid, and bound to all that
is set there (pg_db_role_setting), so that nothing happens where any of it has changed since.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from stanch.facts.reading import read_object
from stanch.facts.sql import load

ROLE_TIMEOUT_SQL: Final = load("role_timeout")
"""Takes role, database, setting and milliseconds."""
READ_ONLY_SQL: Final = load("read_only")
"""Takes the database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleTimeout:
    """One timeout of one role. Names and values are as the server has them."""

    cluster: str
    in_recovery: bool
    role: str
    database: str
    """Empty: in all databases."""
    superuser: bool
    replication: bool
    login: bool
    ours: bool
    """It is the role that asked."""
    own: str | None
    """What is set for exactly this role, there; None: nothing."""
    others: tuple[str, ...]
    """What is set above it: for the role, the database, for all, and in the settings files."""
    applications: tuple[str, ...]
    """Whose sessions the role has now."""
    statement: str
    undo: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOnly:
    """How new transactions in one database begin."""

    cluster: str
    in_recovery: bool
    database: str
    template: bool
    maintenance: bool
    """The database `postgres`, from which people and tools would undo it."""
    own: str | None
    """What is set for exactly this database; None: nothing."""
    statement: str
    undo: str


def parse_role_timeout(payload: object) -> RoleTimeout | None:
    """The answer to ROLE_TIMEOUT_SQL; None: no such role or database. Raises: ProbeFailed."""
    answer = read_object(payload, "role_timeout")
    if not answer.fields:
        return None
    return RoleTimeout(
        cluster=answer.text("cluster"),
        in_recovery=answer.flag("in_recovery"),
        role=answer.text("role"),
        database=answer.text("database"),
        superuser=answer.flag("superuser"),
        replication=answer.flag("replication"),
        login=answer.flag("login"),
        ours=answer.flag("ours"),
        own=answer.text_or_none("own"),
        others=tuple(one.text("value") for one in answer.parts("others")),
        applications=tuple(one.text("name") for one in answer.parts("applications")),
        statement=answer.text("statement"),
        undo=answer.text("undo"),
    )


def parse_read_only(payload: object) -> ReadOnly | None:
    """The answer to READ_ONLY_SQL; None: no such database. Raises: ProbeFailed."""
    answer = read_object(payload, "read_only")
    if not answer.fields:
        return None
    return ReadOnly(
        cluster=answer.text("cluster"),
        in_recovery=answer.flag("in_recovery"),
        database=answer.text("database"),
        template=answer.flag("template"),
        maintenance=answer.flag("maintenance"),
        own=answer.text_or_none("own"),
        statement=answer.text("statement"),
        undo=answer.text("undo"),
    )
