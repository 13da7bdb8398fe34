"""Positions in logs that are kept as messages with a time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.facts.machines.stamped import Following, Frames, Lines, Tail, since_text, stamp_ns
from stanch.model.host import LogPosition

S = 10**9


def message(at_s: int, text: str, *, decimals: str = "") -> bytes:
    return f"1970-01-01T00:00:{at_s:02d}{decimals}Z {text}\n".encode()


def following(offset: int, seen: int, *messages: bytes, bytes_max: int = 1000) -> Following:
    after = LogPosition(path="c", device=0, inode=seen, offset=offset)
    made = Following(path="c", after=after, bytes_max=bytes_max)
    for each in messages:
        made.take(each)
    return made


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        (b"1970-01-01T00:00:01Z x", S),
        (b"1970-01-01T00:00:01.5Z x", 1_500_000_000),
        (b"1970-01-01T00:00:01.000000007Z x", S + 7),
        (b"1970-01-01T01:00:01.1+01:00 x", 1_100_000_000),
        (b"1969-12-31T23:30:01-00:30 x", S),
    ],
)
def test_a_time_is_read_to_the_nanosecond(text: bytes, ns: int) -> None:
    assert stamp_ns(text) == (ns, b"x")


@pytest.mark.parametrize("text", [b"", b"x", b"1970-13-01T00:00:01Z x", b"1970-01-01T00:00:01Z"])
def test_what_has_no_time_is_left_as_it_is(text: bytes) -> None:
    assert stamp_ns(text) == (None, text)


def test_a_position_is_told_to_docker_in_seconds_and_nanoseconds() -> None:
    assert since_text(12 * S + 34) == "12.000000034"


def test_messages_of_the_same_moment_are_neither_repeated_nor_lost() -> None:
    same = [message(5, "a"), message(5, "b"), message(5, "c")]
    first = following(0, 0, *same, bytes_max=4)
    assert first.chunk().content == b"a\nb\n"
    at = first.chunk().position
    assert (at.offset, at.inode, first.chunk().more) == (5 * S, 2, True)
    then = following(at.offset, at.inode, *same, message(6, "d"))
    assert then.chunk().content == b"c\nd\n"
    assert then.resumed
    assert not then.chunk().started_anew


def test_a_log_that_lost_the_message_read_last_says_that_it_begins_anew() -> None:
    found = following(5 * S, 1, message(7, "x"))
    assert (found.resumed, found.chunk().started_anew) == (False, True)


def test_another_container_is_read_from_its_beginning() -> None:
    after = LogPosition(path="old", device=0, inode=1, offset=50 * S)
    found = Following(path="new", after=after, bytes_max=100)
    found.take(message(1, "x"))
    assert (found.chunk().content, found.chunk().started_anew) == (b"x\n", True)


def test_nothing_new_keeps_the_position() -> None:
    found = following(5 * S, 1, message(5, "a"))
    assert found.chunk().position == LogPosition(path="c", device=0, inode=1, offset=5 * S)


def test_a_message_longer_than_allowed_is_cut_counted_and_passed() -> None:
    chunk = following(0, 0, message(1, "x" * 50), bytes_max=10).chunk()
    assert (chunk.content, chunk.skipped_bytes) == (b"x" * 10, 41)
    assert chunk.position.offset == S


def test_a_tail_keeps_the_newest_whole_messages() -> None:
    tail = Tail(path="c", bytes_max=5)
    for n in range(4):
        tail.take(message(n, str(n)))
    assert (tail.chunk().content, tail.chunk().skipped_bytes) == (b"2\n3\n", 4)
    assert tail.chunk().position.offset == 3 * S


def frame(text: bytes) -> bytes:
    return b"\x01\0\0\0" + len(text).to_bytes(4, "big") + text


@given(st.lists(st.binary(max_size=40), max_size=8), st.integers(1, 30))
def test_frames_come_out_whole_however_they_arrive(texts: list[bytes], size: int) -> None:
    stream = b"".join(map(frame, texts))
    frames = Frames()
    found = [m for i in range(0, len(stream), size) for m in frames.feed(stream[i : i + size])]
    assert found == texts


def test_a_frame_that_claims_to_be_huge_is_not_waited_for_in_memory() -> None:
    frames = Frames(message_bytes_max=10)
    head = b"\x01\0\0\0\xff\xff\xff\xff"
    assert list(frames.feed(head + b"x" * 50)) == [b"x" * 10]
    assert list(frames.feed(b"")) == []


@given(st.lists(st.binary(max_size=30).filter(lambda b: b"\n" not in b), max_size=8))
def test_lines_come_out_whole(texts: list[bytes]) -> None:
    lines = Lines()
    stream = b"".join(text + b"\n" for text in texts) + b"unfinished"
    found = [m for i in range(0, len(stream), 7) for m in lines.feed(stream[i : i + 7])]
    assert found == [text + b"\n" for text in texts]


def test_a_line_without_end_is_cut_once_and_does_not_grow() -> None:
    lines = Lines(line_bytes_max=10)
    found = [m for _ in range(100) for m in lines.feed(b"x" * 5)]
    assert found == [b"x" * 10 + b"\n"]
    assert list(lines.feed(b"\nnext\n")) == [b"next\n"]
