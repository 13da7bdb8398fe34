"""First moves and warnings for a server that a provider keeps: nobody there has its files.

A sentence that needs the machine is told as the provider's counterpart, or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from stanch.diagnose.managed import Provider
from stanch.model.diagnosis import CauseFinding

NEEDS_MACHINE = re.compile(
    r"\b(?:pg_ctl|postmaster\.pid|pg_resetwal|initdb|SIGKILL|SIGSTOP|Patroni|systemd|etcdctl|"
    r"chronyc|iostat|dmesg|pg_upgrade|pg_rewind|pg_waldump|PG_VERSION|pg_hba\.conf|pg_xact|"
    r"pg_hba_file_rules|pg_file_settings|pgsql_tmp|pg_wal|pg_replslot|backup_label|pg_control|"
    r"huge_pages|pids\.max|LimitNPROC|archive_command|restore_command|archive command|"
    r"ballast|lock file|core file|data director(?:y|ies)|single-user|its manager|the manager|"
    r"whoever manages|kernel|device|server logs|old logs|pg_filenode_relation|pg_amcheck|"
    r"ignore_system_indexes|delete_old_cluster|standby\.signal|zero_damaged_pages|getent|"
    r"group of the machine|operating system|package of|library)\b"
    r"|kill -|postgres -|/dev/shm|--shm-size|postgresql\.(?:auto\.)?conf|\bdu --|\bdf -"
    r"|\bin base\b|\breload|\bthe volume\b|\bvolumes?\b|the machine"
)
"""What only whoever has the machine can do or look at."""

MOVES: Mapping[str, str] = {
    "disk_full_data": "Cancel the statement that grows, then enlarge {storage}; {metrics} show how "
    "much is left.",
    "disk_full_wal": "Enlarge {storage}; then mend what retains the WAL: the consumer of the slot "
    "that pg_replication_slots shows furthest behind.",
    "log_volume_full": "Take back what makes it log so much (log_statement, "
    "log_min_duration_statement) in {settings}, and shorten how long its logs are kept.",
    "hba_refused": "Compare {access} and the encryption that it demands with where you come from.",
    "hba_invalid": "Nobody but the provider writes these rules: see {events}, and ask {support}.",
    "bad_configuration": "Take back what was changed last in {settings}; {events} say what it "
    "stumbled over.",
    "kernel_resources_short": "Take back what was changed last in {settings}; {events} say what it "
    "stumbled over.",
    "preload_library_missing": "Take it out of shared_preload_libraries in {settings}.",
    "extension_library_missing": "Look whether the service offers that extension for this version.",
    "reload_refused": "Mend or take back that one setting in {settings}.",
    "restart_pending": "Ask who changed it; then plan the restart, or take the change back in "
    "{settings}.",
    "read_only_setting": "Find out who switched it on and why: a service does so itself when its "
    "storage is full or a failover is under way ({events}); when that is over, reset the setting.",
    "checkpoint_storm": "Raise max_wal_size in {settings} to what is written between two timed "
    "checkpoints; no restart is needed.",
    "wal_burst": "Find the job (pg_stat_statements.wal_bytes, pg_stat_progress_copy) and slow it "
    "down or put it off; where whole pages are most of it, switch wal_compression on in "
    "{settings}.",
    "slot_inactive": "Bring its consumer back; where nobody can, set max_slot_wal_keep_size in "
    "{settings}, so that the slot is lost before the storage is full, and drop it only when its "
    "owner has agreed.",
    "sync_standby_gone": "See in {events} whether the standby is being replaced: the service "
    "brings it back by itself.",
    "shared_memory_small": "Set max_parallel_workers_per_gather = 0 in {settings}; then give the "
    "instance more memory.",
    "oom_killed": "Let it recover, then cut concurrency or the work_mem of the role that grew; "
    "{metrics} show how much memory was left.",
    "lock_table_full": "End the one transaction that holds most locks in pg_locks, or let it "
    "finish; then raise max_locks_per_transaction in {settings} and plan the restart.",
    "network_unreachable": "Look at {access} and at what changed last on the way there, and try "
    "from a second place.",
    "dns_failure": "Ask for the name in another place; was the service renamed, stopped or removed "
    "({events})?",
    "certificate_expired": "The provider renews it: see {events}; clients that trust only its old "
    "issuer need the new one.",
    "certificate_untrusted": "Give clients the provider's present issuer, from its own pages.",
    "storage_stalled": "Look at the latency and the limits of its storage in {metrics}; a larger "
    "class of storage, or a failover to a standby, helps where it is throttled.",
    "noisy_neighbour": "Ask {support}, and move to another class of instance.",
    "stopped_cleanly": "See in {events} who stopped it and why; then start it with the provider's "
    "own command.",
    "long_recovery": "Wait, and tell people that it recovers; {events} and {log} say how far it "
    "is.",
    "page_corruption": "Keep the application from writing to that table, read the same rows on a "
    "standby and from a restore to a point in time, and open a case with {support}.",
    "toast_corruption": "Find the rows: read the column by ctid, in ranges that are halved until "
    "one row is left; take those rows from a restore to a point in time beside it.",
    "catalog_corruption": "Restore to a point in time beside it, dump what can be read, and open a "
    "case with {support}.",
    "archiver_failing": "The service archives by itself: see its newest restorable time, and "
    "{events}; where that stands still, open a case with {support}.",
    "archive_gap": "The service archives by itself: make a snapshot now, and open a case with "
    "{support}.",
    "credentials_refused": "Log in as another role to see whether it is this role or everybody; "
    "then compare password, expiry (rolvaliduntil) and {access} with what was changed last.",
}
"""By cause. What is not here keeps its own first move where nobody needs a machine for it."""

ASK = "Of that moment see {events}, and {log}; what they do not explain is a case for {support}."


def for_provider(found: CauseFinding, provider: Provider) -> CauseFinding:
    """The same finding in words that somebody without the machine can follow."""
    return replace(
        found,
        safe_first=_move(found, provider),
        never=tuple(text for text in found.never if not NEEDS_MACHINE.search(text)),
    )


def _move(found: CauseFinding, provider: Provider) -> str:
    counterpart = MOVES.get(found.id)
    if counterpart is None:
        if not NEEDS_MACHINE.search(found.safe_first):
            return found.safe_first
        counterpart = ASK
    return _filled(counterpart, provider)


def _filled(text: str, provider: Provider) -> str:
    return text.format(
        events=provider.events,
        log=provider.log,
        metrics=provider.metrics,
        settings=provider.settings,
        storage=provider.storage,
        access=provider.access,
        support=provider.support,
    )


def question_for(separator: str, provider: Provider) -> str:
    """What tells two causes apart there; their events, where it takes a look at the machine."""
    if not NEEDS_MACHINE.search(separator):
        return separator
    return f"What do {provider.events} say of that moment?"
