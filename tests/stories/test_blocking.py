"""A blocking chain, and long transactions that block nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import psycopg
import pytest

from fix_responder import MakeResponder
from stanch.adapters.postgres.scratch import ScratchServer

pytestmark = pytest.mark.story

WAITERS = 4


def session(server: ScratchServer, application: str) -> psycopg.Connection:
    return psycopg.connect(server.dsn("app"), application_name=application, autocommit=True)


class Crowd:
    """Sessions that wait for the same row, each in a thread of its own."""

    def __init__(self) -> None:
        self.done = 0
        self.failed: list[str] = []
        self._turn = threading.Lock()

    def work(self, one: psycopg.Connection) -> None:
        try:
            one.execute("UPDATE stock SET n = n + 1 WHERE id = 1")
        except psycopg.Error as error:
            with self._turn:
                self.failed.append(str(error))
        else:
            with self._turn:
                self.done += 1


@contextmanager
def chain(server: ScratchServer, root: str = "forgetful", work: str = "") -> Iterator[Crowd]:
    """One session holds a row in a transaction it does not end; others wait for it."""
    crowd = Crowd()
    with ExitStack() as stack:
        head = session(server, root)
        stack.callback(head.close)
        head.execute("CREATE TABLE stock (id int PRIMARY KEY, n int)")
        head.execute("INSERT INTO stock VALUES (1, 0)")
        head.execute("BEGIN")
        head.execute("UPDATE stock SET n = 100 WHERE id = 1")
        if work:
            head.pgconn.send_query(work.encode())
        for _ in range(WAITERS):
            one = session(server, "shop")
            stack.callback(one.close)
            thread = threading.Thread(target=crowd.work, args=(one,), daemon=True)
            thread.start()
            stack.callback(thread.join, 10)
            stack.callback(one.cancel_safe, timeout=5)
        yield crowd


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_the_idle_transaction_at_the_head_is_ended_and_everybody_behind_it_goes_on(
    server: ScratchServer, make_responder: MakeResponder
) -> None:
    stanch = make_responder(server)
    with chain(server) as crowd:
        stanch.wait_for(lambda: crowd.done == WAITERS, what="the waiters go on")
        seen = stanch.wait_for_status("resolved")
    assert crowd.failed == []
    assert seen["diagnosis"]["cause"] in ("idle_in_transaction", "blocking_chain")
    assert stanch.started_actions() == ["end_blocking_session"]
    # What the head had not committed is gone; what the others did is there.
    assert server.query("SELECT n FROM stock", dbname="app") == [(WAITERS,)]
    stanch.wait_for_mail(lambda m: "blocked" in m.subject, "of the page")
    written = stanch.call("postmortem", "1").out
    assert "forgetful" in written


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_a_schema_change_behind_a_report_is_cancelled_and_its_queue_goes_on(
    server: ScratchServer, make_responder: MakeResponder
) -> None:
    stanch, crowd = make_responder(server), Crowd()
    with ExitStack() as stack:
        report, change, *shop = (
            stack.enter_context(closing(session(server, name)))
            for name in ("nightly-report", "migrate", *["shop"] * WAITERS)
        )
        report.execute("CREATE TABLE stock AS SELECT 1 AS id, 0 AS n")
        # It reads and works on: whoever ends it loses what it has done so far.
        report.pgconn.send_query(b"BEGIN; SELECT * FROM stock; SELECT pg_sleep(120)")
        reads = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        stanch.wait_for(lambda: server.query(reads), what="the report runs")
        change.pgconn.send_query(b"ALTER TABLE stock ADD seen date")
        waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        stanch.wait_for(lambda: server.query(waits), what="the change waits")
        for one in shop:
            thread = threading.Thread(target=crowd.work, args=(one,), daemon=True)
            thread.start()
            stack.callback(thread.join, 10)
        stanch.wait_for(lambda: crowd.done == WAITERS, what="the queue goes on")
        seen = stanch.wait_for_status("resolved")
        assert server.query(reads), "the report was left alone"
    assert crowd.failed == []
    assert seen["diagnosis"]["cause"] == "ddl_lock_queue"
    assert stanch.started_actions() == ["cancel_statement"]


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_a_step_under_way_is_seen_to_its_end_before_the_sessions_are_closed(
    server: ScratchServer, make_responder: MakeResponder
) -> None:
    stanch = make_responder(server)
    with chain(server) as crowd:
        [(pid,)] = server.query(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'forgetful'"
        )
        os.kill(pid, signal.SIGSTOP)  # It is told to end and does not yet: the step is not over.
        try:
            stanch.wait_for_stored("step.outcome")
            stanch.signal(signal.SIGTERM)
            time.sleep(1)  # Long enough to close what a careless end would close at once.
        finally:
            os.kill(pid, signal.SIGCONT)
        stanch.wait_for(lambda: not stanch.alive, what="it ends")
        assert [seen["ok"] for seen in stanch.events("step.verified")] == [True]
        assert crowd.failed == []


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_a_policy_that_changes_the_target_of_a_step_under_way_waits_for_its_end(
    server: ScratchServer, make_responder: MakeResponder
) -> None:
    stanch = make_responder(server)
    with chain(server) as crowd:
        [(pid,)] = server.query(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'forgetful'"
        )
        os.kill(pid, signal.SIGSTOP)  # It is told to end and does not yet: the step is not over.
        try:
            stanch.wait_for_stored("step.outcome")
            stanch.change_target(sample_every="400ms")
            stanch.signal(signal.SIGHUP)
            stanch.wait_for(lambda: "step is under way" in stanch.log_text(), what="it waits")
            assert "policy reloaded" not in stanch.log_text()
        finally:
            os.kill(pid, signal.SIGCONT)
        stanch.wait_for(lambda: "policy reloaded" in stanch.log_text(), what="it is in force")
        assert [seen["ok"] for seen in stanch.events("step.verified")] == [True]
        assert crowd.failed == []


@pytest.mark.parametrize("pg_major", [18], indirect=True)
def test_a_backup_at_the_head_is_never_ended_and_people_are_asked(
    server: ScratchServer, make_responder: MakeResponder
) -> None:
    stanch = make_responder(server)
    with chain(server, root="pg_dump") as crowd:
        stanch.wait_for_mail(lambda m: "does not act: 'pg_dump'" in m.subject, "of the reason")
        assert (crowd.done, stanch.started_actions()) == (0, [])
        assert server.query(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pg_dump'"
        ) == [(1,)]


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_a_head_at_work_is_ended_only_after_a_person_has_approved(
    server: ScratchServer, make_responder: MakeResponder
) -> None:
    stanch = make_responder(server)
    with chain(server, work="SELECT pg_sleep(120)") as crowd:
        proposed = stanch.wait_for_event("plan.proposed")["plan"]
        assert "is active, not idle" in proposed["steps"][1]["preview"]
        stanch.wait_for_mail(lambda m: "blocked" in m.subject, "of the page")
        asked = ("runbook", "run", "blocking-chain", "--on", "orders")
        rehearsed = stanch.call(*asked, "--dry-run")
        assert rehearsed.status == 0, rehearsed
        assert "Every guard says yes now; policy does it by itself (act)." in rehearsed.out
        assert f"{WAITERS} wait, the first for" in rehearsed.out
        other = stanch.call("runbook", "run", "disk-full", "--on", "1")
        assert (other.status, "answers none of what was found" in other.err) == (3, True)
        assert (crowd.done, stanch.started_actions()) == (0, [])
        followed = stanch.call(*asked, "--yes", "--as", "asha")
        assert followed.status == 0, followed
        assert "nobody waits for it any more" in followed.out
        stanch.wait_for(lambda: crowd.done == WAITERS, what="the waiters go on")
        told = [entry["sentence"] for entry in stanch.show("1")["timeline"]]
        assert any("asked for runbook blocking-chain." in line for line in told)
    assert stanch.started_actions() == ["end_blocking_session"]


@pytest.mark.parametrize("pg_major", [18], indirect=True)
def test_the_long_transaction_of_a_real_backup_alarms_nobody(
    server: ScratchServer, make_responder: MakeResponder
) -> None:
    rows = "CREATE TABLE stock AS SELECT generate_series(1, 100000) AS id"
    server.query(rows, user="app", dbname="app")
    stanch = make_responder(server)
    # Held at its first byte of output: a pipe nobody reads keeps it inside its snapshot.
    dump = subprocess.Popen(
        [str(server.binaries.program("pg_dump")), "--dbname", server.dsn("postgres", "app")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        holding = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pg_dump'"
        stanch.wait_for(lambda: server.query(holding) == [(1,)], what="the backup is at work")
        with session(server, "shop") as one:
            end = time.monotonic() + 5
            while time.monotonic() < end:
                one.execute("INSERT INTO stock VALUES (1)")
                time.sleep(0.05)
        assert server.query(holding) == [(1,)], "the backup must have been under way all the time"
        out, _ = dump.communicate(timeout=20)
    finally:
        dump.kill()
    assert dump.returncode == 0
    assert b"PostgreSQL database dump complete" in out
    assert stanch.incidents() == []
    assert stanch.subjects() == []
