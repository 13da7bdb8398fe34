"""Bringing the tables to this release's shape, inside the caller's transaction."""

from __future__ import annotations

import sqlite3
from functools import cache
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from stanch.model.errors import StoreUnsuitable
from stanch.store import connect

REVISION = "0005"
"""The newest migration of this release."""

OLDER = ("0001", "0002", "0003", "0004")
"""What earlier releases have written."""

_FOLDER = Path(__file__).with_name("migrations")


def upgrade(conn: Connection, *, on: str, to: str = REVISION) -> None:
    """Run the migrations the database lacks; a half-run one leaves nothing behind.

    `to`: the shape of an older release, to compare with.

    Raises: StoreUnsuitable for a database that a newer release has written.
    """
    present = revision_of(conn)
    if present == to:
        return
    # Imported here: most openings have nothing to migrate, and this import is slow.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if present is not None and present not in known:
        raise StoreUnsuitable(
            f"the database has shape {present!r}, which this release does not know",
            on=on,
            hint="A newer release of Stanch has written it: install that release, or start with "
            "an empty state directory and keep this one.",
        )
    config.attributes["connection"] = conn
    command.upgrade(config, to)


def migrated_memory_engine() -> Engine:
    """A memory database with the tables made; a copy, which costs a fraction of the migrations."""
    engine = connect.memory_engine()
    with engine.connect() as conn:
        _driver(_made_once()).backup(_driver(conn))
    return engine


@cache
def _made_once() -> Connection:
    conn = connect.memory_engine().connect()
    with conn.begin():
        upgrade(conn, on="memory")
    return conn


def _driver(conn: Connection) -> sqlite3.Connection:
    driver = conn.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


def revision_of(conn: Connection) -> str | None:
    """The migration the database is at; None for an empty one."""
    if not inspect(conn).has_table("alembic_version"):
        return None
    return conn.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
