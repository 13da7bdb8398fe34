"""How far one WAL file is behind another, across file sizes and timelines."""

from __future__ import annotations

import pytest

from stanch.facts.wal_names import WalFile, segments_missing, wal_file

MB = 1024 * 1024


def segment(name: str, megabytes: int = 16) -> WalFile:
    found = wal_file(name, segment_bytes=megabytes * MB)
    assert found is not None
    return found


def test_the_next_file_after_the_last_of_a_log_is_one_ahead_whatever_the_size() -> None:
    for megabytes, last in ((16, "FF"), (64, "3F"), (1024, "03")):
        before = segment(f"000000010000000A000000{last}", megabytes)
        after = segment("000000010000000B00000000", megabytes)
        assert segments_missing(after, before) == 1
        assert segments_missing(before, after) == 0


def test_a_repository_that_ends_where_the_server_does_has_no_gap() -> None:
    here = segment("000000020000000A000000FE")
    assert segments_missing(here, here) == 0
    assert segments_missing(segment("000000020000000A000000FE.partial"), here) == 0


def test_a_new_timeline_of_which_nothing_arrived_is_a_gap_and_an_older_server_is_none() -> None:
    old, new = segment("000000020000000A000000FE"), segment("000000030000000A000000FE")
    assert segments_missing(new, old) == 1
    assert segments_missing(old, new) is None


@pytest.mark.parametrize("name", ["", "00000002.history", "xyz", "00000001000000000000000g"])
def test_what_is_no_wal_file_has_no_number(name: str) -> None:
    assert wal_file(name, segment_bytes=16 * MB) is None


def test_a_size_that_no_server_has_is_refused() -> None:
    assert wal_file("000000020000000A000000FE", segment_bytes=0) is None
