"""Two inventories of the same question, and what changed between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from stanch.model.changes import Change, Item, ItemKind

ITEMS_MAX = 5000
"""As many as a question lists. An inventory that is cut off there says nothing about what is not in
it: whatever is dropped before the cut moves something else in."""

TOGETHER_MIN = 20
"""So many of one kind in one schema that came, went or changed at once are one story: partitions,
or a migration of a thousand tables."""
NAMED = 3

Known = Mapping[tuple[ItemKind, str], str]


def changes_between(
    was: Known, items: Sequence[Item], *, at: datetime, since: datetime | None, source: str
) -> tuple[Change, ...]:
    """What came, went and changed, by kind and name."""
    if max(len(was), len(items)) >= ITEMS_MAX:
        return ()
    now = {(item.kind, item.name): item.value for item in items}
    different = [key for key in was.keys() | now.keys() if was.get(key) != now.get(key)]
    return tuple(
        Change(
            at=at,
            kind=kind,
            what=name,
            before=was.get((kind, name)),
            after=now.get((kind, name)),
            source=source,
            since=since,
        )
        for kind, name in sorted(different)
    )


def condensed(changes: Sequence[Change]) -> list[Change]:
    """The same, with a crowd of one kind in one place told as one."""
    crowds: dict[tuple[ItemKind, str, str], list[Change]] = {}
    for change in changes:
        crowds.setdefault((change.kind, _schema(change), _way(change)), []).append(change)
    found: list[Change] = []
    for (kind, schema, way), crowd in crowds.items():
        if len(crowd) < TOGETHER_MIN:
            found += crowd
            continue
        names = ", ".join(change.what.rpartition(".")[2] for change in crowd[:NAMED])
        text = f"{len(crowd)} {way}: {names}, …"
        found.append(
            Change(
                at=crowd[0].at,
                kind=kind,
                what=schema or kind.value,
                before=text if way == "gone" else None,
                after=None if way == "gone" else text,
                source=crowd[0].source,
                since=crowd[0].since,
            )
        )
    return found


def _schema(change: Change) -> str:
    return change.what.rpartition(".")[0]


def _way(change: Change) -> str:
    if change.before is None:
        return "new"
    return "gone" if change.after is None else "changed"
