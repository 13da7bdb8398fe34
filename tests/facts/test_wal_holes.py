"""Holes in archives of WAL by names alone, and what must not be taken for one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stanch.facts.wal_holes import Stretch, common, holes, newest_wal
from stanch.facts.wal_names import SPANS_MAX, WalNames, parse_history, wal_file, wal_name
from stanch.model.backups import Branch, WalHeld, WalNeeded

MIB = 1024 * 1024
SEGMENT = 16 * MIB
SUM = "-0f1e2d3c4b5a69788796a5b4c3d2e1f001234567"


def name(segment: int, timeline: int = 1) -> str:
    return wal_name(timeline, segment, segment_bytes=SEGMENT)


def names(*segments: int, timeline: int = 1) -> list[str]:
    return [name(one, timeline) for one in segments]


def held(
    files: Iterable[str],
    *,
    branches: Sequence[Branch] = (),
    needed: Sequence[tuple[int, int]] | None = None,
) -> WalHeld:
    found = WalNames()
    for file in files:
        found.add(file)
    kept = None
    if needed is not None:
        kept = tuple(
            WalNeeded(backup=f"b{first}", first=name(first), last=name(last))
            for first, last in needed
        )
    return WalHeld(runs=found.runs(), branches=tuple(branches), needed=kept)


def missing(archive: WalHeld) -> list[str]:
    return [
        name(segment, gap.timeline)
        for gap in holes(archive, segment_bytes=SEGMENT)
        for segment in range(gap.first, gap.last + 1)
    ]


def test_a_file_that_is_missing_between_others_is_named() -> None:
    assert missing(held(names(3, 4, 6, 7))) == names(5)
    assert missing(held(names(3, 4, 5, 6, 7))) == []
    assert missing(held(names(3))) == []
    assert missing(held([])) == []


def test_a_hole_across_the_end_of_four_gigabytes_is_counted_in_files_of_the_servers_size() -> None:
    assert missing(held(names(254, 257))) == [
        "0000000100000000000000FF",
        "000000010000000100000000",
    ]


@pytest.mark.parametrize(
    "packed", ["", SUM, f"{SUM}.gz", ".gz", ".lz4", ".zst", ".zst.gpg", ".bz2", ".xz.age"]
)
def test_how_a_file_is_packed_makes_no_difference(packed: str) -> None:
    assert missing(held(f"{one}{packed}" for one in names(3, 4, 5))) == []


@pytest.mark.parametrize(
    "half", [".tmp", ".part", ".partial", f".partial{SUM}.gz", ".00000028.backup", ".gz.tmp", "~"]
)
def test_what_is_no_whole_file_does_not_fill_a_hole(half: str) -> None:
    assert missing(held([*names(3, 5), f"{name(4)}{half}"])) == names(4)


def test_only_what_the_oldest_kept_backup_needs_has_to_be_there() -> None:
    assert missing(held(names(1, 5, 6, 7), needed=[(5, 6)])) == []
    assert missing(held(names(6, 7), needed=[(5, 6)])) == names(5)
    assert missing(held([], needed=[(5, 6)])) == names(5, 6)
    # Nothing can be restored anyway; that there is no backup is told elsewhere.
    assert missing(held(names(1, 5), needed=[])) == []


def test_what_retention_removed_between_two_backups_is_no_hole() -> None:
    kept = [(2, 3), (10, 11), (20, 21)]
    assert missing(held(names(2, 3, 10, 11, *range(20, 31)), needed=kept)) == []
    # One file less than retention would have left.
    assert missing(held(names(2, 3, 11, *range(20, 31)), needed=kept)) == names(*range(4, 11))
    # Some of it is there, so it was not retention.
    assert missing(held(names(2, 3, 5, 10, 11, *range(20, 31)), needed=kept)) == [
        *names(4),
        *names(6, 7, 8, 9),
    ]


def test_a_timeline_goes_on_where_the_one_before_was_left() -> None:
    # The switch is inside segment 5: the new timeline begins with its own copy of it.
    left = [Branch(timeline=1, end_bytes=5 * SEGMENT + 100)]
    old, new = names(2, 3, 4), names(5, 6, timeline=2)
    assert missing(held([*old, *new], branches=left)) == []
    assert missing(held([*old, f"{name(5)}.partial", *new], branches=left)) == []
    # What the old primary wrote after it was left behind belongs to nobody.
    assert missing(held([*old, *names(5, 9), *new], branches=left)) == []
    assert missing(held([*old, *names(6, timeline=2)], branches=left)) == names(5, timeline=2)
    assert missing(held([*names(2, 4), *new], branches=left)) == names(3)


def test_without_its_history_a_timeline_begins_at_its_first_file() -> None:
    assert missing(held([*names(2, 3, 4), *names(5, 6, timeline=2)])) == []
    assert missing(held([*names(2, 3), *names(5, 6, timeline=2)])) == names(4)


def test_a_timeline_of_which_nothing_is_left_asks_for_nothing() -> None:
    gone = [Branch(timeline=1, end_bytes=5 * SEGMENT), Branch(timeline=2, end_bytes=9 * SEGMENT)]
    assert missing(held(names(9, 10, timeline=3), branches=gone)) == []


def test_a_history_file_is_read_line_by_line_and_nothing_else_counts() -> None:
    text = "1\t0/A000198\tno recovery target specified\n\n2\t1/4000000\tbefore 2026-11-21\nrubbish"
    assert parse_history(text) == (
        Branch(timeline=1, end_bytes=0xA000198),
        Branch(timeline=2, end_bytes=0x1_0400_0000),
    )
    assert parse_history("\x00\xff" * 1000) == ()


def test_the_newest_history_file_is_that_of_the_newest_timeline_with_files() -> None:
    found = WalNames()
    for one in (*names(1), *names(2, timeline=2), "00000002.history", "00000003.history", "x"):
        found.add(one)
    assert found.history() == "00000002.history"


def test_an_archive_beyond_measure_is_not_kept_and_says_so() -> None:
    found = WalNames()
    for span in range(SPANS_MAX - 1):
        assert found.add(f"00000001{span:08X}00000000")
    assert not found.too_many
    assert found.add("0000000100F0000000000000") == "0000000100F00000"
    assert found.too_many
    assert found.add("0000000100F1000000000000") == ""
    assert found.add("0000000100F0000000000001") == "0000000100F00000"


def test_the_newest_file_is_the_last_one_of_the_last_timeline() -> None:
    archive = held([*names(9), *names(5, timeline=2)])
    assert newest_wal(archive, segment_bytes=SEGMENT) == name(5, 2)
    assert newest_wal(held([]), segment_bytes=SEGMENT) == ""


def test_what_two_lists_share_is_cut_out_of_both() -> None:
    def one(first: int, last: int, timeline: int = 1) -> Stretch:
        return Stretch(timeline=timeline, first=first, last=last)

    assert common([one(1, 5), one(8, 9)], [one(4, 8)]) == (one(4, 5), one(8, 8))
    assert common([one(1, 5)], [one(1, 5, timeline=2)]) == ()


@settings(max_examples=30)
@given(st.sets(st.integers(0, 600), min_size=1), st.sampled_from([MIB, SEGMENT, 64 * MIB]))
def test_what_is_held_and_what_is_missing_are_together_everything(
    segments: set[int], size: int
) -> None:
    found = WalNames()
    for one in segments:
        found.add(wal_name(1, one, segment_bytes=size))
    gaps = holes(WalHeld(runs=found.runs()), segment_bytes=size)
    lost = {n for gap in gaps for n in range(gap.first, gap.last + 1)}
    assert lost == set(range(min(segments), max(segments))) - segments


@settings(max_examples=30)
@given(st.text(max_size=60))
def test_any_other_name_is_left_alone(text: str) -> None:
    found = WalNames()
    found.add(text)
    known = wal_file(text, segment_bytes=SEGMENT)
    assert found.runs() == () or known is not None
