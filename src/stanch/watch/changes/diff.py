"""Two inventories of the same question, and what changed between them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from stanch.model.changes import Change, Item

ITEMS_MAX = 5000
"""As many as a question lists. An inventory that is cut off there says nothing about what is not in
it: whatever is dropped before the cut moves something else in."""

CHANGES_MAX = 200
"""Of one comparison; a migration of a thousand tables is one story."""


def changes_between(
    before: Sequence[Item], after: Sequence[Item], *, at: datetime, source: str
) -> tuple[Change, ...]:
    """What came, went and changed, in this order within one kind of thing."""
    if max(len(before), len(after)) >= ITEMS_MAX:
        return ()
    was = {(item.kind, item.name): item.value for item in before}
    now = {(item.kind, item.name): item.value for item in after}
    different = [key for key in was.keys() | now.keys() if was.get(key) != now.get(key)]
    return tuple(
        Change(
            at=at,
            kind=kind,
            what=name,
            before=was.get((kind, name)),
            after=now.get((kind, name)),
            source=source,
        )
        for kind, name in sorted(different)[:CHANGES_MAX]
    )
