"""Locks and transactions."""

from __future__ import annotations

from stanch.drill.lab import words
from stanch.drill.lab.fault import Area, Fault
from stanch.drill.lab.rig import Rig


def _forgotten_transaction(rig: Rig) -> None:
    table, rows = words.table(rig.rng), rig.rng.randint(5, 500)
    rig.sql(f"CREATE TABLE {table} AS SELECT n AS id, 0 AS done FROM generate_series(1, {rows}) n")
    rig.undo_sql(f"DROP TABLE IF EXISTS {table}")
    forgetful = rig.session(words.job(rig.rng))
    rig.run(forgetful, "BEGIN")
    rig.run(forgetful, f"UPDATE {table} SET done = 1")
    for _ in range(rig.rng.randint(1, 6)):
        waiting = rig.session(words.application(rig.rng))
        rig.send(waiting, f"UPDATE {table} SET done = 2 WHERE id = {rig.rng.randint(1, rows)}")
    rig.until("SELECT 1 FROM pg_locks WHERE NOT granted")


FAULTS = (
    Fault(
        id="forgotten-transaction",
        area=Area.LOCKS,
        story="A job updated every row, went idle before COMMIT, and whoever writes there waits.",
        causes=("idle_in_transaction",),
        make=_forgotten_transaction,
        on_staging=True,
    ),
)
