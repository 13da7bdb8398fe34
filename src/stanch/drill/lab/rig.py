"""What a fault is made on: a throw-away server under load, and everything to undo afterwards."""

from __future__ import annotations

import random
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, LiteralString, Self, TypeVar, cast

import psutil
import psycopg
from psycopg.conninfo import make_conninfo

from stanch.adapters.postgres.scratch import ScratchServer
from stanch.drill.lab.fault import NotMade
from stanch.model.errors import StanchError

CONNECT_TIMEOUT_S = 10
UNTIL_S = 20.0
POLL_S = 0.02
JOIN_S = 10.0

EXPECTED = (NotMade, StanchError, psycopg.Error, psutil.Error, OSError, subprocess.SubprocessError)
"""What an undoing may meet on a server that is broken."""

T = TypeVar("T")

Session = psycopg.Connection[tuple[Any, ...]]


@dataclass(kw_only=True, slots=True)
class Hand:
    """Sessions on one database, everything that they began ended again by `close`.

    Sessions are in autocommit mode, so that `BEGIN` is said where it is meant.
    """

    dsn: str
    """A role that may create tables in the application's database."""
    rng: random.Random
    """Everything that may differ from run to run is drawn from it."""
    on_undo: Callable[[tuple[str, ...]], None] = lambda _statements: None
    """Told the statements that will take everything back, whenever there is one more."""
    _statements: list[str] = field(default_factory=list[str])
    _stack: ExitStack = field(default_factory=ExitStack)
    _ending: threading.Event = field(default_factory=threading.Event)

    # --- sessions ---

    def session(self, application: str = "", **parameters: str | int) -> Session:
        """An open session, closed at the end whatever it is doing then."""
        named = {"application_name": application} if application else {}
        dsn = make_conninfo(self.dsn, connect_timeout=CONNECT_TIMEOUT_S, **(named | parameters))
        session = psycopg.connect(dsn, autocommit=True)
        self._stack.callback(_close, session)
        return session

    def send(self, session: Session, sql: str) -> int:
        """Send a statement and do not wait for its answer; the session's backend PID."""
        session.pgconn.send_query(sql.encode())
        return session.info.backend_pid

    def run(self, session: Session, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Run a statement in an open session; its rows, if it has any."""
        # Written by whoever made the fault; nothing comes from outside.
        cursor = session.execute(cast("LiteralString", sql), values or None)
        return cursor.fetchall() if cursor.description else []

    def sql(self, text: str, values: Sequence[Any] = (), **parameters: str | int) -> list[Any]:
        """Run one statement in a session of its own; its rows, if it has any."""
        dsn = make_conninfo(self.dsn, connect_timeout=CONNECT_TIMEOUT_S, **parameters)
        with psycopg.connect(dsn, autocommit=True) as session:
            return self.run(session, text, values)

    # --- going on ---

    def keep(self, work: Callable[[], object], *, threads: int = 1, pause_s: float = 0.0) -> None:
        """Do it again and again beside everything else, until the end; its errors are its own."""
        started = [
            threading.Thread(target=self._repeat, args=(work, pause_s, self._ending), daemon=True)
            for _ in range(threads)
        ]
        self._stack.callback(self._join, started)
        for thread in started:
            thread.start()

    def keep_asking(
        self, sql: str, *, application: str = "", sessions: int = 1, pause_s: float = 0.0
    ) -> None:
        """So many sessions, each asking the same again and again."""
        for _ in range(sessions):
            session = self.session(application)
            self.keep(lambda s=session: self.run(s, sql), pause_s=pause_s)
            # Before its thread is waited for.
            self._stack.callback(_quietly, session.cancel)

    def undo(self, act: Callable[[], object]) -> None:
        """To be done at the end, the last first; errors in it are dropped."""
        self._stack.callback(_quietly, act)

    def undo_sql(self, text: str) -> None:
        """A statement that takes back what was done."""
        self.undo(lambda: self.sql(text))
        self._statements.insert(0, text)
        self.on_undo(tuple(self._statements))

    # --- waiting ---

    def until(self, holds: Callable[[], object] | str, *, seconds: float = UNTIL_S) -> None:
        """Wait until it is true, or until the question has rows. Raises: NotMade."""
        ask = holds if callable(holds) else (lambda: self.sql(holds))
        end = time.monotonic() + seconds
        while True:
            with suppress(psycopg.Error, OSError):
                if ask():
                    return
            if time.monotonic() > end:
                what = holds if isinstance(holds, str) else getattr(holds, "__name__", "it")
                raise NotMade(f"not so within {seconds:g} s: {what}")
            time.sleep(POLL_S)

    # --- the end ---

    def enter(self, context: AbstractContextManager[T]) -> T:
        """Enter it now, leave it at the end."""
        return self._stack.enter_context(context)

    def heal(self) -> None:
        """Undo everything, the last first; what follows begins anew."""
        self._ending.set()
        self._stack.close()
        self._ending = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.heal()

    def _repeat(self, work: Callable[[], object], pause_s: float, ending: threading.Event) -> None:
        while not ending.is_set():
            try:
                work()
            except (psycopg.Error, OSError):
                # A server that is down is asked again, like by any application.
                ending.wait(max(pause_s, 0.1))
                continue
            if pause_s:
                ending.wait(pause_s)

    def _join(self, threads: Sequence[threading.Thread]) -> None:
        self._ending.set()
        for thread in threads:
            thread.join(JOIN_S)


@dataclass(kw_only=True, slots=True)
class Rig(Hand):
    """A throw-away server, with its files and processes in reach."""

    server: ScratchServer
    standby: ScratchServer | None = None
    """Streams from `server`."""
    way: dict[str, str | int] = field(default_factory=dict[str, "str | int"])
    """Parameters of libpq with which those who look reach `server`, such as a host name."""
    policy: dict[str, Any] = field(default_factory=dict[str, Any])
    """What whoever watches is told of `server` besides, as keys of a target in the policy."""
    standby_policy: dict[str, Any] = field(default_factory=dict[str, Any])
    """The same of `standby`."""
    has_log_file: bool = True
    """Whether the server log is a file; else whoever keeps the server running has it."""
    notes: dict[str, Any] = field(default_factory=dict[str, Any])
    """What a fault's `prepare` leaves for its `make`, such as the names it drew; by the fault."""

    def as_superuser(self, dbname: str = "app") -> Session:
        """A superuser's session, closed at the end."""
        session = self._at_the_machine(dbname)
        self._stack.callback(_close, session)
        return session

    def admin(self, text: str, values: Sequence[Any] = (), *, dbname: str = "app") -> list[Any]:
        """One statement as superuser, in a session of its own."""
        with self._at_the_machine(dbname) as session:
            return self.run(session, text, values)

    def logged(self, words: str, *, seconds: float = UNTIL_S) -> None:
        """Wait until the server log has these words. Raises: NotMade."""
        try:
            self.until(lambda: words in self.server.log_text(), seconds=seconds)
        except NotMade as error:
            raise NotMade(f"the log does not say {words!r} within {seconds:g} s") from error

    def _at_the_machine(self, dbname: str) -> Session:
        """A superuser's session over the Unix socket: no fault of the network is in its way."""
        return self.server.connect(dbname=dbname, host=str(self.server.folder.sockets))


def _close(session: Session) -> None:
    _quietly(session.close)


def _quietly(act: Callable[[], object]) -> None:
    with suppress(*EXPECTED):
        act()
