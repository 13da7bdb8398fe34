"""Locks: who holds what others want."""

from __future__ import annotations

import time
from functools import partial

from psycopg import sql
from psycopg.errors import DeadlockDetected, OutOfMemory

from stanch.drill.lab.fault import Area, Fault, Needs, NotMade
from stanch.drill.lab.means import words
from stanch.drill.lab.means.tables import begin_long, crowd, long_query, new_table, wait_for_locks
from stanch.drill.lab.rig import Hand, Rig, Session

TENANTS = 2500
MOST_KEYS = 200_000
OUT_OF_LOCKS = "max_locks_per_transaction"

DDL = (
    "ALTER TABLE {} ADD COLUMN noted_at timestamptz",
    "ALTER TABLE {} ALTER COLUMN id TYPE bigint",
    "ALTER TABLE {} ADD CONSTRAINT done_known CHECK (done >= 0)",
    "ALTER TABLE {} DROP COLUMN note",
    "ALTER TABLE {} RENAME COLUMN note TO remark",
)


def _ddl(rig: Hand, table: str) -> str:
    return rig.rng.choice(DDL).format(table)


def _reads(rig: Hand, table: str) -> tuple[str, ...]:
    some_id = rig.rng.randint(1, 100)
    return (f"SELECT * FROM {table} WHERE id = {some_id}", f"SELECT count(done) FROM {table}")


def _writes(rig: Hand, table: str, some_id: int = 0) -> tuple[str, ...]:
    """All want the same few rows."""
    some_id = some_id or rig.rng.randint(1, 4)
    return (
        f"UPDATE {table} SET done = done + 1 WHERE id = {some_id}",
        f"UPDATE {table} SET done = 2 WHERE id <= {some_id}",
        f"DELETE FROM {table} WHERE id = {some_id}",
    )


# --- transactions left open ---------------------------------------------------------------------


def _forgotten_transaction(rig: Rig) -> None:
    rows = rig.rng.randint(5, 500)
    table = new_table(rig, rows)
    forgetful = rig.session(words.job(rig.rng))
    rig.run(forgetful, "BEGIN")
    rig.run(forgetful, f"UPDATE {table} SET done = 1")
    for _ in range(rig.rng.randint(1, 6)):
        waiting = rig.session(words.application(rig.rng))
        rig.send(waiting, f"UPDATE {table} SET done = 2 WHERE id = {rig.rng.randint(1, rows)}")
    rig.until("SELECT 1 FROM pg_locks WHERE NOT granted")


def _migration_left_open(rig: Rig) -> None:
    table = new_table(rig, rig.rng.randint(100, 5000))
    migration = rig.session(words.migration(rig.rng))
    rig.run(migration, "BEGIN")
    rig.run(migration, _ddl(rig, table))
    crowd(rig, _reads(rig, table))


def _alter_behind_idle_reader(rig: Rig) -> None:
    table = new_table(rig, rig.rng.randint(100, 5000))
    reader = rig.session(rig.rng.choice((words.job(rig.rng), words.person(rig.rng), "DBeaver")))
    rig.run(reader, "BEGIN")
    rig.run(reader, _reads(rig, table)[0])
    _alter(rig, table)
    crowd(rig, _reads(rig, table))


def _alter(rig: Hand, table: str) -> None:
    """A migration that has to wait for the table."""
    migration = rig.session(words.migration(rig.rng))
    rig.send(migration, _ddl(rig, table))
    wait_for_locks(rig, [migration])


# --- held by somebody who works -----------------------------------------------------------------


def _alter_behind_long_select(rig: Rig) -> None:
    table = new_table(rig, rig.rng.randint(300, 3000))
    report = rig.session(words.job(rig.rng))
    begin_long(rig, report, long_query(rig, table))
    _alter(rig, table)
    crowd(rig, (*_reads(rig, table), *_writes(rig, table)), most=12)


def _rows_held_by_active_session(rig: Rig) -> None:
    table, elsewhere = new_table(rig, rig.rng.randint(300, 3000)), new_table(rig, 400)
    job = rig.session(words.job(rig.rng))
    if rig.rng.random() < 0.5:
        rig.run(job, "BEGIN")
        rig.run(job, f"UPDATE {table} SET done = 1 WHERE id <= {rig.rng.randint(4, 300)}")
        begin_long(rig, job, long_query(rig, elsewhere))
        crowd(rig, _writes(rig, table))
    else:
        # Slow for each row: the first ones stay locked until the last one is done.
        slow = f"UPDATE {table} SET note = md5(note || pg_sleep(0.5)::text) WHERE done = 0"
        begin_long(rig, job, slow)
        # It has a number of its own once it has written its first row.
        pid = job.info.backend_pid
        rig.until(f"SELECT 1 FROM pg_stat_activity WHERE pid = {pid} AND backend_xid IS NOT NULL")
        crowd(rig, _writes(rig, table, some_id=1))


def _table_locked_by_maintenance(rig: Rig) -> None:
    table = new_table(rig, rig.rng.randint(300, 3000))
    mode = rig.rng.choice(("ACCESS EXCLUSIVE", "EXCLUSIVE", "SHARE ROW EXCLUSIVE"))
    maintenance = rig.session(words.job(rig.rng))
    rig.run(maintenance, "BEGIN")
    rig.run(maintenance, f"LOCK TABLE {table} IN {mode} MODE")
    begin_long(rig, maintenance, long_query(rig, table))
    reads = _reads(rig, table) if mode == "ACCESS EXCLUSIVE" else ()
    crowd(rig, (*reads, *_writes(rig, table)), most=12)


# --- deadlocks ----------------------------------------------------------------------------------


def _opposite_orders(rig: Rig) -> None:
    rows = rig.rng.randint(20, 500)
    table = new_table(rig, rows)
    one, other = rig.rng.sample(range(1, rows + 1), 2)
    for first, second in ((one, other), (other, one)):
        application = words.application(rig.rng)
        for _ in range(rig.rng.randint(1, 3)):
            session = rig.session(application)
            work = partial(_in_order, session, table, first, second)
            rig.keep(work, pause_s=rig.rng.uniform(0.005, 0.05))
            rig.undo(session.cancel)

    def deadlocks() -> bool:
        return rig.server.log_text().count("deadlock detected") >= 3

    rig.until(deadlocks)


def _in_order(session: Session, table: str, first: int, second: int) -> None:
    """One business transaction; after a deadlock the application tries again, as it should."""
    add = sql.SQL("UPDATE {} SET done = done + 1 WHERE id = %s")
    update = add.format(sql.Identifier(table))
    try:
        with session.transaction():
            session.execute(update, (first,))
            time.sleep(0.02)  # What the application does in between.
            session.execute(update, (second,))
    except DeadlockDetected:
        return


# --- advisory locks, and the lock table ---------------------------------------------------------


def _advisory_locks_never_released(rig: Rig) -> None:
    pool = [rig.session(application := words.application(rig.rng))]
    pool += [rig.session(application) for _ in range(rig.rng.randint(2, 9))]
    keys = rig.rng.sample(range(1, 10**6), rig.rng.randint(1, 4))
    for key in keys:
        rig.run(rig.rng.choice(pool), f"SELECT pg_advisory_lock({key})")
    for session in pool:
        # The pool lent them out again; whoever came next had nothing to do with the key.
        rig.run(session, "SELECT 1")
    waiting: list[Session] = []
    for _ in range(rig.rng.randint(1, 6)):
        session = rig.session(rig.rng.choice((application, words.job(rig.rng))))
        rig.send(session, f"SELECT pg_advisory_lock({rig.rng.choice(keys)})")
        waiting.append(session)
    wait_for_locks(rig, waiting)


def _advisory_locks_by_thousands(rig: Rig) -> None:
    greedy = rig.session(rig.rng.choice((words.job(rig.rng), words.application(rig.rng))))
    first, step = rig.rng.randint(1, 10**8), rig.rng.randint(200, 2000)
    for start in range(first, first + MOST_KEYS, step):
        keys = f"generate_series({start}, {start + step - 1}) key"
        try:
            rig.run(greedy, f"SELECT count(pg_advisory_lock(key)) FROM {keys}")
        except OutOfMemory:
            break
    else:
        raise NotMade(f"{MOST_KEYS} advisory locks all fit")
    # What was said of the greedy session itself, and then of somebody else.
    _complaints(rig, 2)


def _many_tables(rig: Rig) -> None:
    """A database with a set of tables for each customer."""
    statement = "CREATE TABLE tenant_%s (id int)"
    rig.sql(
        f"DO $$ BEGIN FOR n IN 1..{TENANTS} LOOP EXECUTE format('{statement}', n); "
        "IF n % 50 = 0 THEN COMMIT; END IF; END LOOP; END $$"
    )


def _every_table_in_one_transaction(rig: Rig) -> None:
    mode = rig.rng.choice(("ACCESS SHARE", "SHARE", "ROW EXCLUSIVE"))
    statement = f"LOCK TABLE tenant_%s IN {mode} MODE"
    one_by_one = (
        f"DO $$ BEGIN FOR n IN 1..{TENANTS} LOOP EXECUTE format('{statement}', n); END LOOP; END $$"
    )
    rig.keep_asking(
        one_by_one,
        application=rig.rng.choice(("pg_dump", words.job(rig.rng))),
        sessions=rig.rng.randint(1, 2),
        pause_s=rig.rng.uniform(0.1, 0.5),
    )
    _complaints(rig, 3)


def _complaints(rig: Rig, least: int) -> None:
    """So many statements failed as the lock table is full."""

    def failed() -> bool:
        return rig.server.log_text().count(OUT_OF_LOCKS) >= least

    rig.until(failed)


# --- inside the server --------------------------------------------------------------------------


def _hot_spot(rig: Rig) -> None:
    """Everybody draws numbers from one sequence, as fast as it goes."""
    sequence = f"{words.table(rig.rng)}_number_seq"
    rig.sql(f"CREATE SEQUENCE {sequence}")
    rig.undo_sql(f"DROP SEQUENCE IF EXISTS {sequence}")
    draw = f"SELECT max(nextval('{sequence}')) FROM generate_series(1, 100000)"
    application = words.application(rig.rng)
    rig.keep_asking(draw, application=application, sessions=rig.rng.randint(20, 40))
    rig.until(
        "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'LWLock' HAVING count(*) >= 8"
    )


FAULTS = (
    Fault(
        id="forgotten-transaction",
        area=Area.LOCKS,
        story="A job updated every row, went idle before COMMIT, and whoever writes there waits.",
        causes=("idle_in_transaction",),
        make=_forgotten_transaction,
        on_staging=True,
    ),
    Fault(
        id="migration-left-open",
        area=Area.LOCKS,
        story="A migration altered a table and never committed; nobody can read the table now.",
        causes=("idle_in_transaction",),
        make=_migration_left_open,
        shows_after_s=4.0,
        on_staging=True,
    ),
    Fault(
        id="alter-behind-idle-reader",
        area=Area.LOCKS,
        story="Somebody read a table, left the transaction open and went away. A migration waits "
        "for that table, and everybody else waits behind the migration.",
        causes=("idle_in_transaction",),
        make=_alter_behind_idle_reader,
        shows_after_s=4.0,
        on_staging=True,
    ),
    Fault(
        id="alter-behind-long-select",
        area=Area.LOCKS,
        story="A migration waits for a table that a long report is reading, and everybody who "
        "wants the table queues behind the migration.",
        causes=("ddl_lock_queue",),
        make=_alter_behind_long_select,
        shows_after_s=4.0,
        on_staging=True,
    ),
    Fault(
        id="rows-held-by-active-session",
        area=Area.LOCKS,
        story="A job has locked rows and is busy with something long; whoever writes them waits.",
        causes=("blocking_chain",),
        make=_rows_held_by_active_session,
        shows_after_s=4.0,
        on_staging=True,
    ),
    Fault(
        id="table-locked-by-maintenance",
        area=Area.LOCKS,
        story="A maintenance job locked a whole table and works on it; the applications wait.",
        causes=("blocking_chain",),
        make=_table_locked_by_maintenance,
        shows_after_s=4.0,
        on_staging=True,
    ),
    Fault(
        id="opposite-orders",
        area=Area.LOCKS,
        story="Two paths of the code update the same two rows, each in the order of its own: they "
        "deadlock all the time.",
        causes=("deadlock_storm",),
        make=_opposite_orders,
        needs=Needs(conf={"deadlock_timeout": "200ms"}),
        shows_after_s=6.0,
    ),
    Fault(
        id="advisory-locks-never-released",
        area=Area.LOCKS,
        story="An application takes advisory locks of the session, gives the session back to its "
        "pool and forgets them; the next one who needs the key waits for ever.",
        causes=("advisory_lock_leak",),
        make=_advisory_locks_never_released,
        shows_after_s=4.0,
        on_staging=True,
    ),
    Fault(
        id="advisory-locks-by-thousands",
        area=Area.LOCKS,
        story="A job took one advisory lock for each row it works on, until the server had no "
        "room for any more locks.",
        causes=("lock_table_full",),
        make=_advisory_locks_by_thousands,
        shows_after_s=3.0,
        # Whoever logs in needs a lock as well.
        answers=False,
    ),
    Fault(
        id="every-table-in-one-transaction",
        area=Area.LOCKS,
        story="A dump locks the tables of all customers in one transaction, which are more than "
        "the server has room for; it fails, and so do those who come at the same time.",
        causes=("lock_table_full",),
        make=_every_table_in_one_transaction,
        needs=Needs(
            conf={"max_locks_per_transaction": 10, "max_connections": 40}, prepare=(_many_tables,)
        ),
        shows_after_s=3.0,
    ),
    Fault(
        id="hot-sequence",
        area=Area.LOCKS,
        story="Dozens of sessions draw numbers from the same sequence as fast as they can.",
        causes=("lwlock_contention",),
        make=_hot_spot,
        shows_after_s=6.0,
    ),
)
