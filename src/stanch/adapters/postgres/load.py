"""Writers that keep a scratch server busy the way an application does, and notice what users would.

Each writer inserts row after row as the role it is given, through disconnects, restarts and
refusals, and the times of the first failure and of the first success after it are kept. Those
two are what an outage looks like from outside.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import psycopg

TABLE_SQL = """
CREATE TABLE IF NOT EXISTS load_row (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    writer int NOT NULL,
    filler text NOT NULL,
    made_at timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""
INSERT_SQL = "INSERT INTO load_row (writer, filler) VALUES (%s, repeat('x', %s))"

CONNECT_TIMEOUT_S = 2
RECONNECT_PAUSE_S = 0.05
JOIN_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How hard the writers work."""

    writers: int = 2
    pause_s: float = 0.01
    """Between two rows of one writer."""
    row_bytes: int = 100
    statement_timeout_s: float = 5.0
    """After this long without an answer a writer hangs up and counts a failure."""
    rows_per_session: int | None = None
    """After so many rows a writer logs in anew, as an application without a pool; None: never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What the writers have seen so far. Times are of `time.monotonic()`."""

    committed_rows: int
    """Inserts whose commit was confirmed. The table may hold more: a commit whose answer got lost
    is a failure here."""
    failures: int
    first_failure_s: float | None
    """The first failure since the last reset."""
    first_success_after_s: float | None
    """The first commit of a writer that had failed; None while the outage lasts."""
    recovered_s: float | None
    """The same, but since then nothing has failed: an outage that comes and goes lasts as long."""
    last_error: str


class Load:
    """Writers in threads of this process; a context manager that starts and ends them."""

    def __init__(self, dsn: str, options: LoadOptions | None = None) -> None:
        self.dsn = dsn
        self.options = options or LoadOptions()
        self._ending = threading.Event()
        self._changed = threading.Condition()
        self._committed_rows = 0
        self._failures = 0
        self._first_failure_s: float | None = None
        self._first_success_after_s: float | None = None
        self._recovered_s: float | None = None
        self._last_error = ""
        self._failed_writers: set[int] = set()
        self._writers: list[_Writer] = []
        self._watchdog = threading.Thread(target=self._hang_up_the_stuck, daemon=True)

    def start(self) -> None:
        """Make the table if need be and start writing.

        Raises: psycopg.Error when the server does not let the table be made.
        """
        with psycopg.connect(self.dsn, connect_timeout=CONNECT_TIMEOUT_S) as session:
            session.execute(TABLE_SQL)
        self._writers = [_Writer(self, number) for number in range(self.options.writers)]
        for writer in self._writers:
            writer.start()
        self._watchdog.start()

    def report(self) -> LoadReport:
        """The counts at this moment."""
        with self._changed:
            return LoadReport(
                committed_rows=self._committed_rows,
                failures=self._failures,
                first_failure_s=self._first_failure_s,
                first_success_after_s=self._first_success_after_s,
                recovered_s=self._recovered_s,
                last_error=self._last_error,
            )

    def reset_outage(self) -> None:
        """Forget the last outage, so that the next failure counts as a first one."""
        with self._changed:
            self._first_failure_s = self._first_success_after_s = self._recovered_s = None
            self._failed_writers.clear()

    def wait_for_rows(self, more: int, *, timeout_s: float) -> bool:
        """Whether that many further rows were committed in time."""
        with self._changed:
            wanted = self._committed_rows + more
            return self._changed.wait_for(lambda: self._committed_rows >= wanted, timeout_s)

    def wait_for_failure(self, *, timeout_s: float) -> bool:
        """Whether a writer failed since the last reset, or does in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._first_failure_s is not None, timeout_s)

    def wait_for_success_after_failure(self, *, timeout_s: float) -> bool:
        """Whether a writer that failed has committed again, or does in time."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._first_success_after_s is not None, timeout_s
            )

    def stop(self) -> LoadReport:
        """End the writers, also those stuck in a server that does not answer; safe to repeat."""
        self._ending.set()
        end = time.monotonic() + JOIN_TIMEOUT_S
        for writer in self._writers:
            writer.join(self.options.pause_s + 0.5)
            while writer.is_alive() and time.monotonic() < end:
                writer.hang_up()
                writer.join(0.1)
        return self.report()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def committed(self, writer: int) -> None:
        """A writer's commit was confirmed.

        Only a writer that failed can end the outage: while a server dies, another's last commit
        may well be confirmed after the first one's failure.
        """
        with self._changed:
            self._committed_rows += 1
            if writer in self._failed_writers:
                now_s = time.monotonic()
                if self._first_success_after_s is None:
                    self._first_success_after_s = now_s
                if self._recovered_s is None:
                    self._recovered_s = now_s
            self._changed.notify_all()

    def failed(self, writer: int, error: psycopg.Error) -> None:
        """A writer was refused, cut off or left without an answer."""
        with self._changed:
            self._failures += 1
            self._failed_writers.add(writer)
            self._recovered_s = None
            self._last_error = f"{error.sqlstate or 'no SQLSTATE'}: {error}"
            if self._first_failure_s is None:
                self._first_failure_s = time.monotonic()
            self._changed.notify_all()

    @property
    def ending(self) -> threading.Event:
        """Set once the writers are to end."""
        return self._ending

    def _hang_up_the_stuck(self) -> None:
        limit_s = self.options.statement_timeout_s
        while not self._ending.wait(min(0.1, limit_s / 4)):
            for writer in self._writers:
                if writer.waiting_s() > limit_s:
                    writer.hang_up()


class _Writer(threading.Thread):
    def __init__(self, load: Load, number: int) -> None:
        super().__init__(name=f"load-{number}", daemon=True)
        self._load = load
        self._number = number
        self._session: psycopg.Connection[tuple[Any, ...]] | None = None
        self._asked_at: float | None = None

    def run(self) -> None:
        while not self._load.ending.is_set():
            try:
                self._write()
            except psycopg.Error as error:
                self._asked_at = None
                if not self._load.ending.is_set():
                    self._load.failed(self._number, error)
                self._load.ending.wait(RECONNECT_PAUSE_S)

    def waiting_s(self) -> float:
        """How long the statement under way has been without an answer."""
        asked_at = self._asked_at
        return 0.0 if asked_at is None else time.monotonic() - asked_at

    def hang_up(self) -> None:
        """Break the connection under the writer, so that a wait for an answer ends."""
        session = self._session
        if session is None:
            return
        # close() would not wake a thread that waits on the socket; a shutdown does.
        with (
            suppress(psycopg.Error, OSError),
            socket.socket(fileno=os.dup(session.fileno())) as wire,
        ):
            wire.shutdown(socket.SHUT_RDWR)

    def _write(self) -> None:
        with psycopg.connect(
            self._load.dsn, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S
        ) as session:
            self._session = session
            written = 0
            try:
                while not self._load.ending.is_set():
                    if written == self._load.options.rows_per_session:
                        return
                    self._asked_at = time.monotonic()
                    session.execute(INSERT_SQL, (self._number, self._load.options.row_bytes))
                    self._asked_at = None
                    self._load.committed(self._number)
                    written += 1
                    self._load.ending.wait(self._load.options.pause_s)
            finally:
                self._session = None
