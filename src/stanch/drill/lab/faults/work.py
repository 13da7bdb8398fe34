"""What the server is asked to do: indexes, plans, reports, bloat."""

from __future__ import annotations

from dataclasses import replace

from stanch.adapters.postgres.scratch_folder import Setting
from stanch.drill.lab.fault import Area, Fault, Needs
from stanch.drill.lab.means import words
from stanch.drill.lab.means.shop import Shop, make_ledgers, make_shop, usual_work
from stanch.drill.lab.means.traffic import (
    KEYS,
    STATEMENTS,
    Traffic,
    ask,
    begin,
    long_running,
    often_statements,
    seq_scans,
    unused_table,
)
from stanch.drill.lab.rig import Rig

# --- indexes ------------------------------------------------------------------------------------


def _prepare_indexed(rig: Rig) -> None:
    made = make_shop(rig, indexed=("key",))
    usual_work(rig, made, made.by_key(), made.by_id())
    rig.notes["index-dropped"] = made


def _drop_index(rig: Rig) -> None:
    made: Shop = rig.notes["index-dropped"]
    who = rig.rng.choice((words.migration(rig.rng), "psql", "DBeaver 24.1 - Main"))
    before = seq_scans(rig, made.table)
    rig.sql(f"DROP INDEX {made.table}_{made.key}_idx", application_name=who)
    rig.until(lambda: seq_scans(rig, made.table) > before + 10)


def _prepare_unindexed(rig: Rig) -> None:
    made = make_shop(rig)
    usual_work(rig, made, made.by_id())
    rig.notes["index-never-made"] = made


def _deploy_query(rig: Rig) -> None:
    made: Shop = rig.notes["index-never-made"]
    fresh = Traffic(
        application=rig.rng.choice((made.application, words.application(rig.rng))),
        scripts=(made.by_key(),),
        sessions=rig.rng.randint(3, 8),
        per_second=rig.rng.randint(20, 60),
    )
    before = seq_scans(rig, made.table)
    begin(rig, fresh)
    rig.until(lambda: seq_scans(rig, made.table) > before + 10)


# --- plans --------------------------------------------------------------------------------------


def _prepare_batches(rig: Rig) -> None:
    """Batches of a few rows, and an application that compares the newest, whichever that is."""
    made = make_ledgers(rig, "batch")
    newest = [rig.rng.randint(20, 40)]
    made.fill(rig, f"1 + n % {newest[0]}", 200 * newest[0])
    made.analyse(rig)
    if rig.rng.random() < 0.5:
        rig.server.set_conf({"autovacuum": False})
    else:
        for table in (made.ours, made.theirs):
            rig.sql(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
    application = words.application(rig.rng)
    ask(
        rig,
        application,
        lambda session: rig.run(session, made.compare(newest[0])),
        sessions=rig.rng.randint(2, 5),
        pause_s=rig.rng.uniform(0.05, 0.2),
    )
    rig.notes["stale-statistics"] = (made, newest, application)


def _load_massively(rig: Rig) -> None:
    made, newest, application = rig.notes["stale-statistics"]
    made.fill(rig, str(newest[0] + 1), rig.rng.randint(7_000, 12_000), words.job(rig.rng))
    newest[0] += 1
    rig.until(lambda: long_running(rig, application, 1))


def _prepare_pages(rig: Rig) -> None:
    made = make_shop(rig, indexed=("key", "made_at"))
    usual = usual_work(rig, made, made.by_key(), made.latest(), made.by_id())
    rig.notes["planner-setting"] = (made, *usual)


def _set_planner(rig: Rig) -> None:
    made: Shop
    made, usual, running = rig.notes["planner-setting"]
    whom = rig.rng.choice(("DATABASE app", "ROLE app", "ROLE app IN DATABASE app"))
    change = rig.rng.choice(("enable_indexscan = off", "random_page_cost = 1000"))
    before = seq_scans(rig, made.table)
    rig.admin(f"ALTER {whom} SET {change}")
    # It holds for sessions that begin from then on: the pool is renewed with the next deployment.
    running.stop()
    begin(rig, usual)
    rig.until(lambda: seq_scans(rig, made.table) > before + 10)


# --- generic plans ------------------------------------------------------------------------------


def _prepare_large_customer(rig: Rig) -> None:
    """One customer with nine rows of ten, and thousands with a few each."""
    smalls = rig.rng.randint(3000, 6000)
    made = make_shop(
        rig,
        rows=(250_000, 400_000),
        key_sql=f"CASE WHEN n % 10 = 0 THEN 2 + (n / 10) % {smalls} ELSE 1 END",
        indexed=("key", "made_at"),
    )
    drawn = f"CASE WHEN random(1, 10) <= 7 THEN 1 ELSE random(2, {smalls + 1}) END"
    usual = Traffic(
        application=made.application,
        scripts=(made.by_key(drawn),),
        sessions=rig.rng.randint(3, 6),
        per_second=rig.rng.randint(30, 70),
        protocol="prepared",
    )
    rig.notes["generic-plan-forced"] = (usual, begin(rig, usual))


def _force_generic(rig: Rig) -> None:
    usual: Traffic
    usual, running = rig.notes["generic-plan-forced"]
    whom = rig.rng.choice(("ROLE", "DATABASE"))
    rig.admin(f"ALTER {whom} app SET plan_cache_mode = 'force_generic_plan'")
    running.stop()
    begin(rig, usual)
    rig.until(lambda: long_running(rig, usual.application, 0.1))


def _prepare_large_account(rig: Rig) -> None:
    key = rig.rng.choice(KEYS)
    made = make_ledgers(rig, key)
    smalls = rig.rng.randint(2000, 4000)
    made.fill(rig, f"2 + n % {smalls}", 2 * smalls)
    made.fill(rig, "1", rig.rng.randint(6_000, 9_000))
    made.analyse(rig)
    drawn = f"CASE WHEN random(1, 10) <= 7 THEN 1 ELSE random(2, {smalls + 1}) END"
    usual = Traffic(
        application=words.application(rig.rng),
        scripts=(f"\\set n {drawn}\n{made.compare(':n')};\n",),
        sessions=rig.rng.randint(2, 5),
        per_second=rig.rng.randint(8, 15),
        protocol="extended",
    )
    rig.notes["generic-plan-sixth"] = (usual, begin(rig, usual))


def _prepare_statements(rig: Rig) -> None:
    usual: Traffic
    usual, running = rig.notes["generic-plan-sixth"]
    running.stop()
    begin(rig, replace(usual, protocol="prepared"))
    rig.until(lambda: long_running(rig, usual.application, 1))


# --- reports ------------------------------------------------------------------------------------


def _prepare_reported(rig: Rig) -> None:
    made = make_shop(rig, indexed=("key",))
    usual_work(rig, made, made.by_key(), made.sums(300))
    rig.notes["report-query"] = made


def _report(rig: Rig) -> None:
    made: Shop = rig.notes["report-query"]
    t, key = made.table, made.key
    text = rig.rng.choice(
        (
            # The condition of the join was forgotten.
            f"SELECT a.state, count(*), avg(b.amount) FROM {t} a, {t} b"
            " WHERE a.made_at > now() - interval '30 days' GROUP BY a.state",
            f"SELECT a.{key}, sum(a.amount * b.amount) FROM {t} a JOIN {t} b"
            f" ON a.amount < b.amount WHERE a.state = 'paid' GROUP BY a.{key}",
            # Nothing bounds what is added up.
            "SELECT count(*) FILTER (WHERE md5(md5(note || g)) LIKE '00%'), sum(amount * g)"
            f" FROM {t}, generate_series(1, 365) g",
        )
    )
    application = f"{words.job(rig.rng)}-{rig.rng.randint(2, 9)}"
    sessions = rig.rng.randint(3, 6)
    rig.keep_asking(text, application=application, sessions=sessions)
    rig.until(lambda: long_running(rig, application, 2, sessions))


# --- dead rows ----------------------------------------------------------------------------------


def _prepare_updated(rig: Rig) -> None:
    """A table that is read whole, as small ones are, and that nobody vacuums."""
    made = make_shop(rig, rows=(25_000, 45_000))
    rig.sql(f"ALTER TABLE {made.table} SET (autovacuum_enabled = off)")
    whole = f"SELECT state, count(*), sum(amount) FROM {made.table} GROUP BY state;\n"
    usual_work(rig, made, whole, made.by_id())
    rig.notes["table-bloat"] = made


def _update_often(rig: Rig) -> None:
    made: Shop = rig.notes["table-bloat"]
    change = rig.rng.choice(
        (f"{made.key} = {made.key} + 1", "amount = amount + 1", "made_at = made_at + '1 s'")
    )
    size = f"SELECT pg_relation_size('{made.table}')"
    grown = rig.sql(size)[0][0] * rig.rng.randint(10, 12)
    session = rig.session(words.job(rig.rng))
    while rig.sql(size)[0][0] < grown:
        rig.run(session, f"UPDATE {made.table} SET {change}")
    session.close()


def _prepare_queue(rig: Rig) -> tuple[str, str]:
    """A queue, short as ever: what comes in is taken out, and nobody indexed what is so small."""
    table, application = unused_table(rig), words.application(rig.rng)
    rig.sql(f"""
        CREATE TABLE {table} (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, state text NOT NULL,
            priority int NOT NULL, payload text, made_at timestamptz DEFAULT now()
        )
    """)
    put = (
        f"INSERT INTO {table} (state, priority, payload)"
        f" VALUES ('ready', 1 + (random() * 4)::int, repeat('x', 150));\n"
    )
    take = (
        f"DELETE FROM {table} WHERE id = (SELECT id FROM {table} WHERE state = 'ready'"
        " ORDER BY priority, id FOR UPDATE SKIP LOCKED LIMIT 1);\n"
    )
    pace = rig.rng.randint(20, 40)
    begin(rig, Traffic(application=application, scripts=(put,), sessions=2, per_second=pace))
    taking = Traffic(
        application=f"{application}-worker",
        scripts=(take,),
        sessions=rig.rng.randint(4, 10),
        per_second=pace * 2,
    )
    begin(rig, taking)
    return table, taking.application


def _flood(rig: Rig, table: str, worker: str) -> None:
    """A day's work came in at once and was taken out again: its rows stay, dead."""
    rows = rig.rng.randint(500_000, 900_000)
    day = f"SELECT 'taken', 1 + n % 5, repeat('x', 150) FROM generate_series(1, {rows}) n"
    insert = f"INSERT INTO {table} (state, priority, payload) {day}"
    rig.sql(insert, application_name=words.job(rig.rng))
    rig.sql(f"DELETE FROM {table} WHERE state = 'taken'", application_name=worker)
    many = f"relname = '{table}' AND n_dead_tup > {rows // 2}"
    rig.until(f"SELECT 1 FROM pg_stat_user_tables WHERE {many}")


def _prepare_unvacuumed_queue(rig: Rig) -> None:
    table, worker = _prepare_queue(rig)
    rig.sql(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
    rig.notes["queue-bloat"] = (table, worker)


def _flood_unvacuumed_queue(rig: Rig) -> None:
    _flood(rig, *rig.notes["queue-bloat"])


def _prepare_starved(rig: Rig) -> None:
    made = make_shop(rig, rows=(150_000, 250_000))
    rig.notes["queue-starved"] = (made, *_prepare_queue(rig))


def _starve(rig: Rig) -> None:
    """The only worker is given weeks of work elsewhere; then the queue has its day."""
    made, table, worker = rig.notes["queue-starved"]
    change = f"UPDATE {made.table} SET state = 'archived' WHERE id % 2 = 0"
    rig.sql(change, application_name=words.job(rig.rng))
    busy = f"SELECT 1 FROM pg_stat_progress_vacuum WHERE relid = '{made.table}'::regclass"
    rig.until(lambda: rig.admin(f"{busy} AND phase <> 'initializing'"))
    _flood(rig, table, worker)


WEAK_AUTOVACUUM: dict[str, Setting] = {
    "autovacuum_max_workers": 1,
    "autovacuum_naptime": "1s",
    "autovacuum_vacuum_cost_delay": "100ms",
    "autovacuum_vacuum_cost_limit": 20,
}
"""As somebody set it once so that vacuuming disturbs nobody."""


FAULTS = (
    Fault(
        id="index-dropped",
        area=Area.WORK,
        story="Somebody dropped the index that the main query uses; it now reads a large table.",
        causes=("missing_index",),
        make=_drop_index,
        needs=Needs(conf=STATEMENTS, prepare=(often_statements, _prepare_indexed)),
        shows_after_s=5,
    ),
    Fault(
        id="index-never-made",
        area=Area.WORK,
        story="A new version asks often by a column that never had an index.",
        causes=("missing_index",),
        make=_deploy_query,
        needs=Needs(conf=STATEMENTS, prepare=(often_statements, _prepare_unindexed)),
        shows_after_s=5,
    ),
    Fault(
        id="stale-statistics",
        area=Area.WORK,
        story="A large batch was loaded and nobody analysed it: the planner expects one row, gets"
        " thousands, and joins them one by one.",
        causes=("plan_flip",),
        make=_load_massively,
        needs=Needs(conf=STATEMENTS, prepare=(often_statements, _prepare_batches)),
        shows_after_s=5,
    ),
    Fault(
        id="planner-setting",
        area=Area.WORK,
        story="Somebody set a parameter of the planner for the whole application, and queries that"
        " used an index read the table instead.",
        causes=("plan_flip",),
        make=_set_planner,
        needs=Needs(conf=STATEMENTS, prepare=(often_statements, _prepare_pages)),
        shows_after_s=5,
    ),
    Fault(
        id="generic-plan-forced",
        area=Area.WORK,
        story="To save planning time somebody forced generic plans; what is right for small"
        " customers is terrible for the large one.",
        causes=("generic_plan",),
        make=_force_generic,
        needs=Needs(conf=STATEMENTS, prepare=(often_statements, _prepare_large_customer)),
        shows_after_s=5,
    ),
    Fault(
        id="generic-plan-sixth",
        area=Area.WORK,
        story="A new driver prepares statements on the server: from the sixth execution on there is"
        " one plan for all customers, and it does not fit the large one.",
        causes=("generic_plan",),
        make=_prepare_statements,
        needs=Needs(conf=STATEMENTS, prepare=(often_statements, _prepare_large_account)),
        shows_after_s=5,
    ),
    Fault(
        id="report-query",
        area=Area.WORK,
        story="A new report was started several times at once; it multiplies a table by itself.",
        causes=("bad_query",),
        make=_report,
        needs=Needs(conf=STATEMENTS, prepare=(often_statements, _prepare_reported)),
        shows_after_s=4,
    ),
    Fault(
        id="table-bloat",
        area=Area.WORK,
        story="A job updates every row again and again where autovacuum is off; reading the table"
        " takes ten times the pages.",
        causes=("autovacuum_starved",),
        make=_update_often,
        needs=Needs(conf=STATEMENTS, prepare=(often_statements, _prepare_updated)),
        shows_after_s=4,
    ),
    Fault(
        id="queue-bloat",
        area=Area.WORK,
        story="A queue without autovacuum had a very busy day; its workers now look for the next"
        " entry among a million dead ones.",
        causes=("autovacuum_starved",),
        make=_flood_unvacuumed_queue,
        needs=Needs(conf=STATEMENTS, prepare=(often_statements, _prepare_unvacuumed_queue)),
        shows_after_s=4,
    ),
    Fault(
        id="queue-starved",
        area=Area.WORK,
        story="The one slow autovacuum worker is busy with a large table, and the queue fills with"
        " dead rows.",
        causes=("autovacuum_starved",),
        make=_starve,
        needs=Needs(
            conf=STATEMENTS | WEAK_AUTOVACUUM, prepare=(often_statements, _prepare_starved)
        ),
        shows_after_s=4,
    ),
)
