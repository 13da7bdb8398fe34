"""What shows incidents of replicas, logins, data and the machine; the others are beside it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

import psutil

from drill.lab.incident_signs import Sign, one, refused, used_table, within
from stanch.drill.lab.means.estate import estate
from stanch.drill.lab.means.standbys import asked, standby_of
from stanch.drill.lab.rig import Rig

# --- replicas -----------------------------------------------------------------------------------


def both_are_written_to(rig: Rig) -> None:
    assert one(rig, "SELECT pg_is_in_recovery()") is False
    assert asked(rig, "SELECT pg_is_in_recovery()") == [(False,)]
    timeline = "SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"
    assert asked(rig, timeline) != rig.admin(timeline)


def commits_wait(rig: Rig) -> None:
    assert one(rig, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") >= 2
    assert rig.sql("SELECT count(*) FROM load_row")
    pids = standby_of(rig).processes()
    assert {psutil.Process(pid).status() for pid in pids} == {psutil.STATUS_STOPPED}


def standby_holds_back(rig: Rig) -> None:
    (age,) = rig.admin("SELECT age(backend_xmin) FROM pg_stat_replication")[0]
    assert age > 5
    made = used_table(rig, "standbys")
    [(said,)] = rig.admin("SELECT n_dead_tup FROM pg_stat_user_tables WHERE relid = %s::regclass",
                          (made.name,))  # fmt: skip
    assert said > made.rows


def reports_are_cancelled(rig: Rig) -> None:
    conflicts = "SELECT confl_lock FROM pg_stat_database_conflicts WHERE datname = 'app'"
    within(10, lambda: asked(rig, conflicts)[0][0] >= 3)


def slot_is_lost(rig: Rig) -> None:
    assert one(rig, "SELECT wal_status FROM pg_replication_slots") == "lost"
    assert not rig.admin("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'")


def replay_is_paused(rig: Rig) -> None:
    assert asked(rig, "SELECT pg_get_wal_replay_pause_state()") == [("paused",)]
    behind = "SELECT pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn()"
    within(10, lambda: asked(rig, behind) == [(True,)])


def apply_fails_again(rig: Rig) -> None:
    before = rig.server.log_text().count("missing replicated column")
    within(20, lambda: rig.server.log_text().count("missing replicated column") > before)


# --- logins and rights --------------------------------------------------------------------------


def sessions_come_by_the_dozen(rig: Rig) -> None:
    so_far = "SELECT sum(sessions)::bigint FROM pg_stat_database"
    before, at_s = one(rig, so_far), time.monotonic()
    within(15, lambda: one(rig, so_far) > before + 100)
    assert 100 / (time.monotonic() - at_s) > 10


def scripts_have_every_slot(rig: Rig) -> None:
    theirs = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'check_disk.py'"
    assert one(rig, f"{theirs} AND state = 'idle'") >= 20
    refused(rig, "SELECT 1", "connection slots", user=estate(rig).web)


def batch_is_not_let_in(rig: Rig) -> None:
    refused(rig, "SELECT 1", "no pg_hba.conf entry", user=estate(rig).worker)
    assert rig.sql("SELECT 1", user=estate(rig).web) == [(1,)]


def lease_is_over(rig: Rig) -> None:
    role: str = rig.notes["lease"]
    refused(rig, "SELECT 1", f'role "{role}"', user=role)


def tables_not_found(rig: Rig) -> None:
    made = used_table(rig, "access")
    refused(rig, f"SELECT 1 FROM {made.short}", "does not exist", user=estate(rig).worker)
    assert rig.sql(f"SELECT 1 FROM {made.name} LIMIT 1", user=estate(rig).worker)


def partner_is_kept_out(rig: Rig) -> None:
    name = used_table(rig, "access").name
    refused(rig, f"SELECT 1 FROM {name}", "permission denied for schema", user="partner_api")
    assert rig.sql(f"SELECT 1 FROM {name} LIMIT 1", user=estate(rig).web)


def stranger_is_superuser(rig: Rig) -> None:
    supers = {name for (name,) in rig.admin("SELECT rolname FROM pg_roles WHERE rolsuper")}
    assert len(supers - {"postgres"}) == 1


# --- data ---------------------------------------------------------------------------------------


def nearly_empty(rig: Rig) -> None:
    made = used_table(rig, "data")
    assert rig.sql(f"SELECT count(*) FROM {made.name}")[0][0] < made.rows / 10


def deleted_at_once(rig: Rig) -> None:
    nearly_empty(rig)
    gone = "SELECT n_tup_del FROM pg_stat_user_tables WHERE relid = %s::regclass"
    made = used_table(rig, "data")
    within(5, lambda: one(rig, gone, made.name) >= made.rows)


def emptied_again(rig: Rig) -> None:
    nearly_empty(rig)
    made = used_table(rig, "data")
    assert rig.sql(f"SELECT count(*) FROM {made.name}_comments")[0][0] == 0
    assert rig.sql(f"SELECT min(id) FROM {made.name}")[0][0] == 1


def second_table_missing(rig: Rig) -> None:
    nearly_empty(rig)
    refused(rig, f"SELECT 1 FROM {used_table(rig, 'data').name}_comments", "does not exist")


def note_is_left(rig: Rig) -> None:
    names = {name for (name,) in rig.admin("SELECT datname FROM pg_database")}
    assert rig.notes["ransomed"] not in names
    assert "readme_to_recover" in names


def history_of_every_row(rig: Rig) -> None:
    made = used_table(rig, "data")
    written = f"SELECT count(DISTINCT id) FROM {made.name}_history WHERE id <= {made.rows}"
    assert rig.sql(written) == [(made.rows,)]


def index_lacks_rows(rig: Rig) -> None:
    made = used_table(rig, "data")
    [(body,)] = rig.sql(f"SELECT min(body || '') FROM {made.name} WHERE body || '' LIKE '%-x'")
    query = f"SELECT count(*) FROM {made.name} WHERE body = '{body}'"
    session = rig.session("check")
    rig.run(session, "SET enable_seqscan = off")
    assert rig.run(session, query) == [(0,)]
    rig.run(session, "RESET enable_seqscan")
    for way in ("indexscan", "bitmapscan", "indexonlyscan"):
        rig.run(session, f"SET enable_{way} = off")
    assert rig.run(session, query) == [(1,)]


def addresses_twice(rig: Rig) -> None:
    table = rig.notes["order"][0]
    assert rig.sql(f"SELECT 1 FROM {table} GROUP BY address || '' HAVING count(*) > 1")
    assert "version mismatch" in rig.server.log_text()


# --- the machine --------------------------------------------------------------------------------


def no_room_in_shm(rig: Rig) -> None:
    pid = rig.server.postmaster_pid()
    room = os.statvfs(f"/proc/{pid}/root/dev/shm")
    assert room.f_blocks * room.f_frsize <= 4096 * 1024
    assert "No space left on device" in rig.server.log_text()
    disk = os.statvfs(rig.server.data_directory)
    assert disk.f_bavail * disk.f_frsize > 64 * 1024 * 1024


def killed_and_back(rig: Rig) -> None:
    said = rig.server.log_text()
    assert "was terminated by signal 9" in said
    assert "all server processes terminated; reinitializing" in said
    assert rig.sql("SELECT 1") == [(1,)]


def vacuum_is_called_off(rig: Rig) -> None:
    before = rig.server.log_text().count("canceling autovacuum task")
    within(20, lambda: rig.server.log_text().count("canceling autovacuum task") > before)
    made = used_table(rig, "machine")
    done = "SELECT autovacuum_count FROM pg_stat_user_tables WHERE relid = %s::regclass"
    assert one(rig, done, made.name) < before


def many_wait_for_the_lock_manager(rig: Rig) -> None:
    waits = """
        SELECT count(*) FROM pg_stat_activity
        WHERE wait_event_type = 'LWLock' AND application_name = 'order-lookup'
    """
    within(20, lambda: one(rig, waits) >= 3)


SIGNS: Mapping[str, Sign] = {
    "failover-after-a-lost-name": both_are_written_to,
    "synchronous-standby-freezes": commits_wait,
    "notebook-left-open-on-the-standby": standby_holds_back,
    "retention-cancels-reports": reports_are_cancelled,
    "slot-was-given-up": slot_is_lost,
    "more-connections-on-the-primary-alone": replay_is_paused,
    "column-added-at-the-source": apply_fails_again,
    "pods-come-and-die": sessions_come_by_the_dozen,
    "scripts-never-leave": scripts_have_every_slot,
    "rules-rewritten-from-a-repository": batch_is_not_let_in,
    "lease-of-a-role-ran-out": lease_is_over,
    "search-path-was-tidied-up": tables_not_found,
    "hardened-on-a-friday": partner_is_kept_out,
    "miner-moves-in": stranger_is_superuser,
    "nothing-is-kept-any-more": deleted_at_once,
    "tests-ran-on-production": emptied_again,
    "schema-loaded-again": second_table_missing,
    "ransom-note-in-place-of-a-database": note_is_left,
    "cents-to-everybody": history_of_every_row,
    "index-built-beside-updates": index_lacks_rows,
    "restored-on-another-system": addresses_twice,
    "container-without-shared-memory": no_room_in_shm,
    "statements-never-freed": killed_and_back,
    "locked-every-second": vacuum_is_called_off,
    "looked-up-in-all-parts": many_wait_for_the_lock_manager,
}
"""By the incident's id."""
