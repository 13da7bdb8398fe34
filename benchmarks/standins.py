"""Many protocol stand-ins in processes of their own, which answer as a real server did.

As a script: `standins.py COUNT DSN` prints their ports. What nobody has asked yet is asked at the
real server, once, and its answer given from then on. A line on standard input is answered with the
number of questions answered so far; `end N` first ends the sessions of N of them.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from contextlib import ExitStack
from types import TracebackType
from typing import Self

import psycopg
from children import Child
from psycopg.pq import ExecStatus

from stanch.adapters.postgres.scratch import ScratchServer
from stanch.facts.vitals import VITALS_SQL
from stanch.testing.fakepg import FakePostgres
from stanch.testing.pgbackend import Backend
from stanch.testing.pgmessages import Answer, SqlError

FIRST_WORDS = VITALS_SQL[:60]
Question = tuple[str, tuple[str | None, ...]]


class RealServer:
    """Answers for all of them, every question once."""

    def __init__(self, dsn: str) -> None:
        self._session = psycopg.connect(dsn, autocommit=True)
        self._known: dict[Question, Answer | SqlError] = {}

    def answer(self, sql: str, values: tuple[str | None, ...]) -> Answer | SqlError:
        if (sql, values) not in self._known:
            self._known[sql, values] = self._asked(sql, values)
        return self._known[sql, values]

    def _asked(self, sql: str, values: tuple[str | None, ...]) -> Answer | SqlError:
        given = [None if value is None else value.encode() for value in values]
        said = self._session.pgconn.exec_params(sql.encode(), given)
        if said.status not in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
            return SqlError(sqlstate="0A000", message=said.get_error_message())
        columns = tuple(
            ((said.fname(n) or b"").decode(), said.ftype(n)) for n in range(said.nfields)
        )
        rows = tuple(
            tuple(_text(said.get_value(row, n)) for n in range(said.nfields))
            for row in range(said.ntuples)
        )
        tag = (said.command_status or b"").decode()
        return Answer(columns=columns, rows=rows, tag=tag)


class Copy(FakePostgres):
    """One stand-in; it counts the vitals it gave."""

    def __init__(self, real: RealServer) -> None:
        super().__init__()
        self._real = real
        self.vitals_given = 0

    def answer(
        self, sql: str, values: tuple[str | None, ...], session: Backend
    ) -> Answer | SqlError:
        if sql.startswith(FIRST_WORDS):
            self.vitals_given += 1
            return self._real.answer(sql, values)
        own = super().answer(sql, values, session)
        unknown = isinstance(own, SqlError) and own.sqlstate == "0A000"
        return self._real.answer(sql, values) if unknown else own

    def end_sessions(self) -> None:
        """As `pg_terminate_backend` does."""
        for session in list(self._sessions):
            self._terminate(session)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


A_PROCESS = 500


class StandIns:
    """`count` of them; entering starts them."""

    def __init__(self, recorded_from: ScratchServer, count: int) -> None:
        self._server, self._count = recorded_from, count
        self._stack = ExitStack()
        self._children: list[Child] = []
        self.ports: list[int] = []

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def targets(self) -> dict[str, dict[str, str]]:
        """As the policy names them."""
        where = "host=127.0.0.1 user=stanch_watch dbname=postgres sslmode=disable"
        return {
            f"stand{number + 1:04d}": {"dsn": f"{where} port={port}", "host": "none"}
            for number, port in enumerate(self.ports)
        }

    def vitals(self) -> int:
        """How many questions all of them have answered so far."""
        return sum(int(child.ask()["vitals"]) for child in self._children)

    def end_sessions(self, count: int) -> None:
        """End every session of so many of them, picked by chance."""
        for child in self._children:
            child.ask(f"end {count // len(self._children)}")

    def _start(self) -> None:
        dsn = self._server.dsn("stanch_watch", sslmode="disable")
        while len(self.ports) < self._count:
            wanted = min(A_PROCESS, self._count - len(self.ports))
            child = self._stack.enter_context(Child("standins.py", str(wanted), dsn))
            self._children.append(child)
            self.ports += child.said["ports"]


async def main(count: int, dsn: str) -> None:
    real = RealServer(dsn)
    servers = [Copy(real) for _ in range(count)]
    for server in servers:
        await server.start()
    print(json.dumps({"ports": [server.port for server in servers]}), flush=True)
    loop = asyncio.get_running_loop()
    asked = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(asked), sys.stdin)
    while line := await asked.readline():
        if line.startswith(b"end "):
            for server in random.sample(servers, min(count, int(line.split()[1]))):
                server.end_sessions()
        given = sum(server.vitals_given for server in servers)
        seen = sum(server.connections_seen for server in servers)
        open_now = sum(server.sessions for server in servers)
        print(json.dumps({"vitals": given, "connections": seen, "sessions": open_now}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
