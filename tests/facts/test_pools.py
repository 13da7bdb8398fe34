"""Pools from the columns of PgBouncer, of Odyssey, and of queries."""

from __future__ import annotations

import pytest

from stanch.facts.pools import (
    Pool,
    PoolLimits,
    Row,
    parse_limits,
    parse_pools,
    parse_query_pools,
    stands_still,
)

DATABASES: list[Row] = [
    {"name": "app", "pool_size": "10", "max_connections": "0"},
    {"name": "pgbouncer", "pool_size": "2", "max_connections": "0"},
]
CONFIG: list[Row] = [{"key": "max_client_conn", "value": "100", "default": "100"}]
LIMITS = parse_limits(DATABASES, CONFIG)


def row(**changes: str | None) -> Row:
    """A line of SHOW POOLS of PgBouncer 1.18."""
    counts = ("cl_active", "cl_waiting", "cl_active_cancel_req", "cl_waiting_cancel_req")
    servers = ("sv_active", "sv_active_cancel", "sv_being_canceled", "sv_idle", "sv_used")
    zero = dict.fromkeys((*counts, *servers, "sv_tested", "sv_login", "maxwait", "maxwait_us"), "0")
    return {"database": "app", "user": "web", **zero, "pool_mode": "transaction", **changes}


def one(*rows: Row, limits: PoolLimits = LIMITS) -> Pool:
    return parse_pools(rows, limits)[0]


def test_usage_is_what_no_other_client_can_get_by_the_size_of_the_pool() -> None:
    pool = one(row(sv_active="7", sv_login="1", sv_idle="2", cl_active="9"))
    assert (pool.name, pool.usage_pct) == ("app/web", 80.0)


@pytest.mark.parametrize(("said", "paused"), [("1", True), ("0", False), ("?", None), (None, None)])
def test_a_paused_pool_is_told_with_its_size(said: str | None, paused: bool | None) -> None:
    limits = parse_limits([{"name": "app", "pool_size": "10", "paused": said}], [])
    pool = one(row(cl_waiting="1"), limits=limits)
    assert (pool.size, pool.paused) == (10.0, paused)
    assert pool.detail.endswith(", paused") == bool(paused)


def test_a_pool_stands_still_where_somebody_waits_and_nothing_is_in_use() -> None:
    assert stands_still([row(sv_active="2"), row(cl_waiting="1", sv_idle="1")])
    assert not stands_still([row(cl_waiting="1", sv_active="1")])
    assert not stands_still([row()])


def test_idle_server_connections_are_not_in_use() -> None:
    assert one(row(sv_idle="10")).usage_pct == 0.0


def test_the_longest_wait_has_its_microseconds() -> None:
    pool = one(row(cl_waiting="3", maxwait="2", maxwait_us="500000"))
    assert (pool.waiting, pool.max_wait_s) == (3.0, 2.5)


def test_the_limit_of_the_database_counts_while_somebody_waits_though_the_pool_has_room() -> None:
    limits = parse_limits([{"name": "app", "pool_size": "10", "max_connections": "4"}], [])
    other = row(user="report", sv_active="3", sv_idle="0")
    assert one(row(sv_active="1", cl_waiting="1"), other, limits=limits).usage_pct == 100.0
    assert one(row(sv_active="1"), other, limits=limits).usage_pct == 10.0


def test_all_clients_of_the_pooler_are_held_against_its_own_limit() -> None:
    admin = row(database="pgbouncer", user="pgbouncer", cl_active="1")
    *_, clients = parse_pools([admin, row(cl_active="90", cl_waiting="4")], LIMITS)
    assert (clients.name, clients.usage_pct) == ("clients", 95.0)


def test_the_console_itself_is_no_pool() -> None:
    names = [p.name for p in parse_pools([row(database="pgbouncer")], LIMITS)]
    assert names == ["clients"]


def test_a_pool_without_a_known_size_has_no_usage_and_not_zero() -> None:
    odyssey: Row = {
        "database": "app", "user": "web", "cl_active": "5", "cl_waiting": "2", "sv_active": "5",
        "sv_idle": "0", "sv_used": "0", "sv_tested": "0", "sv_login": "0", "maxwait": "1",
        "maxwait_us": "0", "pool_mode": "session",
    }  # fmt: skip
    limits = parse_limits([{"name": "app", "pool_size": "0"}], [])
    [pool] = parse_pools([odyssey], limits)
    assert (pool.usage_pct, pool.waiting, pool.max_wait_s) == (None, 2.0, 1.0)


@pytest.mark.parametrize("nonsense", ["", "many", "-1", "nan", "inf", None])
def test_what_is_no_number_is_not_known(nonsense: str | None) -> None:
    assert one(row(cl_waiting=nonsense, maxwait=nonsense)).waiting is None


@pytest.mark.parametrize(
    ("told", "usage_pct"),
    [
        ({"active": "45", "size": "50", "usage_rate": "0.1"}, 90.0),
        ({"active": "45", "usage_rate": "0.9"}, 90.0),
        ({"active": "45", "usage_rate": "90"}, 90.0),
        ({"active": None, "size": "50", "usage_rate": None}, None),
        ({}, None),
    ],
)
def test_a_query_tells_usage_by_size_or_by_rate(
    told: dict[str, str | None], usage_pct: float | None
) -> None:
    [pool] = parse_query_pools([{"pool": "oltp/primary", **told}])
    assert pool.usage_pct == usage_pct


def test_a_query_without_pools_by_name_is_refused_and_an_empty_answer_is_none() -> None:
    assert parse_query_pools([]) == ()
    with pytest.raises(ValueError, match="no column pool; it has name, active"):
        parse_query_pools([{"name": "x", "active": "1"}])
