"""What was usual, what came since: courses from the looks of a recording."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import pytest

from stanch.diagnose.history import History, Series, history_from

HALF = timedelta(seconds=600)
T0 = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
ACTIVE: Series = ("active_sessions", "")
COMMITS: Series = ("commits_total", "")


def looks(
    value: Callable[[int], Mapping[Series, float]], *, last: int = 660, every: int = 1
) -> History:
    """One look a second, from ten minutes before the onset on."""
    frames = [(T0 + timedelta(seconds=s - 600), value(s)) for s in range(0, last, every)]
    found = history_from(frames, onset=T0)
    assert found is not None
    return found


def test_what_was_usual_is_told_apart_from_what_came_since() -> None:
    course = looks(lambda s: {ACTIVE: 4 + s % 3 if s < 600 else 80}).of("active_sessions")
    assert course is not None
    assert (course.usual, course.low, course.high) == (5, 4, 6)
    assert (course.now, course.peak, course.trough) == (80, 80, 80)


def test_what_leapt_right_before_somebody_reported_it_is_neither_usual_nor_lost() -> None:
    course = looks(lambda s: {COMMITS: 100 * s + (150_000 if s >= 597 else 0)}).of("commits_total")
    assert course is not None
    assert (course.high, course.lead, course.peak) == (100, 150_100, 100)


def test_a_counter_is_told_by_how_fast_it_grows() -> None:
    course = looks(lambda s: {COMMITS: 100 * min(s, 600) + 7 * max(0, s - 600)}).of("commits_total")
    assert course is not None
    assert (course.usual, course.now) == (100, 7)


def test_a_counter_that_began_anew_did_not_shrink() -> None:
    course = looks(lambda s: {COMMITS: 10 * s if s < 300 else 10 * (s - 300)}).of("commits_total")
    assert course is not None
    assert (course.low, course.high) == (10, 10)


def test_what_began_seconds_ago_is_now() -> None:
    course = looks(lambda s: {ACTIVE: 5 if s < 600 else 90}, last=604).of("active_sessions")
    assert course is not None
    assert course.now == 90


def test_too_few_looks_say_nothing_about_what_is_usual() -> None:
    course = looks(lambda s: {ACTIVE: 5}, every=200).of("active_sessions")
    assert course is not None
    assert course.usual is None


def test_what_is_not_read_any_more_is_not_now() -> None:
    course = looks(lambda s: {ACTIVE: 5} if s < 500 else {}).of("active_sessions")
    assert course is not None
    assert (course.usual, course.now) == (5, None)


def test_an_empty_recording_is_no_history() -> None:
    assert history_from([], onset=T0) is None


def test_what_people_look_at_first_is_kept_as_a_curve() -> None:
    found = looks(lambda s: {ACTIVE: 5 if s < 600 else 80, ("odd", ""): s}, last=720)
    [track] = found.tracks
    assert (track.name, len(track.values), track.begins_at) == ("active_sessions", 120, T0 - HALF)
    assert (track.values[0], track.values[-1]) == (5, 80)
    assert track.step_s == pytest.approx(719 / 120)


def test_a_gap_in_the_recording_is_a_gap_in_the_curve() -> None:
    [track] = looks(lambda s: {} if 100 < s < 300 else {ACTIVE: 5}).tracks
    assert None in track.values[10:60]
