"""What was judged before rules were declared is judged as it was."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from samplings import ORDERS, T0, TARGET, Watched, seen, vitals, volume
from stanch.detect.engine import Detector
from stanch.detect.in_force import plan_for
from stanch.detect.tracker import Condition, Raised, step
from stanch.model.host import VolumeUse
from stanch.model.reach import Reach, ReachState
from stanch.model.samples import Sample
from stanch.model.symptoms import SymptomKind


def reach(state: ReachState) -> Reach:
    return Reach(state=state, layers=(), elapsed_ms=1.0)


def conditions(sample: Sample) -> list[Condition]:
    """What the rules say about one sample, as if nothing had been before it."""
    return list(Detector(plan_for(TARGET)).conditions(sample, {}))


def test_a_confirmed_refusal_is_a_server_down_at_once() -> None:
    down = seen(reach=reach(ReachState.REFUSED), confirmed=True)
    assert Watched().look(0, down).raised == ["server_down"]


def test_an_unconfirmed_silence_is_no_verdict() -> None:
    silent = seen(reach=reach(ReachState.TIMEOUT), confirmed=False)
    watched = Watched()
    for second in range(60):
        watched.look(second, silent)
    assert watched.raised == []


def test_an_unconfirmed_silence_does_not_clear_a_server_down_either() -> None:
    watched = Watched().look(0, seen(reach=reach(ReachState.REFUSED), confirmed=True))
    for second in range(1, 60):
        watched.look(second, seen(reach=reach(ReachState.TIMEOUT), confirmed=False))
    assert watched.cleared == []


def test_a_server_down_clears_only_after_it_has_answered_for_a_while() -> None:
    watched = Watched().look(0, seen(reach=reach(ReachState.REFUSED), confirmed=True))
    watched.look(1, seen(vitals=vitals())).look(3.9, seen(vitals=vitals()))
    assert watched.cleared == []
    assert watched.look(4, seen(vitals=vitals())).cleared == ["server_down"]


def test_a_server_that_lets_nobody_new_in_stays_down_whatever_open_sessions_answer() -> None:
    watched = Watched().look(0, seen(reach=reach(ReachState.HUNG), confirmed=True))
    for second in range(1, 60):
        watched.look(second, seen(vitals=vitals(), lets_in=False))
    assert (watched.raised, watched.cleared) == (["server_down"], [])
    watched.look(60, seen(vitals=vitals())).look(63, seen(vitals=vitals()))
    assert watched.cleared == ["server_down"]


def test_a_full_server_is_exhausted_and_not_down() -> None:
    full = seen(reach=reach(ReachState.TOO_MANY_CLIENTS), confirmed=True)
    assert Watched().look(0, full).raised == ["connections_exhausted"]


def test_a_full_house_that_one_witness_tells_of_is_no_verdict() -> None:
    full = seen(reach=reach(ReachState.TOO_MANY_CLIENTS), confirmed=False)
    watched = Watched()
    for second in range(60):
        watched.look(second, full)
    assert watched.raised == []


@pytest.mark.parametrize("state", [ReachState.CONNECTION_LIMIT, ReachState.TURNED_AWAY])
def test_a_session_turned_away_by_a_living_server_is_unwatched_and_nothing_else(
    state: ReachState,
) -> None:
    watched = Watched()
    for second in range(10):
        watched.look(second, seen(reach=reach(state), confirmed=True))
    assert watched.raised == []
    for second in range(10, 60):
        watched.look(second, seen(reach=reach(state), confirmed=True))
    assert watched.raised == ["unwatched"]


def test_a_watch_that_cannot_read_for_ten_seconds_is_unwatched_and_says_why() -> None:
    watched = Watched()
    failing = seen(reach=reach(ReachState.UP), unread="ERROR 42501: permission denied", lost_at=T0)
    for second in range(3, 10):
        watched.look(second, failing)
    assert watched.raised == []
    watched.look(10, seen(unread="ERROR 42501: permission denied", lost_at=T0))
    assert watched.raised == ["unwatched"]
    [condition] = [c for c in conditions(failing) if c.kind is SymptomKind.UNWATCHED]
    assert "42501" in condition.detail


def test_where_nobody_is_let_in_that_is_told_and_not_that_the_watch_cannot_read() -> None:
    watched = Watched()
    hung = seen(reach=reach(ReachState.HUNG), confirmed=True, lets_in=False, unread="x", lost_at=T0)
    watched.look(0, hung)
    for second in range(1, 60):
        watched.look(second, seen(unread="x", lets_in=False, lost_at=T0))
    assert watched.raised == ["server_down"]


def test_readings_that_come_again_end_being_unwatched() -> None:
    watched = Watched()
    for second in range(12):
        watched.look(second, seen(unread="x", lost_at=T0))
    for second in range(12, 16):
        watched.look(second, seen(vitals=vitals()))
    assert (watched.raised, watched.cleared) == (["unwatched"], ["unwatched"])


def test_an_old_session_that_goes_on_does_not_hide_that_new_ones_are_refused() -> None:
    watched = Watched()
    for second in range(12):
        refused = seen(vitals=vitals(), refusal=reach(ReachState.NO_SUCH_DATABASE))
        watched.look(second, refused)
    assert watched.raised == ["unwatched"]
    for second in range(12, 16):
        watched.look(second, seen(vitals=vitals()))
    assert watched.cleared == ["unwatched"]


def test_refused_credentials_are_unwatched_and_not_down() -> None:
    watched = Watched()
    for second in range(12):
        watched.look(second, seen(reach=reach(ReachState.AUTH_FAILED), confirmed=True))
    assert watched.raised == ["unwatched"]


def test_connections_are_high_from_80_percent_of_what_an_ordinary_role_can_have() -> None:
    watched = Watched()
    for second in range(5):
        watched.look(second, seen(vitals=vitals(used=80)))
    assert watched.raised == ["connections_high"]


def test_connections_just_below_80_percent_stay_quiet() -> None:
    watched = Watched()
    for second in range(60):
        watched.look(second, seen(vitals=vitals(used=79)))
    assert watched.raised == []


def test_a_peak_shorter_than_the_hold_time_stays_quiet() -> None:
    watched = Watched()
    for second in range(60):
        watched.look(second, seen(vitals=vitals(used=95 if second % 3 else 10)))
    assert watched.raised == []


def test_connections_are_exhausted_from_90_percent() -> None:
    watched = Watched()
    for second in range(5):
        watched.look(second, seen(vitals=vitals(used=90)))
    assert watched.raised == ["connections_exhausted"]


def test_sessions_are_blocked_when_several_wait_for_long() -> None:
    blocked = seen(vitals=vitals(waiting=3, oldest_wait_s=10))
    assert Watched().look(0, blocked).raised == ["sessions_blocked"]


def test_one_long_wait_or_many_short_ones_stay_quiet() -> None:
    watched = Watched().look(0, seen(vitals=vitals(waiting=2, oldest_wait_s=500)))
    assert watched.look(1, seen(vitals=vitals(waiting=90, oldest_wait_s=9))).raised == []


def test_the_onset_of_a_blockade_is_when_the_oldest_waiter_began_to_wait() -> None:
    _, [change] = step(
        {},
        [
            c
            for c in conditions(seen(vitals=vitals(waiting=3, oldest_wait_s=25)))
            if c.kind is SymptomKind.SESSIONS_BLOCKED
        ],
        target=ORDERS,
        at=T0,
        clear_hold_s=3,
    )
    assert isinstance(change, Raised)
    assert change.symptom.since == T0 - timedelta(seconds=25)


def test_without_the_right_to_see_sessions_there_is_no_verdict_on_blocking() -> None:
    blind = replace(vitals(), sees_sessions=False, sessions=None)
    told = [c for c in conditions(seen(vitals=blind)) if c.kind is SymptomKind.SESSIONS_BLOCKED]
    assert told == []


def test_a_volume_with_almost_nothing_left_is_full_and_not_also_low() -> None:
    watched = Watched()
    for second in range(9):
        watched.look(second, seen(volumes=(volume(free_mib=16),)))
    assert watched.raised == ["disk_full:/data"]


def test_a_volume_below_ten_percent_is_low() -> None:
    watched = Watched()
    for second in range(9):
        watched.look(second, seen(volumes=(volume(free_mib=99),)))
    assert watched.raised == ["disk_low:/data"]


def test_a_volume_just_above_ten_percent_stays_quiet() -> None:
    watched = Watched()
    for second in range(9):
        watched.look(second, seen(volumes=(volume(free_mib=101),)))
    assert watched.raised == []


def test_a_volume_without_inodes_is_full_whatever_bytes_are_left() -> None:
    full = seen(volumes=(volume(free_mib=900, inodes_free=0),))
    assert Watched().look(0, full).raised == ["disk_full:/data"]


def test_a_file_system_that_makes_inodes_as_it_needs_them_is_not_out_of_them() -> None:
    fine = seen(volumes=(volume(free_mib=900, inodes_free=None),))
    assert Watched().look(0, fine).raised == []


def test_data_and_wal_on_one_volume_are_told_once() -> None:
    both = (volume(free_mib=1), replace(volume(free_mib=1), use=VolumeUse.WAL))
    assert Watched().look(0, seen(volumes=both)).raised == ["disk_full:/data"]
