"""Spans of a log that follow each other: each second is counted once, whatever happens between."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from stanch.facts.log_counts import Span
from stanch.model.diagnosis import Missing
from stanch.watch.signs.log_errors import CATCH_UP_S_MAX, FIRST_S, LAG_S, LogErrors

AT = datetime(2026, 11, 21, 12, 0, 0, 700_000, tzinfo=UTC)
NOW_S = int(AT.timestamp())


def after(seconds: float) -> datetime:
    return AT + timedelta(seconds=seconds)


def due(errors: LogErrors, seconds: float) -> Span:
    span = errors.due(after(seconds))
    assert span is not None
    return span


def test_each_span_begins_where_the_last_one_ended() -> None:
    errors = LogErrors("shop")
    first = due(errors, 0)
    assert first == Span(since_s=NOW_S - LAG_S - FIRST_S, until_s=NOW_S - LAG_S)
    errors.counted(first, 5)
    second = due(errors, 30.9)
    assert (second.since_s, second.until_s) == (first.until_s, first.until_s + 31)
    [told] = errors.counted(second, 2)
    assert (told.value, told.subject, told.detail) == (7.0, "shop", "2 lines in 31 s")


def test_what_was_not_counted_is_counted_with_the_next_span() -> None:
    errors = LogErrors("shop")
    errors.counted(due(errors, 0), 5)
    due(errors, 30)
    [told] = errors.none(Missing(what="count", reason="down\n"))
    assert (told.value, told.detail) == (None, "down\\n")
    assert due(errors, 60) == Span(since_s=NOW_S - LAG_S, until_s=NOW_S - LAG_S + 60)


def test_after_a_long_silence_it_begins_again_with_what_is_new() -> None:
    errors = LogErrors("shop")
    errors.counted(due(errors, 0), 5)
    late = CATCH_UP_S_MAX + 1
    span = due(errors, late)
    assert span.until_s - span.since_s == FIRST_S
    assert errors.counted(span, 1)[0].value == 6.0, "the counter itself never goes down"


def test_a_clock_that_steps_back_a_little_waits_and_a_lot_begins_again() -> None:
    errors = LogErrors("shop")
    errors.counted(due(errors, 0), 5)
    assert errors.due(after(0)) is None
    assert errors.due(after(-20)) is None
    assert due(errors, -3600).until_s == NOW_S - LAG_S - 3600
