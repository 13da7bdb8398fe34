"""The tables that migrations make are the ones the queries expect."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Connection, Integer, LargeBinary, MetaData, create_engine, inspect

from stanch.store import migrate, schema
from stanch.store.connect import memory_engine

FOLDER = Path(migrate.__file__).parent / "migrations"


def fresh() -> Connection:
    conn = memory_engine().connect()
    with conn.begin():
        migrate.upgrade(conn, on="memory")
    return conn


def test_migrations_and_tables_are_alike() -> None:
    with fresh() as conn:
        context = MigrationContext.configure(conn, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []


def test_the_triggers_are_the_ones_that_tests_put_back() -> None:
    with fresh() as conn:
        rows = conn.exec_driver_sql("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
        made = {name: sql.split() for name, sql in rows}
    assert made == {name: sql.split() for name, sql in schema.TRIGGERS.items()}


def test_this_release_names_its_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [migrate.REVISION]
    known = sorted(script.revision for script in scripts.walk_revisions())
    assert known == [*migrate.OLDER, migrate.REVISION]


def test_the_oldest_shape_with_events_in_it_becomes_the_newest() -> None:
    """A store of the first release is opened by this one, and keeps what was written."""
    row = "('w', 1, 'i', 1, 0, 7, 'note', x'00', x'01', x'7b7d')"
    with memory_engine().connect() as conn:
        with conn.begin():
            config = Config()
            config.set_main_option("script_location", str(FOLDER))
            config.attributes["connection"] = conn
            command.upgrade(config, "0001")
            conn.exec_driver_sql(f"INSERT INTO journal VALUES {row}")
        with conn.begin():
            migrate.upgrade(conn, on="memory")
        assert migrate.revision_of(conn) == migrate.REVISION
        assert conn.exec_driver_sql("SELECT incident_id, body FROM journal").all() == [("i", b"{}")]
        context = MigrationContext.configure(conn, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []


def rows_of(conn: Connection) -> dict[str, Sequence[object]]:
    """Every table's rows, but for the number of the shape itself."""
    return {
        name: sorted(map(tuple, conn.exec_driver_sql(f'SELECT * FROM "{name}"')), key=str)
        for name in inspect(conn).get_table_names()
        if name != "alembic_version"
    }


@pytest.mark.parametrize("shape", migrate.OLDER)
def test_no_row_of_any_older_shape_is_lost_or_changed(shape: str) -> None:
    with memory_engine().connect() as conn:
        with conn.begin():
            config = Config()
            config.set_main_option("script_location", str(FOLDER))
            config.attributes["connection"] = conn
            command.upgrade(config, shape)
            tables = MetaData()
            tables.reflect(conn)
            for table in tables.sorted_tables:
                if table.name != "alembic_version":
                    conn.execute(table.insert(), {c.name: _value(c) for c in table.columns})
            before = rows_of(conn)
        with conn.begin():
            migrate.upgrade(conn, on="memory")
            after = rows_of(conn)
    assert {name: after[name] for name in before} == before
    assert all(len(rows) == 1 for rows in before.values())


def _value(column: Column[Any]) -> object:
    if isinstance(column.type, LargeBinary):
        return b"\0\xff"
    return 1 if isinstance(column.type, Integer) else f"{column.name} \U0001f418"


def test_migrating_twice_changes_nothing() -> None:
    with fresh() as conn, conn.begin():
        before = conn.exec_driver_sql("SELECT sql FROM sqlite_schema").all()
        migrate.upgrade(conn, on="memory")
        assert conn.exec_driver_sql("SELECT sql FROM sqlite_schema").all() == before


def test_a_migration_that_is_interrupted_leaves_nothing_behind() -> None:
    engine = memory_engine()
    with engine.connect() as conn:
        with conn.begin() as transaction:
            migrate.upgrade(conn, on="memory")
            transaction.rollback()
        assert conn.exec_driver_sql("SELECT * FROM sqlite_schema").all() == []


def test_an_empty_database_has_no_revision() -> None:
    with create_engine("sqlite://").connect() as conn:
        assert migrate.revision_of(conn) is None
