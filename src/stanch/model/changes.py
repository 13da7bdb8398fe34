"""What has changed at a target, and the inventories that show it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

T = TypeVar("T")

ALIKE_MAX = 4
"""So many of one sort are shown while there are others to show."""


class ItemKind(StrEnum):
    """Kinds of things whose coming, going and changing is noted."""

    SETTING = "setting"
    ROLE = "role"
    DATABASE = "database"
    EXTENSION = "extension"
    RELATION = "relation"
    SERVER = "server"
    OBJECT = "object"
    """What statements make and no inventory lists: schemas, functions, types, rights."""
    IMAGE = "image"
    """What the server's container was made from."""
    DEPLOY = "deploy"
    """Somebody says that another version of a service is out."""
    ROLLOUT = "rollout"
    """A revision of a workload in Kubernetes."""
    EVENT = "event"
    """What Kubernetes did to the server's pod or to a workload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing of an inventory. Names and values are the server's words: show them escaped."""

    kind: ItemKind
    name: str
    value: str
    """Whatever would be worth knowing if it were another; never the content of a table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that is not as it was. Every text may be a stranger's: show it escaped."""

    at: datetime
    """When it was done, where somebody wrote that down; else when it was seen."""
    kind: ItemKind
    what: str
    before: str | None
    """None: it was not there, or nobody looked."""
    after: str | None
    """None: it is gone, or nobody looked."""
    source: str
    """Who saw it."""
    since: datetime | None = None
    """When it was last seen as it was before; None: `at` is when it was done."""
    by: str = ""
    """Who did it, such as `app@shop (psql)`."""
    how: str = ""
    """The statement without its literals, or what else was said about it."""
    link: str = ""
    failed: bool = False
    """It was tried, and the server refused it."""
    times: int = 1
    """More than one: this stands for so many alike."""
    key: str = ""
    """What makes it this one although it is told again, in other words. Empty: its facts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotedChange:
    """One change, in words. Every text is a stranger's."""

    at: datetime
    kind: str
    what: str
    told: str
    link: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """The whole answer to one question in one place."""

    place: str
    """Which question, and where it was asked."""
    source: str
    items: tuple[Item, ...]
    read_at: datetime | None = None
    """Where that was not at the moment of the look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Several inventories of one moment."""

    at: datetime
    lane: str
    """Who looked: only places that begin with this can be missed by it."""
    inventories: tuple[Inventory, ...]
    places: frozenset[str]
    """Where it looked, or tried to; what was kept of any other place of the lane is forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangesSeen:
    """How far one target was looked at."""

    looked_at: datetime | None
    """When the last whole look ended."""
    skipped: str
    """Why the last look was not a whole one."""


def told(change: Change) -> str:
    """What happened to it, without its name and its time."""
    parts = [_became(change)]
    if change.how:
        parts.append(f"ran {change.how}" if change.kind in _BY_STATEMENT else change.how)
    if change.failed:
        parts.append("which the server refused")
    if change.by:
        parts.append(f"by {change.by}")
    if change.times > 1:
        parts.append(f"{change.times} times")
    return "; ".join(filter(None, parts))


_BY_STATEMENT = frozenset(
    {
        ItemKind.SETTING,
        ItemKind.ROLE,
        ItemKind.DATABASE,
        ItemKind.EXTENSION,
        ItemKind.RELATION,
        ItemKind.SERVER,
        ItemKind.OBJECT,
    }
)


def _became(change: Change) -> str:
    before, after = change.before, change.after
    if change.kind is ItemKind.DEPLOY and after:
        return f"version {after}" + (f", was {before}" if before else "")
    if before is None:
        return f"is new: {after}" if after is not None else ""
    return f"was: {before}; is: {after}" if after is not None else f"is gone; it was: {before}"


def newest_first(changes: Sequence[Change]) -> list[Change]:
    return sorted(changes, key=lambda change: change.at, reverse=True)


def varied(changes: Sequence[T], limit: int, sort: Callable[[T], Hashable]) -> list[T]:
    """As many as the limit, in their order: the first ones, but few of one sort while others wait.

    A migration of a hundred tables would hide the setting that was changed right before it.
    """
    seen, first, rest = Counter[Hashable](), list[int](), list[int]()
    for place, change in enumerate(changes):
        seen[sort(change)] += 1
        (first if seen[sort(change)] <= ALIKE_MAX else rest).append(place)
    return [changes[place] for place in sorted([*first, *rest][:limit])]


def sort_of(kind: str, by: str, words: str) -> Hashable:
    """What is alike among changes: the same done to many things by one."""
    return (kind, by, *words.split()[:3])


def sort_of_one(change: Change) -> Hashable:
    return sort_of(change.kind, change.by, told(change))
