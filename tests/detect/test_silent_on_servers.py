"""Rules over what fails without a sound: each fires on a real server, and none on a fresh one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import pq

from fix_servers import MakeServer
from samplings import ORDERS, T0, Watched, target
from slow_at import lane_of
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.facts.vitals import VITALS_SQL, parse_vitals
from stanch.model.readings import Reading
from stanch.model.samples import Sample
from stanch.model.vitals import Vitals

AT_ONCE: dict[str, Any] = {"hold_s": 0.0}
EAGER = target(
    pending_restart=AT_ONCE,
    index_invalid=AT_ONCE,
    hba_errors=AT_ONCE,
    settings_errors=AT_ONCE,
    collation_changed=AT_ONCE,
    sequence_near_end=AT_ONCE,
    int4_key_near_end=AT_ONCE,
    slot_stuck={"limit": 0.01, "hold_s": 0.0},
    replication_lag={"limit": 1000.0, "clear": 500.0, "hold_s": 0.0},
)
"""The same rules without the time for which they wait."""


class Judge(Watched):
    """What the rules make of one look after the other, a minute apart."""

    def __init__(self) -> None:
        super().__init__(EAGER)
        self._minutes = 0

    def hear(self, readings: Iterable[Reading] = (), vitals: Vitals | None = None) -> None:
        self._minutes += 1
        sample = Sample(target=ORDERS, at=T0, vitals=vitals, readings=tuple(readings))
        self.look(60.0 * self._minutes, sample)


def vitals_of(server: ScratchServer) -> Vitals:
    [[answer]] = server.query(VITALS_SQL, user="stanch_watch", dbname="postgres")
    return parse_vitals(answer)


# --- the slow lane ------------------------------------------------------------------------------

MAY_READ_FILES = (
    "GRANT SELECT ON pg_hba_file_rules, pg_file_settings TO stanch_watch",
    "GRANT EXECUTE ON FUNCTION pg_hba_file_rules(), pg_show_all_file_settings() TO stanch_watch",
)


def fails(server: ScratchServer, statement: str) -> None:
    connected = psycopg.connect(server.dsn(dbname="app"), autocommit=True)
    with closing(connected) as session, pytest.raises(psycopg.Error):
        session.execute(statement.encode())


def spoil(server: ScratchServer) -> None:
    """Everything at once that the slow lane looks for."""
    for statement in (
        "CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY)",
        "SELECT setval('orders_id_seq', 2000000000)",
        "CREATE SEQUENCE tickets MAXVALUE 1000",
        "SELECT setval('tickets', 950)",
        "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO stanch_watch",
        "CREATE TABLE twice AS SELECT 1 AS n FROM generate_series(1, 2)",
        "CREATE ROLE intruder LOGIN SUPERUSER",
    ):
        server.query(statement, dbname="app")
    for (name,) in server.query(VERSIONED, dbname="app"):
        server.query(f'CREATE TABLE names (name text COLLATE "{name}")', dbname="app")
        outdated = f"UPDATE pg_collation SET collversion = '0' WHERE collname = '{name}'"
        server.query(outdated, dbname="app")
    fails(server, "CREATE UNIQUE INDEX CONCURRENTLY once ON twice (n)")
    server.set_conf({"max_connections": 77})
    server.query("SELECT pg_reload_conf()")
    write_lines(server, hba_file="host all nonsense", config_file="work_mem = lots")


def write_lines(server: ScratchServer, **lines: str) -> None:
    """At the end of the files that these settings name."""
    for setting, line in lines.items():
        [(name,)] = server.query(f"SHOW {setting}")
        with open(name, "a", encoding="utf-8") as file:
            file.write(f"\n{line}\n")


def nearly_spoil(server: ScratchServer) -> None:
    """What looks like each of it, and is in order."""
    for statement in (
        "CREATE SEQUENCE half MAXVALUE 1000",
        "SELECT setval('half', 840)",
        "CREATE SEQUENCE ring MAXVALUE 1000 CYCLE",
        "SELECT setval('ring', 999)",
        "CREATE TABLE wide (id bigint GENERATED ALWAYS AS IDENTITY)",
        "SELECT setval('wide_id_seq', 2000000000)",
        "CREATE TABLE narrow (id int GENERATED ALWAYS AS IDENTITY)",
        "SELECT setval('narrow_id_seq', 1690000000)",
        "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO stanch_watch",
        'CREATE TABLE plain_names (name text COLLATE "C")',
        "CREATE UNIQUE INDEX CONCURRENTLY plain_once ON plain_names (name)",
        "CREATE ROLE clerk LOGIN CREATEDB CREATEROLE",
    ):
        server.query(statement, dbname="app")
    write_lines(server, hba_file="host all all 192.0.2.1/32 reject", config_file="work_mem = 5MB")
    server.query("SELECT pg_reload_conf()")


VERSIONED = """
    SELECT collname FROM pg_collation
    WHERE pg_collation_actual_version(oid) IS NOT NULL AND collversion IS NOT NULL LIMIT 1
"""
"""A collation that can change; programs built without ICU may know none."""

SPOILT = {
    "sequence_near_end:app.public.tickets",
    "sequence_near_end:app.public.orders_id_seq",
    "int4_key_near_end:app.public.orders.id",
    "index_invalid:app",
    "new_dangerous_role",
    "pending_restart",
    "hba_errors",
    "settings_errors",
}


async def test_every_rule_over_the_slow_lane_can_fire_on_a_real_server(
    server: ScratchServer, pg_major: int
) -> None:
    for statement in MAY_READ_FILES:
        server.query(statement, dbname="postgres")
    lane, judge = lane_of(server, pg_major), Judge()
    await lane.look()
    judge.hear(lane.take())
    assert judge.raised == [], "a fresh server has none of it"
    nearly_spoil(server)
    await lane.look()
    near = lane.take()
    judge.hear(near)
    assert judge.raised == [], "what looks like it is in order"
    told = {(r.name, r.subject): r.value for r in near}
    assert told["sequence_used_pct", "app.public.half"] == pytest.approx(84, abs=0.1)
    assert told["int4_key_used_pct", "app.public.narrow.id"] == pytest.approx(78.7, abs=0.1)
    spoil(server)
    changed = {"collation_changed:app"} if server.query(VERSIONED, dbname="app") else set[str]()
    for _ in range(20):
        await lane.look()
        judge.hear(lane.take())
        if set(judge.raised) >= SPOILT | changed:
            break
    assert set(judge.raised) == SPOILT | changed


# --- WAL and pages ------------------------------------------------------------------------------


@contextmanager
def receiving(server: ScratchServer, slot: str) -> Iterator[None]:
    """Somebody who receives from a slot and never confirms anything."""
    receiver = pq.PGconn.connect(f"{server.dsn()} replication=true".encode())
    try:
        place = (receiver.exec_(b"IDENTIFY_SYSTEM").get_value(0, 2) or b"").decode()
        start = f"START_REPLICATION SLOT {slot} PHYSICAL {place}"
        streaming = receiver.exec_(start.encode())
        assert streaming.status == pq.ExecStatus.COPY_BOTH, streaming.error_message
        yield
    finally:
        receiver.finish()


def write(server: ScratchServer, *, segments: int) -> None:
    """Of 1 MB each."""
    for _ in range(segments):
        server.query("SELECT pg_logical_emit_message(false, 'test', repeat('x', 4000))")
        server.query("SELECT pg_switch_wal()")


def damage(server: ScratchServer, table: str) -> None:
    """Bytes of its one page, on disk while the server is stopped."""
    [(path,)] = server.query(f"SELECT pg_relation_filepath('{table}')", dbname="app")
    server.stop()
    with (server.data_directory / path).open("r+b") as file:
        file.seek(4000, os.SEEK_SET)
        file.write(b"\xff" * 64)
    server.start()


async def test_slots_that_are_stuck_or_lost_and_damaged_pages_are_told(
    make_server: MakeServer,
) -> None:
    server, judge = make_server(conf={"max_slot_wal_keep_size": "3MB"}), Judge()
    server.query("CREATE TABLE ledger AS SELECT repeat('y', 5000) AS row", dbname="app")
    server.query("SELECT pg_create_physical_replication_slot('held', true)")
    server.query("SELECT pg_create_physical_replication_slot('passed_by', true)")
    server.query("CHECKPOINT")
    judge.hear(vitals=vitals_of(server))
    with receiving(server, "held"):
        for segments in (1, 18, 1):
            write(server, segments=segments)
            assert judge.raised == [], "a little WAL is nothing that anybody is stuck behind"
            judge.hear(vitals=vitals_of(server))
        assert judge.raised == ["slot_stuck:held"]
    write(server, segments=5)
    server.query("CHECKPOINT")
    judge.hear(vitals=vitals_of(server))
    assert "slot_lost:passed_by" in judge.raised
    assert "checksum_failures" not in judge.raised
    damage(server, "ledger")
    judge.hear(vitals=vitals_of(server))
    fails(server, "SELECT * FROM ledger")
    for _ in range(50):
        judge.hear(vitals=vitals_of(server))
        if "checksum_failures" in judge.raised:
            break
    assert "checksum_failures" in judge.raised
