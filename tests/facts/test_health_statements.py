"""The questions of a check-up on every version, and their parsers against anything."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.adapters.postgres.scratch import ScratchServer
from stanch.facts.health.headroom import AGES_SQL, SEQUENCES_SQL, parse_ages, parse_sequences
from stanch.facts.health.replication import REPLICATION_SQL, parse_replication
from stanch.facts.health.server import BACKUPS_SQL, SETTINGS_SQL, parse_backups, parse_settings
from stanch.facts.health.space import (
    SIZES_SQL,
    TABLES_SQL,
    TableRead,
    bloat_share,
    parse_sizes,
    parse_tables,
)
from stanch.facts.health.work import SESSIONS_SQL, parse_sessions
from stanch.model.errors import ProbeFailed

QUESTIONS: dict[str, tuple[str, Callable[[object], object]]] = {
    "settings": (SETTINGS_SQL, parse_settings),
    "backups": (BACKUPS_SQL, parse_backups),
    "sizes": (SIZES_SQL, parse_sizes),
    "tables": (TABLES_SQL, parse_tables),
    "sessions": (SESSIONS_SQL, parse_sessions),
    "replication": (REPLICATION_SQL, parse_replication),
    "ages": (AGES_SQL, parse_ages),
    "sequences": (SEQUENCES_SQL, parse_sequences),
}


def asked(server: ScratchServer, sql: str, user: str = "postgres", **parameters: str) -> str:
    with psycopg.connect(server.dsn(user=user, dbname="app"), autocommit=True) as session:
        row = session.execute(sql.encode(), parameters or None).fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize("name", QUESTIONS)
@pytest.mark.parametrize("user", ["stanch_watch", "app"])
def test_every_question_is_answered_whatever_the_version_and_the_role(
    shared_server: ScratchServer, name: str, user: str
) -> None:
    sql, parse = QUESTIONS[name]
    assert parse(asked(shared_server, sql, user)) is not None


def test_who_answers_is_told_with_its_settings(shared_server: ScratchServer, pg_major: int) -> None:
    read = parse_settings(asked(shared_server, SETTINGS_SQL, "stanch_watch"))
    assert (read.version_num // 10000, read.database, read.role) == (
        pg_major,
        "app",
        "stanch_watch",
    )
    assert read.value("fsync") == "off"
    assert read.value("full_page_writes") in ("on", "off")
    assert read.sees_settings
    assert not read.in_recovery
    assert read.statements_home is None


def test_settings_of_single_roles_and_databases_are_found(server: ScratchServer) -> None:
    server.query("ALTER ROLE app IN DATABASE app SET synchronous_commit = off")
    server.query("ALTER ROLE app SET work_mem = '8MB'")
    read = parse_settings(asked(server, SETTINGS_SQL, "stanch_watch"))
    assert [(o.role, o.database, o.name, o.value) for o in read.overrides] == [
        ("app", "app", "synchronous_commit", "off")
    ]


def test_a_table_that_lost_most_of_its_rows_is_estimated_to_be_mostly_empty(
    server: ScratchServer,
) -> None:
    with server.connect(dbname="app") as session:
        session.execute(
            "CREATE TABLE full_one AS SELECT g, repeat('x', 50) FROM generate_series(1, 40000) g"
        )
        session.execute("CREATE TABLE empty_one AS SELECT * FROM full_one")
        session.execute("DELETE FROM empty_one WHERE g > 8000 AND g < 39999")
        session.execute("VACUUM ANALYZE full_one")
        session.execute("VACUUM ANALYZE empty_one")
    # Before version 15 a process of its own takes note of ANALYZE, a moment later.
    end, empty, whole = time.monotonic() + 10, None, None
    while (empty is None or whole is None) and time.monotonic() < end:
        read = parse_tables(asked(server, TABLES_SQL))
        share = {t.name: bloat_share(t, read.block_bytes) for t in read.largest}
        empty, whole = share["empty_one"], share["full_one"]
    assert empty is not None
    assert whole is not None
    assert 0.7 < empty < 0.9
    assert whole < 0.1
    # The watching role may not read columns' statistics: then nobody guesses.
    hidden = parse_tables(asked(server, TABLES_SQL, "stanch_watch"))
    assert {t.name: bloat_share(t, 8192) for t in hidden.largest}["empty_one"] is None


def test_a_sequence_counts_to_its_own_end_or_to_that_of_its_column(server: ScratchServer) -> None:
    with server.connect(dbname="app") as session:
        session.execute("CREATE TABLE small (id smallint)")
        session.execute("CREATE SEQUENCE big OWNED BY small.id")
        session.execute("SELECT setval('big', 32000)")
        session.execute("CREATE SEQUENCE down INCREMENT -1 MINVALUE -100 MAXVALUE -1")
        session.execute("SELECT setval('down', -91)")
        session.execute("CREATE SEQUENCE fresh MAXVALUE 10")
    read = parse_sequences(asked(server, SEQUENCES_SQL))
    used = {one.name: (one.owner, one.max_value, round(one.used, 2)) for one in read.nearest}
    assert used["big"] == ("small.id", 32767, 0.98)
    assert used["down"] == ("", -1, 0.91)
    assert used["fresh"] == ("", 10, 0.0)
    assert (read.sequences, read.read, read.locked, read.forbidden) == (3, 3, 0, 0)


def test_sequences_that_are_locked_or_forbidden_are_counted_and_not_waited_for(
    server: ScratchServer,
) -> None:
    with server.connect(dbname="app") as session, server.connect(dbname="app") as holder:
        session.execute("CREATE SEQUENCE free")
        session.execute("CREATE SEQUENCE held")
        session.execute("GRANT SELECT ON SEQUENCE free, held TO stanch_watch")
        session.execute("CREATE SEQUENCE secret")
        holder.execute("BEGIN")
        holder.execute("ALTER SEQUENCE held MAXVALUE 99")
        read = parse_sequences(asked(server, SEQUENCES_SQL, "stanch_watch"))
        assert [one.name for one in read.nearest] == ["free"]
        assert (read.locked, read.forbidden) == (1, 1)


def test_who_holds_ids_back_is_named(server: ScratchServer) -> None:
    with server.connect(dbname="app", application_name="old") as old:
        old.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT 1")
        read = parse_ages(asked(server, AGES_SQL, "stanch_watch"))
        assert (read.holders[0].kind, read.holders[0].name) == (
            "session",
            str(old.info.backend_pid),
        )
    assert {d.name for d in read.databases} >= {"app", "postgres", "template0"}
    assert read.tables[0].xid_age > 0


AT = datetime(2026, 3, 1, tzinfo=UTC)
TABLE = TableRead(
    schema="public",
    name="t",
    pages=1000,
    index_pages=0,
    toast_pages=0,
    rows=10_000.0,
    live_rows=10_000,
    dead_rows=0,
    vacuumed_at=AT,
    analyzed_at=AT,
    fillfactor=100,
    columns=2,
    known_columns=2,
    row_bytes=100.0,
)


@pytest.mark.parametrize(
    "unknown",
    [
        {"rows": None},
        {"row_bytes": None},
        {"known_columns": 1},
        {"analyzed_at": None},
        {"pages": 100},
        {"row_bytes": 9000.0},
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


@pytest.mark.parametrize("name", QUESTIONS)
@given(
    payload=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["at", "settings", "archived", "largest", "name", "databases"]),
                inner,
            )
        ),
        max_leaves=8,
    )
)
def test_an_answer_that_makes_no_sense_is_one_failure_and_nothing_else(
    name: str, payload: object
) -> None:
    with suppress(ProbeFailed):
        QUESTIONS[name][1](payload)
