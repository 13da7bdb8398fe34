"""Who may write to tables beside their owners, and how those rights go and come back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from stanch.facts.reading import read_object
from stanch.facts.sql import load

QUARANTINE_SQL: Final = load("quarantine")
"""Takes the kind (table or schema) and the name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """One table (or view) and all rights on it, as the server writes them."""

    oid: int
    name: str
    """Quoted, as it stands in statements."""
    schema: str
    owner: str
    acl: str
    """pg_class.relacl; empty: nobody ever granted anything."""
    columns: str
    """pg_attribute.attacl of those that have one, each after its number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantine:
    """What there is to take away, and the statements for it."""

    cluster: str
    in_recovery: bool
    tables: tuple[Granted, ...]
    granted_by_others: bool
    """Some right on them was not given by their owner: only whoever gave it can give it again."""
    unnamed: bool
    """Some right belongs to a role that is gone."""
    writers: tuple[str, ...]
    """Who may write beside the owners, quoted, PUBLIC among them."""
    statement: str
    undo: str
    """Restores every right and the order in which they stand."""


def parse_quarantine(payload: object) -> Quarantine:
    """What the answer to QUARANTINE_SQL says. Raises: ProbeFailed."""
    answer = read_object(payload, "quarantine")
    return Quarantine(
        cluster=answer.text("cluster"),
        in_recovery=answer.flag("in_recovery"),
        tables=tuple(
            Granted(
                oid=one.whole("oid"),
                name=one.text("name"),
                schema=one.text("schema"),
                owner=one.text("owner"),
                acl=one.text("acl"),
                columns=one.text("columns"),
            )
            for one in answer.parts("tables")
        ),
        granted_by_others=answer.flag("granted_by_others"),
        unnamed=answer.flag("unnamed"),
        writers=tuple(one.text("name") for one in answer.parts("writers")),
        statement=answer.text("statement"),
        undo=answer.text("undo"),
    )
