"""What has changed at a target, and the inventory that shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class ItemKind(StrEnum):
    """Kinds of things whose coming, going and changing is noted."""

    SETTING = "setting"
    ROLE = "role"
    DATABASE = "database"
    EXTENSION = "extension"
    RELATION = "relation"
    SERVER = "server"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing of an inventory. Names and values are the server's words: show them escaped."""

    kind: ItemKind
    name: str
    value: str
    """Whatever would be worth knowing if it were another; never the content of a table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that is not as it was."""

    at: datetime
    """When it was seen, which may be minutes after it was done."""
    kind: ItemKind
    what: str
    before: str | None
    """None: it was not there."""
    after: str | None
    """None: it is gone."""
    source: str
    """Who saw it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangesSeen:
    """What was seen to change at one target, and how far that can be trusted."""

    changes: Sequence[Change]
    """Oldest first."""
    looked_at: datetime | None
    """When the last whole look ended."""
    skipped: str
    """Why the last look was not a whole one."""
