"""The names of all causes: what one cause says of another must not import it."""

from __future__ import annotations

from stanch.model.ids import CauseId

STOPPED_CLEANLY = CauseId("stopped_cleanly")
CRASHED = CauseId("crashed")
KILLED = CauseId("killed")
OOM_KILLED = CauseId("oom_killed")
STALE_LOCK_FILE = CauseId("stale_lock_file")
LIVE_LOCK_FILE = CauseId("live_lock_file")
CANNOT_START = CauseId("cannot_start")
POSTMASTER_STOPPED = CauseId("postmaster_stopped")
STANDBY_WITHOUT_SESSIONS = CauseId("standby_without_sessions")
NETWORK_UNREACHABLE = CauseId("network_unreachable")
DNS_FAILURE = CauseId("dns_failure")
CREDENTIALS_REFUSED = CauseId("credentials_refused")
OTHER_CLUSTER = CauseId("other_cluster")
DISK_FULL_DATA = CauseId("disk_full_data")
DISK_FULL_WAL = CauseId("disk_full_wal")
CONNECTIONS_LEAKED = CauseId("connections_leaked")
CONNECTIONS_BEHIND_LOCK = CauseId("connections_behind_lock")
CONNECTIONS_LOAD = CauseId("connections_load")
BLOCKING_CHAIN = CauseId("blocking_chain")
IDLE_IN_TRANSACTION = CauseId("idle_in_transaction")
