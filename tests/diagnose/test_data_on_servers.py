"""Damage, loss and ends of numbers on real servers, broken for real."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest

from fix_servers import MakeServer
from looking import diagnose_dsn
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.adapters.postgres.scratch_access import SUPERUSER
from stanch.diagnose.rank import STANDS_FROM
from stanch.model.diagnosis import Diagnosis, Verdict

on_15 = pytest.mark.parametrize("pg_major", [15], indirect=True)
on_18 = pytest.mark.parametrize("pg_major", [18], indirect=True)
PAGE = 8192
AGAIN = 8


async def look(server: ScratchServer) -> Diagnosis:
    return await diagnose_dsn(
        server.dsn(user="stanch_watch", dbname="app"),
        data_directory=str(server.data_directory),
        log=str(server.log_path),
        deadline_s=10.0,
    )


def named(found: Diagnosis) -> list[str]:
    return [c.id for c in found.causes if c.probability >= STANDS_FROM]


def why(found: Diagnosis) -> str:
    """For the failing test's message."""
    lines = [f"{found.verdict}: {found.summary}"]
    for cause in found.causes:
        weighed = (*cause.evidence_for, *cause.evidence_against, *cause.missing)
        lines.append(f"{cause.id} {cause.probability}")
        lines += [f"  {f.weight:+} {f.evidence}: {f.text}" for f in weighed]
    return "\n".join(lines)


def run(server: ScratchServer, *statements: LiteralString, user: str = SUPERUSER) -> list[object]:
    """Each in a transaction of its own; gives the first value of the last."""
    dsn = server.dsn(user=user, dbname="app")
    with psycopg.connect(dsn, autocommit=True, application_name="shop") as session:
        for statement in statements[:-1]:
            session.execute(statement)
        last = session.execute(statements[-1])
        return list(last.fetchone() or ()) if last.description else []


def fails(server: ScratchServer, statement: LiteralString, times: int = AGAIN) -> None:
    for _ in range(times):
        with suppress(psycopg.Error):
            run(server, statement)
            raise AssertionError(f"it was done: {statement}")


def overwrite(server: ScratchServer, relation: str, at: int, content: bytes) -> None:
    """Bytes of a relation's file, while the server is down."""
    with psycopg.connect(server.dsn(user=SUPERUSER, dbname="app"), autocommit=True) as session:
        row = session.execute("SELECT pg_relation_filepath(%s)", [relation]).fetchone()
    assert row is not None
    server.stop()
    with Path(server.data_directory, row[0]).open("r+b") as file:
        file.seek(at)
        file.write(content)
    server.start()


ORDERS = (
    "CREATE TABLE orders (id int PRIMARY KEY, t text)",
    "INSERT INTO orders SELECT n, repeat('x', 50) FROM generate_series(1, 3000) AS n",
)


async def test_a_page_that_was_overwritten(server: ScratchServer) -> None:
    run(server, *ORDERS)
    overwrite(server, "orders", 2 * PAGE + 100, b"\x55" * 200)
    fails(server, "SELECT sum(length(t)) FROM orders", times=1)
    found = await look(server)
    assert named(found) == ["page_corruption"], why(found)
    assert found.causes[0].fact("block") == 2
    assert "SELECT sum(length(t)) FROM orders" in str(found.causes[0].fact("statement"))


@on_15
async def test_an_index_page_that_is_empty(server: ScratchServer) -> None:
    run(server, *ORDERS)
    overwrite(server, "orders_pkey", PAGE, b"\0" * PAGE)
    fails(server, "INSERT INTO orders VALUES (-1, 'y')", times=1)
    found = await look(server)
    assert named(found) == ["index_corruption"], why(found)
    assert found.causes[0].subject == "orders_pkey"


@on_18
async def test_a_large_value_of_which_a_part_is_gone(make_server: MakeServer) -> None:
    server = make_server(conf={"allow_system_table_mods": True})
    [toast] = run(
        server,
        "CREATE TABLE docs (id int, t text STORAGE EXTERNAL)",
        "INSERT INTO docs VALUES (1, repeat('y', 9000))",
        "SELECT reltoastrelid::regclass::text FROM pg_class WHERE relname = 'docs'",
    )
    with psycopg.connect(server.dsn(user=SUPERUSER, dbname="app"), autocommit=True) as session:
        for kind, then in (("r", f"DELETE FROM {toast} WHERE chunk_seq = 1"), ("t", "SELECT 1")):
            session.execute(
                "UPDATE pg_class SET relkind = %s WHERE oid = %s::text::regclass", [kind, toast]
            )
            session.execute(then.encode())
    fails(server, "SELECT sum(length(t)) FROM docs", times=1)
    found = await look(server)
    assert named(found) == ["toast_corruption"], why(found)
    assert f"pg_toast.{found.causes[0].fact('toast_table')}" == toast


@on_15
async def test_a_catalog_that_somebody_wrote_into(make_server: MakeServer) -> None:
    server = make_server(conf={"allow_system_table_mods": True})
    run(
        server,
        "CREATE TYPE mood AS ENUM ('a')",
        "CREATE TABLE moods (m mood)",
        "DELETE FROM pg_type WHERE typname = 'mood'",
    )
    fails(server, "SELECT * FROM moods")
    found = await look(server)
    assert named(found) == ["catalog_corruption"], why(found)
    assert "cache lookup failed for type" in found.causes[0].summary


@on_15
async def test_a_collation_that_has_changed(server: ScratchServer) -> None:
    run(
        server,
        "CREATE DATABASE shop TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en'"
        " LOCALE 'C.UTF-8'",
        "UPDATE pg_database SET datcollversion = '0.1' WHERE datname = 'shop'",
    )
    found = await look(server)
    assert named(found) == ["collation_drift"], why(found)
    assert found.causes[0].subject == "shop"
    assert "made with 0.1" in found.summary


@on_18
async def test_a_table_that_was_dropped_under_its_application(make_server: MakeServer) -> None:
    server = make_server(conf={"log_statement": "ddl"})
    run(server, *ORDERS, "SELECT pg_sleep(1.2)", "DROP TABLE orders")
    fails(server, "SELECT * FROM orders WHERE id = 7")
    found = await look(server)
    assert named(found) == ["table_dropped"], why(found)
    assert found.causes[0].fact("dropped_at") is not None
    assert found.causes[0].fact("table") == "orders"


@on_15
async def test_a_table_in_a_schema_that_the_application_does_not_look_in(
    server: ScratchServer,
) -> None:
    run(server, *ORDERS, "SELECT pg_sleep(1.2)", "CREATE SCHEMA shop")
    run(server, "ALTER TABLE orders SET SCHEMA shop")
    fails(server, "SELECT * FROM orders WHERE id = 7")
    found = await look(server)
    assert named(found) == ["schema_mismatch"], why(found)


@pytest.mark.parametrize(
    ("statement", "cause"),
    [("DELETE FROM orders", "mass_delete"), ("UPDATE orders SET t = 'paid'", "mass_update")],
)
@on_18
async def test_all_rows_of_a_table_at_once(
    make_server: MakeServer, statement: LiteralString, cause: str
) -> None:
    server = make_server(conf={"autovacuum": False, "log_min_duration_statement": "0"})
    run(server, *ORDERS)
    run(server, "ANALYZE orders", statement)
    # A session tells its statistics as it ends, which is after it has answered.
    counted = "SELECT n_tup_del + n_tup_upd >= 3000 FROM pg_stat_user_tables"
    assert any(server.query(counted, dbname="app") == [(True,)] for _ in range(500))
    found = await look(server)
    assert named(found)[:1] == [cause], why(found)
    assert found.causes[0].subject == "public.orders"
    assert found.causes[0].fact("rows_before") == 3000


@on_15
async def test_a_truncated_table_that_was_much_read(make_server: MakeServer) -> None:
    server = make_server(conf={"log_statement": "mod"})
    run(server, *ORDERS)
    with psycopg.connect(server.dsn(user=SUPERUSER, dbname="app"), autocommit=True) as session:
        for number in range(1100):
            session.execute("SELECT t FROM orders WHERE id = %s", [number])
    run(server, "TRUNCATE orders")
    found = await look(server)
    assert named(found) == ["table_truncated"], why(found)


@on_18
async def test_a_sequence_and_an_integer_column_at_their_ends(server: ScratchServer) -> None:
    run(server, "CREATE SEQUENCE numbers MAXVALUE 2", "CREATE TABLE lines (order_id int)")
    run(server, "SELECT nextval('numbers')", "SELECT nextval('numbers')")
    fails(server, "SELECT nextval('numbers')", times=1)
    found = await look(server)
    assert named(found) == ["sequence_exhausted"], why(found)
    assert found.causes[0].fact("sequence") == "numbers"
    fails(server, "INSERT INTO lines SELECT 3000000000")
    found = await look(server)
    assert set(named(found)) == {"sequence_exhausted", "int4_overflow"}, why(found)


@on_18
async def test_work_that_empties_and_fills_tables_is_healthy(make_server: MakeServer) -> None:
    server = make_server(conf={"log_statement": "all"})
    for _ in range(3):
        run(
            server,
            "CREATE TABLE IF NOT EXISTS staging (n int)",
            "TRUNCATE staging",
            "INSERT INTO staging SELECT generate_series(1, 2000)",
            "DELETE FROM staging",
            "INSERT INTO staging SELECT generate_series(1, 2000)",
            "CREATE TEMP TABLE passing AS SELECT 1",
            "DROP TABLE passing",
        )
    fails(server, "SELECT * FROM passing", times=2)
    fails(server, "SELECT 2000000000 + 2000000000")
    found = await look(server)
    assert found.verdict is Verdict.HEALTHY, why(found)
