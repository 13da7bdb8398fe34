"""Rates of a service from its own counters: never across a reset, never zero for not known."""

from __future__ import annotations

from typing import Any

import pytest

from stanch.model.diagnosis import Missing
from stanch.policy.signs import JsonSigns
from stanch.watch.signs.service_numbers import GAP_S_MAX, ServiceNumbers

GAUGES = JsonSigns(
    name="shop", url="http://x", request_rate=".rps", error_rate=".bad", latency=".p95",
    error_unit="share", latency_unit="ms",
)  # fmt: skip
COUNTERS = JsonSigns(
    name="shop", url="http://x", requests_total=".n", errors_total=".bad", latency_total=".ms",
    latency_unit="ms",
)  # fmt: skip


class Answers:
    """Answers of one service, fifteen seconds apart unless said otherwise."""

    def __init__(self, signs: JsonSigns) -> None:
        self.made = ServiceNumbers(signs)
        self.at_s = 1000.0
        self.why: dict[str, str] = {}

    def say(self, answer: Any, *, after_s: float = 15.0) -> dict[str, float | None]:
        self.at_s += after_s
        told = self.made.of(answer, at_s=self.at_s)
        self.why = {r.name: r.detail for r in told}
        assert {r.subject for r in told} == {"shop"}
        return {r.name: r.value for r in told}


def test_numbers_of_now_are_taken_in_the_units_they_are_said_to_have() -> None:
    told = Answers(GAUGES).say({"rps": 12, "bad": 0.03, "p95": 250})
    assert told == {"request_rate": 12.0, "error_rate_pct": 3.0, "latency_s": 0.25}


def test_two_answers_of_counters_make_rates() -> None:
    service = Answers(COUNTERS)
    first = service.say({"n": 1000, "bad": 10, "ms": 50_000})
    assert first == {"request_rate": None, "error_rate_pct": None, "latency_s": None}
    assert "second answer" in service.why["request_rate"]
    assert service.say({"n": 1300, "bad": 16, "ms": 65_000}) == {
        "request_rate": 20.0,
        "error_rate_pct": 2.0,
        "latency_s": 0.05,
    }


def test_a_service_that_was_restarted_makes_no_rate_and_begins_again() -> None:
    service = Answers(COUNTERS)
    service.say({"n": 1000, "bad": 10, "ms": 0})
    assert set(service.say({"n": 40, "bad": 10, "ms": 0}).values()) == {None}
    assert "went down" in service.why["error_rate_pct"]
    assert service.say({"n": 100, "bad": 13, "ms": 0})["error_rate_pct"] == 5.0


def test_a_reset_of_one_counter_is_a_reset_of_all() -> None:
    service = Answers(COUNTERS)
    service.say({"n": 1000, "bad": 10, "ms": 0})
    assert set(service.say({"n": 1500, "bad": 0, "ms": 0}).values()) == {None}


def test_a_service_that_nobody_asks_anything_has_a_rate_of_zero_and_no_error_rate() -> None:
    service = Answers(COUNTERS)
    service.say({"n": 1000, "bad": 10, "ms": 0})
    told = service.say({"n": 1000, "bad": 10, "ms": 0})
    assert told == {"request_rate": 0.0, "error_rate_pct": None, "latency_s": None}


def test_a_missed_answer_makes_the_rate_one_over_a_longer_time() -> None:
    service = Answers(COUNTERS)
    service.say({"n": 1000, "bad": 0, "ms": 0})
    missed = service.made.none(Missing(what="answer", reason="no answer\x1b within 5 s"))
    assert {r.value for r in missed} == {None}
    assert {r.name for r in missed} == {"request_rate", "error_rate_pct", "latency_s"}
    assert missed[0].detail == "no answer\\x1b within 5 s"
    assert service.say({"n": 1300, "bad": 0, "ms": 0}, after_s=30)["request_rate"] == 10.0


def test_answers_too_far_apart_make_no_rate() -> None:
    service = Answers(COUNTERS)
    service.say({"n": 1000, "bad": 0, "ms": 0})
    told = service.say({"n": 9000, "bad": 0, "ms": 0}, after_s=GAP_S_MAX + 1)
    assert told["request_rate"] is None
    assert service.say({"n": 9150, "bad": 0, "ms": 0})["request_rate"] == 10.0


def test_a_counter_that_is_gone_leaves_the_others_and_waits_for_two_answers_again() -> None:
    service = Answers(COUNTERS)
    service.say({"n": 1000, "bad": 0, "ms": 0})
    told = service.say({"n": 1150, "ms": 0})
    assert (told["request_rate"], told["error_rate_pct"]) == (10.0, None)
    assert "nothing at .bad" in service.why["error_rate_pct"]
    assert service.say({"n": 1300, "bad": 5, "ms": 0})["error_rate_pct"] is None
    assert service.say({"n": 1400, "bad": 10, "ms": 0})["error_rate_pct"] == 5.0


@pytest.mark.parametrize("answer", [None, [], "x", {}, {"n": "many"}, {"n": -1}, {"n": None}])
def test_an_answer_without_the_counter_is_not_known(answer: Any) -> None:
    service = Answers(COUNTERS)
    service.say({"n": 1000, "bad": 0, "ms": 0})
    assert set(service.say(answer).values()) == {None}
    assert service.say({"n": 1300, "bad": 0, "ms": 0})["request_rate"] == 10.0


def test_numbers_beyond_all_measure_are_not_known() -> None:
    service = Answers(COUNTERS)
    service.say({"n": 1, "bad": 0, "ms": 0})
    service.say({"n": 2, "bad": 0, "ms": 1.7e308})
    assert service.say({"n": 1e308, "bad": 0, "ms": 1.7e308}, after_s=1e-3) == {
        "request_rate": None,
        "error_rate_pct": 0.0,
        "latency_s": 0.0,
    }


def test_what_cannot_be_is_a_wrong_mapping_and_not_a_storm() -> None:
    service = Answers(COUNTERS)
    service.say({"n": 1000, "bad": 0, "ms": 0})
    assert service.say({"n": 1010, "bad": 50, "ms": 0})["error_rate_pct"] is None
    assert "more errors" in service.why["error_rate_pct"]
    assert Answers(GAUGES).say({"rps": 1, "bad": 3, "p95": 1})["error_rate_pct"] is None
