"""Not faults at all: what happens on every server every day, and must alarm nobody."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import psycopg

from stanch.drill.lab.fault import Area, Fault
from stanch.drill.lab.means import words
from stanch.drill.lab.rig import Rig

SMALL_TABLES = ("tags", "notes", "countries", "coupons", "settings_history", "templates")
HARMLESS_SETTINGS = (
    ("log_min_duration_statement", "10s"),
    ("work_mem", "8MB"),
    ("random_page_cost", "1.5"),
    ("log_autovacuum_min_duration", "1min"),
    ("default_statistics_target", "150"),
    ("idle_in_transaction_session_timeout", "10min"),
)
LOGINS = 20


def _small_table(rig: Rig, rows: int | None = None) -> str:
    """A table of its own, under a name that nothing else here uses."""
    table = f"{rig.rng.choice(SMALL_TABLES)}_{rig.rng.randint(1, 10**6)}"
    many = rows or rig.rng.randint(100, 5000)
    rig.sql(
        f"CREATE TABLE {table} AS "
        f"SELECT n AS id, md5(n::text) AS word, 0 AS seen FROM generate_series(1, {many}) n"
    )
    rig.sql(f"ALTER TABLE {table} ADD PRIMARY KEY (id)")
    rig.undo_sql(f"SET lock_timeout = '5s'; DROP TABLE IF EXISTS {table}")
    return table


# --- queries ------------------------------------------------------------------------------------


def _mistyped(rig: Rig) -> None:
    session = rig.session(words.application(rig.rng))
    for _ in range(rig.rng.randint(1, 3)):
        with suppress(psycopg.Error):
            session.execute("SELECT nmae FROM pg_class")


def _long_select(rig: Rig) -> None:
    """It goes on for some seconds after this returns."""
    table = _small_table(rig, 50)
    session = rig.session(words.job(rig.rng))
    for_each = rig.rng.uniform(0.08, 0.12)
    pid = rig.send(session, f"SELECT count(pg_sleep({for_each:.3f})) FROM {table}")
    rig.undo(session.cancel)
    rig.until(f"SELECT 1 FROM pg_stat_activity WHERE pid = {pid} AND state = 'active'")


def _cancelled(rig: Rig) -> None:
    session = rig.session(words.person(rig.rng))
    pid = rig.send(session, "SELECT pg_sleep(60)")
    rig.until(f"SELECT 1 FROM pg_stat_activity WHERE pid = {pid} AND state = 'active'")
    session.cancel()
    rig.until(f"SELECT 1 FROM pg_stat_activity WHERE pid = {pid} AND state = 'idle'")


def _temporary_file(rig: Rig) -> None:
    """A sort of a few megabytes that work_mem does not hold."""
    rows = rig.rng.randint(50_000, 120_000)
    session = rig.session(words.job(rig.rng))
    rig.run(session, "SET work_mem = '1MB'")
    numbers = f"SELECT md5(n::text) AS word FROM generate_series(1, {rows}) n"
    rig.run(session, f"SELECT count(*) FROM ({numbers} ORDER BY 1 OFFSET 0) s")


def _already_there(rig: Rig) -> None:
    table = _small_table(rig)
    session = rig.session(words.application(rig.rng))
    for _ in range(rig.rng.randint(1, 3)):
        with suppress(psycopg.errors.UniqueViolation):
            rig.run(session, f"INSERT INTO {table} VALUES ({rig.rng.randint(1, 100)}, 'again', 0)")


# --- locks and transactions ---------------------------------------------------------------------


def _short_wait(rig: Rig) -> None:
    table = _small_table(rig)
    first, second = (rig.session(words.application(rig.rng)) for _ in range(2))
    rig.run(first, "BEGIN")
    rig.run(first, f"UPDATE {table} SET seen = 1 WHERE id = 1")
    pid = rig.send(second, f"UPDATE {table} SET seen = 2 WHERE id = 1")
    rig.until(f"SELECT 1 FROM pg_locks WHERE pid = {pid} AND NOT granted")
    rig.run(first, f"SELECT pg_sleep({rig.rng.uniform(0.1, 0.8):.2f})")
    rig.run(first, "COMMIT")
    rig.until(f"SELECT 1 FROM pg_stat_activity WHERE pid = {pid} AND state = 'idle'")


def _one_deadlock(rig: Rig) -> None:
    table = _small_table(rig)
    first, second = (rig.session(words.application(rig.rng)) for _ in range(2))
    change = f"UPDATE {table} SET seen = seen + 1 WHERE id = "
    for session, number in ((first, 1), (second, 2)):
        rig.run(session, "BEGIN")
        rig.run(session, f"{change}{number}")
    pid = rig.send(first, f"{change}2; COMMIT")
    rig.until(f"SELECT 1 FROM pg_locks WHERE pid = {pid} AND NOT granted")
    # One of the two is the victim; the other goes on.
    with suppress(psycopg.errors.DeadlockDetected):
        rig.run(second, f"{change}1")
    rig.run(second, "ROLLBACK")
    rig.until(f"SELECT 1 FROM pg_stat_activity WHERE pid = {pid} AND state LIKE 'idle%'")
    first.close()


def _one_serialization_failure(rig: Rig) -> None:
    table = _small_table(rig)
    session = rig.session(words.application(rig.rng))
    change = f"UPDATE {table} SET seen = seen + 1 WHERE id = 1"
    rig.run(session, "BEGIN ISOLATION LEVEL REPEATABLE READ")
    rig.run(session, f"SELECT count(*) FROM {table}")
    rig.sql(change)
    with suppress(psycopg.errors.SerializationFailure):
        rig.run(session, change)
    rig.run(session, "ROLLBACK")


def _failed_and_rolled_back(rig: Rig) -> None:
    table = _small_table(rig)
    session = rig.session(words.application(rig.rng))
    rig.run(session, "BEGIN")
    rig.run(session, f"UPDATE {table} SET seen = 1")
    with suppress(psycopg.errors.DivisionByZero):
        rig.run(session, f"SELECT id / 0 FROM {table}")
    rig.sql("SELECT pg_sleep(0.3)")  # The application does something else first.
    rig.run(session, "ROLLBACK")


# --- sessions -----------------------------------------------------------------------------------


def _idle_pool(rig: Rig) -> None:
    application = words.application(rig.rng)
    for _ in range(rig.rng.randint(3, 15)):
        rig.session(application).execute("SELECT 1")


def _burst_of_logins(rig: Rig) -> None:
    """A cron job for each customer, all at the full minute."""
    application = words.job(rig.rng)
    for _ in range(LOGINS):
        rig.sql("SELECT pg_sleep(0.03)", application_name=application)


# --- upkeep -------------------------------------------------------------------------------------


def _vacuum(rig: Rig) -> None:
    rig.admin("VACUUM (ANALYZE) load_row")


def _analyze(rig: Rig) -> None:
    rig.sql(f"ANALYZE {_small_table(rig)}")


def _index_concurrently(rig: Rig) -> None:
    table = _small_table(rig)
    migration = rig.session(words.migration(rig.rng))
    rig.run(migration, f"CREATE INDEX CONCURRENTLY {table}_word ON {table} (word)")


def _small_dump(rig: Rig) -> None:
    """As pg_dump does it."""
    table = _small_table(rig)
    dump = rig.session("pg_dump")
    rig.run(dump, "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    rig.run(dump, f"LOCK TABLE {table} IN ACCESS SHARE MODE")
    with dump.cursor() as cursor, cursor.copy(f"COPY {table} TO STDOUT".encode()) as copy:
        for _ in copy:
            pass
    rig.run(dump, "COMMIT")
    dump.close()


def _reload(rig: Rig) -> None:
    name, value = rig.rng.choice(HARMLESS_SETTINGS)
    rig.admin(f"ALTER SYSTEM SET {name} = '{value}'")
    rig.undo(lambda: rig.admin(f"ALTER SYSTEM RESET {name}"))
    rig.admin("SELECT pg_reload_conf()")
    rig.logged("reloading configuration files")


def _new_role(rig: Rig) -> None:
    role = f"{words.person(rig.rng)}_{rig.rng.randint(1, 10**6)}"
    rig.admin(f"CREATE ROLE {role} LOGIN IN ROLE app CONNECTION LIMIT 5")
    rig.undo(lambda: rig.admin(f"DROP ROLE {role}"))


def _checkpoint(rig: Rig) -> None:
    rig.admin("CHECKPOINT")


def _everyday(name: str, area: Area, make: Callable[[Rig], None], story: str) -> Fault:
    return Fault(id=name, area=area, story=story, causes=(), make=make)


FAULTS = (
    _everyday("mistyped-queries", Area.WORK, _mistyped, "Somebody mistypes a column a few times."),
    _everyday("long-select", Area.WORK, _long_select, "A report takes five seconds."),
    _everyday("cancelled-query", Area.WORK, _cancelled, "Somebody cancels a query of his own."),
    _everyday(
        "small-temporary-file",
        Area.WORK,
        _temporary_file,
        "A sort does not fit into work_mem and writes a few megabytes.",
    ),
    _everyday(
        "unique-violations",
        Area.WORK,
        _already_there,
        "An application inserts what is there already, and is told so.",
    ),
    _everyday(
        "short-lock-wait",
        Area.LOCKS,
        _short_wait,
        "Two sessions want the same row; the second one gets it a moment later.",
    ),
    _everyday("one-deadlock", Area.LOCKS, _one_deadlock, "Two transactions deadlock, for once."),
    _everyday(
        "one-serialization-failure",
        Area.LOCKS,
        _one_serialization_failure,
        "A transaction comes too late and is told to try again.",
    ),
    _everyday(
        "failed-and-rolled-back",
        Area.LOCKS,
        _failed_and_rolled_back,
        "A transaction fails, and is rolled back a moment later.",
    ),
    _everyday(
        "idle-pool", Area.ACCESS, _idle_pool, "An application keeps a pool of idle sessions."
    ),
    _everyday(
        "burst-of-logins",
        Area.ACCESS,
        _burst_of_logins,
        "Twenty short jobs log in within a second or so.",
    ),
    _everyday(
        "routine-vacuum",
        Area.WORK,
        _vacuum,
        "Somebody vacuums and analyses a table by hand.",
    ),
    _everyday("routine-analyze", Area.WORK, _analyze, "Somebody analyses a table by hand."),
    _everyday(
        "index-made-concurrently",
        Area.WORK,
        _index_concurrently,
        "A migration makes an index on a small table, concurrently.",
    ),
    _everyday("small-dump", Area.BACKUPS, _small_dump, "Somebody dumps a small table."),
    _everyday(
        "harmless-reload",
        Area.SETTINGS,
        _reload,
        "Somebody changes a setting that hurts nobody, and reloads.",
    ),
    _everyday("new-role", Area.SECURITY, _new_role, "A colleague gets a role of her own."),
    _everyday("checkpoint-by-hand", Area.DISK, _checkpoint, "Somebody asks for a checkpoint."),
)
