"""The load counts what a user of the application would have noticed."""

from __future__ import annotations

import time

import psycopg
import pytest

from fix_servers import MakeServer
from stanch.adapters.postgres.load import Load, LoadOptions
from stanch.adapters.postgres.scratch import ScratchServer

BRISK = LoadOptions(writers=3, pause_s=0.005)


def rows_in(server: ScratchServer) -> int:
    [(count,)] = server.query("SELECT count(*) FROM load_row", user="app")
    return count


def test_without_trouble_every_confirmed_row_is_there_and_no_outage_is_reported(
    server: ScratchServer,
) -> None:
    with Load(server.dsn("app"), BRISK) as load:
        assert load.wait_for_rows(50, timeout_s=20)
        report = load.stop()
    assert rows_in(server) == report.committed_rows >= 50
    assert (report.failures, report.first_failure_s, report.last_error) == (0, None, "")
    assert server.query("SELECT DISTINCT writer FROM load_row ORDER BY 1", user="app") == [
        (0,),
        (1,),
        (2,),
    ]


def test_a_killed_server_is_an_outage_with_a_beginning_and_an_end(server: ScratchServer) -> None:
    with Load(server.dsn("app"), BRISK) as load:
        assert load.wait_for_rows(20, timeout_s=20)
        killed_at = time.monotonic()
        server.kill()
        assert load.wait_for_failure(timeout_s=10)
        assert load.report().first_success_after_s is None
        started_at = time.monotonic()
        server.start()
        assert load.wait_for_success_after_failure(timeout_s=20)
        report = load.report()
        assert report.first_failure_s is not None
        assert report.first_success_after_s is not None
        assert killed_at <= report.first_failure_s <= started_at <= report.first_success_after_s
        confirmed = load.stop().committed_rows
    assert rows_in(server) >= confirmed


def test_one_ended_session_is_noticed_and_the_writer_comes_back(server: ScratchServer) -> None:
    with Load(server.dsn("app"), LoadOptions(writers=1)) as load:
        assert load.wait_for_rows(5, timeout_s=20)
        server.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
        assert load.wait_for_success_after_failure(timeout_s=20)
        # A statement on its way may meet the closed connection before the server's last word.
        said = load.report().last_error
        assert "57P01" in said or "closed the connection" in said, said
        load.reset_outage()
        assert load.wait_for_rows(5, timeout_s=20)
        assert load.report().first_failure_s is None


def test_a_statement_that_never_answers_counts_as_a_failure(server: ScratchServer) -> None:
    options = LoadOptions(writers=1, statement_timeout_s=0.4)
    with Load(server.dsn("app"), options) as load:
        assert load.wait_for_rows(3, timeout_s=20)
        with server.connect("app") as blocker, blocker.transaction():
            blocker.execute("LOCK TABLE load_row")
            assert load.wait_for_failure(timeout_s=20)
        assert load.wait_for_success_after_failure(timeout_s=20)


def test_stopping_does_not_wait_for_a_server_that_does_not_answer(server: ScratchServer) -> None:
    load = Load(server.dsn("app"), LoadOptions(writers=2, statement_timeout_s=600))
    load.start()
    assert load.wait_for_rows(3, timeout_s=20)
    with server.connect("app") as blocker, blocker.transaction():
        blocker.execute("LOCK TABLE load_row")
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        while server.query(waiting) != [(2,)]:
            pass
        began = time.monotonic()
        load.stop()
        assert time.monotonic() - began < 8


def test_refused_logins_are_failures_too(make_server: MakeServer) -> None:
    server = make_server()
    with Load(server.dsn("app"), LoadOptions(writers=1)) as load:
        assert load.wait_for_rows(3, timeout_s=20)
        server.query("ALTER ROLE app CONNECTION LIMIT 0")
        server.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
        assert load.wait_for_failure(timeout_s=20)
        while "too many connections" not in load.report().last_error:
            pass
        server.query("ALTER ROLE app CONNECTION LIMIT -1")
        assert load.wait_for_success_after_failure(timeout_s=20)


def test_a_load_on_no_server_says_so_at_once(server: ScratchServer) -> None:
    server.stop()
    with pytest.raises(psycopg.OperationalError):
        Load(server.dsn("app")).start()


def test_writers_without_a_pool_log_in_anew_after_so_many_rows(server: ScratchServer) -> None:
    backends = "SELECT count(DISTINCT pid) FROM backend"
    server.query("CREATE TABLE backend (pid int)", user="app")
    note = "INSERT INTO backend VALUES (pg_backend_pid())"
    with Load(server.dsn("app"), LoadOptions(writers=1, pause_s=0.005, rows_per_session=2)) as load:
        server.query(
            "CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql"
            f" AS $$ BEGIN {note}; RETURN NULL; END $$",
            user="app",
        )
        server.query(
            "CREATE TRIGGER noted AFTER INSERT ON load_row EXECUTE FUNCTION noted()", user="app"
        )
        assert load.wait_for_rows(12, timeout_s=20)
        report = load.stop()
    [(count,)] = server.query(backends, user="app")
    assert count >= 5
    assert (report.failures, report.first_failure_s) == (0, None)


def test_an_outage_that_comes_and_goes_lasts_until_nothing_fails_any_more(
    server: ScratchServer,
) -> None:
    ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'"
    with Load(server.dsn("app"), LoadOptions(writers=1)) as load:
        assert load.wait_for_rows(5, timeout_s=20)
        for _ in range(2):
            server.query(ended)
            assert load.wait_for_success_after_failure(timeout_s=20)
            assert load.wait_for_rows(3, timeout_s=20)
        while load.report().failures < 2 or load.report().recovered_s is None:
            assert load.wait_for_rows(1, timeout_s=20)
        report = load.stop()
    assert report.first_success_after_s is not None
    assert report.recovered_s is not None
    assert report.recovered_s > report.first_success_after_s
