"""Rules over vitals on real servers: each fires on the real thing, and none on a healthy server."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg import pq

from fix_servers import MAJORS, MakeServer, Templates
from samplings import ORDERS, TARGET, target
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.adapters.postgres.scratch_folder import ScratchOptions
from stanch.detect.engine import Detector
from stanch.detect.in_force import plan_for
from stanch.detect.tracker import Raised, Tracks, step
from stanch.facts.vitals import VITALS_SQL, parse_vitals
from stanch.model.samples import Sample
from stanch.policy.policy import TargetPolicy

CONF = {
    "archive_mode": "on",
    "archive_command": "false",
    "max_prepared_transactions": 5,
    "deadlock_timeout": "20ms",
    "wal_level": "logical",
}

LOW = target(
    connections_high={"limit": 1.0, "hold_s": 0.0},
    connections_exhausted={"limit": 2.0, "hold_s": 0.0},
    connection_limit_near={"hold_s": 0.0},
    sessions_blocked={"limit": 1.0, "also": 0.2},
    long_transaction={"limit": 0.3, "hold_s": 0.0},
    long_dump={"limit": 0.3, "hold_s": 0.0},
    idle_in_transaction={"limit": 0.3, "hold_s": 0.0},
    slow_query={"limit": 0.3, "hold_s": 0.0},
    deadlocks={"limit": 0.5},
    temp_files_flood={"limit": 10.0},
    prepared_transaction_old={"limit": 0.3, "hold_s": 0.0},
    archive_failing={"limit": 0.2, "hold_s": 0.0},
    archive_stalled={"limit": 0.2, "hold_s": 0.0},
    slot_retains_wal={"limit": 1.0, "hold_s": 0.0},
    slot_inactive={"limit": 0.3},
    xid_wraparound={"limit": 1.0, "hold_s": 0.0},
    mxid_wraparound={"limit": 1.0, "hold_s": 0.0},
)
"""The same rules with numbers that a test can reach."""


IMPATIENT = target(
    long_transaction={"limit": 0.3, "hold_s": 0.0}, slow_query={"limit": 0.3, "hold_s": 0.0}
)


BEHIND = target(
    replication_lag={"limit": 1000.0, "clear": 500.0, "hold_s": 0.0},
    replication_delay={"limit": 1.0, "clear": 0.5, "hold_s": 0.0},
)

CAUGHT_UP = "SELECT count(*) FROM pg_stat_replication WHERE replay_lsn = pg_current_wal_lsn()"

# One version in an ordinary run, all of them in `make matrix`.
one_major = pytest.mark.parametrize(
    "pg_major", MAJORS if "STANCH_MAJORS" in os.environ else [18], indirect=True
)


class Watch:
    """Looks at a server as often as it is asked, over one session of the watching role."""

    def __init__(self, server: ScratchServer, policy: TargetPolicy) -> None:
        self._session = psycopg.connect(
            server.dsn("stanch_watch", "postgres"), autocommit=True, application_name="stanch"
        )
        self._detector = Detector(plan_for(policy))
        self._tracks: Tracks = {}
        self._began = datetime.now(UTC)
        self.raised: set[str] = set()

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def look(self) -> None:
        row = self._session.execute(VITALS_SQL.encode()).fetchone()
        assert row is not None
        vitals = parse_vitals(row[0])
        # The rules are handed a clock that runs ten times as fast, so that windows pass quickly.
        at = vitals.at + 9 * (vitals.at - self._began)
        sample = Sample(target=ORDERS, at=at, vitals=vitals)
        self._tracks, changes = step(
            self._tracks,
            self._detector.conditions(sample, self._tracks),
            target=ORDERS,
            at=sample.at,
            clear_hold_s=3.0,
        )
        self.raised |= {c.symptom.key for c in changes if isinstance(c, Raised)}

    def until(self, wanted: Callable[[set[str]], bool], *, within_s: float = 10.0) -> bool:
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            self.look()
            if wanted(self.raised):
                return True
            time.sleep(0.05)
        return False


@contextmanager
def session(
    server: ScratchServer, *statements: str, name: str = "shop"
) -> Iterator[psycopg.Connection]:
    """A session of the application in an open transaction; it ends with whatever it is doing."""
    with closing(psycopg.connect(server.dsn("app", "app"), application_name=name)) as opened:
        for statement in statements:
            opened.execute(statement.encode())
        yield opened


def asks(opened: psycopg.Connection, statement: str) -> None:
    """Send a statement and do not wait for it."""
    opened.pgconn.send_query(statement.encode())


def trouble(server: ScratchServer, stack: ExitStack) -> None:
    """Everything at once that the rules over vitals know."""
    for statement in (
        "CREATE TABLE app_rows AS SELECT g AS id FROM generate_series(1, 2) AS g",
        "GRANT ALL ON app_rows TO app",
        "CREATE ROLE narrow LOGIN CONNECTION LIMIT 1",
        "SELECT pg_create_physical_replication_slot('forgotten', true)",
    ):
        server.query(statement, dbname="app")
    stack.enter_context(closing(psycopg.connect(server.dsn("narrow", "app"))))
    stack.enter_context(session(server, "SELECT 1"))
    stack.enter_context(session(server, "SELECT 1", name="pg_dump"))
    for name in ("one", "two"):
        # Two holders of one row make a multixact.
        shared = "SELECT id FROM app_rows WHERE id = 1 FOR SHARE"
        stack.enter_context(session(server, shared, name=name))
    asks(stack.enter_context(session(server)), "SELECT pg_sleep(30)")
    stack.enter_context(session(server, "LOCK TABLE app_rows IN SHARE MODE"))
    asks(stack.enter_context(session(server)), "BEGIN; LOCK TABLE app_rows")
    prepare(server)
    deadlock(server)
    spill = "SELECT count(*) FROM (SELECT g FROM generate_series(1, 200000) AS g ORDER BY -g) AS s"
    with session(server, "SET work_mem = '64kB'", spill):
        pass
    server.query("SELECT pg_switch_wal()")


@pytest.mark.parametrize(("command", "told"), [("sleep 600", True), ("true", False)])
def test_an_archive_command_that_hangs_is_told(
    make_server: MakeServer, *, command: str, told: bool
) -> None:
    server = make_server(conf={"archive_mode": "on", "archive_command": command})
    # Until version 14 the server counts what was archived half a second late.
    patient = target(archive_stalled={"limit": 1.5, "hold_s": 0.0})
    with Watch(server, patient) as watch:
        watch.look()
        for n in range(3):
            server.query(f"CREATE TABLE t{n} (id int)")
            server.query("SELECT pg_switch_wal()")
        assert watch.until(lambda raised: "archive_stalled" in raised, within_s=4.0) is told


def prepare(server: ScratchServer) -> None:
    """A prepared transaction that nobody ends."""
    with psycopg.connect(server.dsn("app", "app"), autocommit=True) as opened:
        opened.execute("BEGIN")
        opened.execute("SELECT txid_current()")
        opened.execute("PREPARE TRANSACTION 'forgotten'")


def deadlock(server: ScratchServer) -> None:
    """Two sessions that want each other's advisory lock."""
    with (
        session(server, "SELECT pg_advisory_xact_lock(1)") as one,
        session(server, "SELECT pg_advisory_xact_lock(2)") as two,
    ):
        asks(one, "SELECT pg_advisory_xact_lock(2)")
        asks(two, "SELECT pg_advisory_xact_lock(1)")
        loser = one if errors(one) else two
        assert loser is one or errors(two)


def errors(opened: psycopg.Connection) -> bool:
    """Whether what was asked ended in an error; waits for it."""
    found = False
    while (result := opened.pgconn.get_result()) is not None:
        found = found or result.status == pq.ExecStatus.FATAL_ERROR
    return found


EXPECTED = {
    "connections_high",
    "connections_exhausted",
    "connection_limit_near:role narrow",
    "sessions_blocked",
    "long_transaction",
    "long_dump",
    "idle_in_transaction",
    "slow_query",
    "deadlocks",
    "temp_files_flood",
    "prepared_transaction_old",
    "archive_failing",
    "slot_retains_wal:forgotten",
    "slot_inactive:forgotten",
    "xid_wraparound",
    "mxid_wraparound",
}


def test_every_rule_over_vitals_can_fire_on_a_real_server(make_server: MakeServer) -> None:
    server = make_server(conf=CONF)
    with ExitStack() as stack, Watch(server, LOW) as watch:
        # Rates need to have seen the counters before.
        watch.look()
        trouble(server, stack)
        watch.until(lambda raised: raised >= EXPECTED)
        assert watch.raised >= EXPECTED


def test_a_healthy_server_at_work_raises_nothing(shared_server: ScratchServer) -> None:
    with (
        Watch(shared_server, TARGET) as watch,
        session(shared_server, "SELECT 1"),
        session(shared_server, "SELECT 1", name="pg_dump"),
    ):
        assert not watch.until(lambda raised: bool(raised), within_s=1.5)


def test_a_dump_is_no_long_transaction_and_its_statement_no_slow_query(
    server: ScratchServer,
) -> None:
    with Watch(server, IMPATIENT) as watch, session(server, "SELECT 1", name="pg_dump") as dump:
        asks(dump, "SELECT pg_sleep(30)")
        assert not watch.until(lambda raised: bool(raised), within_s=1.0)
        with session(server, "SELECT 1"):
            assert watch.until(lambda raised: raised == {"long_transaction"})


def test_a_query_that_waits_for_a_lock_is_no_slow_query(server: ScratchServer) -> None:
    with (
        Watch(server, IMPATIENT) as watch,
        session(server, "SELECT pg_advisory_lock(7)"),
        session(server) as waiter,
        session(server) as other,
    ):
        asks(waiter, "SELECT pg_advisory_lock(7)")
        watch.until(lambda raised: "slow_query" in raised, within_s=1.0)
        assert "slow_query" not in watch.raised
        asks(other, "SELECT pg_sleep(30)")
        assert watch.until(lambda raised: "slow_query" in raised)


def test_a_receiver_that_goes_away_is_a_standby_gone(server: ScratchServer) -> None:
    with Watch(server, target(standby_gone={"hold_s": 0.0})) as watch:
        watch.look()
        receiver = pq.PGconn.connect(f"{server.dsn()} replication=true".encode())
        try:
            system = receiver.exec_(b"IDENTIFY_SYSTEM")
            place = system.get_value(0, 2)
            assert place is not None
            streaming = receiver.exec_(b"START_REPLICATION PHYSICAL " + place)
            assert streaming.status == pq.ExecStatus.COPY_BOTH, streaming.error_message
            watch.until(lambda _: count(server) == 1)
            watch.look()
            assert watch.raised == set(), "one more is not one fewer"
        finally:
            receiver.finish()
        assert watch.until(lambda raised: "standby_gone" in raised)


@pytest.fixture
def pair(
    pg_major: int, server_templates: Templates
) -> Iterator[tuple[ScratchServer, ScratchServer]]:
    """A primary and its standby."""
    template = server_templates.of(pg_major, "trust")
    options = ScratchOptions(parent=server_templates.parent)
    with ExitStack() as stack:
        primary = stack.enter_context(ScratchServer.create(options=options, template=template))
        standby = ScratchServer.create(options=options, template=template)
        stack.callback(standby.destroy)
        standby.folder.write_owned(standby.data_directory / "standby.signal", "")
        standby.set_conf({"primary_conninfo": primary.dsn()})
        standby.start()
        yield primary, standby


@one_major
def test_a_standby_that_replays_nothing_is_told_by_both_and_one_with_nothing_to_replay_by_none(
    pair: tuple[ScratchServer, ScratchServer],
) -> None:
    primary, standby = pair
    primary.query("CREATE TABLE replayed ()")
    with Watch(primary, TARGET) as first:
        assert first.until(lambda _: primary.query(CAUGHT_UP) == [(1,)])
    with Watch(primary, BEHIND) as near, Watch(standby, BEHIND) as far:
        for watch in (near, far):
            watch.until(lambda raised: bool(raised), within_s=0.5)
            assert watch.raised == set()
        standby.query("SELECT pg_wal_replay_pause()")
        primary.query("CREATE TABLE written AS SELECT repeat('x', 5000) FROM generate_series(1, 9)")
        assert near.until(lambda raised: any(r.startswith("replication_lag:") for r in raised))
        assert far.until(lambda raised: any(r.startswith("replication_delay") for r in raised))


def count(server: ScratchServer) -> int:
    [(receivers,)] = server.query("SELECT count(*) FROM pg_stat_replication")
    return int(receivers)
