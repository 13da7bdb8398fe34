"""Short sessions of the acting role: one statement, in one database, of the watched cluster."""

from __future__ import annotations

import pytest

from stanch.adapters.postgres.acting_visits import ActingVisits
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.model.errors import ProbeFailed

OURS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'stanch acting'"


def visits(server: ScratchServer, *, cluster: str = "") -> ActingVisits:
    return ActingVisits(server.dsn("postgres"), cluster=cluster)


def cluster_of(server: ScratchServer) -> str:
    [(cluster,)] = server.query("SELECT system_identifier::text FROM pg_control_system()")
    return str(cluster)


async def test_a_visit_does_one_thing_in_the_database_it_names_and_leaves(
    server: ScratchServer,
) -> None:
    ours = visits(server, cluster=cluster_of(server))
    done = await ours.execute("app", "CREATE TABLE here (id int)", deadline_s=5)
    assert done.outcome == "failed", "search_path has pg_catalog alone: names are written out"
    done = await ours.execute("app", "CREATE TABLE public.here (id int)", deadline_s=5)
    assert done.outcome == "done"
    rows = await ours.fetch_rows(
        "app",
        "SELECT relname::text FROM pg_class WHERE relname = %(name)s",
        {"name": "here"},
        timeout_s=5,
    )
    assert [row["relname"] for row in rows] == ["here"]
    await ours.fetch_rows("postgres", "SELECT 1 AS one", timeout_s=5)
    while server.query(OURS) != [(0,)]:
        pass


async def test_a_question_of_a_visit_changes_nothing(server: ScratchServer) -> None:
    with pytest.raises(ProbeFailed, match="read-only"):
        await visits(server).fetch_rows("app", "CREATE TABLE public.t (id int)", timeout_s=5)


async def test_nothing_is_sent_to_another_cluster(server: ScratchServer) -> None:
    other = visits(server, cluster="7000000000000000000")
    done = await other.execute("app", "CREATE TABLE public.t (id int)", deadline_s=5)
    assert done.outcome == "not_sent"
    assert "another cluster answers" in done.detail
    with pytest.raises(ProbeFailed, match="another cluster"):
        await other.fetch_rows("app", "SELECT 1 AS one", timeout_s=5)
    assert server.query("SELECT to_regclass('public.t')::text", dbname="app") == [(None,)]


async def test_a_statement_is_ended_by_the_server_when_its_time_is_over(
    server: ScratchServer,
) -> None:
    done = await visits(server).execute("app", "SELECT pg_sleep(60)", deadline_s=1.5)
    assert done.outcome == "in_doubt"
    assert done.sqlstate == "57014"


async def test_it_does_not_queue_for_long_behind_a_lock(server: ScratchServer) -> None:
    server.query("CREATE TABLE t (id int)", dbname="app")
    with server.connect(dbname="app") as holder:
        holder.execute("BEGIN")
        holder.execute("LOCK TABLE t IN ACCESS SHARE MODE")
        done = await visits(server).execute("app", "DROP TABLE public.t", deadline_s=10)
    assert (done.outcome, done.sqlstate) == ("failed", "55P03")


async def test_a_database_that_is_not_there_means_that_nothing_was_sent(
    server: ScratchServer,
) -> None:
    done = await visits(server).execute("nowhere", "SELECT 1", deadline_s=5)
    assert done.outcome == "not_sent"
    assert "nowhere" in done.detail
