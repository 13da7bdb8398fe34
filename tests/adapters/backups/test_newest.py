"""Places with very many backups: what is kept of them, and what only counted."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime, timedelta

import pytest

from stanch.adapters.backups.newest import KEPT_MAX, Newest
from stanch.model.backups import Backup

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def filled(count: int) -> Newest:
    found = Newest()
    for n in range(count):
        hours = n * 7919 % count
        at = NOW - timedelta(hours=hours)
        found.add(Backup(name=f"{hours}.dump", kind="custom", at=at, size_bytes=10))
    return found


@pytest.mark.parametrize("count", [1, 2, KEPT_MAX, KEPT_MAX + 1, KEPT_MAX + 2, 10_000])
def test_the_newest_and_the_oldest_are_kept_and_all_are_counted(count: int) -> None:
    found = filled(count)
    kept = found.newest_first()
    more, more_bytes = found.between
    assert [b.name for b in kept[:2]] == [f"{n}.dump" for n in range(min(2, count))]
    assert kept[-1].name == f"{count - 1}.dump"
    assert len(kept) == len({b.name for b in kept}) == min(count, KEPT_MAX + 1)
    assert len(kept) + more == count
    assert sum(b.size_bytes for b in kept) + more_bytes == 10 * count


def test_nothing_is_kept_of_nothing() -> None:
    assert (Newest().newest_first(), Newest().between) == ([], (0, 0))


def test_ten_thousand_backups_take_no_more_memory_than_a_few_hundred() -> None:
    tracemalloc.start()
    try:
        found = filled(10_000)
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.between[0] > 9_000
    assert held_bytes < 250_000
