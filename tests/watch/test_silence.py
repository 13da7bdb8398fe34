from dataclasses import replace

import pytest

from stanch.model.reach import Reach, ReachState
from stanch.watch.silence import Agreement, Hearing, Knocked, Witnesses, hear, patience, suspicious

NEAR = patience(0.001)


def probed(state: ReachState) -> Reach:
    return Reach(state=state, layers=(), elapsed_ms=1.0)


def test_silence_of_every_witness_for_long_enough_is_a_verdict() -> None:
    silent = Witnesses(waited_s=2.2, knocks=10, reach=probed(ReachState.TIMEOUT))
    assert hear(silent, NEAR) is Hearing.DOWN


@pytest.mark.parametrize(
    "witnesses",
    [
        Witnesses(waited_s=2.1, knocks=10, reach=probed(ReachState.TIMEOUT)),
        Witnesses(waited_s=9.0, knocks=9, reach=probed(ReachState.TIMEOUT)),
        Witnesses(waited_s=9.0, knocks=99),
        Witnesses(waited_s=2.1, knocks=99, unheard=False, reach=probed(ReachState.TIMEOUT)),
        Witnesses(waited_s=1.5, knocks=99, unheard=True, reach=probed(ReachState.TIMEOUT)),
        Witnesses(waited_s=9.0, knocks=9, unheard=True, reach=probed(ReachState.TIMEOUT)),
        Witnesses(waited_s=9.0, knocks=99, unheard=True),
    ],
    ids=[
        "too soon",
        "too few knocks",
        "no probe",
        "too soon where the question was confirmed",
        "too soon even where nothing is confirmed",
        "nothing confirmed and too few knocks",
        "nothing confirmed and no probe",
    ],
)
def test_silence_with_a_witness_missing_is_no_verdict(witnesses: Witnesses) -> None:
    assert hear(witnesses, NEAR) is Hearing.WAIT


def test_a_question_that_not_even_the_other_kernel_confirms_is_believed_sooner() -> None:
    silent = Witnesses(waited_s=1.6, knocks=10, unheard=True, reach=probed(ReachState.TIMEOUT))
    assert hear(silent, NEAR) is Hearing.DOWN


def test_one_answered_knock_outweighs_a_question_that_nobody_confirms() -> None:
    heard = Witnesses(
        waited_s=3.0,
        knocks=20,
        unheard=True,
        knock_answered=True,
        reach=probed(ReachState.TIMEOUT),
    )
    assert hear(heard, NEAR) is Hearing.WAIT


@pytest.mark.parametrize("unheard", [None, False, True])
def test_a_suspicion_comes_more_than_a_second_before_the_verdict(unheard: bool | None) -> None:
    verdict_s = NEAR.silence_s(unheard=unheard)
    early = Witnesses(waited_s=verdict_s - 1.1, knocks=2, unheard=unheard)
    assert suspicious(early, NEAR)
    assert not suspicious(
        Witnesses(waited_s=verdict_s - 1.1, knocks=2, unheard=unheard, knock_answered=True), NEAR
    )
    assert not suspicious(Witnesses(waited_s=0.4, knocks=2, unheard=unheard), NEAR)


def test_one_answered_knock_turns_silence_into_waiting() -> None:
    heard = Witnesses(
        waited_s=3.0, knocks=20, knock_answered=True, reach=probed(ReachState.TIMEOUT)
    )
    assert hear(heard, NEAR) is Hearing.WAIT


def test_a_server_that_accepts_but_never_answers_is_down_after_patience() -> None:
    heard = Witnesses(waited_s=4.2, knock_answered=True, reach=probed(ReachState.HUNG))
    assert hear(heard, NEAR) is Hearing.DOWN


def test_a_question_that_its_kernel_never_confirmed_got_lost_and_nobody_is_hung() -> None:
    lost = Witnesses(waited_s=4.3, unheard=True, knock_answered=True, reach=probed(ReachState.HUNG))
    assert hear(lost, NEAR) is Hearing.WAIT
    confirmed = replace(lost, unheard=False)
    assert hear(confirmed, NEAR) is Hearing.DOWN


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
    assert 1.0 + NEAR.gone_after_s + 0.4 <= 3.0, "the question is up to a second away"
    assert NEAR.silent_after_s + 0.4 <= 3.0
    assert NEAR.hung_after_s <= 5.0


def agreed(*states: ReachState, every_s: float = 0.1) -> Agreement:
    together = Agreement()
    for n, state in enumerate(states):
        together = together.joined_by(state, began_s=n * every_s)
    return together


DNS, NO_WAY = ReachState.DNS_FAILURE, ReachState.UNREACHABLE


def test_a_refusal_after_a_loss_is_enough_and_without_one_two_are() -> None:
    once, twice = agreed(ReachState.REFUSED), agreed(ReachState.REFUSED, ReachState.REFUSED)
    assert once.enough(0.0, NEAR, after_loss=True)
    assert not once.enough(0.0, NEAR, after_loss=False)
    assert twice.enough(0.0, NEAR, after_loss=False)


def test_silence_has_to_last_however_often_it_is_told() -> None:
    often = agreed(*[DNS] * 9)
    assert not often.enough(2.1, NEAR, after_loss=True)
    assert often.enough(2.2, NEAR, after_loss=True)
    assert not agreed(DNS).enough(9.0, NEAR, after_loss=True), "one probe may be one lost packet"


def test_a_probe_that_knocks_contradict_counts_for_nothing_nor_do_those_before_it() -> None:
    lost = agreed(ReachState.TIMEOUT, ReachState.TIMEOUT, every_s=2.0)
    assert lost.enough(4.0, NEAR, after_loss=True)
    contradicted = lost.joined_by(ReachState.TIMEOUT, began_s=4.0, contradicted=True)
    assert not contradicted.enough(6.0, NEAR, after_loss=True)
    once = contradicted.joined_by(ReachState.TIMEOUT, began_s=6.0)
    assert not once.enough(8.0, NEAR, after_loss=True)
    twice = once.joined_by(ReachState.TIMEOUT, began_s=8.0)
    assert twice.enough(10.0, NEAR, after_loss=True)


def test_eight_probes_of_which_nobody_was_heard_are_a_verdict_in_whichever_way_they_ended() -> None:
    hung, lost = ReachState.HUNG, ReachState.TIMEOUT
    together = Agreement()
    for n, state in enumerate((hung, lost, lost, hung, lost, hung, lost)):
        together = together.joined_by(state, began_s=n * 2.0, contradicted=True)
        assert not together.enough(n * 2.0 + 2.2, NEAR, after_loss=True)
    eighth = together.joined_by(hung, began_s=14.0, contradicted=True)
    assert eighth.enough(16.0, NEAR, after_loss=True)
    spoke = together.joined_by(ReachState.STARTING_UP, began_s=14.0)
    again = spoke.joined_by(hung, began_s=15.0, contradicted=True)
    assert not again.enough(17.0, NEAR, after_loss=True), "it begins anew"


@pytest.mark.parametrize(
    ("state", "knocked", "contradicted"),
    [
        (ReachState.TIMEOUT, Knocked(answered=True), True),
        (ReachState.TIMEOUT, Knocked(silent=True), False),
        (ReachState.HUNG, Knocked(answered=True), False),
        (ReachState.HUNG, Knocked(answered=True, silent=True), True),
        (ReachState.HUNG, Knocked(silent=True), False),
        (ReachState.REFUSED, Knocked(answered=True, silent=True), False),
        (ReachState.TIMEOUT, Knocked(), False),
        (ReachState.HUNG, Knocked(), False),
    ],
)
def test_who_is_gone_answers_no_knock_and_who_hangs_has_each_answered_or_none(
    state: ReachState, knocked: Knocked, contradicted: bool
) -> None:
    assert knocked.contradicts(state) is contradicted


def test_a_machine_that_answers_knocks_and_accepts_no_login_is_no_hung_server() -> None:
    assert hear(hung_by(ReachState.TIMEOUT), NEAR) is Hearing.WAIT
    assert hear(hung_by(ReachState.HUNG), NEAR) is Hearing.DOWN


def hung_by(probe: ReachState) -> Witnesses:
    """Knocks are answered, the question never is."""
    return Witnesses(
        waited_s=4.3, knocks=3, knock_answered=True, unheard=False, reach=probed(probe)
    )


def test_kinds_of_silence_agree_and_an_answer_between_them_starts_anew() -> None:
    assert agreed(DNS, NO_WAY, ReachState.TIMEOUT).times == 3
    assert agreed(DNS, DNS, ReachState.HUNG, DNS).times == 1
