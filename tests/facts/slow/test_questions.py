"""The slow lane's questions on real servers of every version, and their answers' reader."""

from __future__ import annotations

import json
from contextlib import closing

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samplings import Watched, seen
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.facts.slow.questions import (
    OF_A_DATABASE,
    OF_THE_SERVER,
    SlowAnswer,
    SlowQuestion,
    read_slow,
)
from stanch.model.changes import ItemKind
from stanch.model.errors import ProbeFailed

on_15 = pytest.mark.parametrize("pg_major", [15], indirect=True)
BY_NAME = {question.name: question for question in (*OF_THE_SERVER, *OF_A_DATABASE)}
SUPERUSERS_ONLY = ("hba", "setting_files")


def asked(server: ScratchServer, question: SlowQuestion, user: str = "stanch_watch") -> SlowAnswer:
    with closing(psycopg.connect(server.dsn(user, "app"), autocommit=True)) as session:
        session.execute("SET search_path = pg_catalog")
        row = session.execute(question.sql.encode()).fetchone()
    assert row is not None
    return read_slow(question, row[0])


def value(answer: SlowAnswer, name: str, subject: str = "") -> float | None:
    [found] = [r for r in answer.readings if (r.name, r.subject) == (name, subject)]
    return found.value


def test_every_question_is_answered_and_gives_what_it_promises(
    shared_server: ScratchServer, pg_major: int
) -> None:
    for question in (*OF_THE_SERVER, *OF_A_DATABASE):
        if not question.fits(pg_major * 10000):
            continue
        user = "postgres" if question.name in SUPERUSERS_ONLY else "stanch_watch"
        answer = asked(shared_server, question, user)
        assert {r.name for r in answer.readings} <= set(question.makes), question.name
        assert all(r.value is not None for r in answer.readings), question.name


def test_the_right_question_about_checkpoints_fits_each_version() -> None:
    for version_num in (130000, 160014, 170010, 180001):
        [one] = [q for q in OF_THE_SERVER if q.name == "checkpoints" and q.fits(version_num)]
        assert ("pg_stat_checkpointer" in one.sql) == (version_num >= 170000)


def test_a_sequence_and_its_integer_key_near_their_ends_are_told(server: ScratchServer) -> None:
    for statement in (
        "CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY)",
        "CREATE TABLE wide (id bigint GENERATED ALWAYS AS IDENTITY)",
        "SELECT setval('orders_id_seq', 2000000000), setval('wide_id_seq', 2000000000)",
        "CREATE SEQUENCE round MAXVALUE 10 CYCLE",
        "SELECT setval('round', 9)",
        "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO stanch_watch",
    ):
        server.query(statement, dbname="app")
    answer = asked(server, BY_NAME["keys"])
    assert value(answer, "int4_key_used_pct", "app.public.orders.id") == pytest.approx(
        93.1, abs=0.1
    )
    wide = value(answer, "sequence_used_pct", "app.public.wide_id_seq")
    assert wide == pytest.approx(0, abs=0.001), "a bigint has room"
    assert not any("round" in r.subject for r in answer.readings), "one that cycles never ends"


def test_a_key_that_no_sequence_fills_is_estimated_and_one_drawn_at_random_is_not(
    server: ScratchServer,
) -> None:
    for statement in (
        "CREATE TABLE filled (tenant int, id int, PRIMARY KEY (tenant, id))",
        "INSERT INTO filled SELECT 7, 1900000000 + g FROM generate_series(1, 5000) g",
        "CREATE TABLE small (id smallint UNIQUE)",
        "INSERT INTO small SELECT g FROM generate_series(1, 30000) g",
        "CREATE TABLE random (id int PRIMARY KEY)",
        "INSERT INTO random SELECT (g * 7919::bigint * 104729 % 2147483647)::int"
        " FROM generate_series(1, 5000) g",
        "CREATE TABLE wide (id bigint PRIMARY KEY)",
        "INSERT INTO wide SELECT 2000000000 + g FROM generate_series(1, 5000) g",
        "CREATE TABLE plain (amount int)",
        "INSERT INTO plain SELECT 2000000000 + g FROM generate_series(1, 5000) g",
        "CREATE TABLE counted (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY)",
        "INSERT INTO counted SELECT FROM generate_series(1, 100)",
        "ANALYZE",
    ):
        server.query(statement, dbname="app")
    answer = asked(server, BY_NAME["keys"], "postgres")
    told = {
        r.subject.removeprefix("app.public."): (round(r.value or 0), r.detail)
        for r in answer.readings
        if r.name == "int4_key_used_pct"
    }
    guess = "estimated from statistics"
    assert told == {
        "filled.id": (88, guess),
        "filled.tenant": (0, guess),
        "small.id": (92, guess),
        "counted.id": (0, ""),
    }
    raised = Watched().look(0, seen(readings=answer.readings)).raised
    near = ("filled.id", "small.id")
    assert set(raised) == {f"int4_key_near_end:app.public.{name}" for name in near}
    assert asked(server, BY_NAME["keys"]).readings == (), "nothing that this role may not read"


@on_15
def test_a_locked_sequence_is_left_out_and_not_waited_for(server: ScratchServer) -> None:
    server.query("CREATE SEQUENCE held", dbname="app")
    server.query("CREATE SEQUENCE free", dbname="app")
    server.query("SELECT setval('held', 5), setval('free', 5)", dbname="app")
    with closing(psycopg.connect(server.dsn(dbname="app"))) as holder:
        holder.execute("ALTER SEQUENCE held INCREMENT 2")
        answer = asked(server, BY_NAME["keys"], "postgres")
    assert {r.subject for r in answer.readings} == {"app.public.free"}


def test_an_index_whose_building_failed_is_invalid(server: ScratchServer) -> None:
    server.query("CREATE TABLE twice AS SELECT 1 AS n FROM generate_series(1, 2)", dbname="app")
    assert value(asked(server, BY_NAME["indexes"]), "invalid_indexes", "app") == 0
    with (
        closing(psycopg.connect(server.dsn(dbname="app"), autocommit=True)) as session,
        pytest.raises(psycopg.errors.UniqueViolation),
    ):
        session.execute("CREATE UNIQUE INDEX CONCURRENTLY once ON twice (n)")
    answer = asked(server, BY_NAME["indexes"])
    assert value(answer, "invalid_indexes", "app") == 1
    assert answer.readings[0].detail == "public.once"


def test_a_role_with_a_way_to_the_servers_programs_is_dangerous(server: ScratchServer) -> None:
    before = value(asked(server, BY_NAME["roles"]), "dangerous_roles")
    server.query("CREATE ROLE loaders NOLOGIN")
    server.query("CREATE ROLE harmless LOGIN CREATEDB")
    assert value(asked(server, BY_NAME["roles"]), "dangerous_roles") == before
    server.query("GRANT pg_execute_server_program TO loaders")
    server.query("GRANT loaders TO harmless")
    answer = asked(server, BY_NAME["roles"])
    assert before is not None
    assert value(answer, "dangerous_roles") == before + 2, "the group and who is in it"
    [harmless] = [i for i in answer.items if i.name == "harmless"]
    assert harmless.value == "login createdb member of loaders"


def test_errors_in_the_files_are_counted_and_a_pending_restart_is_none(
    server: ScratchServer,
) -> None:
    server.set_conf({"max_connections": 77})
    server.query("SELECT pg_reload_conf()")
    pending = BY_NAME["settings"]
    for _ in range(200):
        if value(asked(server, pending), "settings_pending_restart"):
            break
    answer = asked(server, pending)
    assert value(answer, "settings_pending_restart") == 1
    assert answer.readings[0].detail == "max_connections"
    assert value(asked(server, BY_NAME["setting_files"], "postgres"), "settings_errors") == 0
    assert value(asked(server, BY_NAME["hba"], "postgres"), "hba_errors") == 0
    hba = server.data_directory / "pg_hba.conf"
    [(hba_file,)] = server.query("SHOW hba_file")
    assert hba_file
    server.folder.write_owned(type(hba)(hba_file), "host all all all trust\nhost all nonsense\n")
    assert value(asked(server, BY_NAME["hba"], "postgres"), "hba_errors") == 1


@on_15
def test_what_may_hold_a_password_is_no_readable_item(server: ScratchServer) -> None:
    server.set_conf({"primary_conninfo": "host=h password=secret", "work_mem": "5MB"})
    server.query("SELECT pg_reload_conf()")
    items = {i.name: i.value for i in asked(server, BY_NAME["settings"]).items}
    for _ in range(200):
        items = {i.name: i.value for i in asked(server, BY_NAME["settings"]).items}
        if "primary_conninfo" in items:
            break
    assert items["primary_conninfo"].startswith("md5 ")
    assert items["work_mem"] == "5120 kB"
    assert "secret" not in str(items)


def test_a_changed_column_changes_the_value_of_its_table(server: ScratchServer) -> None:
    def table() -> str:
        items = asked(server, BY_NAME["inventory"]).items
        [found] = [i for i in items if i.name == "app.public.t" and i.kind is ItemKind.RELATION]
        return found.value

    server.query("CREATE TABLE t (a int)", dbname="app")
    before = table()
    server.query("INSERT INTO t VALUES (1)", dbname="app")
    assert table() == before
    server.query("ALTER TABLE t ADD b int", dbname="app")
    assert table() != before


def test_the_databases_that_may_be_visited_are_named(server: ScratchServer) -> None:
    server.query("CREATE DATABASE closed ALLOW_CONNECTIONS false")
    answer = asked(server, BY_NAME["databases"])
    assert set(answer.databases) == {"postgres", "app"}
    assert {i.name for i in answer.items if i.kind is ItemKind.DATABASE} >= {"closed", "template1"}


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["readings", "items", "databases"]), _JSON))
def test_an_answer_of_any_shape_is_read_or_is_a_named_failure(answer: dict[str, object]) -> None:
    said = ""
    try:
        read_slow(BY_NAME["keys"], json.dumps(answer))
    except ProbeFailed as failed:
        said = failed.what
    assert not said or "keys" in said


def test_a_reading_that_the_question_does_not_make_is_refused() -> None:
    stranger = {"readings": [{"name": "connections_used_pct", "value": 100}]}
    with pytest.raises(ProbeFailed, match="not one of its readings"):
        read_slow(BY_NAME["keys"], json.dumps(stranger))
