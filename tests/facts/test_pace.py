"""Counters looked at twice: what grew, what was set back, and what a real server tells."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from fix_servers import MakeServer
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.adapters.postgres.scratch_access import SUPERUSER, WATCH_ROLE
from stanch.facts.pace import (
    PACE_SQL,
    Counters,
    Grown,
    Pace,
    TablePace,
    pace_between,
    pace_statements_sql,
    parse_counters,
    with_statements,
)
from stanch.facts.statements import HOME_SQL, parse_home
from stanch.model.errors import ProbeFailed

ORDERS = {
    "name": "public.orders",
    "rows": 5000,
    "whole_scans": 3,
    "whole_rows": 15000,
    "index_scans": 70,
    "index_rows": 140,
    "indexed": "id customer_id",
}
LOOK = {
    "at": 1000.0,
    "counted_s": 500.0,
    "commits": 1000,
    "rollbacks": 2,
    "sessions": 50,
    "wal_bytes": 4096,
    "tables": [ORDERS],
}


def look(**differs: Any) -> Counters:
    return parse_counters(json.dumps({**LOOK, **differs}))


def between(first: Counters, second: Counters) -> Pace:
    pace = pace_between(first, second)
    assert pace is not None
    return pace


def test_what_came_between_two_looks_is_told_by_the_second_and_against_all_before() -> None:
    orders = {**ORDERS, "whole_scans": 7, "whole_rows": 35000}
    pace = between(look(), look(at=1002.0, commits=1400, sessions=90, tables=[orders]))
    assert pace.commits == Grown(before=1000, by=400)
    assert (pace.rate(pace.commits), pace.mean(pace.commits)) == (200.0, 2.0)
    assert pace.sessions == Grown(before=50, by=40)
    [t] = pace.tables
    assert t.whole_scans == Grown(before=3, by=4)
    assert t.whole_rows == Grown(before=15e3, by=20e3)
    assert t.indexed == ("id", "customer_id")


def test_a_table_that_only_one_look_saw_is_left_out() -> None:
    other = {**ORDERS, "name": "public.new"}
    [known] = between(look(), look(at=1001.0, tables=[ORDERS, other])).tables
    assert known.name == "public.orders"
    assert between(look(tables=None), look(at=1001.0)).tables == ()


def test_a_table_whose_index_was_dropped_in_between_is_left_out() -> None:
    fewer = {**ORDERS, "index_scans": 10}
    assert between(look(), look(at=1001.0, tables=[fewer])).tables == ()


@pytest.mark.parametrize("second", [{"at": 1001.0, "commits": 3}, {"at": 1000.0}, {"at": 999.0}])
def test_counters_that_were_set_back_and_clocks_that_stood_still_tell_no_pace(
    second: dict[str, Any],
) -> None:
    assert pace_between(look(), look(**second)) is None


def test_a_server_that_has_only_just_begun_to_count_has_no_mean() -> None:
    assert pace_between(look(counted_s=0.0), look(at=1001.0)) is None


def test_versions_that_count_no_logins_and_standbys_without_wal_say_so() -> None:
    pace = between(look(sessions=None, wal_bytes=None), look(at=1001.0))
    assert (pace.sessions, pace.wal_bytes) == (None, None)


def test_statements_are_told_where_both_looks_have_them() -> None:
    def told(*rows: tuple[str, int, float]) -> str:
        return json.dumps(
            {"statements": [{"queryid": q, "calls": c, "total_ms": ms} for q, c, ms in rows]}
        )

    first = with_statements(look(), told(("-7", 100, 50.0), ("8", 5, 1.0)))
    second = with_statements(look(at=1001.0), told(("-7", 110, 950.0), ("9", 1, 1.0)))
    [one] = between(first, second).statements
    assert (one.query_id, one.calls.by, one.ms.by) == ("-7", 10, 900.0)


@pytest.mark.parametrize("payload", ["", "[]", '{"tables": [{"name": "x"}]}', '{"commits": "1"}'])
def test_an_answer_of_another_shape_is_refused(payload: str) -> None:
    with pytest.raises(ProbeFailed):
        parse_counters(payload)


def _until_scanned(look: Callable[[], Counters], first: Counters) -> tuple[Pace, TablePace]:
    """Sessions tell what they did as they end, and a little later."""
    until = time.monotonic() + 10
    while True:
        pace = between(first, look())
        [wide] = [table for table in pace.tables if table.name == "public.wide"]
        if wide.whole_scans.by >= 3:
            return pace, wide
        assert time.monotonic() < until, wide


def test_a_server_tells_what_it_did_between_two_looks(make_server: MakeServer) -> None:
    server = make_server(conf={"autovacuum": False})
    with psycopg.connect(server.dsn(SUPERUSER, "app"), autocommit=True) as session:
        rows = "SELECT g AS id, g % 9 AS n FROM generate_series(1, 3000) AS g"
        session.execute(f"CREATE TABLE wide AS {rows}")
        session.execute("ALTER TABLE wide ADD PRIMARY KEY (id)")
        session.execute("CREATE INDEX ON wide (n, id)")
        session.execute("ANALYZE wide")
        session.execute("GRANT SELECT ON wide TO app")

    def asked() -> Counters:
        with psycopg.connect(server.dsn(WATCH_ROLE, "app"), autocommit=True) as watch:
            row = watch.execute(PACE_SQL.encode()).fetchone()
        assert row is not None
        return parse_counters(row[0])

    first = asked()
    for _ in range(3):
        # Each session tells what it did when it ends.
        with psycopg.connect(server.dsn("app", "app"), autocommit=True) as session:
            session.execute("SET enable_indexscan = off; SET enable_bitmapscan = off")
            session.execute("SET enable_indexonlyscan = off")
            session.execute("SELECT count(*) FROM wide WHERE n >= 0")
    pace, wide = _until_scanned(asked, first)
    assert wide.whole_rows.by == 9000
    assert wide.rows >= 3000
    assert wide.indexed == ("id", "n")
    assert pace.sessions is None or pace.sessions.by >= 3
    assert 0 < pace.counted_s < 600


def test_statements_are_counted_where_the_extension_is(make_server: MakeServer) -> None:
    server = make_server(conf={"shared_preload_libraries": "pg_stat_statements"})
    server.query("CREATE EXTENSION pg_stat_statements")
    [(told,)] = server.query(HOME_SQL, user=WATCH_ROLE)
    home = parse_home(told)
    assert home is not None
    assert not home.unusable
    [(payload,)] = server.query(pace_statements_sql(home), user=WATCH_ROLE)
    found = with_statements(look(), payload)
    assert found.statements
    assert all(one.calls >= 1 for one in found.statements)


def test_a_shared_server_answers_on_every_version(shared_server: ScratchServer) -> None:
    [(payload,)] = shared_server.query(PACE_SQL, user=WATCH_ROLE)
    found = parse_counters(payload)
    assert found.commits > 0
    assert found.wal_bytes is not None
