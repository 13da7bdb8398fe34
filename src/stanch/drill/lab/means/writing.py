"""What jobs, imports and batches do: many rows, much WAL, until something gives way."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import psycopg

from stanch.adapters.postgres.volumes import SizedVolume
from stanch.drill.lab.fault import NotMade
from stanch.drill.lab.means import words
from stanch.drill.lab.rig import Rig

PATIENCE_S = 90.0
DOWN_S = 4.0
"""A server that has answered nothing for so long does not come back by itself."""
FILLER = "repeat(md5(random()::text), 28)"
"""896 bytes: too short to be compressed."""
CHUNK = bytes(64 * 1024)


def table(rig: Rig) -> str:
    """An empty table of the application's, for rows of about 1 kB."""
    name = f"{words.table(rig.rng)}_{rig.rng.choice(('staging', 'archive', 'history', 'import'))}"
    rig.sql(f"CREATE TABLE {name} (id bigint, body text)")
    rig.undo_sql(f"DROP TABLE IF EXISTS {name}")
    return name


def insert(into: str, rows: int) -> str:
    # Names and numbers of our own; nothing comes from outside.
    return f"INSERT INTO {into} SELECT n, {FILLER} FROM generate_series(1, {rows}) n"


def write_until(rig: Rig, enough: Callable[[], bool]) -> None:
    """A job inserts batch after batch until it is enough. Raises: NotMade."""
    session, into = rig.session(words.job(rig.rng)), table(rig)
    statement = insert(into, rig.rng.randint(300, 1500))

    def written() -> bool:
        rig.run(session, statement)
        return enough()

    rig.until(written, seconds=PATIENCE_S)


def import_until_down(rig: Rig) -> None:
    """A job inserts until the server is gone for good. Raises: NotMade."""
    write_until_down(rig, insert(table(rig), rig.rng.randint(500, 3000)))


def write_until_down(rig: Rig, statement: str) -> None:
    """A job writes, and tries again after each failure, until the server is gone for good: it
    has ended, or only ever crashes while it recovers. Raises: NotMade.
    """
    application = words.job(rig.rng)
    answered_s = time.monotonic()

    def is_down() -> bool:
        nonlocal answered_s
        if rig.server.postmaster_pid() is None:
            return True
        answers = False
        with suppress(psycopg.Error):
            rig.sql("SELECT 1")
            answers = True
            rig.sql(statement, application_name=application)
        if answers:
            answered_s = time.monotonic()
        return time.monotonic() - answered_s > DOWN_S

    rig.until(is_down, seconds=PATIENCE_S)
    rig.logged("PANIC")


def volume(rig: Rig, name: str) -> SizedVolume:
    """The server's volume of that name. Raises: NotMade where it has none."""
    for one in rig.server.folder.volumes:
        if one.mount_point.name == name:
            return one
    raise NotMade(f"the server has no {name}")


def data_volume(rig: Rig) -> SizedVolume:
    return volume(rig, "volume")


def wal_volume(rig: Rig) -> SizedVolume:
    return volume(rig, "wal-volume")


def used(of: SizedVolume) -> float:
    """Which part of a volume is taken."""
    return 1 - of.free_bytes() / of.size_bytes
