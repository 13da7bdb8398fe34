"""All causes Stanch can name, and the one question that separates each from its look-alikes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from stanch.diagnose.cause import Cause
from stanch.diagnose.causes.access import (
    certificate_expired,
    certificate_untrusted,
    hba_invalid,
    read_only_setting,
    standby_written_to,
)
from stanch.diagnose.causes.backups import archive_gap, backup_failed, backup_unrestorable
from stanch.diagnose.causes.called_off import deadlock_storm, lock_table_full, statement_timeouts
from stanch.diagnose.causes.connections import (
    connections_behind_lock,
    connections_leaked,
    connections_load,
)
from stanch.diagnose.causes.contention import lwlock_contention, subtransaction_overflow
from stanch.diagnose.causes.damage import catalog_corruption, page_corruption, toast_corruption
from stanch.diagnose.causes.disk import disk_full_data, disk_full_wal
from stanch.diagnose.causes.filling import inodes_exhausted, log_volume_full, temp_file_spill
from stanch.diagnose.causes.host import clock_wrong, extension_library_missing, os_limit_reached
from stanch.diagnose.causes.indexes import collation_drift, index_corruption
from stanch.diagnose.causes.lag import (
    lag_sending,
    replay_conflict,
    replay_paused,
    replay_saturated,
)
from stanch.diagnose.causes.leading import cluster_leaderless
from stanch.diagnose.causes.leaving import shutdown_waits
from stanch.diagnose.causes.lock_file import live_lock_file, stale_lock_file
from stanch.diagnose.causes.locks import blocking_chain, idle_in_transaction
from stanch.diagnose.causes.logical import apply_worker_loop, decoding_spill
from stanch.diagnose.causes.logins import (
    hba_refused,
    login_not_permitted,
    password_expired,
    password_wrong,
)
from stanch.diagnose.causes.loss import (
    database_dropped,
    schema_mismatch,
    table_dropped,
    table_truncated,
)
from stanch.diagnose.causes.memory import out_of_memory, shared_memory_small, work_mem_too_high
from stanch.diagnose.causes.neighbours import maintenance_overload, noisy_neighbour
from stanch.diagnose.causes.network import dns_failure, network_unreachable
from stanch.diagnose.causes.plans import generic_plan, missing_index, plan_flip
from stanch.diagnose.causes.pools import (
    connection_limit_reached,
    connection_storm,
    pool_clients_exhausted,
    pool_exhausted,
    pool_paused,
)
from stanch.diagnose.causes.promotion import split_brain, standby_promoted, timeline_diverged
from stanch.diagnose.causes.queues import (
    advisory_lock_leak,
    commits_behind_notify,
    ddl_lock_queue,
    prepared_transaction_orphaned,
)
from stanch.diagnose.causes.ranges import int4_overflow, sequence_exhausted
from stanch.diagnose.causes.recovering import long_recovery
from stanch.diagnose.causes.removed import data_files_removed
from stanch.diagnose.causes.replication import sync_standby_gone, wal_removed
from stanch.diagnose.causes.rows import mass_delete, mass_update
from stanch.diagnose.causes.security import (
    dangerous_rights_gained,
    data_copied_out,
    login_attack,
    rights_revoked,
)
from stanch.diagnose.causes.settings import reload_refused, restart_pending
from stanch.diagnose.causes.starting import cannot_start
from stanch.diagnose.causes.startup import (
    bad_configuration,
    kernel_resources_short,
    no_valid_checkpoint,
    preload_library_missing,
)
from stanch.diagnose.causes.stopping import crashed, killed, oom_killed, stopped_cleanly
from stanch.diagnose.causes.storage import fsync_failed, storage_stalled
from stanch.diagnose.causes.unanswering import (
    credentials_refused,
    other_cluster,
    postmaster_stopped,
    standby_without_sessions,
)
from stanch.diagnose.causes.vacuum import (
    autovacuum_starved,
    multixact_wraparound,
    table_bloat,
    vacuum_held_back,
    xid_wraparound,
)
from stanch.diagnose.causes.versions import upgrade_failed, version_mismatch
from stanch.diagnose.causes.wal import archiver_failing, slot_inactive, slot_stuck
from stanch.diagnose.causes.wal_rate import checkpoint_storm, wal_burst
from stanch.diagnose.causes.work import bad_query, load_spike
from stanch.model.ids import CauseId
from stanch.model.symptoms import SymptomKind

CAUSES: tuple[Cause, ...] = (
    stopped_cleanly,
    crashed,
    killed,
    oom_killed,
    stale_lock_file,
    live_lock_file,
    cannot_start,
    data_files_removed,
    version_mismatch,
    kernel_resources_short,
    preload_library_missing,
    no_valid_checkpoint,
    bad_configuration,
    upgrade_failed,
    long_recovery,
    shutdown_waits,
    reload_refused,
    restart_pending,
    out_of_memory,
    shared_memory_small,
    os_limit_reached,
    clock_wrong,
    extension_library_missing,
    work_mem_too_high,
    postmaster_stopped,
    standby_without_sessions,
    network_unreachable,
    dns_failure,
    credentials_refused,
    hba_refused,
    password_expired,
    login_not_permitted,
    password_wrong,
    certificate_expired,
    certificate_untrusted,
    hba_invalid,
    other_cluster,
    connection_limit_reached,
    connection_storm,
    pool_exhausted,
    pool_paused,
    pool_clients_exhausted,
    login_attack,
    dangerous_rights_gained,
    data_copied_out,
    rights_revoked,
    read_only_setting,
    standby_written_to,
    disk_full_data,
    disk_full_wal,
    archiver_failing,
    slot_inactive,
    slot_stuck,
    wal_burst,
    checkpoint_storm,
    temp_file_spill,
    log_volume_full,
    inodes_exhausted,
    storage_stalled,
    fsync_failed,
    backup_failed,
    backup_unrestorable,
    archive_gap,
    connections_leaked,
    connections_behind_lock,
    connections_load,
    blocking_chain,
    idle_in_transaction,
    ddl_lock_queue,
    deadlock_storm,
    prepared_transaction_orphaned,
    lock_table_full,
    advisory_lock_leak,
    commits_behind_notify,
    statement_timeouts,
    subtransaction_overflow,
    lwlock_contention,
    load_spike,
    missing_index,
    plan_flip,
    bad_query,
    generic_plan,
    table_bloat,
    vacuum_held_back,
    autovacuum_starved,
    xid_wraparound,
    multixact_wraparound,
    noisy_neighbour,
    maintenance_overload,
    page_corruption,
    index_corruption,
    collation_drift,
    toast_corruption,
    catalog_corruption,
    table_dropped,
    schema_mismatch,
    table_truncated,
    database_dropped,
    mass_delete,
    mass_update,
    sequence_exhausted,
    int4_overflow,
    split_brain,
    cluster_leaderless,
    standby_promoted,
    timeline_diverged,
    lag_sending,
    replay_conflict,
    replay_paused,
    replay_saturated,
    wal_removed,
    sync_standby_gone,
    apply_worker_loop,
    decoding_spill,
)

BY_ID: Mapping[CauseId, Cause] = MappingProxyType({cause.id: cause for cause in CAUSES})

PAST: tuple[Cause, ...] = (stopped_cleanly, crashed, killed, oom_killed, disk_full_wal)
"""What can have been, and be over because the server came back."""


def separator(first: CauseId, second: CauseId) -> str:
    """The one question that tells two causes apart; empty where they are not look-alikes."""
    return BY_ID[first].apart.get(second) or BY_ID[second].apart.get(first, "")


def look_alikes(cause: Cause) -> tuple[CauseId, ...]:
    """What it is mistaken for, whichever of the two says so, in the order of the catalogue."""
    return tuple(other.id for other in CAUSES if other.id in cause.apart or cause.id in other.apart)


def follows_from(cause: Cause) -> tuple[CauseId, ...]:
    """What brings it about, in the order of the catalogue."""
    return tuple(other.id for other in CAUSES if cause.id in other.brings_about)


@cache
def explained_by(cause_id: CauseId) -> frozenset[SymptomKind]:
    """The symptoms a cause brings about, itself or through what it brings about."""
    reached, left = set[CauseId](), [cause_id]
    while left:
        here = left.pop()
        if here not in reached:
            reached.add(here)
            left.extend(BY_ID[here].brings_about)
    return frozenset(kind for one in reached for kind in BY_ID[one].symptoms)
