"""Consumers of slots that stand still for real, seen by somebody who never saw the server."""

from __future__ import annotations

import time
from contextlib import closing

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from fix_servers import MakeServer
from looking import diagnose_dsn
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.diagnose.rank import STANDS_FROM
from stanch.model.diagnosis import Diagnosis

BIG = "SELECT repeat('x', 900) FROM generate_series(1, 24000)"
"""More than 16 MiB of WAL."""
SMALL = {"wal_level": "logical", "max_wal_size": "32MB", "min_wal_size": "32MB"}
KEPT = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) FROM pg_replication_slots"
UNSENT = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), sent_lsn) FROM pg_stat_replication"


async def look(server: ScratchServer) -> Diagnosis:
    return await diagnose_dsn(
        server.dsn(user="stanch_watch", dbname="app"),
        data_directory=str(server.data_directory),
        log=str(server.log_path),
        deadline_s=15.0,
    )


def named(found: Diagnosis) -> list[str]:
    return [c.id for c in found.causes if c.probability >= STANDS_FROM]


def write_beyond(server: ScratchServer, megabytes: int) -> None:
    written = 0
    while server.query(KEPT)[0][0] < megabytes * 1024 * 1024:
        server.query(f"CREATE TABLE big{written} AS {BIG}", dbname="app")
        written += 1


@pytest.mark.parametrize("pg_major", [15, 18], indirect=True)
async def test_a_consumer_that_has_everything_and_confirms_nothing(make_server: MakeServer) -> None:
    server = make_server(conf=SMALL)
    server.query("CREATE TABLE orders (id int)", dbname="app")
    server.query("CREATE PUBLICATION cdc FOR TABLE orders", dbname="app")
    server.query("SELECT pg_create_logical_replication_slot('cdc', 'pgoutput')", dbname="app")
    way = make_conninfo(server.dsn(dbname="app"), replication="database", application_name="cdc")
    with closing(psycopg.connect(way, autocommit=True)) as session:
        options = "(proto_version '1', publication_names 'cdc')"
        command = f"START_REPLICATION SLOT cdc LOGICAL 0/0 {options}"
        started = session.pgconn.exec_(command.encode())
        assert not started.error_message
        write_beyond(server, 80)
        end = time.monotonic() + 30
        while server.query(UNSENT)[0][0] > 2**20:
            assert time.monotonic() < end, "the consumer has not got everything"
            time.sleep(0.05)
        found = await look(server)
    assert named(found) == ["slot_stuck"], found.summary
    assert found.causes[0].subject == "cdc"
