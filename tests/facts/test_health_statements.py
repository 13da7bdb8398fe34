"""The questions of a check-up on every version, and their parsers against anything."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.adapters.postgres.scratch import ScratchServer
from stanch.facts.health.headroom import AGES_SQL, SEQUENCES_SQL, parse_ages, parse_sequences
from stanch.facts.health.replication import REPLICATION_SQL, parse_replication
from stanch.facts.health.server import BACKUPS_SQL, SETTINGS_SQL, parse_backups, parse_settings
from stanch.facts.health.space import SIZES_SQL, parse_sizes
from stanch.facts.health.work import SESSIONS_SQL, parse_sessions
from stanch.facts.tables import parse_tables, tables_sql
from stanch.model.errors import ProbeFailed

QUESTIONS: dict[str, tuple[str, Callable[[object], object]]] = {
    "settings": (SETTINGS_SQL, parse_settings),
    "backups": (BACKUPS_SQL, parse_backups),
    "sizes": (SIZES_SQL, parse_sizes),
    "tables": (tables_sql(10), parse_tables),
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


def test_settings_of_single_roles_and_databases_are_found(server: ScratchServer) -> None:
    server.query("ALTER ROLE app IN DATABASE app SET synchronous_commit = off")
    server.query("ALTER ROLE app SET work_mem = '8MB'")
    read = parse_settings(asked(server, SETTINGS_SQL, "stanch_watch"))
    assert [(o.role, o.database, o.name, o.value) for o in read.overrides] == [
        ("app", "app", "synchronous_commit", "off")
    ]


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
