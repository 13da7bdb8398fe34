"""When the silence of a job becomes an alert."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from stanch.model.signals import Beat
from stanch.watch.signals.heartbeats import judged, reading

T0 = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = 3600.0


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def missing(beat: Beat, seconds: float) -> bool:
    return judged(beat, every_s=HOUR, at=at(seconds)).status == "firing"


def test_a_beat_in_time_is_no_alert_and_a_second_too_late_is_one() -> None:
    beat = Beat(name="dump", since=T0, heard_at=T0)
    assert not missing(beat, HOUR)
    assert missing(beat, HOUR + 1)


def test_one_that_was_never_heard_has_its_interval_from_when_it_was_first_waited_for() -> None:
    beat = Beat(name="dump", since=T0)
    assert not missing(beat, HOUR)
    assert missing(beat, HOUR + 1)


def test_a_start_in_a_silence_gives_it_one_interval_more() -> None:
    beat = Beat(name="dump", since=T0, heard_at=T0, grace_from=at(1000))
    assert not missing(beat, HOUR + 1000)
    assert missing(beat, HOUR + 1001)


def test_a_start_long_ago_gives_nothing_less() -> None:
    beat = Beat(name="dump", since=at(-90), heard_at=T0, grace_from=at(-60))
    assert not missing(beat, HOUR)
    assert missing(beat, HOUR + 1)


@pytest.mark.parametrize(("heard_at", "age_s"), [(T0, 90.0), (None, 100.0)])
def test_the_reading_is_the_age(heard_at: datetime | None, age_s: float) -> None:
    found = reading(Beat(name="dump", since=at(-10), heard_at=heard_at), at(90))
    assert (found.name, found.subject, found.value) == ("heartbeat_age_s", "dump", age_s)


def test_the_alert_says_for_how_long() -> None:
    signal = judged(Beat(name="dump", since=T0, heard_at=T0), every_s=HOUR, at=at(2 * HOUR))
    assert signal.title == "no heartbeat of dump for 2 h"
    assert "expected every 1 h, last heard 2026-03-01 12:00:00 UTC" in signal.detail
