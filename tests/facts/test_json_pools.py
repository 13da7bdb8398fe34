"""Pools from JSON of any shape that paths can name; what is not there is not known."""

from __future__ import annotations

import json

import pytest

from stanch.facts.json_path import number_at
from stanch.facts.json_pools import NAME_CHARS_MAX, POOLS_READ_MAX, parse_json_pools
from stanch.facts.pools import Pool
from stanch.model.diagnosis import Missing
from stanch.policy.signs import JsonPools

BUILT_IN = JsonPools(name="app", url="http://x")
OWN = JsonPools(
    name="app",
    url="http://x",
    pools=".data.pools",
    pool=".id",
    active=".stats.busy",
    size=".limits[1]",
    waiting=".stats.queue",
)
PRIMARY = {
    "tier": "OLTP",
    "pool_name": "Primary",
    "min_connections": 5,
    "max_connections": 50,
    "active_connections": 48,
    "connection_usage_rate": "0.96",
    "pending_acquires": 7,
}


def test_the_usual_shape_needs_no_mapping() -> None:
    [pool] = parse_json_pools([PRIMARY], BUILT_IN)
    assert pool == Pool(
        name="OLTP/Primary",
        usage_pct=96.0,
        waiting=7.0,
        detail="48 of 50 connections in use, at least 5 kept, 7 wait",
    )


def test_paths_find_the_values_wherever_they_are() -> None:
    one = {"id": "web", "stats": {"busy": 9, "queue": 2}, "limits": [1, 10]}
    [pool] = parse_json_pools({"data": {"pools": [one]}}, OWN)
    assert (pool.name, pool.usage_pct, pool.waiting) == ("web", 90.0, 2.0)


def test_an_object_has_one_pool_a_name() -> None:
    answer = {"data": {"pools": {"web": {"stats": {"busy": 1}}, "jobs": {"limits": [0, 4]}}}}
    web, jobs = parse_json_pools(answer, OWN)
    assert (web.name, jobs.name) == ("web", "jobs")


def test_what_a_pool_does_not_say_is_not_known_and_never_zero() -> None:
    [pool] = parse_json_pools(
        [{"pool_name": "p", "active_connections": True, "max_connections": -1}], BUILT_IN
    )
    assert (pool.usage_pct, pool.waiting, pool.max_wait_s) == (None, None, None)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "no list of pools at the top of the answer"),
        ("pools", "no list of pools"),
        ([1], "is no object"),
        ({"error": "no such page"}, "is no object"),
        ([{"active_connections": 1}], "has no name at .pool_name"),
        ([{"pool_name": {"a": 1}}], "has no name"),
        ([PRIMARY, PRIMARY], "one name"),
    ],
)
def test_an_answer_without_pools_says_what_is_wrong_with_it(answer: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_json_pools(answer, BUILT_IN)


def test_names_from_outside_are_printable_and_numbers_finite() -> None:
    hostile = json.loads('{"pool_name": "a\\ud800\\u0000\\u001b[2J", "active_connections": 1e308, '
                         '"max_connections": 1e-308}')  # fmt: skip
    [pool] = parse_json_pools([hostile], BUILT_IN)
    assert (pool.name, pool.usage_pct) == ("a\\ud800\\x00\\x1b[2J", None)


def test_names_and_numbers_of_pools_are_bounded() -> None:
    many = [{"pool_name": f"{n}" + "x" * 500} for n in range(POOLS_READ_MAX + 5)]
    pools = parse_json_pools(many, BUILT_IN)
    assert len(pools) == POOLS_READ_MAX
    assert max(len(pool.name) for pool in pools) == NAME_CHARS_MAX


@pytest.mark.parametrize(
    ("written", "number"),
    [("7", 7.0), ('"12.5"', 12.5), ("0", 0.0), ("1e3", 1000.0)],
)
def test_a_number_is_taken_as_number_or_text(written: str, number: float) -> None:
    assert number_at({"a": json.loads(written)}, ".a") == number


@pytest.mark.parametrize("written", ["true", "null", '""', '"nan"', "NaN", "1e999", "-1", "[1]"])
def test_what_is_no_number_is_missing_with_the_reason(written: str) -> None:
    told = number_at({"a": json.loads(written)}, ".a")
    assert isinstance(told, Missing)
    assert ".a" in told.reason
