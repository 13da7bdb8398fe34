"""A statement in the log and a difference between two looks may be the same change.

The statement says who, when and how; the looks say what it was and what it is. Together they are
one change, whichever came first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta

from stanch.model.changes import Change

LATE = timedelta(seconds=30)
"""So much later than a look ended may its own moment be written in the log: clocks differ."""
BOTH = "log and inventory"


def joined(known: Mapping[str, Change], arrived: Change) -> tuple[str, Change] | None:
    """The row that a newcomer belongs to, with what is known then; None: it stands alone."""
    if _from_log(arrived):
        return _statement(known, arrived)
    if arrived.since is not None:
        return _difference(known, arrived)
    return None


def repeats(known: Iterable[Change], arrived: Change) -> bool:
    """Whether this very statement is part of a row already: a log is read again after a crash."""
    return bool(arrived.how) and any(
        (c.at, c.how, c.by) == (arrived.at, arrived.how, arrived.by)
        for c in known
        if c.source == BOTH
    )


def _from_log(change: Change) -> bool:
    return bool(change.how) and change.before is None and change.after is None


def _statement(known: Mapping[str, Change], arrived: Change) -> tuple[str, Change] | None:
    for row_id, row in known.items():
        if row.how or row.since is None or arrived.failed or not _same(row, arrived):
            continue
        if row.since - LATE <= arrived.at <= row.at + LATE:
            return row_id, replace(
                row, at=arrived.at, since=None, how=arrived.how, by=arrived.by, source=BOTH
            )
    return None


def _difference(known: Mapping[str, Change], arrived: Change) -> tuple[str, Change] | None:
    assert arrived.since is not None
    fitting = [
        (row_id, row)
        for row_id, row in known.items()
        if _from_log(row) and not row.failed and _same(arrived, row)
        if arrived.since - LATE <= row.at <= arrived.at + LATE
    ]
    if not fitting:
        return None
    row_id, row = max(fitting, key=lambda found: found[1].at)
    return row_id, replace(
        row, what=arrived.what, before=arrived.before, after=arrived.after, source=BOTH
    )


def _same(listed: Change, said: Change) -> bool:
    """A statement may leave out schema and database; an inventory never does."""
    if listed.kind is not said.kind:
        return False
    if listed.what == said.what:
        return True
    database, _, name = said.what.rpartition(".")
    return listed.what.endswith(f".{name}") and listed.what.startswith(
        f"{database}." if database else ""
    )
