"""In a crowd the healthy are looked at later while people are told of an incident."""

from __future__ import annotations

from stanch.watch.right_of_way import CROWD, HELD_S, RightOfWay


class Ticking:
    def __init__(self) -> None:
        self.now_s = 100.0


def way(clock: Ticking, watched: int = CROWD) -> RightOfWay:
    return RightOfWay(lambda: clock.now_s, watched=lambda: watched)


def test_nobody_gives_way_while_nothing_has_begun() -> None:
    assert not way(Ticking()).goes_before("orders")


def test_others_give_way_to_an_incident_that_begins() -> None:
    taken = way(Ticking())
    taken.take("orders")
    assert taken.goes_before("billing")


def test_the_target_of_the_incident_is_looked_at_all_the_same() -> None:
    taken = way(Ticking())
    taken.take("orders")
    assert not taken.goes_before("orders")


def test_the_way_is_free_again_after_a_moment() -> None:
    clock = Ticking()
    taken = way(clock)
    taken.take("orders")
    clock.now_s += HELD_S - 0.01
    assert taken.goes_before("billing")
    clock.now_s += 0.01
    assert not taken.goes_before("billing")


def test_few_targets_leave_room_for_everything() -> None:
    taken = way(Ticking(), watched=CROWD - 1)
    taken.take("orders")
    assert not taken.goes_before("billing")
