"""Applications as a server sees them: so many sessions, so often, the same few statements.

What is plain and frequent is done by pgbench, which takes little of the machine itself; what has to
live through errors and restarts is done by sessions of this process.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psycopg
from psycopg.conninfo import make_conninfo

from stanch.adapters.postgres.scratch_folder import Setting, server_environment
from stanch.drill.lab.fault import NotMade
from stanch.drill.lab.rig import CONNECT_TIMEOUT_S, Rig, Session

LASTS_S_MAX = 900
"""So long at most, should nobody end it."""
ENDED_WITHIN_S = 5.0
COME_WITHIN_S = 40.0
"""Many logins at once, on a machine that is busy."""

TABLES = (
    "line_items",
    "price_history",
    "page_views",
    "audit_log",
    "stock_moves",
    "messages",
    "tickets",
    "ledger_entries",
    "bookings",
    "deliveries",
)
STATEMENTS: dict[str, Setting] = {"shared_preload_libraries": "pg_stat_statements"}
"""The library alone shows nothing; it is there from the start, as a restart would be seen."""
KEYS = ("customer_id", "account_id", "user_id", "tenant_id", "supplier_id", "warehouse_id")

RELATIONS_SQL = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
CAME_SQL = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
LONG_SQL = """
SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND state = 'active'
AND clock_timestamp() - query_start > make_interval(secs => %s)
"""

# --- what is there beforehand -------------------------------------------------------------------


def unused_table(rig: Rig) -> str:
    """A table's name that nothing in the application's schema has yet."""
    taken = {name for (name,) in rig.sql(RELATIONS_SQL)}
    while True:
        name = rig.rng.choice(TABLES) + rig.rng.choice(("", "_v2", f"_{rig.rng.randint(10, 99)}"))
        if name not in taken:
            return name


def often_statements(rig: Rig) -> None:
    """About every second site has pg_stat_statements; the settings are `STATEMENTS`."""
    if rig.rng.random() < 0.5:
        rig.admin("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")


def seq_scans(rig: Rig, table: str) -> int:
    """How often the whole table has been read so far."""
    asked = rig.sql("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = %s", (table,))
    return int(asked[0][0]) if asked else 0


def long_running(rig: Rig, application: str, seconds: float, sessions: int = 1) -> bool:
    """Whether so many of its sessions have been at one statement for so long."""
    return rig.admin(LONG_SQL, (application, seconds))[0][0] >= sessions


# --- by pgbench ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What an application does."""

    application: str
    scripts: tuple[str, ...]
    """Each a transaction in pgbench's language; which one comes next is chance."""
    sessions: int
    per_second: float | None = None
    """Transactions of all sessions together; None: as fast as they are answered."""
    protocol: Literal["simple", "extended", "prepared"] = "simple"
    logs_in_each_time: bool = False
    """No pool: a login for every transaction."""


@dataclass(frozen=True, slots=True)
class Running:
    """An application at work."""

    process: subprocess.Popen[bytes]
    said: Path

    def check(self) -> None:
        """Raises: NotMade where it has given up."""
        if self.process.poll() is not None:
            raise NotMade(f"pgbench ended: {self.said.read_text(errors='replace')[-500:]}")

    def stop(self) -> None:
        """End it and wait; safe to repeat."""
        end(self.process)


def begin(rig: Rig, traffic: Traffic) -> Running:
    """Let it work from now on, until the end. Raises: NotMade where it does not come to work."""
    program = rig.server.binaries.program("pgbench")
    if not program.exists():
        raise NotMade("there is no pgbench here")
    folder = Path(tempfile.mkdtemp(prefix="traffic-", dir=rig.server.folder.path))
    words: list[str] = [str(program), "-n", "-j", "1"]
    words += ["-T", str(LASTS_S_MAX), "-c", str(traffic.sessions), "-M", traffic.protocol]
    words += [f"--random-seed={rig.rng.randrange(2**31)}"]
    if traffic.per_second is not None:
        words += ["-R", f"{traffic.per_second:g}"]
    if traffic.logs_in_each_time:
        words.append("-C")
    for n, text in enumerate(traffic.scripts):
        script = folder / f"{n}.sql"
        script.write_text(text, encoding="utf-8")
        words += ["-f", str(script)]
    words.append(make_conninfo(rig.dsn, application_name=traffic.application))
    said = folder / "said"
    with said.open("wb") as file:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=server_environment()
        )
    rig.undo(lambda: end(process))
    running = Running(process, said)

    def all_came() -> bool:
        running.check()
        return rig.admin(CAME_SQL, (traffic.application,))[0][0] >= traffic.sessions

    if not traffic.logs_in_each_time:
        rig.until(all_came, seconds=COME_WITHIN_S)
    running.check()
    return running


def end(process: subprocess.Popen[bytes]) -> None:
    """End a program that was started here, and wait for it; safe to repeat."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(ENDED_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


# --- by sessions of this process ----------------------------------------------------------------


class _Asker:
    """One session of an application that logs in anew where it was cut off."""

    def __init__(self, dsn: str, work: Callable[[Session], object], *, anew: bool) -> None:
        self._dsn = dsn
        self._work = work
        self._anew = anew
        self._session: Session | None = None

    def __call__(self) -> None:
        if self._session is None or self._session.closed:
            self._session = psycopg.connect(self._dsn, autocommit=True)
        self._work(self._session)
        if self._anew:
            self.leave()

    def interrupt(self) -> None:
        """End what it is waiting for."""
        if self._session is not None:
            self._session.cancel()

    def leave(self) -> None:
        """Log out."""
        if self._session is not None:
            self._session.close()


def ask(
    rig: Rig,
    application: str,
    work: Callable[[Session], object],
    *,
    sessions: int = 1,
    pause_s: float = 0.0,
    dbname: str = "app",
    user: str = "app",
    anew: bool = False,
) -> None:
    """So many sessions that do it again and again, through errors and restarts, until the end.

    `anew` logs in each time.
    """
    dsn = make_conninfo(
        rig.dsn,
        application_name=application,
        dbname=dbname,
        user=user,
        connect_timeout=str(CONNECT_TIMEOUT_S),
    )
    for _ in range(sessions):
        asker = _Asker(dsn, work, anew=anew)
        rig.undo(asker.leave)
        rig.keep(asker, pause_s=pause_s)
        # Before its thread is waited for.
        rig.undo(asker.interrupt)


# --- programs beside the server -----------------------------------------------------------------


def start_program(rig: Rig, words: Sequence[str | Path]) -> subprocess.Popen[bytes]:
    """A program on the server's machine, whose words go nowhere; ended at the end."""
    process = _start(words)
    rig.undo(lambda: end(process))
    return process


class _Repeated:
    """A program that is started again when it has ended."""

    def __init__(self, words: Sequence[str | Path]) -> None:
        self._words = words
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> None:
        self._process = _start(self._words)
        self._process.wait()

    def interrupt(self) -> None:
        if self._process is not None:
            end(self._process)


def repeat_program(rig: Rig, words: Sequence[str | Path]) -> None:
    """The same program again and again, until the end: what takes hours where data are large."""
    repeated = _Repeated(words)
    rig.keep(repeated, pause_s=0.1)
    rig.undo(repeated.interrupt)


def _start(words: Sequence[str | Path]) -> subprocess.Popen[bytes]:
    quiet = subprocess.DEVNULL
    return subprocess.Popen(
        [str(word) for word in words],
        stdin=quiet,
        stdout=quiet,
        stderr=quiet,
        env=server_environment(),
    )
