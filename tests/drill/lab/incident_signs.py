"""What a server says of itself while an incident stands, asked otherwise than the fault asks.

Each sign is called with the rig right after its incident was made, and fails where the server does
not show what the story tells.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from stanch.drill.lab.means.estate import Records, estate
from stanch.drill.lab.means.pooler import clients_waiting, pool_size
from stanch.drill.lab.means.standbys import asked
from stanch.drill.lab.means.writing import data_volume, used, wal_volume
from stanch.drill.lab.rig import Rig

Sign = Callable[[Rig], object]

BEHIND_SQL = """
SELECT count(*) FROM pg_stat_activity w
JOIN pg_stat_activity d ON d.pid = ANY(pg_blocking_pids(w.pid))
WHERE d.query LIKE %s
"""
HELD_BY_SQL = """
SELECT coalesce(h.backend_type || ' ' || h.state, h.backend_type, 'nobody'), coalesce(h.query, '')
FROM pg_stat_activity d LEFT JOIN pg_stat_activity h ON h.pid = ANY(pg_blocking_pids(d.pid))
WHERE d.query LIKE %s AND d.wait_event_type = 'Lock'
"""


def one(rig: Rig, sql: str, *values: object) -> Any:
    """The only value of the only row."""
    ((value,),) = rig.admin(sql, values)
    return value


def within(seconds: float, holds: Callable[[], object]) -> None:
    end_s = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end_s, "it is not so"
        time.sleep(0.1)


def refused(rig: Rig, sql: str, words: str, *, user: str = "app") -> None:
    """It is not taken, with these words."""
    with pytest.raises(psycopg.Error, match=re.escape(words)):
        rig.sql(sql, user=user)


def queued(rig: Rig, change: str, held_by: str, least: int = 3) -> None:
    """A change waits for whoever is as described, and others wait for the change."""
    (holder, *_) = rig.admin(HELD_BY_SQL, (f"{change}%",))
    assert held_by in " ".join(holder), holder
    within(5, lambda: one(rig, BEHIND_SQL, f"{change}%") >= least)


def used_table(rig: Rig, theme: str) -> Records:
    found = rig.notes[f"incidents-{theme}"]
    made: Records = found if isinstance(found, Records) else found[-1]
    return made


# --- locks --------------------------------------------------------------------------------------


def vacuum_in_the_way(rig: Rig) -> None:
    queued(rig, "DROP TRIGGER", "to prevent wraparound")
    held = [query for _, query in rig.admin(HELD_BY_SQL, ("DROP TRIGGER%",))]
    assert all(query.startswith("autovacuum: VACUUM") for query in held)


def every_slot_behind_change(rig: Rig) -> None:
    queued(rig, "ALTER TABLE", "client backend active", least=15)
    refused(rig, "SELECT 1", "connection slots", user=estate(rig).web)


def pool_idle_in_transaction(rig: Rig) -> None:
    idle = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'"
    assert one(rig, idle) == pool_size(rig)
    assert clients_waiting(rig) >= 1


def advisory_lock_of_an_idle_session(rig: Rig) -> None:
    held = """
        SELECT a.state FROM pg_locks h JOIN pg_stat_activity a USING (pid)
        WHERE h.locktype = 'advisory' AND h.granted
    """
    assert rig.admin(held)[0][0] == "idle"
    assert rig.admin("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")


def deadlocks_go_on(rig: Rig) -> None:
    asked_sql = "SELECT deadlocks FROM pg_stat_database WHERE datname = 'app'"
    before = one(rig, asked_sql)
    within(20, lambda: one(rig, asked_sql) > before)


def replica_looks_up_subtransactions(rig: Rig) -> None:
    looked_up = "SELECT blks_hit + blks_read FROM pg_stat_slru WHERE lower(name) LIKE 'subtrans%'"
    before = asked(rig, looked_up)[0][0]
    within(10, lambda: asked(rig, looked_up)[0][0] > before + 10_000)


def change_waits_for_no_session(rig: Rig) -> None:
    assert one(rig, "SELECT count(*) FROM pg_prepared_xacts") == 1
    blocked = "SELECT pg_blocking_pids(pid) FROM pg_stat_activity WHERE query LIKE 'ALTER TABLE%%'"
    assert 0 in rig.admin(f"{blocked} AND wait_event_type = 'Lock'", ())[0][0]
    within(5, lambda: one(rig, BEHIND_SQL, "ALTER TABLE%") >= 3)


# --- counters -----------------------------------------------------------------------------------


def no_more_xids(rig: Rig) -> None:
    refused(rig, "SELECT txid_current()", "avoid wraparound data loss")
    assert rig.sql("SELECT count(*) FROM load_row")
    assert one(rig, "SELECT max(age(datfrozenxid)) FROM pg_database") > 2_100_000_000


def no_more_members(rig: Rig) -> None:
    assert one(rig, "SELECT max(mxid_age(datminmxid)) FROM pg_database") < 1_000_000
    row = f"SELECT 1 FROM {used_table(rig, 'counters').name} WHERE id = 1 FOR SHARE"
    keeper = rig.session("keeper")
    # A few more may fit where the last ones were too many at once.
    with suppress(psycopg.errors.ProgramLimitExceeded):
        rig.run(keeper, f"BEGIN; {row}")
        for _ in range(20):
            rig.sql(f"SET lock_timeout = '5s'; {row}")
        raise AssertionError("there is room for members")


def events_full(rig: Rig) -> None:
    table = rig.notes["incidents-counters"][0].name
    refused(rig, f"UPDATE {table} SET amount = 0 WHERE id = 1", "integer out of range")
    assert rig.sql(f"SELECT count(*) FROM {table}")


def reference_too_narrow(rig: Rig) -> None:
    made, tokens = rig.notes["incidents-counters"]
    [(newest,)] = rig.sql(
        f"INSERT INTO {made.name} (account_id, state, amount) VALUES (1, 'new', 1) RETURNING id"
    )
    assert newest > 2**31 - 1
    refused(rig, f"INSERT INTO {tokens} (owner_id) SELECT max(id) FROM {made.name}", "out of range")


# --- plans --------------------------------------------------------------------------------------


def column_without_statistics(rig: Rig) -> None:
    made = used_table(rig, "plans")
    known = "SELECT attname FROM pg_stats WHERE tablename = %s ORDER BY 1"
    columns = [name for (name,) in rig.admin(known, (made.short,))]
    assert "state" in columns
    assert "account_id" not in columns
    query = f"SELECT id FROM {made.name} WHERE account_id = 3 ORDER BY id DESC LIMIT 60"
    plan = rig.sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}")[0][0][0]["Plan"]
    assert plan["Plans"][0]["Rows Removed by Filter"] > made.rows * 0.9


def rows_expected_to_be_none(rig: Rig) -> None:
    one_table, other = rig.notes["incidents-plans"]
    query = f"SELECT 1 FROM {one_table} a JOIN {other} b ON a.sso_ref = b.sso_ref"
    plan = rig.sql(f"EXPLAIN (FORMAT JSON) {query} WHERE b.sso_ref IS NOT NULL"
                   " AND a.sso_ref IS NOT NULL")[0][0][0]["Plan"]  # fmt: skip
    assert plan["Node Type"] == "Nested Loop"
    assert plan["Plan Rows"] <= 5
    assert rig.sql(f"SELECT count(sso_ref) FROM {one_table}")[0][0] > 1000


def search_without_index(rig: Rig) -> None:
    made = used_table(rig, "plans")
    assert rig.admin("SELECT 1 FROM pg_index WHERE NOT indisvalid AND indrelid = %s::regclass",
                     (made.name,))  # fmt: skip
    plan = str(rig.sql(f"EXPLAIN SELECT id FROM {made.name} WHERE body = 'x'"))
    assert "Seq Scan" in plan


def pages_take_all(rig: Rig) -> None:
    busy = """
        SELECT count(*) FROM pg_stat_activity
        WHERE application_name = 'public-index' AND state = 'active'
    """
    within(10, lambda: one(rig, busy) >= 3)


def export_is_oldest(rig: Rig) -> None:
    oldest = """
        SELECT application_name FROM pg_stat_activity WHERE backend_xmin IS NOT NULL
        ORDER BY age(backend_xmin) DESC LIMIT 1
    """
    assert one(rig, oldest) == "redshift-copy"
    ((dead, live),) = rig.admin(
        "SELECT n_dead_tup, n_live_tup FROM pg_stat_user_tables WHERE relid = %s::regclass",
        (rig.notes["incidents-queue"][0],),
    )
    assert dead > live


# --- volumes, WAL, backups ----------------------------------------------------------------------


def full_of_wal_for_a_slot(rig: Rig) -> None:
    assert "PANIC" in rig.server.log_text()
    data = rig.server.data_directory
    assert [*(data / "pg_replslot").iterdir()]
    wal = sum(path.stat().st_size for path in (data / "pg_wal").iterdir() if path.is_file())
    assert wal > data_volume(rig).size_bytes * 0.4
    assert data_volume(rig).free_bytes() < 2 * 1024 * 1024


def archiving_is_refused(rig: Rig) -> None:
    assert "ExpiredToken" in rig.server.log_text()
    ready = [*(rig.server.data_directory / "pg_wal/archive_status").glob("*.ready")]
    assert len(ready) > 5
    assert used(wal_volume(rig)) > 0.4


def no_dump_of_this_week(rig: Rig) -> None:
    folder = Path(rig.policy["backups"]["dumps"])
    dumps = [*folder.glob("*.sql")]
    assert dumps
    assert min(time.time() - path.stat().st_mtime for path in dumps) > 2 * 86400
    assert "server version mismatch" in (folder / "cron-pg_dump.log").read_text()


def nothing_to_start(rig: Rig) -> None:
    assert rig.server.postmaster_pid() is None
    assert not (rig.server.data_directory / "PG_VERSION").exists()
    assert not (rig.server.data_directory / "global/pg_control").exists()


def checkpoints_are_forced(rig: Rig) -> None:
    before = rig.server.log_text().count("checkpoints are occurring too frequently")
    within(30, lambda: rig.server.log_text().count("checkpoints are occurring") > before)


def idle_sessions_hold_files(rig: Rig) -> None:
    taken = list((rig.server.data_directory / "base/pgsql_tmp").iterdir())
    assert sum(path.stat().st_size for path in taken) > 20 * 1024 * 1024
    idle = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'Tableau'"
    assert one(rig, f"{idle} AND state = 'idle'") >= 2
    assert used(data_volume(rig)) > 0.75


def log_takes_the_volume(rig: Rig) -> None:
    volume = data_volume(rig)
    logs = sum(path.stat().st_size for path in (volume.mount_point / "log").iterdir())
    assert logs > volume.size_bytes * 0.25
    assert volume.free_bytes() < 1024 * 1024
    assert rig.sql("SELECT 1") == [(1,)]


SIGNS: Mapping[str, Sign] = {
    "trigger-dropped-during-wraparound-vacuum": vacuum_in_the_way,
    "constraint-of-an-empty-table": lambda rig: queued(rig, "ALTER TABLE", "pg_sleep"),
    "constraint-takes-every-connection": every_slot_behind_change,
    "charged-within-a-transaction": pool_idle_in_transaction,
    "migration-lock-left-in-the-pool": advisory_lock_of_an_idle_session,
    "batches-in-any-order": deadlocks_go_on,
    "savepoints-stall-the-replica": replica_looks_up_subtransactions,
    "prepared-transaction-outlives-restart": change_waits_for_no_session,
    "no-more-transaction-ids": no_more_xids,
    "no-room-for-multixact-members": no_more_members,
    "events-of-everything-are-full": events_full,
    "reference-narrower-than-its-key": reference_too_narrow,
    "widened-column-lost-its-statistics": column_without_statistics,
    "sample-without-the-rare-values": rows_expected_to_be_none,
    "index-rebuild-called-off": search_without_index,
    "crawler-turns-every-page": pages_take_all,
    "export-keeps-dead-jobs": export_is_oldest,
    "sync-paused-until-full": full_of_wal_for_a_slot,
    "archive-token-expired": archiving_is_refused,
    "dumps-of-the-wrong-version": no_dump_of_this_week,
    "data-removed-on-the-wrong-machine": nothing_to_start,
    "scores-recalculated-anywhere": checkpoints_are_forced,
    "results-held-by-idle-sessions": idle_sessions_hold_files,
    "debug-log-beside-the-data": log_takes_the_volume,
}
"""By the incident's id."""
