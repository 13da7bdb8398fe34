"""Many protocol stand-ins in processes of their own, which answer from a real server's recording.

As a script: `standins.py COUNT RECORDING` prints their ports; a line on standard input is answered
with the number of questions answered so far.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from children import Child

from stanch.adapters.postgres.scratch import ScratchServer
from stanch.facts.vitals import VITALS_SQL
from stanch.testing.fakepg import FakePostgres
from stanch.testing.pgbackend import Backend
from stanch.testing.pgmessages import Answer, SqlError


class Counted(FakePostgres):
    """Counts the vitals it gave."""

    vitals_given = 0

    def answer(
        self, sql: str, values: tuple[str | None, ...], session: Backend
    ) -> Answer | SqlError:
        if sql.startswith(FIRST_WORDS):
            self.vitals_given += 1
        return super().answer(sql, values, session)


FIRST_WORDS = VITALS_SQL[:60]
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

    def _start(self) -> None:
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="stanch-s-")))
        recording = folder / "vitals.json"
        [[answer]] = self._server.query(VITALS_SQL, user="stanch_watch", dbname="postgres")
        recording.write_text(answer, encoding="utf-8")
        while len(self.ports) < self._count:
            wanted = min(A_PROCESS, self._count - len(self.ports))
            child = self._stack.enter_context(Child("standins.py", str(wanted), str(recording)))
            self._children.append(child)
            self.ports += child.said["ports"]


async def main(count: int, recording: str) -> None:
    servers = [Counted(answers={VITALS_SQL: recording}) for _ in range(count)]
    for server in servers:
        await server.start()
    print(json.dumps({"ports": [server.port for server in servers]}), flush=True)
    loop = asyncio.get_running_loop()
    asked = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(asked), sys.stdin)
    while await asked.readline():
        given = sum(server.vitals_given for server in servers)
        seen = sum(server.connections_seen for server in servers)
        open_now = sum(server.sessions for server in servers)
        print(json.dumps({"vitals": given, "connections": seen, "sessions": open_now}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2]).read_text(encoding="utf-8")))
