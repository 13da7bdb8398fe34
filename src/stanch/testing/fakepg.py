"""A stand-in PostgreSQL server that speaks the protocol strictly and breaks on demand.

For what needs many servers, or one that fails in a way a real one cannot be made to fail in time.
The same contract runs against it and a real server, so it cannot promise more than PostgreSQL.
A thousand of them live on one loop: each is one listening socket and its sessions.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from enum import StrEnum
from itertools import count
from typing import Self

from stanch.testing import pgmessages as pg
from stanch.testing.pgbackend import Backend
from stanch.testing.pgmessages import Answer, SqlError

_FILLERS_MAX = 8


class FakeMode(StrEnum):
    """How the stand-in treats those who come; sessions that are open stay open unless said."""

    OK = "ok"
    REFUSE = "refuse"
    """Nobody listens: connections are refused at once."""
    BLACKHOLE = "blackhole"
    """Connection attempts get no answer at all, and open sessions fall silent."""
    HUNG = "hung"
    """Connections are accepted and nothing is answered; open sessions fall silent."""
    RESET = "reset"
    """Connections are accepted and reset at once."""
    STARTING_UP = "starting_up"
    SHUTTING_DOWN = "shutting_down"
    TOO_MANY_CLIENTS = "too_many_clients"


_GATES: Mapping[FakeMode, SqlError] = {
    FakeMode.STARTING_UP: SqlError(
        severity="FATAL", sqlstate="57P03", message="the database system is starting up"
    ),
    FakeMode.SHUTTING_DOWN: SqlError(
        severity="FATAL", sqlstate="57P03", message="the database system is shutting down"
    ),
    FakeMode.TOO_MANY_CLIENTS: SqlError(
        severity="FATAL", sqlstate="53300", message="sorry, too many clients already"
    ),
}
_SILENT = frozenset({FakeMode.BLACKHOLE, FakeMode.HUNG})


class FakePostgres:
    """One stand-in server. Use as an async context manager, or `start` and `close`.

    `answers`: the JSON text for each statement that returns one JSON value, such as the vitals.
    `passwords`: roles that must log in by SCRAM; every other role is trusted.
    A statement without an answer is an error (0A000), never a guess.
    """

    def __init__(
        self,
        *,
        answers: Mapping[str, str] | None = None,
        passwords: Mapping[str, str] | None = None,
        databases: tuple[str, ...] = ("postgres", "app"),
        in_recovery: bool = False,
        read_only: bool = False,
        version: str = "15.18",
        slow_ms: float = 0.0,
    ) -> None:
        self._answers = {_normal(sql): json_text for sql, json_text in (answers or {}).items()}
        self._passwords = dict(passwords or {})
        self._databases = databases
        self._in_recovery = in_recovery
        self._read_only = read_only
        self.version = version
        self.slow_ms = slow_ms
        """How long every answer is held back."""
        self.mode = FakeMode.OK
        self.host = "127.0.0.1"
        self.port = 0
        self.connections_seen = 0
        self.connections_most_at_once = 0
        self.passwords_tried = 0
        self._pids: Iterator[int] = count(1001)
        self._sessions: set[Backend] = set()
        self._listener: asyncio.Server | None = None
        self._reserved: list[socket.socket] = []

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def sessions(self) -> int:
        """Sessions that are logged in."""
        return sum(session.logged_in for session in self._sessions)

    def dsn(self, *, user: str = "app", dbname: str = "app", password: str = "") -> str:
        """A connection string for it, without TLS."""
        secret = f" password={password}" if password else ""
        where = f"host={self.host} port={self.port} sslmode=disable"
        return f"{where} user={user} dbname={dbname}{secret}"

    async def start(self) -> None:
        """Listen on a free loopback port."""
        await self._listen()

    async def close(self) -> None:
        """End everything without a word."""
        self._drop_sessions(reset=True)
        self._stop_listening()
        await asyncio.sleep(0)

    async def set_mode(self, mode: FakeMode) -> None:
        """Break, or work again; the port stays the same."""
        self.mode = mode
        self._stop_listening()
        if mode is FakeMode.REFUSE:
            self._reserved = [self._bound()]
        elif mode is FakeMode.BLACKHOLE:
            self._reserved = await self._full_queue()
        else:
            await self._listen()
        for session in self._sessions:
            if mode in _SILENT:
                session.go_silent()
            else:
                session.speak_again()

    async def crash(self, *, reset: bool = False) -> None:
        """As a killed postmaster: every session sees it and leaves, and nobody listens.

        `reset`: as a machine that was switched off and on: no words, and RST on every session.
        """
        await self.set_mode(FakeMode.REFUSE)
        if reset:
            self._drop_sessions(reset=True)
        for session in list(self._sessions):
            self._terminate(session, because="unexpected postmaster exit")
        await asyncio.sleep(0)

    async def shut_down(self) -> None:
        """As a fast shutdown: every session is told (57P01), then nobody listens."""
        await self.set_mode(FakeMode.REFUSE)
        for session in list(self._sessions):
            self._terminate(session)
        await asyncio.sleep(0)

    # --- what a session asks ---------------------------------------------------------------------

    def opened(self, session: Backend) -> None:
        self._sessions.add(session)
        self.connections_seen += 1
        self.connections_most_at_once = max(self.connections_most_at_once, len(self._sessions))
        if self.mode is FakeMode.RESET:
            session.drop(reset=True)
        elif self.mode in _SILENT:
            session.go_silent()

    def ended(self, session: Backend) -> None:
        self._sessions.discard(session)

    def gate(self) -> SqlError | None:
        return _GATES.get(self.mode)

    def password_of(self, user: str) -> str | None:
        return self._passwords.get(user)

    def password_tried(self) -> None:
        self.passwords_tried += 1

    def admit(self, user: str, database: str) -> SqlError | None:
        if database in self._databases:
            return None
        message = f'database "{database}" does not exist'
        return SqlError(severity="FATAL", sqlstate="3D000", message=message)

    def answer(
        self, sql: str, values: tuple[str | None, ...], session: Backend
    ) -> Answer | SqlError:
        known = _normal(sql)
        if known in self._answers:
            return Answer(columns=(("json", pg.OID_JSON),), rows=((self._answers[known],),))
        if known == "select 1":
            return Answer(columns=(("?column?", pg.OID_INT4),), rows=(("1",),))
        if known == "select 1/0":
            return SqlError(sqlstate="22012", message="division by zero")
        if known.startswith("set local statement_timeout = "):
            return Answer(tag="SET")
        if known == _READ_ONLY:
            return self._read_only_answer(session)
        if known == "select pg_terminate_backend($1::int)" and len(values) == 1:
            return self._terminate_by_pid(values[0])
        return SqlError(sqlstate="0A000", message=f"the stand-in has no answer for: {sql[:200]}")

    def _read_only_answer(self, session: Backend) -> Answer:
        asked = session.settings.get("default_transaction_read_only") == "on"
        read_only = self._in_recovery or self._read_only or asked
        return Answer(
            columns=(
                ("pg_is_in_recovery", pg.OID_BOOL),
                ("current_setting", pg.OID_TEXT),
                ("pg_backend_pid", pg.OID_INT4),
            ),
            rows=(
                (
                    "t" if self._in_recovery else "f",
                    "on" if read_only else "off",
                    str(session.pid),
                ),
            ),
        )

    def _terminate_by_pid(self, pid: str | None) -> Answer:
        found = next((one for one in self._sessions if str(one.pid) == pid), None)
        if found is not None:
            asyncio.get_running_loop().call_soon(self._terminate, found)
        return Answer(
            columns=(("pg_terminate_backend", pg.OID_BOOL),),
            rows=(("f" if found is None else "t",),),
        )

    def _terminate(self, session: Backend, because: str = "administrator command") -> None:
        message = f"terminating connection due to {because}"
        session.fail(SqlError(severity="FATAL", sqlstate="57P01", message=message))

    # --- sockets ---------------------------------------------------------------------------------

    def _drop_sessions(self, *, reset: bool) -> None:
        for session in list(self._sessions):
            session.drop(reset=reset)

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for sock in self._reserved:
            sock.close()
        self._reserved = []

    async def _listen(self) -> None:
        sock = self._bound()
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            lambda: Backend(self, next(self._pids)), sock=sock, backlog=64
        )

    def _bound(self) -> socket.socket:
        """The port taken but not listened on: that refuses, and nobody else gets the port."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setblocking(False)
        sock.bind((self.host, self.port))
        self.port = int(sock.getsockname()[1])
        return sock

    async def _full_queue(self) -> list[socket.socket]:
        """A listener whose queue is full: the kernel drops further attempts without an answer."""
        listener = self._bound()
        listener.listen(0)
        taken = [listener]
        loop = asyncio.get_running_loop()
        for _ in range(_FILLERS_MAX):
            filler = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            filler.setblocking(False)
            taken.append(filler)
            with suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await loop.sock_connect(filler, (self.host, self.port))
                continue
            return taken
        raise RuntimeError("the queue of a listener without room never filled")


_READ_ONLY = (
    "select pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only'),"
    " pg_catalog.pg_backend_pid()"
)


def _normal(sql: str) -> str:
    """Statements are found whatever their case and blanks."""
    return " ".join(sql.split()).lower()
