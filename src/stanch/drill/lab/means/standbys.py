"""Standbys of a rig: asked, written past, and more of them than the one that everybody knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg.conninfo import make_conninfo

from stanch.adapters.postgres import scratch_folder
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.adapters.postgres.scratch_folder import ScratchOptions, Setting
from stanch.drill.lab.fault import NotMade
from stanch.drill.lab.means import words
from stanch.drill.lab.rig import Rig

ROWS_A_MB = 900
"""Rows with a filler of 1000 bytes that make a megabyte of WAL."""

STREAMING_SQL = "SELECT 1 FROM pg_stat_replication WHERE state = 'streaming' AND {} = %s"
BEHIND_SQL = "SELECT 1 WHERE pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn()"


def standby_of(rig: Rig) -> ScratchServer:
    """The standby that is watched. Raises: NotMade where there is none."""
    if rig.standby is None:
        raise NotMade("there is no standby")
    return rig.standby


def asked(rig: Rig, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """One statement on the standby, as superuser."""
    return standby_of(rig).query(sql, values, dbname="app")


def caught_up(rig: Rig) -> None:
    """Wait until the standby has replayed what the server has written so far. Raises: NotMade."""
    ((written,),) = rig.admin("SELECT pg_current_wal_lsn()")
    rig.until(
        lambda: asked(rig, "SELECT 1 WHERE pg_last_wal_replay_lsn() >= %s::pg_lsn", (written,))
    )


def standby_logged(rig: Rig, words: str, *, times: int = 1, seconds: float = 40.0) -> None:
    """Wait until the standby's log has these words so many times. Raises: NotMade."""
    standby = standby_of(rig)
    try:
        rig.until(lambda: standby.log_text().count(words) >= times, seconds=seconds)
    except NotMade as error:
        said = standby.log_text()[-500:]
        raise NotMade(f"the standby's log does not say {words!r}: {said}") from error


def bulk_table(rig: Rig) -> str:
    """The name of a table that nobody else has."""
    return f"{words.table(rig.rng)}_lines"


def write(rig: Rig, table: str, megabytes: int) -> None:
    """The application writes so much WAL, into a table that is made where there is none."""
    rig.sql(f"CREATE TABLE IF NOT EXISTS {table} (id bigint, filler text)")
    rig.sql(
        f"INSERT INTO {table} SELECT n, repeat('x', 1000)"
        f" FROM generate_series(1, {megabytes * ROWS_A_MB}) n"
    )


def streams(rig: Rig, name: str, column: str = "application_name") -> None:
    """Wait until a standby of this name streams from the server. Raises: NotMade."""
    rig.until(lambda: rig.admin(STREAMING_SQL.format(column), (name,)))


def goes_through(rig: Rig, **parameters: str | int) -> None:
    """From now on the standby reaches the server in this way: parameters of libpq."""
    standby = standby_of(rig)
    way = make_conninfo(str(standby.settings["primary_conninfo"]), **parameters)
    standby.set_conf({"primary_conninfo": way})


def copied(rig: Rig, conf: Mapping[str, Setting] | None = None) -> ScratchServer:
    """A copy of the server by pg_basebackup, not yet started; gone at the end."""
    server = rig.server
    options = ScratchOptions(
        auth=server.options.auth,
        conf={**server.options.conf, **(conf or {})},
        parent=server.folder.path.parent,
    )
    folder = scratch_folder.make_folder(options, server.folder.user)
    copy = ScratchServer(folder, server.binaries, options)
    copy.passwords = dict(server.passwords)
    rig.undo(copy.destroy)
    program = server.binaries.program("pg_basebackup")
    folder.must_run([program, "-D", folder.data, "-d", server.dsn(), "-X", "stream", "-c", "fast"])
    scratch_folder.include_settings(folder)
    copy.set_conf({})
    return copy


def another_standby(rig: Rig, name: str, *, slot: str = "") -> ScratchServer:
    """One more streaming standby, with a slot where one is named, that nobody watches."""
    conf: dict[str, Setting] = {
        "primary_conninfo": rig.server.dsn(application_name=name),
        "cluster_name": name,
    }
    if slot:
        rig.admin("SELECT pg_create_physical_replication_slot(%s)", (slot,))
        conf["primary_slot_name"] = slot
    made = copied(rig, conf)
    made.folder.write_owned(made.data_directory / "standby.signal", "")
    made.start()
    streams(rig, name)
    return made
