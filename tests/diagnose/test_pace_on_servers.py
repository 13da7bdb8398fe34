"""Real servers that nobody watched, which read a table whole for each request."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import LiteralString

import psycopg
import pytest

from looking import diagnose_dsn
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.adapters.postgres.scratch_access import SUPERUSER
from stanch.diagnose.rank import STANDS_FROM
from stanch.model.diagnosis import Diagnosis

BY_CUSTOMER: LiteralString = (
    "SELECT id, state FROM orders WHERE customer_id = 7 ORDER BY state LIMIT 20"
)
SCANS: LiteralString = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'orders'"


def named(found: Diagnosis) -> list[str]:
    return [c.id for c in found.causes if c.probability >= STANDS_FROM]


def prepared(server: ScratchServer, *more: LiteralString) -> None:
    """A table that has been asked by its key for long."""
    with psycopg.connect(server.dsn(SUPERUSER, "app"), autocommit=True) as session:
        session.execute(
            "CREATE TABLE orders AS SELECT g AS id, g % 9000 AS customer_id, 'new' AS state"
            " FROM generate_series(1, 250000) AS g"
        )
        session.execute("ALTER TABLE orders ADD PRIMARY KEY (id)")
        session.execute("GRANT SELECT ON orders TO app")
        session.execute("VACUUM ANALYZE orders")
        for statement in more:
            session.execute(statement)
        for number in range(3000):
            session.execute("SELECT state FROM orders WHERE id = %s", [number])


@contextmanager
def asking(server: ScratchServer) -> Iterator[None]:
    """An application of four sessions, from when it has asked for the first time."""
    over = threading.Event()

    def ask() -> None:
        with psycopg.connect(server.dsn("app", "app"), autocommit=True) as session:
            while not over.is_set():
                session.execute(BY_CUSTOMER)
                over.wait(0.02)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        with psycopg.connect(server.dsn(SUPERUSER, "app"), autocommit=True) as session:
            for _ in range(100):
                scans = session.execute(SCANS).fetchone()
                if scans is not None and scans[0] > 8:
                    break
                session.execute("SELECT pg_sleep(0.1)")
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


async def look(server: ScratchServer) -> Diagnosis:
    return await diagnose_dsn(
        server.dsn(user="stanch_watch", dbname="app"),
        data_directory=str(server.data_directory),
        log=str(server.log_path),
        # The application works on the same processors as whoever looks.
        deadline_s=8.0,
    )


@pytest.mark.parametrize("pg_major", [15], indirect=True)
async def test_a_table_without_the_index_that_an_application_needs(server: ScratchServer) -> None:
    prepared(server)
    with asking(server):
        found = await look(server)
    assert named(found) == ["missing_index"], found
    assert found.causes[0].fact("table") == "public.orders"


@pytest.mark.parametrize("pg_major", [18], indirect=True)
async def test_an_index_that_a_role_may_not_use(server: ScratchServer) -> None:
    prepared(
        server,
        "CREATE INDEX ON orders (customer_id)",
        "ALTER ROLE app SET enable_indexscan = off",
        "ALTER ROLE app SET enable_bitmapscan = off",
    )
    with asking(server):
        found = await look(server)
    assert named(found) == ["plan_flip"], found
    assert "enable_indexscan=off for app@" in found.summary
