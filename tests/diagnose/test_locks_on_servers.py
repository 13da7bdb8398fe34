"""Queues, deadlocks, timeouts, a full lock table and dead rows on real servers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import psycopg
import pytest

from fix_servers import MakeServer
from looking import diagnose_dsn
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.adapters.postgres.scratch_access import SUPERUSER
from stanch.diagnose.rank import STANDS_FROM
from stanch.model.diagnosis import Diagnosis

on_15 = pytest.mark.parametrize("pg_major", [15], indirect=True)
on_18 = pytest.mark.parametrize("pg_major", [18], indirect=True)


async def look(server: ScratchServer) -> Diagnosis:
    return await diagnose_dsn(
        server.dsn(user="stanch_watch", dbname="app"),
        data_directory=str(server.data_directory),
        log=str(server.log_path),
        deadline_s=10.0,
    )


def why(found: Diagnosis) -> str:
    """For the failing test's message."""
    lines = [f"{found.verdict}: {found.summary}"]
    for cause in found.causes:
        weighed = (*cause.evidence_for, *cause.evidence_against, *cause.missing)
        lines.append(f"{cause.id} {cause.probability}")
        lines += [f"  {f.weight:+} {f.evidence}: {f.text}" for f in weighed]
    return "\n".join([*lines, *(f"absent {f.evidence}: {f.text}" for f in found.absent)])


def story(found: Diagnosis) -> dict[str, str | None]:
    return {c.id: c.follows for c in found.causes if c.probability >= STANDS_FROM}


def connect(server: ScratchServer, application: str, user: str = "app") -> psycopg.Connection:
    dsn = server.dsn(user=user, dbname="app")
    return psycopg.connect(dsn, application_name=application, autocommit=True)


def until(server: ScratchServer, rows: str) -> None:
    """Ask again and again until there are rows."""
    for _ in range(500):
        if server.query(rows):
            return
    raise AssertionError(f"never: {rows}")


@contextmanager
def queue(server: ScratchServer, statements: list[tuple[str, str]]) -> Iterator[list[int]]:
    """Sessions that each send one statement and do not wait for its answer, as they come."""
    with ExitStack() as stack:
        pids: list[int] = []
        for application, sql in statements:
            session = connect(server, application)
            # Closed as it is: nothing can be committed while its statement is under way.
            stack.callback(session.close)
            pids.append(session.info.backend_pid)
            session.pgconn.send_query(sql.encode())
            until(server, f"SELECT 1 FROM pg_locks WHERE pid = {pids[-1]} AND NOT granted")
        yield pids


NOTIFIES = {"fsync": "on", "commit_delay": 100_000, "commit_siblings": 0}
"""Each commit takes a tenth of a second until it is on disk."""
NOTIFY_WAITS = """
    SELECT 1 FROM pg_locks WHERE locktype = 'object' AND NOT granted HAVING count(*) >= 4
"""


@on_18
async def test_commits_that_notify_wait_for_each_other_whatever_they_wrote(
    make_server: MakeServer,
) -> None:
    server, over = make_server(conf=NOTIFIES), threading.Event()
    server.query("CREATE TABLE rows AS SELECT 1 AS n; GRANT ALL ON rows TO app", dbname="app")

    def notify() -> None:
        with connect(server, "shop") as session:
            while not over.is_set():
                session.execute("INSERT INTO rows VALUES (2); NOTIFY orders")

    notifying = [threading.Thread(target=notify) for _ in range(10)]
    for one in notifying:
        one.start()
    try:
        until(server, NOTIFY_WAITS)
        found = await look(server)
    finally:
        over.set()
        for one in notifying:
            one.join()
    assert found.first is not None, why(found)
    assert found.first.id == "commits_behind_notify", why(found)


async def waited(server: ScratchServer, seconds: float) -> None:
    server.query(f"SELECT pg_sleep({seconds})")


@on_15
async def test_a_schema_change_behind_a_reader_holds_up_the_queue(server: ScratchServer) -> None:
    with connect(server, "shop") as shop, closing(connect(server, "report")) as report:
        shop.execute("CREATE TABLE orders (n int)")
        report.pgconn.send_query(b"SELECT pg_sleep(60), count(*) FROM orders")
        reads = f"pid = {report.info.backend_pid} AND wait_event = 'PgSleep'"
        until(server, f"SELECT 1 FROM pg_stat_activity WHERE {reads}")
        readers = [("shop", "SELECT * FROM orders")] * 3
        with queue(server, [("migrate", "ALTER TABLE orders ADD m int"), *readers]) as pids:
            await waited(server, 0.6)
            found = await look(server)
    assert story(found) == {"ddl_lock_queue": None, "blocking_chain": "ddl_lock_queue"}, why(found)
    assert found.causes[0].fact("ddl_pid") == pids[0]
    assert '"migrate"' in found.summary


@on_18
async def test_a_schema_change_behind_an_idle_transaction_is_told_from_the_idle_one(
    server: ScratchServer,
) -> None:
    with connect(server, "shop") as shop, connect(server, "cron") as cron:
        shop.execute("CREATE TABLE orders (n int)")
        cron.execute("BEGIN")
        cron.execute("SELECT * FROM orders")
        root = cron.info.backend_pid
        readers = [("shop", "SELECT * FROM orders")] * 3
        with queue(server, [("migrate", "ALTER TABLE orders ADD m int"), *readers]):
            await waited(server, 0.6)
            found = await look(server)
    told = story(found)
    assert told["idle_in_transaction"] is None
    assert told["ddl_lock_queue"] == "idle_in_transaction"
    assert [c for c, follows in told.items() if follows is None] == ["idle_in_transaction"]
    assert found.causes[0].fact("root_pid") == root


def _deadlock(server: ScratchServer, rounds: int) -> None:
    """Two sessions update two rows in opposite order, until one of them is ended."""
    with connect(server, "shop", SUPERUSER) as one, connect(server, "shop", SUPERUSER) as other:
        one.execute("CREATE TABLE pairs AS SELECT n, 0 AS m FROM generate_series(1, 2) AS n")
        for session in (one, other):
            session.execute("SET deadlock_timeout = '10ms'")
        for _ in range(rounds):
            both = threading.Barrier(2)
            threads = [
                threading.Thread(target=_cross, args=(session, rows, both))
                for session, rows in ((one, (1, 2)), (other, (2, 1)))
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()


def _cross(session: psycopg.Connection, rows: tuple[int, int], both: threading.Barrier) -> None:
    try:
        with session.transaction():
            session.execute("UPDATE pairs SET m = m + 1 WHERE n = %s", (rows[0],))
            both.wait(10)
            session.execute("UPDATE pairs SET m = m + 1 WHERE n = %s", (rows[1],))
    except psycopg.errors.DeadlockDetected:
        pass


@on_15
async def test_deadlocks_one_after_the_other_are_told_from_the_log(server: ScratchServer) -> None:
    _deadlock(server, 6)
    found = await look(server)
    assert story(found) == {"deadlock_storm": None}, why(found)
    assert "6 deadlocks" in found.summary


@on_18
async def test_statements_called_off_by_a_timeout_are_told_from_the_log(
    server: ScratchServer,
) -> None:
    with connect(server, "shop") as shop:
        shop.execute("SET statement_timeout = '2ms'")
        for _ in range(6):
            with pytest.raises(psycopg.errors.QueryCanceled):
                shop.execute("SELECT pg_sleep(1)")
    found = await look(server)
    assert story(found) == {"statement_timeouts": None}, why(found)
    assert "6 by statement_timeout" in found.summary


@on_15
async def test_a_lock_table_that_is_full_is_told_from_the_log(
    make_server: MakeServer,
) -> None:
    server = make_server(conf={"max_locks_per_transaction": 10, "max_connections": 20})
    with connect(server, "batch") as batch, pytest.raises(psycopg.errors.OutOfMemory):
        batch.execute("SELECT pg_advisory_lock(n) FROM generate_series(1, 100000) AS n")
    found = await look(server)
    assert story(found) == {"lock_table_full": None}, why(found)
    assert "1 statement failed for it" in found.summary


@on_18
async def test_dead_rows_that_autovacuum_does_not_see_to_are_told_from_its_being_off(
    make_server: MakeServer,
) -> None:
    server = make_server(conf={"autovacuum": False})
    with connect(server, "batch", SUPERUSER) as batch:
        batch.execute("CREATE TABLE jobs AS SELECT n FROM generate_series(1, 200000) AS n")
        batch.execute("DELETE FROM jobs WHERE n > 50000")
        batch.execute("SELECT pg_stat_force_next_flush()")
    found = await look(server)
    assert story(found) == {"autovacuum_starved": None, "table_bloat": "autovacuum_starved"}, why(
        found
    )
    assert "public.jobs has 150000 dead rows" in found.summary
