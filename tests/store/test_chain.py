"""The hash covers every field, and nothing else gives the same bytes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.model.errors import StoreCorrupt
from stanch.store.chain import (
    GENESIS,
    Entry,
    Head,
    broken_link,
    entry_from,
    entry_hash,
    from_us,
    to_us,
)

BARE = Entry(
    writer_id="w",
    n=1,
    incident_id="20260301-001",
    seq=1,
    basis_seq=0,
    at_us=5,
    kind="note.added.v1",
    prev_hash=GENESIS,
    hash=b"",
    body=b"{}",
)
FIRST = replace(BARE, hash=entry_hash(BARE))


@pytest.mark.parametrize(
    "change",
    [
        {"writer_id": "v"},
        {"incident_id": "20260301-002"},
        {"seq": 2},
        {"basis_seq": 1},
        {"at_us": 6},
        {"kind": "note.added.v2"},
        {"body": b"{} "},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_change_of_any_field_breaks_the_link(change: dict[str, object]) -> None:
    changed = replace(FIRST, **change)  # type: ignore[arg-type]
    assert "does not match its hash" in (broken_link(changed, Head()) or "")


def test_the_entry_as_written_follows_the_empty_journal() -> None:
    assert broken_link(FIRST, Head()) is None


def test_an_entry_does_not_follow_another_head() -> None:
    assert "missing or moved" in (broken_link(FIRST, Head(n=1, hash=FIRST.hash)) or "")
    second = replace(BARE, n=2, prev_hash=bytes(31) + b"x")
    assert "point back" in (broken_link(second, Head(n=1, hash=FIRST.hash)) or "")


def test_moving_bytes_from_one_field_to_the_next_changes_the_hash() -> None:
    left = replace(BARE, writer_id="ab", incident_id="c")
    right = replace(BARE, writer_id="a", incident_id="bc")
    assert entry_hash(left) != entry_hash(right)


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45))])))
def test_a_moment_survives_being_stored_to_the_microsecond(at: datetime) -> None:
    try:
        us = to_us(at)
    except OverflowError:  # year 1 in a zone east of Greenwich begins before year 1 in UTC
        return
    if at.astimezone(UTC).year > 1:
        assert from_us(us) == at


def test_a_moment_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="without zone"):
        to_us(datetime(2026, 3, 1))  # noqa: DTZ001


@pytest.mark.parametrize("wrong", [None, "1", 1.5, b"1"])
def test_a_row_with_a_value_of_another_type_is_corruption(wrong: object) -> None:
    row = ("w", wrong, "i", 1, 0, 5, "k", GENESIS, GENESIS, b"")
    with pytest.raises(StoreCorrupt, match="n is no int"):
        entry_from(row)
