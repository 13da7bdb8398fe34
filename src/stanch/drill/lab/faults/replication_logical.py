"""Logical replication: a subscription that cannot apply, decoding that does not fit in memory."""

from __future__ import annotations

import re
import subprocess
from contextlib import suppress

from stanch.adapters.postgres.scratch_folder import server_environment
from stanch.drill.lab.fault import Area, Fault, Needs
from stanch.drill.lab.means import words
from stanch.drill.lab.means.standbys import copied
from stanch.drill.lab.rig import Rig

SYNCED_SQL = "SELECT 1 FROM pg_subscription_rel WHERE srsubstate = 'r'"
DUPLICATE = re.compile(r"duplicate key value violates|conflict=insert_exists")
"""Version 18 has words of its own for what an apply worker meets."""
READS_SQL = "SELECT 1 FROM pg_replication_slots WHERE active AND slot_name = %s"
SPILLED_SQL = "SELECT 1 FROM pg_stat_replication_slots WHERE spill_bytes > %s"
CONSUMERS = ("debezium", "cdc_orders", "warehouse", "search_index")
LEAVES_S = 5.0
MB = 1024 * 1024


# --- a subscription -----------------------------------------------------------------------------


def _subscribed(rig: Rig) -> None:
    """The server follows a table of another one, where rows come in all day."""
    table = f"{words.table(rig.rng)}_feed"
    name = rig.rng.choice(("from_shop", "regional", "sub_orders", "migration_2026"))
    publisher = copied(rig, {"wal_level": "logical"})
    publisher.start()
    create = f"CREATE TABLE {table} (id bigint PRIMARY KEY, body text)"
    publisher.query(create, user="app", dbname="app")
    rig.sql(create)
    publisher.query(f"CREATE PUBLICATION {name} FOR TABLE {table}", user="app", dbname="app")
    way = publisher.dsn(dbname="app")
    rig.admin(f"CREATE SUBSCRIPTION {name} CONNECTION '{way}' PUBLICATION {name}")
    rig.until(lambda: rig.admin(SYNCED_SQL))
    rig.notes["followed"] = table
    insert = f"INSERT INTO {table} SELECT coalesce(max(id), 0) + 1, 'order' FROM {table}"
    source = rig.enter(publisher.connect("app"))
    rig.keep(lambda: rig.run(source, insert), pause_s=rig.rng.uniform(0.1, 0.5))
    rig.until(f"SELECT 1 FROM {table} OFFSET 3")


def _written_at_subscriber(rig: Rig) -> None:
    """Somebody adds a row by hand whose key comes from the other side a moment later."""
    table, ahead = rig.notes["followed"], rig.rng.randint(3, 8)
    fix = f"INSERT INTO {table} SELECT max(id) + {ahead}, 'by hand' FROM {table}"
    rig.sql(fix, application_name=rig.rng.choice(("psql", words.migration(rig.rng))))
    rig.undo_sql(f"DELETE FROM {table} WHERE body = 'by hand'")
    rig.until(lambda: len(DUPLICATE.findall(rig.server.log_text())) >= 2, seconds=40.0)


# --- decoding -----------------------------------------------------------------------------------


def _decoded(rig: Rig) -> None:
    """Something reads every change by logical decoding, as connectors for other systems do."""
    consumer = rig.rng.choice(CONSUMERS)
    rig.sql(f"CREATE TABLE {consumer}_source (id bigint, body text)")
    rig.notes["decoded"] = f"{consumer}_source"
    rig.admin(f"CREATE PUBLICATION {consumer} FOR ALL TABLES")
    rig.admin("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (consumer,))
    program = rig.server.binaries.program("pg_recvlogical")
    way = rig.server.dsn(dbname="app", application_name=consumer)
    options = ("-o", "proto_version=1", "-o", f"publication_names={consumer}")
    reader = subprocess.Popen(
        [program, "-d", way, "-S", consumer, "--start", "-f", "-", *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=server_environment(),
    )
    rig.undo(lambda: _end(reader))
    rig.until(lambda: rig.admin(READS_SQL, (consumer,)))


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(LEAVES_S)
        return
    process.kill()
    process.wait()


def _huge_transaction(rig: Rig) -> None:
    table, rows = rig.notes["decoded"], rig.rng.randint(3000, 10_000)
    job = rig.session(words.job(rig.rng))
    rig.run(job, "BEGIN")
    sql = f"INSERT INTO {table} SELECT n, repeat('x', 200) FROM generate_series(1, {rows}) n"
    rig.keep(lambda: rig.run(job, sql), pause_s=rig.rng.uniform(0.2, 0.5))
    spilled = rig.rng.randint(5, 25) * MB
    rig.until(lambda: rig.admin(SPILLED_SQL, (spilled,)), seconds=40.0)


FAULTS = (
    Fault(
        id="subscription-meets-duplicate-key",
        area=Area.REPLICATION,
        story="Somebody inserted a row at the subscriber whose key then came from the publisher:"
        " the apply worker fails on it and starts anew, again and again.",
        causes=("apply_worker_loop",),
        make=_written_at_subscriber,
        needs=Needs(prepare=(_subscribed,)),
        shows_after_s=6.0,
    ),
    Fault(
        id="huge-transaction-decoded",
        area=Area.REPLICATION,
        story="A job loads everything in one transaction, and logical decoding spills it to disk.",
        causes=("decoding_spill",),
        make=_huge_transaction,
        needs=Needs(
            conf={"wal_level": "logical", "logical_decoding_work_mem": "64kB"},
            major_min=14,
            prepare=(_decoded,),
        ),
        shows_after_s=4.0,
    ),
)
