"""Tables that faults are made on, who works on them, and who waits for them."""

from __future__ import annotations

from collections.abc import Sequence

from stanch.drill.lab.means import words
from stanch.drill.lab.rig import Hand, Session


def free_name(rig: Hand) -> str:
    """A table's name that nothing else has."""
    name = words.table(rig.rng)
    while rig.sql("SELECT 1 WHERE to_regclass(%s) IS NOT NULL", [name]):
        name = f"{words.table(rig.rng)}_{rig.rng.randint(2, 999)}"
    return name


def new_table(rig: Hand, rows: int) -> str:
    """A table with the columns id (its key), done and note; gone at the end."""
    name = free_name(rig)
    with_rows = f"SELECT n AS id, 0 AS done, md5(n::text) AS note FROM generate_series(1, {rows}) n"
    rig.sql(f"CREATE TABLE {name} AS {with_rows}")
    rig.sql(f"ALTER TABLE {name} ADD PRIMARY KEY (id)")
    # At the end nothing waits for ever for somebody who still holds it.
    rig.undo_sql(f"SET lock_timeout = '5s'; DROP TABLE IF EXISTS {name}")
    return name


def long_query(rig: Hand, table: str) -> str:
    """A statement that reads the table and takes minutes; of some hundred rows at least."""
    return rig.rng.choice(
        (
            f"SELECT count(*) FROM {table} a, {table} b, {table} c, {table} d, {table} e",
            f"SELECT id, note, pg_sleep(1) FROM {table} ORDER BY id",
        )
    )


def begin_long(rig: Hand, session: Session, sql: str) -> None:
    """Send what takes long; it is cancelled at the end, and runs once this returns."""
    pid = rig.send(session, sql)
    rig.undo(session.cancel)
    rig.until(f"SELECT 1 FROM pg_stat_activity WHERE pid = {pid} AND state = 'active'")


def wait_for_locks(rig: Hand, sessions: Sequence[Session]) -> None:
    """Until every one of them waits for a lock. Raises: NotMade."""
    pids = ", ".join(str(session.info.backend_pid) for session in sessions)
    waiting = f"SELECT 1 FROM pg_stat_activity WHERE pid IN ({pids}) AND wait_event_type = 'Lock'"
    rig.until(f"{waiting} HAVING count(*) = {len(sessions)}")


def crowd(rig: Hand, statements: Sequence[str], *, most: int = 8) -> None:
    """Applications of which each wants one of the statements done, and waits for a lock."""
    waiting: list[Session] = []
    for _ in range(rig.rng.randint(2, most)):
        session = rig.session(words.application(rig.rng))
        rig.send(session, rig.rng.choice(statements))
        waiting.append(session)
    wait_for_locks(rig, waiting)


def churn(rig: Hand, table: str, *, dead: int, pause_s: float = 0.05) -> None:
    """An application goes on updating many of its rows, until so many dead ones lie there."""
    every = rig.rng.randint(4, 20)
    rig.keep_asking(
        f"UPDATE {table} SET done = done + 1 WHERE id % {every} <> 0",
        application=words.application(rig.rng),
        pause_s=pause_s,
    )
    wait_for_dead_rows(rig, table, dead)


def wait_for_dead_rows(rig: Hand, table: str, least: int) -> None:
    """Until the statistics count so many. Raises: NotMade."""
    found = f"SELECT 1 FROM pg_stat_user_tables WHERE relname = '{table}' AND n_dead_tup >= {least}"
    rig.until(found)
