"""One number out of an answer, or the reason why there is none."""

from __future__ import annotations

from typing import Any

import pytest

from stanch.facts.prometheus_numbers import parse_number
from stanch.model.diagnosis import Missing


def vector(*values: Any) -> dict[str, Any]:
    result = [{"metric": {}, "value": [1.0, value]} for value in values]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        (vector("0.25"), 0.25),
        (vector("0"), 0.0),
        ({"status": "success", "data": {"resultType": "scalar", "result": [1, "3"]}}, 3.0),
    ],
)
def test_a_scalar_or_a_single_series_is_a_number(answer: object, number: float) -> None:
    assert parse_number(answer) == number


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (vector(), "0 series"),
        (vector("1", "2"), "2 series"),
        (vector("NaN"), "no number now"),
        (vector("+Inf"), "no number now"),
        (vector({"a": 1}), "no number now"),
        ({"status": "success", "data": {"resultType": "matrix", "result": []}}, "a matrix"),
        ({"status": "error", "error": "parse error at char 5"}, "parse error at char 5"),
        (None, "not the answer of a Prometheus"),
        ([1], "not the answer of a Prometheus"),
    ],
)
def test_anything_else_is_missing_with_its_reason_and_never_zero(
    answer: object, reason: str
) -> None:
    told = parse_number(answer)
    assert isinstance(told, Missing)
    assert reason in told.reason
