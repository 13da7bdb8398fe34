"""Told incidents: statements that had been quick the day before."""

from __future__ import annotations

import random
from contextlib import suppress

import psycopg

from stanch.drill.lab.fault import Area, Fault, Needs, NotMade
from stanch.drill.lab.means.estate import Records, busy, estate, everyday, records, says, unused
from stanch.drill.lab.means.traffic import STATEMENTS, long_running, often_statements, seq_scans
from stanch.drill.lab.rig import Rig

NOTE = "incidents-plans"
TRIES = 200


# --- statistics ---------------------------------------------------------------------------------


def _listed_by_account(rig: Rig) -> None:
    """The newest few of one account, of which each has a handful."""
    made = records(rig, rows=rig.rng.randint(180_000, 260_000))
    rig.notes[NOTE] = made
    everyday(rig, made.one)
    _ask_newest(rig, made, sessions=3, pause_s=0.1)


def _newest(made: Records, rng: random.Random) -> str:
    whose = rng.randint(1, made.accounts)
    return (
        f"SELECT id, state, amount FROM {made.name} WHERE account_id = {whose}"
        " ORDER BY id DESC LIMIT 60"
    )


def _ask_newest(rig: Rig, made: Records, *, sessions: int, pause_s: float) -> None:
    says(
        rig,
        lambda rng: _newest(made, rng),
        role=estate(rig).web,
        application="api-list",
        sessions=sessions,
        pause_s=pause_s,
    )


def _column_widened(rig: Rig) -> None:
    """As told in https://bytesizeddesign.substack.com/p/when-a-foreign-key-crashed-heroku: the
    column of the key was widened in a hurry, and its statistics went with it."""
    made: Records = rig.notes[NOTE]
    change = f"ALTER TABLE {made.name} ALTER COLUMN account_id TYPE bigint"
    rig.sql(change, user=estate(rig).deployer, application_name="emergency-fix")
    _ask_newest(rig, made, sessions=rig.rng.randint(2, 4), pause_s=0.05)
    rig.until(lambda: _plan(rig, _newest(made, rig.rng)).count("_pkey") == 1)


def _plan(rig: Rig, sql: str) -> str:
    return "\n".join(line for (line,) in rig.sql(f"EXPLAIN {sql}"))


def _rarely_set(rig: Rig) -> None:
    """Two tables with a column that hardly any row has a value in."""
    rng, made = rig.rng, list[str]()
    for _ in range(2):
        names = ("identities", "users", "sign_ins", "tenants")
        table = f"{estate(rig).schema}.{unused(rig, names)}"
        rows, every = rng.randint(280_000, 340_000), rng.randint(120, 150)
        rig.sql(
            f"CREATE TABLE {table} AS SELECT n::bigint AS id, md5(n::text) AS email,"
            f" CASE WHEN n % {every} = 0 THEN md5((n / {every})::text) END AS sso_ref"
            f" FROM generate_series(1, {rows}) n"
        )
        rig.sql(f"CREATE INDEX ON {table} (id) WHERE sso_ref IS NOT NULL")
        # As somebody set it once to have shorter nights.
        rig.sql(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
        rig.sql(f"VACUUM (ANALYZE) {table}")
        made.append(table)
    rig.notes[NOTE] = made
    small = records(rig, rows=rng.randint(2_000, 6_000))
    everyday(rig, small.usual)
    says(
        rig,
        lambda _rng: _matched(made),
        role=estate(rig).web,
        application="sso-sync",
        sessions=rng.randint(2, 4),
        pause_s=rng.uniform(0.05, 0.2),
    )


def _matched(tables: list[str]) -> str:
    one, other = tables
    return (
        f"SELECT count(*) FROM {one} a JOIN {other} b ON a.sso_ref = b.sso_ref"
        " WHERE a.sso_ref IS NOT NULL AND b.sso_ref IS NOT NULL"
    )


def _sample_without_values(rig: Rig) -> None:
    """As told in https://www.pgconsole.com/blog/postgres-query-plan-flips."""
    tables: list[str] = rig.notes[NOTE]
    analyze = rig.session("nightly-analyze", user=estate(rig).deployer)
    rig.run(analyze, "SET default_statistics_target = 1")
    for table in tables:
        schema, _, name = table.partition(".")
        found = (
            f"SELECT null_frac FROM pg_stats WHERE schemaname = '{schema}'"
            f" AND tablename = '{name}' AND attname = 'sso_ref'"
        )
        for _ in range(TRIES):
            rig.run(analyze, f"ANALYZE {table}")
            if rig.run(analyze, found) == [(1.0,)]:
                break
        else:
            raise NotMade("each sample has some of the rare values")
    rig.until(lambda: "Nested Loop" in _plan(rig, _matched(tables)))
    rig.until(lambda: long_running(rig, "sso-sync", 0.2), seconds=60)


# --- indexes ------------------------------------------------------------------------------------


def _searched_by_body(rig: Rig) -> None:
    made = records(rig, rows=rig.rng.randint(220_000, 320_000))
    rig.sql(f"CREATE INDEX {made.short}_body ON {made.name} (body)")
    rig.notes[NOTE] = made
    everyday(rig, made.one)
    says(
        rig,
        lambda rng: f"SELECT id FROM {made.name} WHERE body = md5('{made.any_id(rng)}')",
        role=estate(rig).web,
        application="search",
        sessions=rig.rng.randint(2, 4),
        pause_s=rig.rng.uniform(0.05, 0.15),
    )


def _rebuild_called_off(rig: Rig) -> None:
    """The old index was dropped first; the new one met a timeout, and is there and invalid."""
    made: Records = rig.notes[NOTE]
    home = estate(rig)
    migration = rig.session("strong_migrations", user=home.deployer)
    before = seq_scans(rig, made.short)
    rig.run(migration, f"DROP INDEX CONCURRENTLY {home.schema}.{made.short}_body")
    # Whoever builds one side by side waits for the transactions that are older.
    report = rig.session("Tableau", user=home.analyst)
    busy(rig, report, f"SELECT max(body), pg_sleep(3600) FROM {made.name} WHERE id < 100")
    rig.run(migration, f"SET statement_timeout = '{rig.rng.randint(1500, 3000)}ms'")
    with suppress(psycopg.errors.QueryCanceled):
        index = f"{made.short}_body_fast"
        rig.run(migration, f"CREATE INDEX CONCURRENTLY {index} ON {made.name} (body, id)")
        raise NotMade("the index was built in time")
    migration.close()
    report.cancel()
    rig.until(lambda: rig.admin("SELECT 1 FROM pg_index WHERE NOT indisvalid"))
    rig.until(lambda: seq_scans(rig, made.short) > before + 8)


# --- new statements -----------------------------------------------------------------------------


def _paged(rig: Rig) -> None:
    made = records(rig, rows=rig.rng.randint(200_000, 300_000))
    rig.notes[NOTE] = made
    everyday(rig, made.usual)
    often_statements(rig)


def _crawled(rig: Rig) -> None:
    """A crawler found the page numbers, and follows them to the last one."""
    made: Records = rig.notes[NOTE]

    def page(rng: random.Random) -> str:
        first = rng.randint(made.rows // 2, made.rows - 50)
        return (
            f"SELECT id, account_id, state, amount, body, count(*) OVER () AS total"
            f" FROM {made.name} ORDER BY made_at DESC, body OFFSET {first} LIMIT 50"
        )

    sessions = rig.rng.randint(3, 6)
    says(rig, page, role=estate(rig).web, application="public-index", sessions=sessions)
    rig.until(lambda: long_running(rig, "public-index", 0.3), seconds=40)


# --- a queue ------------------------------------------------------------------------------------


def _job_queue(rig: Rig) -> None:
    """Workers take the first free job and remove it; rows come and go all day."""
    home = estate(rig)
    jobs = f"{home.schema}.{unused(rig, ('jobs', 'delayed_jobs', 'que_jobs', 'good_jobs'))}"
    rig.sql(
        f"CREATE TABLE {jobs} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
        " run_at timestamptz NOT NULL DEFAULT now(), args text)"
    )
    rig.sql(f"CREATE INDEX ON {jobs} (run_at, id)")
    made = records(rig, rows=rig.rng.randint(2_000, 6_000))
    everyday(rig, made.usual)
    rig.notes["incidents-queue"] = (jobs, made)


def _report_beside_queue(rig: Rig) -> None:
    """As told in https://brandur.org/postgres-queues."""
    jobs, made = rig.notes["incidents-queue"]
    home = estate(rig)
    export = rig.session("redshift-copy", user=home.analyst)
    rig.run(export, "BEGIN ISOLATION LEVEL REPEATABLE READ")
    rig.run(export, f"SELECT count(*) FROM {jobs}")
    busy(rig, export, f"SELECT id, body, pg_sleep(0.5) FROM {made.name} ORDER BY id")
    at_once = rig.rng.randint(60, 150)
    says(
        rig,
        lambda _rng: f"INSERT INTO {jobs} (args) SELECT 'mail' FROM generate_series(1, {at_once})",
        role=home.web,
        application="enqueue",
        pause_s=0.03,
    )
    take = (
        f"DELETE FROM {jobs} WHERE id IN (SELECT id FROM {jobs} ORDER BY run_at, id"
        f" LIMIT {at_once} FOR UPDATE SKIP LOCKED)"
    )
    says(rig, lambda _rng: take, role=home.worker, application="que", sessions=2, pause_s=0.02)
    many = rig.rng.randint(8_000, 15_000)
    dead = "SELECT 1 FROM pg_stat_user_tables WHERE relid = %s::regclass AND n_dead_tup > %s"
    rig.until(lambda: rig.admin(dead, (jobs, many)), seconds=60)


FAULTS = (
    Fault(
        id="widened-column-lost-its-statistics",
        area=Area.WORK,
        story="A column's type was changed in a hurry, and the server forgot what it knew about its"
        " values; the main list now walks the whole table.",
        causes=("plan_flip",),
        make=_column_widened,
        needs=Needs(conf=STATEMENTS, prepare=(_listed_by_account, often_statements)),
        shows_after_s=8.0,
    ),
    Fault(
        id="sample-without-the-rare-values",
        area=Area.WORK,
        story="The nightly ANALYZE met none of the few values of a column; the planner expects no"
        " row where there are hundreds, and joins them all with each other.",
        causes=("plan_flip",),
        make=_sample_without_values,
        needs=Needs(conf=STATEMENTS, prepare=(_rarely_set, often_statements)),
        shows_after_s=8.0,
    ),
    Fault(
        id="index-rebuild-called-off",
        area=Area.WORK,
        story="A migration dropped an index and built its successor, which was called off by a"
        " timeout and stayed invalid; searches now read the whole table.",
        causes=("missing_index",),
        make=_rebuild_called_off,
        needs=Needs(conf=STATEMENTS, prepare=(_searched_by_body, often_statements)),
        shows_after_s=8.0,
    ),
    Fault(
        id="crawler-turns-every-page",
        area=Area.WORK,
        story="A crawler found the numbered pages of a new list, and asks for the last ones: each"
        " sorts everything before it.",
        causes=("bad_query",),
        make=_crawled,
        needs=Needs(conf=STATEMENTS, prepare=(_paged,)),
        shows_after_s=8.0,
    ),
    Fault(
        id="export-keeps-dead-jobs",
        area=Area.LOCKS,
        story="An export reads for hours in one transaction; the job queue beside it fills with"
        " dead rows, and each worker has to look past all of them.",
        causes=("vacuum_held_back",),
        make=_report_beside_queue,
        needs=Needs(conf={"autovacuum_naptime": "1s"}, prepare=(_job_queue,)),
        shows_after_s=8.0,
    ),
)
