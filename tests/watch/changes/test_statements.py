"""What a log says was changed: who, what, once, and what is nothing new."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.facts.ddl import HOW_CHARS_MAX
from stanch.facts.log_lines import LogFormat, LogParser
from stanch.facts.log_records import LogRecord
from stanch.model.changes import Change, ItemKind
from stanch.watch.changes.statements import WAITING_MAX, Statements

T0 = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)


def record(message: str, **more: Any) -> LogRecord:
    facts: dict[str, Any] = {
        "severity": "LOG",
        "message": message,
        "at": T0,
        "pid": 7,
        "user": "app",
        "database": "shop",
        "application_name": "psql",
    }
    return LogRecord(**{**facts, **more})


def heard(*records: LogRecord) -> tuple[Change, ...]:
    statements = Statements(lambda: T0)
    for one in records:
        statements.hear(one)
    return statements.take()


def ran(sql: str, **more: Any) -> LogRecord:
    return record(f"statement: {sql}", **more)


@pytest.mark.parametrize(
    ("sql", "kind", "what"),
    [
        ("CREATE TABLE IF NOT EXISTS public.orders (id int)", ItemKind.RELATION, "public.orders"),
        ('ALTER TABLE ONLY "Odd;Name" ADD x int', ItemKind.RELATION, "Odd;Name"),
        ("drop index concurrently orders_x", ItemKind.RELATION, "orders_x"),
        ("CREATE UNIQUE INDEX ON orders (id)", ItemKind.RELATION, "orders"),
        ("TRUNCATE orders", ItemKind.RELATION, "orders"),
        ("REINDEX TABLE CONCURRENTLY orders", ItemKind.RELATION, "orders"),
        ("VACUUM (VERBOSE, FULL) orders", ItemKind.RELATION, "orders"),
        ("CREATE EXTENSION hstore", ItemKind.EXTENSION, "hstore"),
        ("CREATE OR REPLACE FUNCTION f() RETURNS int AS $$ 1 $$", ItemKind.OBJECT, "f"),
        ("GRANT SELECT ON orders TO report", ItemKind.OBJECT, "report"),
        ("ALTER DEFAULT PRIVILEGES IN SCHEMA x GRANT ALL ON TABLES TO y", ItemKind.OBJECT, ""),
    ],
)
def test_what_a_statement_is_about(sql: str, kind: ItemKind, what: str) -> None:
    [change] = heard(ran(sql))
    assert (change.kind, change.what) == (kind, f"shop.{what}" if what else "shop")
    assert (change.by, change.at) == ("app@shop (psql)", T0)


@pytest.mark.parametrize(
    ("sql", "kind", "what"),
    [
        ("ALTER SYSTEM SET work_mem = '1GB'", ItemKind.SETTING, "work_mem"),
        ("CREATE DATABASE crm", ItemKind.DATABASE, "crm"),
        ("ALTER ROLE bob SUPERUSER", ItemKind.ROLE, "bob"),
        ("GRANT admin TO bob", ItemKind.ROLE, "bob"),
    ],
)
def test_what_is_the_whole_servers_has_no_database(sql: str, kind: ItemKind, what: str) -> None:
    [change] = heard(ran(sql))
    assert (change.kind, change.what) == (kind, what)


def test_a_password_is_in_no_change_whichever_way_it_was_logged() -> None:
    audit = "AUDIT: SESSION,1,1,ROLE,CREATE ROLE,,,\"CREATE ROLE x PASSWORD 'hunter2'\",<none>"
    sql = "CREATE ROLE x PASSWORD 'hunter2'"
    found = heard(
        ran(sql),
        record(audit, pid=8),
        record(f"duration: 1.5 ms  statement: {sql}", pid=9),
        record(f"execute <unnamed>: {sql}", pid=10),
        record("role exists", severity="ERROR", statement=sql, pid=11),
    )
    assert len(found) == 5
    assert not [change for change in found if "hunter2" in repr(change)]


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER SYSTEM SET app.token = hunter2",
        'ALTER DATABASE shop SET "app.settings.jwt_secret" TO hunter2',
        "ALTER ROLE app IN DATABASE shop SET app.token TO hunter2, abc",
        "CREATE USER app IDENTIFIED BY hunter2",
    ],
)
def test_what_may_be_a_secret_without_quotes_is_in_no_change(sql: str) -> None:
    [ran_change] = heard(ran(sql))
    [refused] = heard(record("syntax error", severity="ERROR", statement=sql))
    assert "hunter2" not in ran_change.how + refused.how
    assert "SET work_mem = high" in heard(ran("ALTER SYSTEM SET work_mem = high"))[0].how


@pytest.mark.parametrize(
    "message",
    [
        "statement: SELECT pg_catalog.set_config('search_path', '', false);",
        "statement: LOCK TABLE public.orders IN ACCESS SHARE MODE",
        "statement: COPY public.orders (id) TO stdout;",
        "statement: VACUUM ANALYZE orders",
        "statement: BEGIN",
        "statement: SET work_mem = '1GB'",
        "duration: 12.1 ms",
        'automatic vacuum of table "shop.public.orders": index scans: 0',
        'automatic analyze of table "shop.public.orders"',
        "received SIGHUP, reloading configuration files",
        "checkpoint starting: time",
        "AUDIT: SESSION,1,1,READ,SELECT,TABLE,public.orders,SELECT 1,<none>",
        'AUDIT: SESSION,1,1,"half',
        "statement: CREATE TEMP TABLE t (id int)",
    ],
)
def test_dumps_vacuums_reloads_and_temporary_tables_are_no_change(message: str) -> None:
    assert heard(record(message)) == ()


def test_what_is_done_to_a_temporary_table_is_nothing_new_but_anothers_table_is() -> None:
    sql = "DROP TABLE t"
    found = heard(ran("CREATE TEMPORARY TABLE t (id int)"), ran(sql), ran(sql, pid=8))
    assert [change.how for change in found] == [sql]


def test_a_statement_that_server_and_pgaudit_log_is_one() -> None:
    sql = "CREATE TABLE orders (id int)"
    audit = f'AUDIT: SESSION,1,1,DDL,CREATE TABLE,TABLE,public.orders,"{sql}",<not logged>'
    found = heard(ran(sql), record(audit, at=T0 + timedelta(milliseconds=3)))
    assert len(found) == 1
    again = heard(ran(sql), ran(sql, at=T0 + timedelta(seconds=60)))
    assert len(again) == 2


def test_pgaudit_alone_tells_the_schema_and_leaves_out_temporary_tables() -> None:
    audit = "AUDIT: SESSION,1,1,DDL,CREATE TABLE,TABLE,{},CREATE TABLE orders (id int),<none>"
    [change] = heard(
        record(audit.format("public.orders")), record(audit.format("pg_temp_3.orders"), pid=8)
    )
    assert change.what == "shop.public.orders"


def test_a_parameter_that_a_reload_changed_is_told_without_its_value() -> None:
    [change] = heard(record('parameter "primary_conninfo" changed to "password=hunter2"', user=""))
    assert (change.kind, change.what) == (ItemKind.SETTING, "primary_conninfo")
    assert "hunter2" not in repr(change)


def test_a_refused_statement_says_so() -> None:
    sql = "CREATE TABLE orders (id int)"
    found = heard(ran(sql), record("already exists", severity="ERROR", statement=sql))
    assert [(change.how, change.failed) for change in found] == [(sql, False), (sql, True)]


@pytest.mark.parametrize("year", [1, 1999, 2999, 9999])
def test_a_moment_that_cannot_be_is_not_believed(year: int) -> None:
    [change] = heard(ran("DROP TABLE a", at=datetime(year, 1, 1, tzinfo=UTC)))
    assert change.at == T0


@given(
    st.sampled_from(["statement: ", "AUDIT: SESSION,1,1,DDL,", "execute x: ", 'parameter "']),
    st.sampled_from(["CREATE ", "DROP TABLE ", "GRANT a TO ", "VACUUM (", "ALTER ROLE ", ""]),
    st.text(max_size=40) | st.text(alphabet="'\"$;,.()/*- \na", max_size=40),
)
def test_whatever_a_client_writes_into_the_log_is_read_without_trouble(
    begins: str, words: str, rest: str
) -> None:
    for change in heard(record(begins + words + rest)):
        assert len(change.how) <= HOW_CHARS_MAX


def test_a_flood_is_bounded_before_anybody_takes_it() -> None:
    found = heard(*(ran(f"CREATE TABLE p{n} (id int)") for n in range(3 * WAITING_MAX)))
    assert len(found) == WAITING_MAX
    assert found[-1].what == f"shop.p{3 * WAITING_MAX - 1}"


def test_a_script_of_statements_in_one_message_is_taken_apart() -> None:
    found = heard(ran("BEGIN; ALTER TABLE a ADD x int; DROP TABLE b, c; COMMIT"))
    assert [change.what for change in found] == ["shop.a", "shop.b", "shop.c"]


def test_the_lines_of_a_log_file_become_changes() -> None:
    parser = LogParser(LogFormat.STDERR, log_line_prefix="%m [%p] %q%u@%d %a ")
    text = (
        "2026-03-01 03:00:00.000 UTC [7] app@shop psql LOG:  statement: ALTER TABLE orders\n"
        "\tADD note text DEFAULT 'x'\n"
        "2026-03-01 03:00:01.000 UTC [1] LOG:  checkpoint starting: time\n"
    )
    [change] = heard(*parser.feed(text.encode()), *parser.flush())
    assert (change.what, change.by) == ("shop.orders", "app@shop (psql)")
    assert change.how == "ALTER TABLE orders ADD note text DEFAULT '…'"
