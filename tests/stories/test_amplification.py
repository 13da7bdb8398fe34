"""What a server in trouble feels of being watched: few sessions, no waiting, no flood of logins."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from fix_responder import MakeResponder, Responder
from fix_servers import MakeServer
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.adapters.postgres.scratch_folder import ScratchOptions

pytestmark = pytest.mark.story

SOAK = os.environ.get("STANCH_SOAK") == "1"
SESSIONS = 1000 if SOAK else 200
TABLES = 5000
HUNG_S = 8.0
WRONG_S = 30.0 if SOAK else 8.0

HELD = 2
"""The sentinel and, in act mode, the idle acting session."""
AT_MOST = HELD + 1
LOCK_WAIT_S_MAX = 0.1
LISTING, LISTED = "SELECT count(state), max(xact_start) FROM pg_stat_activity", 20
LISTINGS_MAX = 8 if SOAK else 16
"""So many times as much as one listing of all sessions a question may cost the server, more where
there are few to be listed; in milliseconds `benchmarks/footprint.py` has it."""

TELL_WAITS = {"log_lock_waits": True, "deadlock_timeout": "150ms", "log_connections": True}
"""The server itself writes down who waits for a lock for longer than our limit and a margin."""

OURS = """
    SELECT pid, query, state, wait_event_type,
        extract(epoch FROM clock_timestamp() - state_change)::float8
    FROM pg_stat_activity WHERE application_name LIKE 'stanch%' OR usename LIKE 'stanch%'
"""


class Witness:
    """Looks at the server fifty times a second, over a session that was open before."""

    def __init__(self, server: ScratchServer) -> None:
        self._session = psycopg.connect(server.dsn(), autocommit=True, application_name="witness")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.looks = 0
        self.sessions_max = 0
        self.same_question_at_once = 0
        self.lock_wait_s_max = 0.0
        self.pids: set[int] = set()

    def __enter__(self) -> Witness:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)
        self._session.close()

    def _run(self) -> None:
        while not self._over.wait(0.02):
            rows = self._session.execute(OURS).fetchall()
            self.looks += 1
            self.sessions_max = max(self.sessions_max, len(rows))
            self.pids |= {row[0] for row in rows}
            asking = Counter(query for _, query, state, *_ in rows if state == "active")
            self.same_question_at_once = max(
                [self.same_question_at_once, *asking.values()], default=0
            )
            waits = [age for *_, state, kind, age in rows if (state, kind) == ("active", "Lock")]
            self.lock_wait_s_max = max([self.lock_wait_s_max, *waits])

    def assert_gentle(self) -> None:
        assert self.looks > 50, "the witness itself did not get to look"
        assert 0 < self.sessions_max <= AT_MOST
        assert self.same_question_at_once <= 1
        assert self.lock_wait_s_max <= LOCK_WAIT_S_MAX + 0.05


def watch_for(stanch: Responder, seconds: float) -> None:
    end = time.monotonic() + seconds
    stanch.wait_for(lambda: time.monotonic() > end)


def our_lines(server: ScratchServer, pattern: str) -> list[str]:
    """Lines of the server's log about sessions of Stanch's roles."""
    lines = server.log_text().splitlines()
    return [line for line in lines if re.search(pattern, line) and "stanch_" in line]


def cpu_s(pid: int) -> float:
    """What one process has run, by the scheduler's own account."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def listing_s(server: ScratchServer) -> float:
    """What it costs the server now to tell once of all sessions, and of nothing else."""
    with psycopg.connect(server.dsn("stanch_watch"), autocommit=True) as watch:
        # What a session asks for the first time, it has to look up in the catalog.
        watch.execute(LISTING)
        before_s = cpu_s(watch.info.backend_pid)
        for _ in range(LISTED):
            watch.execute(LISTING)
        return (cpu_s(watch.info.backend_pid) - before_s) / LISTED


@contextmanager
def open_sessions(server: ScratchServer, count: int) -> Iterator[None]:
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(closing(psycopg.connect(server.dsn("app"), autocommit=True)))
        yield


def make_tables(server: ScratchServer, count: int) -> None:
    server.query(
        f"DO $$ BEGIN FOR n IN 1..{count} LOOP EXECUTE format('CREATE TABLE t%s (id int)', n);"
        " IF n % 200 = 0 THEN COMMIT; END IF; END LOOP; END $$",
        dbname="app",
    )


@contextmanager
def every_table_locked(server: ScratchServer) -> Iterator[None]:
    """One session holds every user table and four more wait for one of them."""
    lock = (
        "DO $$ DECLARE t regclass; BEGIN FOR t IN SELECT oid FROM pg_class"
        " WHERE relname ~ '^t[0-9]+$' AND relkind = 'r'"
        " LOOP EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', t); END LOOP; END $$"
    )
    with ExitStack() as stack:
        holder = stack.enter_context(closing(psycopg.connect(server.dsn(dbname="app"))))
        holder.execute(lock)
        for _ in range(4):
            waiter = stack.enter_context(closing(psycopg.connect(server.dsn(dbname="app"))))
            waiter.pgconn.send_query(b"BEGIN; LOCK TABLE t1 IN ACCESS EXCLUSIVE MODE")
        yield


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_thousands_of_locked_tables_are_diagnosed_without_waiting_for_one(
    make_server: MakeServer, make_responder: MakeResponder
) -> None:
    server = make_server(conf={**TELL_WAITS, "max_locks_per_transaction": 512})
    make_tables(server, TABLES)
    with Witness(server) as witness:
        stanch = make_responder(server, target={"actions": {"end_blocking_session": "observe"}})
        with every_table_locked(server):
            stanch.wait_for_event("diagnosis.recorded")
            watch_for(stanch, 2)
    witness.assert_gentle()
    assert our_lines(server, "still waiting for") == []
    assert [line for line in server.log_text().splitlines() if "still waiting for" in line], (
        "the server would have said so: those who do wait are in its log"
    )


@pytest.mark.parametrize("pg_major", [18], indirect=True)
def test_a_full_server_is_not_stormed(
    make_server: MakeServer, make_responder: MakeResponder
) -> None:
    server = make_server(conf={"max_connections": 24, "log_connections": "on"})
    with Witness(server) as witness:
        stanch = make_responder(server, target={"actions": {}})
        with ExitStack() as stack:
            while True:
                try:
                    opened = psycopg.connect(server.dsn("app"), autocommit=True)
                except psycopg.OperationalError:
                    break
                stack.enter_context(closing(opened))
            before = len(our_lines(server, "FATAL"))
            stanch.wait_for_event("diagnosis.recorded")
            watch_for(stanch, 6)
            turned_away = len(our_lines(server, "FATAL")) - before
    witness.assert_gentle()
    # The diagnosis, and one try every ten seconds whether somebody new gets in.
    assert turned_away <= 3


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_a_hung_server_finds_no_crowd_when_it_wakes(
    make_server: MakeServer, make_responder: MakeResponder
) -> None:
    server = make_server(conf={"log_connections": True})
    stanch = make_responder(server, target={"actions": {}})
    with Witness(server) as witness:
        stanch.wait_for(lambda: witness.sessions_max, what="its sessions")
        came = server.log_text().count("connection received")
        server.pause()
        try:
            stanch.wait_for_mail(lambda m: "orders" in m.text or "orders" in m.subject, "of it")
            watch_for(stanch, HUNG_S)
        finally:
            server.resume()
        stanch.wait_for_status("resolved")
        came = server.log_text().count("connection received") - came
    witness.assert_gentle()
    # Greetings, knocks and logins of a quarter of a minute; nothing that adds up.
    assert came < 60


@pytest.mark.parametrize("pg_major", [18], indirect=True)
def test_a_server_in_recovery_is_watched_over_the_same_few_sessions(
    server: ScratchServer, make_responder: MakeResponder
) -> None:
    server.stop()
    options = ScratchOptions(parent=server.options.parent, wal_segsize_mb=1)
    with ExitStack() as stack:
        standby = ScratchServer.create(options=options, template=server)
        stack.callback(standby.destroy)
        standby.folder.write_owned(standby.data_directory / "standby.signal", "")
        standby.start()
        with Witness(standby) as witness:
            stanch = make_responder(standby)
            watch_for(stanch, 4)
        witness.assert_gentle()
        assert our_lines(standby, "ERROR|FATAL") == []
        assert stanch.incidents() == []


@pytest.mark.parametrize("pg_major", [18], indirect=True)
def test_many_sessions_cost_their_server_little_a_question(
    make_server: MakeServer, make_responder: MakeResponder
) -> None:
    server = make_server(conf={"max_connections": SESSIONS + 50})
    with open_sessions(server, SESSIONS), Witness(server) as witness:
        stanch = make_responder(server, target={"sample_every": "1s", "actions": {}})
        watch_for(stanch, 2)
        [(pid,)] = server.query(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'stanch sentinel'"
        )
        looked_for_s, before_s = 6.0, cpu_s(pid)
        watch_for(stanch, looked_for_s)
        cost = stanch.metrics()
        a_question_s = (cpu_s(pid) - before_s) / looked_for_s
        floor_s = listing_s(server)
    witness.assert_gentle()
    assert 0 < a_question_s <= LISTINGS_MAX * floor_s
    assert re.search(r'stanch_sessions_held{target="orders"} [12]\.0', cost)
    told = re.search(r'stanch_vitals_seconds{target="orders"} (\S+)', cost)
    assert told is not None
    assert 0 < float(told[1]) < 1


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_a_wrong_password_is_tried_once_a_minute_whatever_else_goes_on(
    make_server: MakeServer, make_responder: MakeResponder
) -> None:
    server = make_server(auth="scram-sha-256")
    stanch = make_responder(server)
    refused = "password authentication failed"
    # The open session does not notice; then the server dies, is started, and lets nobody in who
    # diagnoses, verifies the rescue or wants to watch on.
    server.query("ALTER ROLE stanch_watch PASSWORD 'changed by somebody'")
    server.query("CHECKPOINT")
    server.kill()
    stanch.wait_for_event("step.outcome")
    stanch.wait_for(lambda: our_lines(server, refused), what="the first refusal")
    watch_for(stanch, WRONG_S)
    assert len(our_lines(server, refused)) == 1


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_a_target_that_may_sleep_is_not_touched(
    make_server: MakeServer, make_responder: MakeResponder
) -> None:
    server = make_server(conf={"log_connections": True})
    came = server.log_text().count("connection received")
    stanch = make_responder(server, target={"wake": "never"})
    watch_for(stanch, 4)
    stanch.wait_for(stanch.ready, what="its target being looked at")
    assert server.log_text().count("connection received") == came
    stanch.change_target(wake="always")
    stanch.signal(signal.SIGHUP)
    stanch.wait_for(lambda: our_lines(server, "connection authorized"), what="a login")
