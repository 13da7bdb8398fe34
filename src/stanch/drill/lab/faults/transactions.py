"""Transactions: forgotten and overgrown ones, and vacuum that does not get its work done."""

from __future__ import annotations

import struct
from functools import partial

from stanch.drill.lab.fault import Area, Fault, Needs
from stanch.drill.lab.means import words
from stanch.drill.lab.means.counters import advance_multixacts, advance_xids
from stanch.drill.lab.means.tables import churn, crowd, long_query, new_table, wait_for_dead_rows
from stanch.drill.lab.rig import Rig

EAGER_AUTOVACUUM = {"autovacuum_naptime": "1s"}
"""What takes it minutes elsewhere; so nothing lies there that could have been removed."""
PREPARED = {"max_prepared_transactions": 10}

OLD_AGE = (1_650_000_000, 1_980_000_000)
OLDEST_AGE_ALLOWED = 2_000_000_000
"""Somebody raised the limit once, to be rid of vacuums during the day."""


# --- prepared transactions ----------------------------------------------------------------------


def _prepared(rig: Rig, sql: str) -> None:
    """An application server that did the first half of a two-phase commit, and died."""
    number = rig.rng.randrange(16**12)
    gid = rig.rng.choice((f"{number:012x}", f"tx-{number % 10**6}", f"131077_{number:012x}_bqual"))
    session = rig.session(words.application(rig.rng))
    rig.run(session, "BEGIN")
    rig.run(session, sql)
    rig.run(session, f"PREPARE TRANSACTION '{gid}'")
    session.close()
    rig.undo_sql(f"ROLLBACK PREPARED '{gid}'")


def _prepared_with_waiters(rig: Rig) -> None:
    table = new_table(rig, rig.rng.randint(10, 2000))
    some_id = rig.rng.randint(1, 5)
    _prepared(rig, f"UPDATE {table} SET done = 1 WHERE id <= {some_id}")
    wanted = (
        f"UPDATE {table} SET done = 2 WHERE id = {some_id}",
        f"SELECT * FROM {table} WHERE id <= {some_id} FOR UPDATE",
        f"DELETE FROM {table} WHERE id = 1",
    )
    crowd(rig, wanted)


def _prepared_long_ago(rig: Rig) -> None:
    """Some million transactions ago, as far as the server can tell."""
    table = new_table(rig, rig.rng.randint(10, 2000))
    _prepared(rig, f"UPDATE {table} SET done = 1 WHERE id = 1")
    advance_xids(rig.server, rig.rng.randint(1_100_000, 4_000_000))


# --- vacuum is held back ------------------------------------------------------------------------


def _rows_die(rig: Rig) -> None:
    """An application writes as it always does; none of its old rows can be removed."""
    rows = rig.rng.randint(2000, 10_000)
    churn(rig, new_table(rig, rows), dead=rig.rng.randint(1, 6) * rows, pause_s=0.2)


def _idle_transaction_and_dead_rows(rig: Rig) -> None:
    table = new_table(rig, rig.rng.randint(10, 2000))
    idle = rig.session(rig.rng.choice((words.job(rig.rng), words.person(rig.rng), "DBeaver")))
    isolation = rig.rng.choice(("REPEATABLE READ", "READ COMMITTED"))
    rig.run(idle, f"BEGIN ISOLATION LEVEL {isolation}")
    rig.run(idle, f"SELECT count(*) FROM {table}")
    if isolation == "READ COMMITTED":
        # Only what has written something holds rows back between two statements.
        rig.run(idle, f"INSERT INTO {table} VALUES (0, 0, 'note')")
    _rows_die(rig)


def _replica_that_went_away(rig: Rig) -> None:
    """A standby with feedback said what it still needs, and was never seen again."""
    slot = rig.rng.choice(("replica2", "standby_old", "db3_slot", "reporting"))
    rig.admin("SELECT pg_create_physical_replication_slot(%s, true)", [slot])
    xmin, at = rig.admin(
        "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint, pg_current_wal_lsn()::text"
    )[0]
    replica = rig.server.connect(replication="true")
    try:
        replica.pgconn.exec_(f"START_REPLICATION SLOT {slot} PHYSICAL {at}".encode())
        # "Hot Standby feedback message": the time, xmin and catalog_xmin, each with its epoch.
        replica.pgconn.put_copy_data(struct.pack("!cqIIII", b"h", 0, xmin, 0, 0, 0))
        replica.pgconn.flush()
        rig.until("SELECT 1 FROM pg_replication_slots WHERE xmin IS NOT NULL")
    finally:
        replica.close()
    rig.until("SELECT 1 FROM pg_replication_slots WHERE NOT active")
    advance_xids(rig.server, rig.rng.randint(5_000_000, 120_000_000))


def _standby_asks_for_old_rows(rig: Rig) -> None:
    standby = rig.standby
    assert standby is not None, "it takes a standby"
    table = new_table(rig, rig.rng.randint(400, 3000))
    rig.until(partial(standby.query, f"SELECT 1 FROM {table}", dbname="app"))
    report = standby.connect("app", application_name=words.job(rig.rng))
    rig.undo(report.close)
    report.pgconn.send_query(long_query(rig, table).encode())
    rig.undo(report.cancel)
    told = "SELECT 1 FROM pg_stat_replication WHERE backend_xmin IS NOT NULL"
    rig.until(lambda: rig.admin(told))
    _rows_die(rig)


# --- vacuum does not come -----------------------------------------------------------------------


def _autovacuum_off(rig: Rig) -> None:
    rows = rig.rng.randint(3000, 10_000)
    tables = [new_table(rig, rows) for _ in range(rig.rng.randint(1, 3))]
    if rig.rng.random() < 0.5:
        rig.admin("ALTER SYSTEM SET autovacuum = off")
        rig.admin("SELECT pg_reload_conf()")
        rig.until("SELECT 1 FROM pg_settings WHERE name = 'autovacuum' AND setting = 'off'")
    else:
        for table in tables:
            rig.sql(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
    for table in tables:
        # What has an index on it cannot be cleared away in passing, page by page.
        rig.sql(f"CREATE INDEX ON {table} (done)")
        churn(rig, table, dead=5 * rows, pause_s=0.2)


def _autovacuum_too_slow(rig: Rig) -> None:
    rows = rig.rng.randint(2000, 6000)
    tables = [new_table(rig, rows) for _ in range(rig.rng.randint(2, 3))]
    for table in tables:
        rig.sql(f"CREATE INDEX ON {table} (done)")
        rig.sql(f"ANALYZE {table}")
        churn(rig, table, dead=4 * rows, pause_s=0.2)
    at_work = "SELECT 1 FROM pg_stat_activity WHERE backend_type = 'autovacuum worker'"
    rig.until(lambda: rig.admin(at_work))


def _queue_table(rig: Rig) -> None:
    """Rows come, are worked on and go: a small table with a large file."""
    rows = rig.rng.randint(200_000, 400_000)
    table, application = new_table(rig, rows), words.application(rig.rng)
    worker, left = rig.session(application), rig.rng.randint(50, 400)
    batch = rig.rng.randint(10_000, 40_000)
    for first in range(1, rows, batch):
        taken = f"id BETWEEN {first} AND {first + batch - 1}"
        rig.run(worker, f"UPDATE {table} SET done = 1 WHERE {taken}")
        rig.run(worker, f"DELETE FROM {table} WHERE {taken} AND id % {left} <> 0")
    worker.close()
    try_again = f"UPDATE {table} SET done = done + 1 WHERE done < 100000"
    rig.keep_asking(try_again, application=application, pause_s=0.2)
    wait_for_dead_rows(rig, table, rows // 2)


# --- counters that run out ----------------------------------------------------------------------


def _xids_used_up(rig: Rig) -> None:
    advance_xids(rig.server, rig.rng.randint(*OLD_AGE))


def _multixacts_used_up(rig: Rig) -> None:
    advance_multixacts(rig.server, rig.rng.randint(*OLD_AGE))


def _age_is_seen(age: str, rig: Rig) -> None:
    """Nothing has to be done any more: it came with the years."""
    rig.until(f"SELECT 1 FROM pg_database WHERE {age} > 1600000000 AND datname = 'app'")


# --- statements that are cut short, and transactions in transactions ----------------------------


def _slow_queries(rig: Rig) -> None:
    """What the application asks takes a while, and that is fine."""
    table = new_table(rig, rig.rng.randint(3000, 5000))
    ask = f"SELECT count(*) FROM {table} a JOIN {table} b ON a.id % 10 = b.id % 10"
    application = words.application(rig.rng)

    # Each with a session of its own, as from an application without a pool.
    def work() -> None:
        rig.sql(ask, application_name=application)

    rig.keep(work, threads=rig.rng.randint(1, 2), pause_s=0.4)


def _timeout_too_low(rig: Rig) -> None:
    limit = f"SET statement_timeout = '{rig.rng.choice((20, 25, 50))}ms'"
    where = rig.rng.choice(("ROLE app", "DATABASE app", "SYSTEM"))
    rig.admin(f"ALTER {where} {limit}")
    rig.admin("SELECT pg_reload_conf()")

    def cancelled() -> bool:
        return rig.server.log_text().count("due to statement timeout") >= 5

    rig.until(cancelled)


def _thousands_of_savepoints(rig: Rig) -> None:
    rows, before_s = rig.rng.randint(500, 2000), rig.rng.randint(70_000, 110_000)
    table = new_table(rig, rows)
    each = f"BEGIN UPDATE {table} SET done = done + 1 WHERE id = n % {rows} + 1; "
    each += "EXCEPTION WHEN unique_violation THEN NULL; END; "
    # Fast at first, then row by row, as whatever it reads comes in.
    slower = f"IF n > {before_s} THEN PERFORM pg_sleep(0.01); END IF; "
    job = rig.session(words.job(rig.rng))
    rig.send(job, f"DO $$ BEGIN FOR n IN 1..10000000 LOOP {each}{slower}END LOOP; END $$")
    rig.undo(job.cancel)
    rig.keep_asking(
        f"SELECT sum(done) FROM {table}",
        application=words.application(rig.rng),
        sessions=rig.rng.randint(4, 10),
        pause_s=0.02,
    )
    looked_up = "lower(name) LIKE 'subtrans%' AND blks_hit + blks_read > 100000"
    rig.until(f"SELECT 1 FROM pg_stat_slru WHERE {looked_up}")


FAULTS = (
    Fault(
        id="prepared-transaction-with-waiters",
        area=Area.LOCKS,
        story="An application server died between the two phases of a commit: its prepared "
        "transaction still holds rows that others want.",
        causes=("prepared_transaction_orphaned",),
        make=_prepared_with_waiters,
        needs=Needs(conf=PREPARED),
        shows_after_s=4.0,
    ),
    Fault(
        id="prepared-transaction-forgotten",
        area=Area.LOCKS,
        story="A prepared transaction was forgotten millions of transactions ago; nobody waits "
        "for it, but no row that died since then can be removed.",
        causes=("prepared_transaction_orphaned",),
        make=_rows_die,
        needs=Needs(conf={**PREPARED, **EAGER_AUTOVACUUM}, prepare=(_prepared_long_ago,)),
        shows_after_s=4.0,
    ),
    Fault(
        id="idle-transaction-and-dead-rows",
        area=Area.LOCKS,
        story="Somebody left a transaction open; nobody waits for it, but dead rows pile up "
        "that vacuum may not remove.",
        causes=("idle_in_transaction",),
        make=_idle_transaction_and_dead_rows,
        needs=Needs(conf=EAGER_AUTOVACUUM),
        shows_after_s=8.0,
    ),
    Fault(
        id="replica-that-went-away",
        area=Area.LOCKS,
        story="A replica was taken away and its slot stayed: the server keeps every row that the "
        "replica could have wanted to see.",
        causes=("vacuum_held_back",),
        make=_rows_die,
        needs=Needs(conf=EAGER_AUTOVACUUM, prepare=(_replica_that_went_away,)),
        shows_after_s=4.0,
    ),
    Fault(
        id="standby-asks-for-old-rows",
        area=Area.LOCKS,
        story="A report runs for hours on a standby with hot_standby_feedback, and the primary "
        "may not remove what the report could still read.",
        causes=("vacuum_held_back",),
        make=_standby_asks_for_old_rows,
        needs=Needs(
            conf={
                **EAGER_AUTOVACUUM,
                "hot_standby_feedback": True,
                "wal_receiver_status_interval": "1s",
            },
            standby=True,
        ),
        shows_after_s=8.0,
    ),
    Fault(
        id="autovacuum-starved",
        area=Area.LOCKS,
        story="Somebody switched autovacuum off to have a quiet hour, and did not switch it on "
        "again: dead rows pile up.",
        causes=("autovacuum_starved",),
        make=_autovacuum_off,
        needs=Needs(conf=EAGER_AUTOVACUUM),
        shows_after_s=4.0,
    ),
    Fault(
        id="autovacuum-too-slow",
        area=Area.LOCKS,
        story="Autovacuum was throttled so far, with one worker, that rows die faster than it "
        "removes them.",
        causes=("autovacuum_starved",),
        make=_autovacuum_too_slow,
        needs=Needs(
            conf={
                **EAGER_AUTOVACUUM,
                "autovacuum_max_workers": 1,
                "autovacuum_vacuum_cost_delay": "100ms",
                "autovacuum_vacuum_cost_limit": 1,
            }
        ),
        shows_after_s=6.0,
    ),
    Fault(
        id="queue-table",
        area=Area.LOCKS,
        story="A table serves as a queue: a few live rows among some hundred thousand dead "
        "ones, and every look at it reads them all.",
        causes=("table_bloat",),
        make=_queue_table,
        shows_after_s=4.0,
    ),
    Fault(
        id="xids-used-up",
        area=Area.LOCKS,
        story="Nothing froze old rows for years, and the transaction ids are nearly used up.",
        causes=("xid_wraparound",),
        make=partial(_age_is_seen, "age(datfrozenxid)"),
        needs=Needs(
            conf={"autovacuum_freeze_max_age": OLDEST_AGE_ALLOWED}, prepare=(_xids_used_up,)
        ),
    ),
    Fault(
        id="multixacts-used-up",
        area=Area.LOCKS,
        story="Rows were locked by several at once for years, nothing froze them, and the "
        "MultiXact ids are nearly used up.",
        causes=("multixact_wraparound",),
        make=partial(_age_is_seen, "mxid_age(datminmxid)"),
        needs=Needs(
            conf={"autovacuum_multixact_freeze_max_age": OLDEST_AGE_ALLOWED},
            prepare=(_multixacts_used_up,),
        ),
    ),
    Fault(
        id="statement-timeout-too-low",
        area=Area.LOCKS,
        story="Somebody set statement_timeout far too low, and the application's ordinary "
        "queries are cancelled one after the other.",
        causes=("statement_timeouts",),
        make=_timeout_too_low,
        needs=Needs(prepare=(_slow_queries,)),
        shows_after_s=4.0,
    ),
    Fault(
        id="thousands-of-savepoints",
        area=Area.LOCKS,
        story="A job catches an error around every row it writes, all in one transaction; who "
        "reads the same rows has to look up its thousands of subtransactions.",
        causes=("subtransaction_overflow",),
        make=_thousands_of_savepoints,
        shows_after_s=6.0,
    ),
)
