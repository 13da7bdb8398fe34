"""Answers held against the truth."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stanch.drill.lab.fault import Area, Fault
from stanch.drill.lab.scoring import NOTHING, confusion, judge, score
from stanch.drill.lab.trial import Answer, Outcome, Ranked, Trial

LOCK = Fault(
    id="lock", area=Area.LOCKS, story="", causes=("idle_in_transaction",), make=lambda rig: None
)
DISK = Fault(id="disk", area=Area.DISK, story="", causes=("slot_inactive",), make=lambda rig: None)


def outcome(*faults: Fault, heal_first: bool = False) -> Outcome:
    trial = Trial(faults=faults, seed=1, heal_first=heal_first)
    return Outcome(trial=trial, watched=None, stranger=None)


def answer(*ranked: tuple[str, float], verdict: str = "cause", took_s: float = 1.0) -> Answer:
    found = tuple(Ranked(id=i, probability=p, follows=None) for i, p in ranked)
    return Answer(verdict=verdict, ranked=found, took_s=took_s, told="")


def test_the_right_cause_first_is_right() -> None:
    one = judge(outcome(LOCK), answer(("idle_in_transaction", 0.9), ("blocking_chain", 0.8)))
    assert one.is_first
    assert one.among_three
    assert one.all_named
    assert one.probability == 0.9


def test_the_right_cause_second_is_among_three_and_not_first() -> None:
    one = judge(outcome(LOCK), answer(("blocking_chain", 0.9), ("idle_in_transaction", 0.8)))
    assert not one.is_first
    assert one.among_three
    assert one.first == "blocking_chain"


def test_another_name_that_a_fault_allows_is_right_as_well() -> None:
    rush = replace(LOCK, causes=("connections_load",), or_else=("load_spike",))
    assert judge(outcome(rush), answer(("load_spike", 0.9))).is_first
    assert not judge(outcome(LOCK), answer(("load_spike", 0.9))).is_first


def test_a_cause_that_is_less_likely_than_not_is_not_named() -> None:
    one = judge(outcome(LOCK), answer(("idle_in_transaction", 0.49)))
    assert one.first == NOTHING
    assert not one.is_first


def test_of_two_faults_both_have_to_be_named_and_either_may_be_first() -> None:
    both = answer(("slot_inactive", 0.9), ("idle_in_transaction", 0.6))
    assert judge(outcome(LOCK, DISK), both).all_named
    assert judge(outcome(LOCK, DISK), both).is_first
    assert not judge(outcome(LOCK, DISK), answer(("slot_inactive", 0.9))).all_named


def test_nothing_is_the_right_answer_for_a_healthy_server() -> None:
    assert judge(outcome(), answer(verdict="healthy")).is_first
    alarm = judge(outcome(), answer(("load_spike", 0.7)))
    assert not alarm.is_first
    assert score([alarm]).false_alarms == 1


def test_what_is_over_is_to_be_told_as_over() -> None:
    assert judge(outcome(replace(LOCK, is_over=True)), answer()).expected == ("recovered",)
    healed = outcome(LOCK, heal_first=True)
    for right in ("recovered", "healthy"):
        over = judge(healed, answer(("idle_in_transaction", 0.9), verdict=right))
        assert over.verdict in over.expected
        assert over.is_first


def test_what_was_taken_back_and_is_told_as_the_cause_of_now_is_a_false_alarm() -> None:
    late = judge(outcome(LOCK, heal_first=True), answer(("idle_in_transaction", 0.9)))
    assert not late.is_first
    assert score([late]).false_alarms == 1


def test_nobody_answering_is_a_wrong_answer() -> None:
    one = judge(outcome(LOCK), None)
    assert one.first == NOTHING
    assert not one.is_first


def test_figures_are_shares_and_times_of_all_trials() -> None:
    right = judge(outcome(LOCK), answer(("idle_in_transaction", 0.8), took_s=1.0))
    wrong = judge(outcome(LOCK), answer(("load_spike", 0.6), took_s=3.0))
    found = score([right, wrong])
    assert (found.trials, found.first, found.took_s, found.took_s_p95) == (2, 0.5, 2.0, 3.0)
    assert found.brier == pytest.approx((0.2**2 + 0.6**2) / 2)


def test_the_matrix_counts_what_was_said_for_each_truth() -> None:
    wrong = judge(outcome(LOCK), answer(("load_spike", 0.6)))
    quiet = judge(outcome(), answer(verdict="healthy"))
    counts = confusion([wrong, wrong, quiet])
    assert counts["idle_in_transaction", "load_spike"] == 2
    assert counts[NOTHING, NOTHING] == 1
