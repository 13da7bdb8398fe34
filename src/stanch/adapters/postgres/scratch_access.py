"""How to reach and read a scratch server: connection strings, sessions, processes, its log."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, LiteralString, cast

import psycopg
from psycopg.conninfo import make_conninfo

from stanch.adapters.postgres import scratch_processes
from stanch.adapters.postgres.binaries import Binaries
from stanch.adapters.postgres.scratch_folder import ScratchFolder, Setting

SUPERUSER = "postgres"
APP_ROLE = "app"
WATCH_ROLE = "stanch_watch"
ACT_ROLE = "stanch_act"
ROLES = (SUPERUSER, APP_ROLE, WATCH_ROLE, ACT_ROLE)

CONNECT_TIMEOUT_S = 10


class ScratchAccess:
    """The reading half of a scratch server; nothing here changes its state."""

    folder: ScratchFolder
    binaries: Binaries
    settings: dict[str, Setting]
    passwords: dict[str, str]
    """By role; empty where the server trusts everybody."""

    @property
    def port(self) -> int:
        """The TCP port, also the number in the socket's name."""
        return int(self.settings["port"])

    @property
    def data_directory(self) -> Path:
        """Where postmaster.pid lies."""
        return self.folder.data

    @property
    def log_path(self) -> Path:
        """The server log, with start-up messages and, if switched on, the collector's lines."""
        return self.folder.log

    def dsn(
        self,
        user: str = SUPERUSER,
        dbname: str | None = None,
        *,
        over_socket: bool = False,
        **parameters: str | int,
    ) -> str:
        """A connection string, with the password where the server wants one.

        Without `dbname`: the role's own database for `app`, else `postgres`. `parameters` are
        libpq's, and win.
        """
        named: dict[str, str | int | None] = {
            "host": str(self.folder.sockets) if over_socket else "127.0.0.1",
            "port": self.port,
            "user": user,
            "dbname": dbname or (APP_ROLE if user == APP_ROLE else "postgres"),
            "password": self.passwords.get(user),
        }
        return make_conninfo("", **(named | parameters))

    def connect(
        self, user: str = SUPERUSER, dbname: str | None = None, **parameters: str | int
    ) -> psycopg.Connection[tuple[Any, ...]]:
        """An open session in autocommit mode."""
        bounded: dict[str, str | int] = {"connect_timeout": CONNECT_TIMEOUT_S}
        dsn = make_conninfo(self.dsn(user, dbname), **(bounded | parameters))
        return psycopg.connect(dsn, autocommit=True)

    def query(
        self,
        sql: str,
        parameters: Sequence[Any] = (),
        *,
        user: str = SUPERUSER,
        dbname: str | None = None,
    ) -> list[tuple[Any, ...]]:
        """Run one statement in a session of its own and answer its rows, if it has any."""
        with self.connect(user, dbname) as session:
            # The caller writes the statement, as in psql; nothing is pasted into it here.
            cursor = session.execute(cast("LiteralString", sql), parameters or None)
            return cursor.fetchall() if cursor.description else []

    def postmaster_pid(self) -> int | None:
        """The PID of the running postmaster, or None."""
        return scratch_processes.postmaster_pid(self.folder.data, self.folder.user)

    def processes(self) -> set[int]:
        """The PIDs of every process of this server, orphans of a killed postmaster included."""
        return scratch_processes.server_processes(self.folder.data, self.folder.user)

    def log_text(self) -> str:
        """Everything the server has logged so far."""
        if not self.folder.log.exists():
            return ""
        return self.folder.log.read_text(encoding="utf-8", errors="replace")
