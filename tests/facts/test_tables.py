"""How empty tables are estimated to be, beside what pgstattuple counts in them."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime

import psycopg
import pytest

from samplings import Watched, seen
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.facts.slow.questions import BLOAT, TABLE_SIZES, bloat_question, read_slow
from stanch.facts.tables import (
    BLOAT_PAGES_MIN,
    Column,
    TableRead,
    bloat_share,
    parse_table_sizes,
    parse_tables,
    row_bytes,
    table_sizes_sql,
    tables_sql,
)

TOLERANCE = 0.10
"""As documented: between the estimate and the count, in parts of the table."""

MAKE = (
    "CREATE EXTENSION pgstattuple",
    # Freshly loaded.
    "CREATE TABLE narrow AS SELECT g::int AS a FROM generate_series(1, 60000) g",
    "CREATE TABLE gaps AS SELECT g::int AS a, g::bigint AS b, true AS c, g::bigint AS d,"
    " 1::smallint AS e, now() AS f FROM generate_series(1, 30000) g",
    "CREATE TABLE texts AS SELECT g AS a, repeat('x', g % 200) AS b"
    " FROM generate_series(1, 30000) g",
    "CREATE TABLE nulls AS SELECT CASE WHEN g % 10 = 0 THEN g END AS a, g::bigint AS b,"
    " NULL::text AS c, CASE WHEN g % 2 = 0 THEN repeat('y', 90) END AS d"
    " FROM generate_series(1, 30000) g",
    "CREATE TABLE wide AS SELECT g AS a, repeat(md5(g::text), 50) AS b,"
    " repeat(md5(g::text), 14) AS c FROM generate_series(1, 5000) g",
    # Each value is stored outside; what is left of the row is small.
    "CREATE TABLE toasted (a int, b text)",
    "ALTER TABLE toasted ALTER b SET STORAGE EXTERNAL",
    "INSERT INTO toasted SELECT g, repeat('z', 2500) FROM generate_series(1, 20000) g",
    "CREATE TABLE roomy (a int, b text) WITH (fillfactor = 70)",
    "INSERT INTO roomy SELECT g, repeat('r', 60) FROM generate_series(1, 30000) g",
    # Bloated.
    "CREATE TABLE deleted AS SELECT g AS a, repeat('d', 50) AS b FROM generate_series(1, 40000) g",
    "DELETE FROM deleted WHERE a % 5 > 0",
    "CREATE TABLE updated AS SELECT g AS a, g::bigint AS b FROM generate_series(1, 30000) g",
    "UPDATE updated SET b = b + 1",
    "UPDATE updated SET b = b + 1",
)
FRESH = ("narrow", "gaps", "texts", "nulls", "wide", "toasted", "roomy")
BLOATED = ("deleted", "updated")

COUNTED = """
    SELECT relname, (
        SELECT (free_space + dead_tuple_len)::float8 / table_len FROM pgstattuple(c.oid)
    ) FROM pg_class AS c WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
"""
"""The share of a table that holds no live row."""


def test_the_estimate_is_near_what_is_counted_and_whole_tables_are_not_called_empty(
    server: ScratchServer,
) -> None:
    with closing(psycopg.connect(server.dsn(dbname="app"), autocommit=True)) as session:
        for statement in MAKE:
            session.execute(statement.encode())
        session.execute("VACUUM ANALYZE")
        counted = dict(session.execute(COUNTED).fetchall())
        row = session.execute(tables_sql(20).encode()).fetchone()
        assert row is not None
        read = parse_tables(row[0])
        question = bloat_question(pages_min=BLOAT_PAGES_MIN)
        lane = session.execute(question.sql.encode()).fetchone()
        assert lane is not None
    estimated = {t.name: bloat_share(t, read.block_bytes) for t in read.largest}
    for name in (*FRESH, *BLOATED):
        share = estimated[name]
        assert share is not None, name
        # Room kept by the fill factor is free, and not lost.
        kept = 0.3 if name == "roomy" else 0.0
        assert share == pytest.approx(max(0.0, counted[name] - kept), abs=TOLERANCE), name
        assert (share > 0.6) == (name in BLOATED), name
    told = {r.subject: r.value for r in read_slow(question, lane[0]).readings}
    assert told == {
        f"app.public.{name}": pytest.approx(100 * (estimated[name] or 0))
        for name in (*FRESH, *BLOATED)
    }, "the slow lane and the check-up say the same"
    watched = Watched().look(0, seen(readings=read_slow(question, lane[0]).readings))
    assert watched.raised == ["table_bloated:app.public.deleted"]
    # The watching role may not read widths: then nobody guesses, and it is said.
    with closing(psycopg.connect(server.dsn("stanch_watch", "app"))) as watching:
        hidden = watching.execute(question.sql.encode()).fetchone()
    assert hidden is not None
    [unknown] = read_slow(question, hidden[0]).readings
    assert (unknown.name, unknown.value, unknown.subject) == (BLOAT, None, "app")
    assert unknown.detail.startswith("of 9 large tables")


def test_sizes_are_those_of_this_moment_and_a_locked_table_is_not_waited_for(
    server: ScratchServer,
) -> None:
    for statement in (
        "CREATE TABLE young AS SELECT g AS a, repeat('z', 90) AS b FROM generate_series(1, 9000) g",
        "CREATE TABLE held (a int, b text)",
        "CREATE TABLE reindexed (a int PRIMARY KEY)",
        "CREATE TABLE wanted (a int)",
        "CREATE TEMPORARY TABLE gone (a int)",
    ):
        server.query(statement, dbname="app")
    question = replace(TABLE_SIZES, sql=table_sizes_sql(1000))
    with (
        closing(psycopg.connect(server.dsn("stanch_watch", "app"), autocommit=True)) as watching,
        closing(psycopg.connect(server.dsn(dbname="app"))) as holder,
        closing(psycopg.connect(server.dsn(dbname="app"))) as waiter,
        closing(psycopg.connect(server.dsn(dbname="app"), autocommit=True)) as witness,
    ):
        watching.execute("SET lock_timeout = '100ms'")
        holder.execute("LOCK TABLE held IN ACCESS EXCLUSIVE MODE")
        holder.execute("LOCK TABLE wanted IN ACCESS SHARE MODE")
        holder.execute("REINDEX INDEX reindexed_pkey")
        waiter.pgconn.send_query(b"BEGIN; LOCK TABLE wanted IN ACCESS EXCLUSIVE MODE")
        waits = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        while witness.execute(waits).fetchone() == (0,):
            time.sleep(0.01)
        row = watching.execute(question.sql.encode()).fetchone()
        assert row is not None
        told = {r.subject: r for r in read_slow(question, row[0]).readings}
        assert {s for s, r in told.items() if r.value is None} == {
            "app.public.held",
            "app.public.reindexed",
            "app.public.wanted",
        }
        assert "exclusively" in told["app.public.held"].detail
        [exact] = witness.execute("SELECT pg_total_relation_size('young')").fetchall()
        assert told["app.public.young"].value == exact[0]
        assert parse_table_sizes(row[0])["app.public.young"] == exact[0]
        locks = "SELECT count(*) FROM pg_locks WHERE pid = %s AND relation >= 16384"
        assert witness.execute(locks, (watching.info.backend_pid,)).fetchone() == (0,)


# --- without a server ---------------------------------------------------------------------------


def column(mean_bytes: float | None, *, aligned_to: int = 8, null: float = 0.0) -> Column:
    fixed = -1 if mean_bytes is None else int(mean_bytes)
    return Column(fixed_bytes=fixed, aligned_to=aligned_to, mean_bytes=mean_bytes, null_share=null)


TABLE = TableRead(
    schema="public",
    name="t",
    pages=1000,
    index_pages=0,
    toast_pages=0,
    rows=10_000.0,
    live_rows=10_000,
    dead_rows=0,
    vacuumed_at=datetime(2026, 3, 1, tzinfo=UTC),
    fillfactor=100,
    columns=(column(96.0), column(8.0)),
)


@pytest.mark.parametrize(
    "unknown",
    [
        {"rows": None},
        {"columns": (column(96.0), column(None))},
        {"columns": ()},
        {"pages": 100},
        {"columns": (column(9000.0),)},
    ],
    ids=str,
)
def test_empty_room_is_not_guessed_where_statistics_do_not_say(unknown: dict[str, object]) -> None:
    assert bloat_share(TABLE, 8192) is not None
    assert bloat_share(replace(TABLE, **unknown), 8192) is None  # type: ignore[arg-type]


def test_room_left_on_purpose_is_not_empty_room() -> None:
    half = bloat_share(replace(TABLE, fillfactor=50), 8192)
    whole = bloat_share(TABLE, 8192)
    assert half is not None
    assert whole is not None
    assert half < whole


def test_one_row_goes_into_a_page_whatever_the_fill_factor() -> None:
    wide = replace(TABLE, columns=(column(6000.0),), rows=1000.0, fillfactor=50)
    assert bloat_share(wide, 8192) == 0


def test_columns_stand_where_their_alignment_lets_them() -> None:
    four, eight = column(4.0, aligned_to=4), column(8.0)
    assert row_bytes([four, four, eight]) == 24 + 16
    assert row_bytes([four, eight, four]) == 24 + 24
    assert row_bytes([eight, replace(eight, null_share=1.0)]) == 24 + 8
    assert row_bytes([four] * 8 + [replace(four, null_share=1.0)]) == 32 + 32, "the map of nulls"
