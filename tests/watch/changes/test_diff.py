"""What two inventories show, and what a crowd of differences becomes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from stanch.model.changes import Change, Item, ItemKind
from stanch.watch.changes.diff import ITEMS_MAX, TOGETHER_MIN, changes_between, condensed

T0 = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
RELATION = ItemKind.RELATION


def items(**named: str) -> list[Item]:
    return [Item(kind=RELATION, name=f"shop.public.{n}", value=v) for n, v in named.items()]


def between(was: list[Item], now: list[Item]) -> tuple[Change, ...]:
    known = {(item.kind, item.name): item.value for item in was}
    since = T0 - timedelta(seconds=300)
    return changes_between(known, now, at=T0, since=since, source="inventory")


def test_what_came_went_and_changed_is_told_and_the_rest_is_not() -> None:
    found = between(items(a="1", b="1", same="1"), items(b="2", c="1", same="1"))
    assert [(c.what[-1], c.before, c.after) for c in found] == [
        ("a", "1", None),
        ("b", "1", "2"),
        ("c", None, "1"),
    ]


def test_a_list_that_was_cut_off_says_nothing_about_what_is_not_in_it() -> None:
    whole = items(**{f"t{n}": "1" for n in range(ITEMS_MAX)})
    assert between(whole, items(a="1")) == ()
    assert between(items(a="1"), whole) == ()


def test_partitions_that_come_and_go_together_are_two_stories_and_a_lone_table_is_its_own() -> None:
    old = items(**{f"p2025_{n}": "table" for n in range(TOGETHER_MIN)})
    new = items(**{f"p2026_{n}": "table" for n in range(300)})
    other = [Item(kind=RELATION, name="shop.billing.invoice", value="table")]
    found = condensed(between(old, [*new, *other]))
    told = sorted((c.what, (c.before or "")[:7], (c.after or "")[:7]) for c in found)
    assert told == [
        ("shop.billing.invoice", "", "table"),
        ("shop.public", "", "300 new"),
        ("shop.public", "20 gone", ""),
    ]


def test_fewer_than_a_crowd_are_told_by_name() -> None:
    few = items(**{f"t{n}": "table" for n in range(TOGETHER_MIN - 1)})
    assert len(condensed(between([], few))) == TOGETHER_MIN - 1
