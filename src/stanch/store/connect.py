"""Connections to the SQLite file: how they begin, what they promise."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, QueuePool, StaticPool, create_engine, event

from stanch.model.errors import StoreUnsuitable

SQLITE_VERSION_MIN = (3, 35, 0)
"""The first with RETURNING."""
BUSY_TIMEOUT_MS = 2_000
READ_CONNECTIONS_MAX = 2
_READ_WAIT_S = 10.0
_WAL_BYTES_KEPT_MAX = 16 * 1024 * 1024

_DURABLE = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA fullfsync = ON",  # macOS: fsync alone leaves the bytes in the drive's cache
    "PRAGMA secure_delete = ON",  # erased content leaves the pages, too
    f"PRAGMA journal_size_limit = {_WAL_BYTES_KEPT_MAX}",
)
_ALWAYS = (
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}",
    "PRAGMA foreign_keys = ON",
    "PRAGMA recursive_triggers = ON",  # lets REPLACE meet the delete trigger
    "PRAGMA cell_size_check = ON",
    "PRAGMA trusted_schema = OFF",
)


def writing_engine(path: Path) -> Engine:
    """One connection whose every transaction takes the write lock at its start."""
    _refuse_old_sqlite()
    engine = create_engine(
        "sqlite://", creator=lambda: _connect(path, "rw", *_DURABLE), poolclass=StaticPool
    )
    _begin_with(engine, "BEGIN IMMEDIATE")
    return engine


def reading_engine(path: Path) -> Engine:
    """A small pool of connections that cannot write; a transaction sees one moment."""
    _refuse_old_sqlite()
    engine = create_engine(
        "sqlite://",
        creator=lambda: _connect(path, "ro", "PRAGMA query_only = ON"),
        poolclass=QueuePool,
        pool_size=READ_CONNECTIONS_MAX,
        max_overflow=0,
        pool_timeout=_READ_WAIT_S,
    )
    _begin_with(engine, "BEGIN")
    return engine


def memory_engine() -> Engine:
    """A database that is gone with the process: for simulations only."""
    _refuse_old_sqlite()
    engine = create_engine("sqlite://", creator=_connect_memory, poolclass=StaticPool)
    _begin_with(engine, "BEGIN IMMEDIATE")
    return engine


def create_private(path: Path) -> None:
    """Make the empty database file, 0600; SQLite gives its side files the same rights."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))


def machine_clock_us() -> int:
    """The clock of leases: since boot, suspension included, so that no clock change touches it.

    Leases of earlier processes are void at every opening, so it may start anew with the machine.
    """
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(clock) // 1000


def _connect(path: Path, mode: str, *pragmas: str) -> sqlite3.Connection:
    uri = f"file:{quote(str(path))}?mode={mode}"
    return _settled(sqlite3.connect(uri, uri=True, check_same_thread=False), pragmas)


def _connect_memory() -> sqlite3.Connection:
    return _settled(sqlite3.connect(":memory:", check_same_thread=False), ())


def _settled(connection: sqlite3.Connection, pragmas: tuple[str, ...]) -> sqlite3.Connection:
    # The module's own idea of when a transaction begins is switched off: we say BEGIN.
    connection.isolation_level = None
    # Damaged text must be readable in order to be reported.
    connection.text_factory = _text
    for pragma in (*_ALWAYS, *pragmas):
        connection.execute(pragma).close()
    return connection


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _begin_with(engine: Engine, statement: str) -> None:
    def begin(connection: Connection) -> Any:
        connection.exec_driver_sql(statement)

    event.listen(engine, "begin", begin)


def _refuse_old_sqlite() -> None:
    if sqlite3.sqlite_version_info < SQLITE_VERSION_MIN:
        wanted = ".".join(map(str, SQLITE_VERSION_MIN))
        raise StoreUnsuitable(
            f"SQLite {sqlite3.sqlite_version} is too old",
            hint=f"Use a Python built with SQLite {wanted} or newer.",
        )
