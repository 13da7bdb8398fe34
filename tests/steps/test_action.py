"""Facts an action works with are checked before anything is read."""

from __future__ import annotations

from typing import get_args

import pytest

from stanch.model.diagnosis import Scalar
from stanch.steps.action import Kind, Param

GOOD: dict[str, Scalar] = {
    "text": "name",
    "count": 3,
    "seconds": 1.5,
    "bytes": 1024,
    "moment": "2026-03-14T09:00:00+00:00",
    "flag": True,
}

WRONG: list[tuple[str, Scalar]] = [
    ("text", 3),
    ("count", "3"),
    ("count", -1),
    ("count", True),
    ("bytes", 1.5),
    ("seconds", "1s"),
    ("moment", 1700000000),
    ("flag", "yes"),
]


@pytest.mark.parametrize("kind", get_args(Kind))
def test_a_fact_of_the_right_kind_is_taken(kind: Kind) -> None:
    assert Param(name="x", kind=kind, doc="").wrong(GOOD[kind]) == ""


@pytest.mark.parametrize(("kind", "value"), WRONG)
def test_a_fact_of_the_wrong_kind_is_not(kind: Kind, value: Scalar) -> None:
    assert Param(name="x", kind=kind, doc="").wrong(value)


def test_a_missing_fact_is_wrong_only_where_it_is_needed() -> None:
    assert Param(name="x", kind="text", doc="").wrong(None)
    assert Param(name="x", kind="text", doc="", required=False).wrong(None) == ""
