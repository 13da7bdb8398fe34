"""A statement and a difference about the same thing are one change."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from stanch.model.changes import Change, ItemKind
from stanch.watch.changes.joining import BOTH, joined, repeats

T0 = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)


def seconds(n: float) -> datetime:
    return T0 + timedelta(seconds=n)


SAID = Change(
    at=seconds(40),
    kind=ItemKind.RELATION,
    what="shop.orders",
    before=None,
    after=None,
    source="log",
    by="app@shop",
    how="ALTER TABLE orders ADD COLUMN note text",
)
LISTED = Change(
    at=seconds(300),
    since=T0,
    kind=ItemKind.RELATION,
    what="shop.public.orders",
    before="columns 1",
    after="columns 2",
    source="inventory",
)


def test_the_difference_is_added_to_the_statement_that_made_it() -> None:
    found = joined({"row": SAID}, LISTED)
    assert found is not None
    row_id, one = found
    assert (row_id, one.at, one.by, one.what) == ("row", SAID.at, SAID.by, LISTED.what)
    assert (one.before, one.after, one.source) == ("columns 1", "columns 2", BOTH)


def test_a_statement_that_is_read_after_the_look_is_added_to_the_difference() -> None:
    found = joined({"row": LISTED}, SAID)
    assert found is not None
    assert (found[1].at, found[1].since, found[1].how) == (SAID.at, None, SAID.how)
    assert repeats([found[1]], SAID), "the log is read again after a crash"


def test_of_several_statements_the_newest_has_the_difference() -> None:
    later = replace(SAID, at=seconds(90), how="ALTER TABLE orders DROP COLUMN old")
    found = joined({"first": SAID, "second": later}, LISTED)
    assert found is not None
    assert found[0] == "second"


@pytest.mark.parametrize(
    "other",
    [
        replace(SAID, what="shop.orders_archive"),
        replace(SAID, what="crm.orders"),
        replace(SAID, kind=ItemKind.ROLE),
        replace(SAID, at=seconds(-120)),
        replace(SAID, at=seconds(400)),
        replace(SAID, failed=True),
    ],
)
def test_another_thing_another_time_or_a_refused_statement_is_not_it(other: Change) -> None:
    assert joined({"row": other}, LISTED) is None
    assert joined({"row": LISTED}, other) is None
