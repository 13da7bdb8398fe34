"""All causes Stanch can name, and the one question that separates each from its look-alikes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from stanch.diagnose.cause import Cause
from stanch.diagnose.causes.connections import (
    CONNECTIONS_BEHIND_LOCK,
    CONNECTIONS_LEAKED,
    CONNECTIONS_LOAD,
    connections_behind_lock,
    connections_leaked,
    connections_load,
)
from stanch.diagnose.causes.disk import (
    DISK_FULL_DATA,
    DISK_FULL_WAL,
    disk_full_data,
    disk_full_wal,
)
from stanch.diagnose.causes.lock_file import live_lock_file, stale_lock_file
from stanch.diagnose.causes.locks import (
    BLOCKING_CHAIN,
    IDLE_IN_TRANSACTION,
    blocking_chain,
    idle_in_transaction,
)
from stanch.diagnose.causes.network import (
    DNS_FAILURE,
    NETWORK_UNREACHABLE,
    dns_failure,
    network_unreachable,
)
from stanch.diagnose.causes.starting import cannot_start
from stanch.diagnose.causes.stopping import (
    CANNOT_START,
    CRASHED,
    KILLED,
    LIVE_LOCK_FILE,
    OOM_KILLED,
    STALE_LOCK_FILE,
    STOPPED_CLEANLY,
    crashed,
    killed,
    oom_killed,
    stopped_cleanly,
)
from stanch.diagnose.causes.unanswering import (
    CREDENTIALS_REFUSED,
    OTHER_CLUSTER,
    POSTMASTER_STOPPED,
    STANDBY_WITHOUT_SESSIONS,
    credentials_refused,
    other_cluster,
    postmaster_stopped,
    standby_without_sessions,
)
from stanch.model.ids import CauseId

CAUSES: tuple[Cause, ...] = (
    stopped_cleanly,
    crashed,
    killed,
    oom_killed,
    stale_lock_file,
    live_lock_file,
    cannot_start,
    postmaster_stopped,
    standby_without_sessions,
    network_unreachable,
    dns_failure,
    credentials_refused,
    other_cluster,
    disk_full_data,
    disk_full_wal,
    connections_leaked,
    connections_behind_lock,
    connections_load,
    blocking_chain,
    idle_in_transaction,
)

BY_ID: Mapping[CauseId, Cause] = MappingProxyType({cause.id: cause for cause in CAUSES})

PAST: tuple[Cause, ...] = (stopped_cleanly, crashed, killed, oom_killed, disk_full_wal)
"""What can have been, and be over because the server came back."""

SEPARATORS: Mapping[frozenset[CauseId], str] = MappingProxyType(
    {
        frozenset({STOPPED_CLEANLY, KILLED}): "Does the server log end with a shutdown request, "
        'and does pg_controldata say "shut down"?',
        frozenset({STOPPED_CLEANLY, CRASHED}): "Does the server log show a shutdown request "
        "before the server ended?",
        frozenset({STOPPED_CLEANLY, OOM_KILLED}): "Does the kernel log (dmesg) show "
        '"Out of memory: Killed process" for a postgres process?',
        frozenset({STOPPED_CLEANLY, NETWORK_UNREACHABLE}): "On the machine itself: does a "
        "postmaster run?",
        frozenset({STOPPED_CLEANLY, LIVE_LOCK_FILE}): "On the machine itself: does a postmaster "
        "run on this data directory?",
        frozenset({STOPPED_CLEANLY, STALE_LOCK_FILE}): "Is there a postmaster.pid in the data "
        "directory, and what runs under the PID on its first line?",
        frozenset({STOPPED_CLEANLY, CANNOT_START}): "Does the server log end with a FATAL line "
        "of a later start?",
        frozenset({KILLED, CANNOT_START}): "Does the server log end with a FATAL line of a later "
        "start?",
        frozenset({CRASHED, KILLED}): "Which signal does the server log name: 9 (somebody killed "
        "it) or another (it crashed)?",
        frozenset({CRASHED, OOM_KILLED}): "Does the kernel log (dmesg) show "
        '"Out of memory: Killed process" at that time?',
        frozenset({KILLED, OOM_KILLED}): "Does the kernel log (dmesg) or the control group's "
        "oom_kill counter show a kill for memory at that time?",
        frozenset({KILLED, STALE_LOCK_FILE}): "What runs under the PID on the first line of "
        "postmaster.pid?",
        frozenset({KILLED, LIVE_LOCK_FILE}): "Does any process still have files of the data "
        "directory open?",
        frozenset({KILLED, NETWORK_UNREACHABLE}): "On the machine itself: does a postmaster run?",
        frozenset({STALE_LOCK_FILE, LIVE_LOCK_FILE}): "Is the process with the PID in "
        "postmaster.pid a postgres that works in this data directory?",
        frozenset({POSTMASTER_STOPPED, NETWORK_UNREACHABLE}): "On the machine itself: does ps show "
        "the postmaster in state T?",
        frozenset({STANDBY_WITHOUT_SESSIONS, POSTMASTER_STOPPED}): "Is a fresh login refused "
        "(57P03), or is there no answer at all?",
        frozenset({DNS_FAILURE, NETWORK_UNREACHABLE}): "Does a connection to the server's address, "
        "instead of its name, get an answer?",
        frozenset({CREDENTIALS_REFUSED, CONNECTIONS_LEAKED}): "Which SQLSTATE does the refusal "
        "carry: 28P01 or 28000 (who you are), or 53300 (no room)?",
        frozenset({CREDENTIALS_REFUSED, CONNECTIONS_LOAD}): "Which SQLSTATE does the refusal "
        "carry: 28P01 or 28000 (who you are), or 53300 (no room)?",
        frozenset({OTHER_CLUSTER, CREDENTIALS_REFUSED}): "Which system_identifier does "
        "pg_control_system() give, once somebody is let in?",
        frozenset({CRASHED, DISK_FULL_WAL}): "Does the volume of pg_wal have free space?",
        frozenset({CRASHED, DISK_FULL_DATA}): "Does the data volume have free space?",
        frozenset({DISK_FULL_DATA, DISK_FULL_WAL}): "What grew: pg_wal or base?",
        frozenset({CONNECTIONS_LEAKED, CONNECTIONS_LOAD}): "What state are most sessions in "
        "(pg_stat_activity.state): idle or active?",
        frozenset({CONNECTIONS_LEAKED, CONNECTIONS_BEHIND_LOCK}): "How many sessions have "
        "wait_event_type = 'Lock' in pg_stat_activity?",
        frozenset({CONNECTIONS_BEHIND_LOCK, CONNECTIONS_LOAD}): "How many of the active sessions "
        "have wait_event_type = 'Lock' in pg_stat_activity?",
        frozenset({BLOCKING_CHAIN, IDLE_IN_TRANSACTION}): "Is the session at the root of "
        "pg_blocking_pids() active or idle in transaction?",
    }
)


def separator(first: CauseId, second: CauseId) -> str:
    """The one question that tells two causes apart; empty where they are not look-alikes."""
    return SEPARATORS.get(frozenset({first, second}), "")
