"""When silences say more about the watch than about the targets."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from stanch.model.ids import TargetName
from stanch.watch.blindness import (
    CROWD_HOLD_S,
    DOUBTED_S_MAX,
    JUDGED_S_MAX,
    Crowd,
    blinded,
    doubted_too_long,
)

T0 = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def names(*which: str) -> frozenset[TargetName]:
    return frozenset(TargetName(name) for name in which)


def since(**moments: float) -> Mapping[TargetName, datetime]:
    return {TargetName(name): after(seconds) for name, seconds in moments.items()}


@pytest.mark.parametrize(
    ("silent", "watched", "blind"),
    [
        ({"a": 0, "b": 1, "c": 2}, 6, True),
        ({"a": 0, "b": 1, "c": 2}, 7, False),
        ({"a": 0, "c": 1}, 2, False),
        ({"a": -9, "b": 1, "c": 2}, 4, False),
        ({"a": 0, "b": 9, "c": 1}, 4, False),
    ],
    ids=["half of all", "less than half", "two of two", "one long before", "one long after"],
)
def test_three_and_half_of_all_within_five_seconds_are_a_crowd(
    silent: dict[str, float], watched: int, blind: bool
) -> None:
    assert (
        bool(blinded(since(**silent), judged=TargetName("c"), watched=watched, at=after(9)))
        is blind
    )


def test_who_is_judged_long_after_a_crowd_stays_out_of_it() -> None:
    silent = since(a=0, b=1, c=2, d=60)
    late = blinded(silent, judged=TargetName("d"), watched=4, at=after(62))
    assert late == ()


def test_a_crowd_is_one_however_long_it_took_to_be_sure_and_none_once_it_was_withheld() -> None:
    silent = since(a=0, b=1, c=2)

    def judged(name: str, at_s: float) -> tuple[TargetName, ...]:
        return blinded(silent, judged=TargetName(name), watched=4, at=after(at_s))

    assert judged("a", 9) == ("a", "b", "c")
    assert judged("a", JUDGED_S_MAX + 1) == ()
    assert judged("gone from the policy", 9) == ()


CROWD = Crowd(names=names("a", "b", "c", "d"))


def test_a_crowd_of_which_nobody_answers_and_nobody_else_does_lasts() -> None:
    assert CROWD.dark
    assert CROWD.after(CROWD.names, watched=8, at=after(86_400)) == CROWD


@pytest.mark.parametrize(
    ("left", "watched", "lasts"),
    [(("a", "b"), 8, True), (("a",), 8, False), (("a", "b"), 12, False)],
    ids=["a quarter of all", "one", "less than a quarter"],
)
def test_a_crowd_lasts_while_enough_of_it_are_left(
    left: tuple[str, ...], watched: int, lasts: bool
) -> None:
    assert bool(CROWD.after(names(*left), watched=watched, at=T0).names) is lasts


def test_who_is_silent_beside_a_crowd_does_not_keep_it_standing() -> None:
    assert CROWD.after(names("a", "x", "y", "z"), watched=8, at=T0) == Crowd()


def test_while_others_answer_a_crowd_is_withheld_for_so_long_and_no_longer() -> None:
    answered = CROWD.answered(T0).answered(after(60))
    assert not answered.dark
    within = answered.after(CROWD.names, watched=8, at=after(CROWD_HOLD_S - 1))
    assert within.names == CROWD.names
    assert answered.after(CROWD.names, watched=8, at=after(CROWD_HOLD_S)) == Crowd()


def test_a_silence_that_is_long_in_doubt_is_told_with_all_that_are() -> None:
    doubted = since(a=0, b=DOUBTED_S_MAX - 1)
    assert doubted_too_long(doubted, told=(), at=after(DOUBTED_S_MAX - 1)) == ()
    assert doubted_too_long(doubted, told=(), at=after(DOUBTED_S_MAX)) == ("a", "b")


def test_what_was_told_is_not_told_again_for_one_that_is_in_doubt_only_just() -> None:
    doubted = since(a=0, b=DOUBTED_S_MAX)
    told = names("a")
    assert doubted_too_long(doubted, told=told, at=after(DOUBTED_S_MAX + 1)) == ()
    assert doubted_too_long(doubted, told=told, at=after(2 * DOUBTED_S_MAX)) == ("a", "b")
