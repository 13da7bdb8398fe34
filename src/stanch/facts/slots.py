"""One replication slot: what it is, and how it is dropped. What the answers mean."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from stanch.facts.reading import read_object
from stanch.facts.sql import load

SLOT_SQL: Final = load("replication_slot")
"""Takes the slot's name."""
DROP_SLOT_SQL: Final = load("drop_slot")
"""Takes what tells the slot from another; answers as END_SESSION_SQL does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationSlot:
    """A row of pg_replication_slots, and where it is."""

    name: str
    plugin: str
    """Empty: a physical one."""
    slot_type: str
    database: str
    """Empty: a physical one."""
    temporary: bool
    active: bool
    restart_lsn: str
    """Empty: it keeps no WAL."""
    confirmed_flush_lsn: str
    inactive_since: datetime | None
    """From version 17 on."""
    synced: bool
    """A copy of the primary's, which the server keeps by itself (17 and newer)."""
    in_recovery: bool
    at: datetime
    """The server's clock."""
    patroni: bool
    """A session calls itself Patroni's."""
    row: str
    """All of it, as it is kept for evidence."""


def parse_slot(payload: object) -> ReplicationSlot | None:
    """What the answer to SLOT_SQL says; None: no slot has that name. Raises: ProbeFailed."""
    answer = read_object(payload, "replication_slot")
    if not answer.fields:
        return None
    return ReplicationSlot(
        name=answer.text("slot"),
        plugin=answer.text("plugin"),
        slot_type=answer.text("slot_type"),
        database=answer.text("database"),
        temporary=answer.flag("temporary"),
        active=answer.flag("active"),
        restart_lsn=answer.text("restart_lsn"),
        confirmed_flush_lsn=answer.text("confirmed_flush_lsn"),
        inactive_since=answer.moment_or_none("inactive_since"),
        synced=answer.flag("synced"),
        in_recovery=answer.flag("in_recovery"),
        at=answer.moment("at"),
        patroni=answer.flag("patroni"),
        row=answer.text("row"),
    )


def drop_parameters(slot: ReplicationSlot) -> dict[str, str | None]:
    """The parameters of DROP_SLOT_SQL, for exactly the slot that was read."""
    return {
        "slot": slot.name,
        "slot_type": slot.slot_type,
        "plugin": slot.plugin or None,
        "database": slot.database or None,
        "restart_lsn": slot.restart_lsn,
        "confirmed_flush_lsn": slot.confirmed_flush_lsn or None,
    }
