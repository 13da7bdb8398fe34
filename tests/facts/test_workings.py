"""What a server tells of its inside, on every major version."""

from __future__ import annotations

import json
import os
import shutil
import time
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from fix_servers import MakeServer
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.adapters.postgres.scratch_access import SUPERUSER, WATCH_ROLE
from stanch.facts.workings import (
    FOLDERS_SQL,
    MORE_FROM,
    TABLES_SQL,
    WORKINGS_SQL,
    Workings,
    parse_figures,
    parse_workings,
)
from stanch.model.errors import ProbeFailed

CROWD = "idle_in_xact_sessions"


def asked(server: ScratchServer, user: str = WATCH_ROLE) -> Workings:
    [(text,)] = server.query(WORKINGS_SQL, user=user)
    return parse_workings(text)


def value(found: Workings, name: str, subject: str = "") -> float | None:
    [figure] = [f for f in found.figures if (f.name, f.subject) == (name, subject)]
    return figure.value


def tables_told(
    server: ScratchServer, *wanted: tuple[str, str]
) -> dict[tuple[str, str], float | None]:
    """What is told of the tables of "app" once all of this is: a session that ends tells its
    statistics table by table a moment later, and up to 14 they come later still."""
    told: dict[tuple[str, str], float | None] = {}
    until = time.monotonic() + 5
    while not told.keys() >= set(wanted) and time.monotonic() < until:
        with psycopg.connect(server.dsn(WATCH_ROLE, "app"), autocommit=True) as watch:
            row = watch.execute(TABLES_SQL.encode()).fetchone()
        assert row is not None
        told = {(f.name, f.subject): f.value for f in parse_figures(row[0])}
    return told


def test_what_runs_for_longest_is_told_with_all_that_identifies_it(
    shared_server: ScratchServer,
) -> None:
    with psycopg.connect(shared_server.dsn("app", application_name="lonely")) as busy:
        busy.execute("SELECT 1")
        pid = busy.info.backend_pid
        [one] = [d for d in asked(shared_server).doings if d.oldest_pid == pid]
        identity = "SELECT backend_start, query_start FROM pg_stat_activity WHERE pid = %s"
        told = shared_server.query(identity, [pid])
    assert told == [(one.oldest_backend_start, one.oldest_query_start)]


def test_a_server_tells_who_works_who_holds_and_how_much(shared_server: ScratchServer) -> None:
    server = shared_server
    app = server.dsn("app", application_name="shop")
    with psycopg.connect(app) as holder, psycopg.connect(app) as other:
        other.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        holder.execute("CREATE TABLE IF NOT EXISTS held_here (secret text)")
        holder.execute("SELECT 'hidden-word', pg_advisory_lock(7)")
        other.execute("SELECT count(*) FROM pg_class WHERE relname = 'hidden-word'")
        found, pid = asked(server), holder.info.backend_pid
    idle = [d for d in found.doings if d.state == "idle in transaction"]
    assert {(d.application_name, d.wait_event) for d in idle} == {("shop", "ClientRead")}
    assert sum(d.sessions for d in idle) == 2
    assert "hidden-word" not in str(found)
    assert {(h.lock_type, h.granted, h.pid) for h in found.held} >= {
        ("advisory", True, pid),
        ("relation", True, pid),
    }
    # One has a view, the other has written something: both keep rows.
    keepers = [f for f in found.figures if f.name == "horizon_age_xids"]
    assert [f.subject for f in keepers].count("session:shop") == 2
    assert value(found, "xid_age_of_database", "postgres") is not None
    settings = {f.subject: f.detail for f in found.figures if f.name == "setting"}
    assert settings["wal_level"] == "replica"
    assert settings["autovacuum"] in ("on", "off")


def test_what_sessions_ended_a_moment_ago_is_told_without_its_literals(
    shared_server: ScratchServer,
) -> None:
    with psycopg.connect(
        shared_server.dsn("app", application_name="brief"), autocommit=True
    ) as session:
        session.execute("SELECT oid FROM pg_class WHERE relname = 'hidden-word'")
        [ended] = [e for e in asked(shared_server).ended if e.application_name == "brief"]
    assert (ended.usename, ended.sessions) == ("app", 1)
    assert ended.query == "SELECT oid FROM pg_class WHERE relname = '…'"


def test_newer_versions_tell_more(shared_server: ScratchServer, pg_major: int) -> None:
    for since, sql in MORE_FROM:
        if pg_major >= since:
            [(text,)] = shared_server.query(sql, user=WATCH_ROLE)
            names = {f.name for f in parse_figures(text)}
            assert names <= {
                "wal_written_bytes_total",
                "wal_page_images_total",
                "progress",
                "collation_of_database",
            }
            assert ("wal_written_bytes_total" in names) == (since == 14)


def test_tables_that_stand_out_are_named(make_server: MakeServer) -> None:
    server = make_server(conf={"autovacuum": False})
    server.query("CREATE TABLE worn AS SELECT n, n AS m FROM generate_series(1, 500) AS n")
    server.query("ALTER TABLE worn ADD UNIQUE (n)")
    with psycopg.connect(server.dsn(SUPERUSER), autocommit=True) as session:
        session.execute("DELETE FROM worn WHERE n > 100")
        session.execute("SELECT count(*) FROM worn")

    def told() -> dict[tuple[str, str], float | None]:
        [(text,)] = server.query(TABLES_SQL, user=SUPERUSER)
        return {(f.name, f.subject): f.value for f in parse_figures(text)}

    found = told()
    for _ in range(50):
        if found.get(("table_dead_rows", "public.worn")) == 400:
            break
        server.query("SELECT pg_sleep(0.1)")
        found = told()
    assert found["table_dead_rows", "public.worn"] == 400
    assert found["table_deleted_rows_total", "public.worn"] == 400
    assert found["table_unanalyzed_rows", "public.worn"] == 900
    assert found["table_live_rows", "public.worn"] == 100


def test_a_role_without_rights_is_told_what_everybody_may_know(
    shared_server: ScratchServer,
) -> None:
    found = asked(shared_server, user="app")
    assert value(found, "xid_age_of_database", "postgres") is not None


def test_sessions_that_have_just_begun_are_counted_with_who_has_the_most(
    shared_server: ScratchServer,
) -> None:
    before = value(asked(shared_server), "sessions_begun_10s")
    app = shared_server.dsn("app", application_name="storm")
    with psycopg.connect(app), psycopg.connect(app), psycopg.connect(app):
        found = asked(shared_server)
        unseen = asked(shared_server, user="app")
    assert (value(found, "sessions_begun_10s") or 0) >= 3
    assert before is not None
    [figure] = [f for f in found.figures if f.name == "sessions_begun_10s"]
    assert 'of application "' in figure.detail
    assert value(unseen, "sessions_begun_10s") is None


def test_rows_that_leave_by_copy_are_told_with_who_takes_them(
    shared_server: ScratchServer, pg_major: int
) -> None:
    if pg_major < 14:
        pytest.skip("13 tells nothing of a COPY")
    rows = "COPY (SELECT repeat('x', 1000) FROM generate_series(1, 50000)) TO STDOUT"
    sql = dict(MORE_FROM)[14]
    with psycopg.connect(shared_server.dsn("app", application_name="psql")) as session:
        with session.cursor().copy(rows) as copy:
            next(iter(copy))
            [(text,)] = shared_server.query(sql, user=WATCH_ROLE)
            for _ in copy:
                pass
        pid = session.info.backend_pid
    [found] = [f for f in parse_figures(text) if f.name == "copying_out"]
    assert (found.subject, found.detail) == ("app", f"psql, from 127.0.0.1, pid {pid}")
    assert (found.value or 0) > 0


@pytest.mark.parametrize("payload", ["", "[]", "{}x", '{"groups": [{"sessions": "1"}]}'])
def test_an_answer_of_another_shape_is_refused(payload: str) -> None:
    with pytest.raises(ProbeFailed):
        parse_workings(payload)


def test_temporary_files_are_told_while_their_statement_runs(shared_server: ScratchServer) -> None:
    rows = "SELECT g, repeat('y', 100) FROM generate_series(1, 20000) AS g ORDER BY 2, 1 DESC"
    with psycopg.connect(shared_server.dsn("app")) as session:
        session.execute("SET work_mem = '64kB'")
        session.execute(f"DECLARE spilled CURSOR FOR {rows}")
        session.execute("FETCH 1 FROM spilled")
        [(text,)] = shared_server.query(FOLDERS_SQL, user=WATCH_ROLE)
        pid = str(session.info.backend_pid)
    told = {f.subject: (f.name, f.value, f.detail) for f in parse_figures(text)}
    name, size, where = told[pid]
    assert (name, where) == ("temp_files_bytes", "pg_default")
    assert (size or 0) > 1_000_000
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        shared_server.query(FOLDERS_SQL, user="app")


@pytest.mark.parametrize(("mode", "told"), [("on", True), ("off", False)])
def test_the_wal_file_that_waits_longest_is_told_only_while_something_archives(
    make_server: MakeServer, *, mode: str, told: bool
) -> None:
    server = make_server(conf={"archive_mode": mode, "archive_command": "false"})
    waiting = Path(server.data_directory, "pg_wal", "archive_status")
    for name, age_s in (("000000010000000000000004", 900), ("000000010000000000000005", 90)):
        ready = waiting / f"{name}.ready"
        ready.touch()
        shutil.chown(ready, Path(server.data_directory).owner())
        os.utime(ready, (time.time() - age_s, time.time() - age_s))
    [(text,)] = server.query(FOLDERS_SQL, user=WATCH_ROLE)
    found = [f for f in parse_figures(text) if f.name == "archive_ready_age_s"]
    assert bool(found) is told
    if told:
        assert found[0].value == pytest.approx(900, abs=60)
        assert found[0].detail == "000000010000000000000004.ready"


def test_what_was_done_to_all_rows_of_a_table_is_told_with_how_many_there_were(
    make_server: MakeServer,
) -> None:
    server = make_server(conf={"autovacuum": False})
    with psycopg.connect(server.dsn(SUPERUSER, "app"), autocommit=True) as session:
        for name in ("lost", "renewed", "cut", "fine"):
            session.execute(f"CREATE TABLE {name} AS SELECT generate_series(1, 3000) AS n")  # type: ignore[arg-type]
    with psycopg.connect(server.dsn(SUPERUSER, "app"), autocommit=True) as session:
        session.execute("ANALYZE")
        session.execute("DELETE FROM lost")
        session.execute("UPDATE renewed SET n = n + 1")
        session.execute("TRUNCATE cut")
        session.execute("DELETE FROM fine WHERE n < 100")
    told = tables_told(
        server,
        ("table_rows_before", "public.lost"),
        ("table_rows_before", "public.renewed"),
        ("table_rows_vanished", "public.cut"),
    )
    assert told["tables", "app"] == 4
    assert {s for name, s in told if name == "table_rows_before"} == {
        "public.lost",
        "public.renewed",
    }
    assert told["table_rows_before", "public.lost"] == 3000
    assert (told["table_live_rows", "public.lost"], told["table_dead_rows", "public.lost"]) == (
        0,
        3000,
    )
    assert told["table_updated_rows_total", "public.renewed"] == 3000
    assert {s for name, s in told if name == "table_rows_vanished"} == {"public.cut"}


def test_an_update_that_was_rolled_back_is_no_change_of_a_table_that_nobody_analysed(
    make_server: MakeServer,
) -> None:
    server = make_server(conf={"autovacuum": False})
    names = ("undone", "done")
    with psycopg.connect(server.dsn(SUPERUSER, "app"), autocommit=True) as session:
        for name in names:
            session.execute(f"CREATE TABLE {name} AS SELECT generate_series(1, 3000) AS n")  # type: ignore[arg-type]
            # Counts the rows and analyses nothing.
            session.execute(f"VACUUM {name}")  # type: ignore[arg-type]
        session.execute("BEGIN")
        session.execute("UPDATE undone SET n = -n")
        session.execute("ROLLBACK")
        session.execute("UPDATE done SET n = -n")
    told = tables_told(server, *(("table_rows_before", f"public.{name}") for name in names))
    changes = {name: told["table_changes_since_analyze", f"public.{name}"] for name in names}
    assert changes == {"undone": 0, "done": 3000}


def test_tables_that_autovacuum_leaves_out_are_named(shared_server: ScratchServer) -> None:
    off = ("never_vacuumed (n int) WITH (autovacuum_enabled = off)", "usual_table (n int)")
    for table in off:
        shared_server.query(f"CREATE TABLE IF NOT EXISTS {table}")
    [(text,)] = shared_server.query(TABLES_SQL, user=SUPERUSER)
    told = {f.subject for f in parse_figures(text) if f.name == "table_autovacuum_off"}
    assert "public.never_vacuumed" in told
    assert "public.usual_table" not in told


def test_columns_that_the_planner_knows_nothing_of_are_named(shared_server: ScratchServer) -> None:
    def told() -> dict[str, tuple[float | None, str]]:
        [(text,)] = shared_server.query(TABLES_SQL, user=SUPERUSER)
        found = [f for f in parse_figures(text) if f.name == "table_columns_unknown"]
        return {one.subject: (one.value, one.detail) for one in found}

    shared_server.query(
        "CREATE TABLE widened AS SELECT n AS id, n % 90 AS account_id, null::text AS note,"
        " repeat('x', 90) AS body FROM generate_series(1, 20000) AS n"
    )
    shared_server.query("ALTER TABLE widened ALTER COLUMN body SET STATISTICS 0")
    shared_server.query("VACUUM ANALYZE widened")
    assert "public.widened" not in told()
    shared_server.query("ALTER TABLE widened ALTER COLUMN account_id TYPE bigint")
    assert told()["public.widened"] == (1, "account_id")


def test_a_table_with_fewer_rows_than_pages_is_named(make_server: MakeServer) -> None:
    server = make_server(conf={"autovacuum": False})
    with psycopg.connect(server.dsn(SUPERUSER, "app"), autocommit=True) as session:
        for name in ("queue", "orders"):
            session.execute(  # type: ignore[call-overload]
                f"CREATE TABLE {name} AS SELECT n AS id, repeat('x', 500) AS filler"
                " FROM generate_series(1, 20000) AS n"
            )
        session.execute("DELETE FROM queue WHERE id % 40 <> 0")
        session.execute("VACUUM queue, orders")
    told = tables_told(server, ("table_sparse_pages", "public.queue"))
    assert (told["table_sparse_pages", "public.queue"] or 0) > 1000
    assert {subject for name, subject in told if name == "table_sparse_pages"} == {"public.queue"}


def test_what_may_not_be_read_is_not_said_to_be_without_statistics(
    shared_server: ScratchServer,
) -> None:
    shared_server.query(
        "CREATE TABLE secret AS SELECT n, repeat('x', 90) FROM generate_series(1, 20000) AS n"
    )
    shared_server.query("VACUUM secret")
    [(text,)] = shared_server.query(TABLES_SQL, user=WATCH_ROLE)
    found = {f.subject for f in parse_figures(text) if f.name == "table_columns_unknown"}
    assert "public.secret" not in found


def test_of_columns_that_may_not_be_read_the_age_of_their_definition_tells_it(
    make_server: MakeServer,
) -> None:
    server = make_server(conf={"autovacuum": False})
    with psycopg.connect(server.dsn(SUPERUSER, "app"), autocommit=True) as session:
        for name in ("before", "since"):
            session.execute(  # type: ignore[call-overload]
                f"CREATE TABLE {name} AS SELECT n AS id, n % 90 AS account_id"
                " FROM generate_series(1, 20000) AS n"
            )
        widen = "ALTER COLUMN account_id TYPE bigint"
        session.execute(f"ALTER TABLE before {widen}")  # type: ignore[call-overload]
        session.execute("VACUUM (ANALYZE) before, since")
        for _ in range(300):
            session.execute("SELECT txid_current()")
        session.execute(f"ALTER TABLE since {widen}")  # type: ignore[call-overload]
    [(text,)] = server.query(TABLES_SQL, user=WATCH_ROLE, dbname="app")
    found = [f for f in parse_figures(text) if f.name == "table_columns_unknown"]
    assert [(f.subject, f.value, f.detail) for f in found] == [("public.since", 1, "account_id")]


def test_a_vacuum_is_not_said_to_hold_back_others(make_server: MakeServer) -> None:
    server = make_server(conf={"autovacuum": False})
    server.query("CREATE TABLE wide AS SELECT n FROM generate_series(1, 200000) AS n")
    slowly = server.dsn(SUPERUSER, application_name="sweeper")
    with psycopg.connect(slowly, autocommit=True) as sweeper:
        sweeper.execute("SET vacuum_cost_delay = 50")
        sweeper.execute("SET vacuum_cost_limit = 1")
        pid = sweeper.info.backend_pid
        sweeper.pgconn.send_query(b"VACUUM wide")
        seen = f"SELECT backend_xmin FROM pg_stat_activity WHERE pid = {pid}"
        for _ in range(100):
            if server.query(seen) != [(None,)]:
                break
        assert server.query(seen) != [(None,)]
        told = asked(server).figures
        sweeper.cancel_safe()
        while sweeper.pgconn.get_result() is not None:
            pass
    assert "session:sweeper" not in {f.subject for f in told if f.name == "horizon_age_xids"}


def test_whoever_wrote_something_keeps_rows_between_its_statements(
    shared_server: ScratchServer,
) -> None:
    with psycopg.connect(shared_server.dsn("app", application_name="writer")) as writer:
        writer.execute("SELECT pg_current_xact_id()")
        seen = "SELECT backend_xmin FROM pg_stat_activity WHERE pid = %s"
        [(xmin,)] = shared_server.query(seen, [writer.info.backend_pid])
        found = asked(shared_server)
    assert xmin is None
    assert value(found, "horizon_age_xids", "session:writer") is not None
    assert (value(found, "horizon_held_s", "session:writer") or -1) >= 0


def test_dead_rows_that_a_vacuum_had_to_leave_are_told(make_server: MakeServer) -> None:
    server = make_server(conf={"autovacuum": False})
    with psycopg.connect(server.dsn(SUPERUSER, "app"), autocommit=True) as session:
        for name in ("kept", "swept"):
            session.execute(f"CREATE TABLE {name} AS SELECT generate_series(1, 2000) AS n")  # type: ignore[arg-type]
        session.execute("UPDATE swept SET n = n + 1")
        session.execute("VACUUM (ANALYZE) swept")
        session.execute("UPDATE swept SET n = n + 1")
    with (
        psycopg.connect(server.dsn("app", "app")) as reader,
        psycopg.connect(server.dsn(SUPERUSER, "app"), autocommit=True) as session,
    ):
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute("SELECT count(*) FROM pg_class")
        for _ in range(6):
            session.execute("UPDATE kept SET n = n + 1")
        session.close()
        # Another session, as autovacuum is one: what a session did is counted when it says so.
        with psycopg.connect(server.dsn(SUPERUSER, "app"), autocommit=True) as vacuum:
            vacuum.execute("VACUUM (ANALYZE) kept")
    told = tables_told(server, ("table_dead_rows_left", "public.kept"))
    assert {s for name, s in told if name == "table_dead_rows_left"} == {"public.kept"}
    assert told["table_dead_rows_left", "public.kept"] == 12_000
    assert 0 <= (told["table_vacuum_age_s", "public.kept"] or -1) < 60


def test_a_table_that_was_emptied_is_told_before_and_after_its_session_has_told_it(
    make_server: MakeServer,
) -> None:
    server = make_server(conf={"autovacuum_naptime": "1h"})
    with psycopg.connect(server.dsn(SUPERUSER, "app"), autocommit=True) as session:
        for name in ("cut", "rewritten", "fine"):
            session.execute(f"CREATE TABLE {name} AS SELECT generate_series(1, 3000) AS n")  # type: ignore[arg-type]
        session.execute("ALTER TABLE rewritten ADD PRIMARY KEY (n)")
    with psycopg.connect(server.dsn(SUPERUSER, "app"), autocommit=True) as session:
        session.execute("VACUUM (ANALYZE)")

    with (
        psycopg.connect(server.dsn(SUPERUSER, "app"), autocommit=True) as session,
        psycopg.connect(server.dsn(SUPERUSER, "app"), autocommit=True) as shop,
    ):
        session.execute("TRUNCATE cut")
        session.execute("ALTER TABLE rewritten ALTER n TYPE bigint")
        shop.execute("SELECT n FROM cut WHERE n = 7")
        before = tables_told(server, ("table_rows_in_new_file", "public.cut"))
    after = tables_told(server, ("table_rows_vanished", "public.cut"))
    assert before["table_rows_in_new_file", "public.cut"] == 3000
    assert ("table_rows_in_new_file", "public.rewritten") not in before
    assert (before["table_sessions", "public.cut"] or 0) >= 1
    assert after["table_rows_vanished", "public.cut"] == 3000
    assert {s for name, s in after if name == "table_rows_vanished"} == {"public.cut"}
    for found in (before, after):
        assert 0 <= (found["table_changed_age_s", "public.cut"] or -1) < 60


def test_what_sessions_ran_last_over_whole_tables_is_told_without_its_values(
    shared_server: ScratchServer,
) -> None:
    shared_server.query("CREATE TABLE IF NOT EXISTS renewed_here (n int, word text)")
    with psycopg.connect(
        shared_server.dsn(SUPERUSER, application_name="psql"), autocommit=True
    ) as person:
        person.execute("UPDATE renewed_here SET word = 'hidden-word'")
        [whole] = [f for f in asked(shared_server).figures if f.name == "last_statement"]
        person.execute("UPDATE renewed_here SET word = 'x' WHERE n = n")
        assert [f for f in asked(shared_server).figures if f.name == "last_statement"]
        person.execute("UPDATE renewed_here SET word = 'x' WHERE n = 7")
        assert not [f for f in asked(shared_server).figures if f.name == "last_statement"]
    assert whole.detail == "UPDATE renewed_here SET word = '…'"
    assert whole.subject.endswith("(psql)")
    assert 0 <= (whole.value or 0) < 60


def test_when_a_role_became_a_member_of_a_dangerous_one_is_told(
    make_server: MakeServer,
) -> None:
    server = make_server()
    before = value(asked(server), "dangerous_roles") or 0
    server.query("CREATE ROLE bo")
    server.query("GRANT pg_write_server_files TO bo")
    found = asked(server)
    assert value(found, "dangerous_roles") == before + 1
    assert 0 <= (value(found, "dangerous_member_age_s", "bo") or -1) < 60


def test_sessions_that_wait_in_a_transaction_are_counted_by_application(
    shared_server: ScratchServer,
) -> None:
    with ExitStack() as stack:
        for statements in (["SELECT 1"], ["SELECT 1"], []):
            session = psycopg.connect(shared_server.dsn("app"), application_name="checkout")
            stack.enter_context(session)
            for statement in statements:
                session.execute(statement.encode())
        found = (0.0, "")
        for _ in range(100):
            [(text,)] = shared_server.query(WORKINGS_SQL, user=WATCH_ROLE)
            named = {f.subject: f for f in parse_workings(text).figures if f.name == CROWD}
            found = (named["checkout"].value, named["checkout"].detail)
            if found[0] == 2.0:
                break
            time.sleep(0.05)
    assert found == (2.0, "3")


def test_an_application_none_of_whose_sessions_works_is_told_with_how_long_that_is_so(
    shared_server: ScratchServer,
) -> None:
    with ExitStack() as stack:
        for name, statement in (
            ("charge", "SELECT 1"),
            ("charge", "SELECT 1"),
            ("mixed", "SELECT 1"),
            ("mixed", "COMMIT"),
        ):
            dsn = shared_server.dsn("app")
            session = stack.enter_context(psycopg.connect(dsn, application_name=name))
            session.execute(statement.encode())
        [(text,)] = shared_server.query(WORKINGS_SQL, user=WATCH_ROLE)
    told = [f for f in parse_workings(text).figures if f.name == "idle_in_xact_all_s"]
    [charge] = [f for f in told if f.subject == "charge"]
    assert charge.detail == "2"
    assert 0 <= (charge.value or 0) < 60
    assert "mixed" not in {f.subject for f in told}


@pytest.mark.parametrize(("chars", "cut"), [(500, True), (499, False)])
def test_a_statement_that_the_question_cut_ends_in_an_ellipsis_however_short_it_became(
    chars: int, cut: bool
) -> None:
    text = f"/* {'x' * 400} */ SELECT a FROM orders ORDER BY b"
    names = {"datname": "app", "usename": "app", "application_name": "shop"}
    session = names | {"query": text.ljust(chars, "b"), "sessions": 1}
    answer = {"groups": [], "ended": [session], "locks": [], "figures": []}
    [found] = parse_workings(json.dumps(answer)).ended
    assert found.query.startswith("SELECT a FROM orders")
    assert found.query.endswith("…") is cut
