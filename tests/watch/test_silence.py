import pytest

from stanch.model.reach import Reach, ReachState
from stanch.watch.silence import Hearing, Witnesses, hear, patience

NEAR = patience(0.001)


def probed(state: ReachState) -> Reach:
    return Reach(state=state, layers=(), elapsed_ms=1.0)


def test_silence_of_every_witness_for_long_enough_is_a_verdict() -> None:
    silent = Witnesses(waited_s=2.2, knocks=8, reach=probed(ReachState.TIMEOUT))
    assert hear(silent, NEAR) is Hearing.DOWN


@pytest.mark.parametrize(
    "witnesses",
    [
        Witnesses(waited_s=2.1, knocks=8, reach=probed(ReachState.TIMEOUT)),
        Witnesses(waited_s=9.0, knocks=7, reach=probed(ReachState.TIMEOUT)),
        Witnesses(waited_s=9.0, knocks=99),
    ],
    ids=["too soon", "too few knocks", "no probe"],
)
def test_silence_with_a_witness_missing_is_no_verdict(witnesses: Witnesses) -> None:
    assert hear(witnesses, NEAR) is Hearing.WAIT


def test_one_answered_knock_turns_silence_into_waiting() -> None:
    heard = Witnesses(
        waited_s=3.0, knocks=20, knock_answered=True, reach=probed(ReachState.TIMEOUT)
    )
    assert hear(heard, NEAR) is Hearing.WAIT


def test_a_server_that_accepts_but_never_answers_is_down_after_patience() -> None:
    heard = Witnesses(waited_s=4.2, knock_answered=True, reach=probed(ReachState.HUNG))
    assert hear(heard, NEAR) is Hearing.DOWN


def test_a_refusal_needs_no_patience() -> None:
    heard = Witnesses(waited_s=0.1, reach=probed(ReachState.REFUSED))
    assert hear(heard, NEAR) is Hearing.DOWN


def test_a_server_that_lets_the_probe_in_is_alive_however_slow_the_question() -> None:
    heard = Witnesses(waited_s=60.0, knocks=99, reach=probed(ReachState.UP))
    assert hear(heard, NEAR) is Hearing.ALIVE


def test_a_far_server_is_given_more_time() -> None:
    far = patience(0.2)
    silent = Witnesses(waited_s=2.5, knocks=8, reach=probed(ReachState.TIMEOUT))
    assert hear(silent, far) is Hearing.WAIT


def test_the_verdict_comes_within_three_seconds_of_a_near_server_falling_silent() -> None:
    assert NEAR.silent_after_s + 0.4 <= 3.0
    assert NEAR.hung_after_s <= 5.0
