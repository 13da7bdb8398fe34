"""A server that goes down again and again is started by a person who has asked why."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from acting_worlds import AT
from stanch.policy.policy import BlastRadius
from stanch.respond.blast_radius import spent

THREE = BlastRadius(starts_per_hour=3)


def starts(*minutes_ago: float) -> list[tuple[str, datetime]]:
    return [("start_server", AT - timedelta(minutes=m)) for m in minutes_ago]


@pytest.mark.parametrize("minutes", [(), (5,), (5, 10), (61, 90, 5, 10)])
def test_a_few_starts_need_nobody(minutes: tuple[float, ...]) -> None:
    assert spent(["gather", "start_server"], starts(*minutes), THREE, at=AT) == ""


def test_the_fourth_start_within_an_hour_is_a_persons() -> None:
    why = spent(["start_server"], starts(5, 20, 59), THREE, at=AT)
    assert why == "it was started 3 times within the hour, and policy lets 3"


def test_a_restart_is_a_start() -> None:
    mixed = [("restart_server", AT - timedelta(minutes=m)) for m in (1, 2)]
    assert spent(["start_server"], [*mixed, *starts(3)], THREE, at=AT)
    assert spent(["restart_server"], starts(5, 20, 59), THREE, at=AT)
    assert spent(["stop_server"], starts(5, 20, 59), THREE, at=AT) == ""


def test_other_actions_are_neither_counted_nor_held_back() -> None:
    many = [("end_idle_sessions", AT)] * 50
    assert spent(["start_server"], many, THREE, at=AT) == ""
    assert spent(["end_idle_sessions"], starts(1, 2, 3, 4), THREE, at=AT) == ""


def test_a_policy_may_have_every_start_asked_for() -> None:
    assert spent(["start_server"], [], BlastRadius(starts_per_hour=0), at=AT)
