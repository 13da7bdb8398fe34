"""What people could do about a cause, safest first, with this incident's own names and numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from stanch.model.diagnosis import CauseFinding, Scalar
from stanch.policy.policy import TargetPolicy
from stanch.policy.quoting import printable
from stanch.respond.sessions import KEPT_APPLICATIONS

OPTIONS_MAX = 8


def options_for(cause: CauseFinding, target: TargetPolicy) -> tuple[str, ...]:
    """Sentences for a person; the safest first, the diagnosis' own first move before all."""
    first = (cause.safe_first,) if cause.safe_first else ()
    more = _OPTIONS.get(cause.id, _nothing)(cause, target)
    return tuple(dict.fromkeys(first + more))[:OPTIONS_MAX]


def _nothing(_cause: CauseFinding, _target: TargetPolicy) -> tuple[str, ...]:
    return ()


def _shown(value: Scalar, *, unknown: str) -> str:
    return unknown if value is None or value == "" else printable(str(value))[:200]


def _start(cause: CauseFinding, target: TargetPolicy) -> tuple[str, ...]:
    directory = _shown(cause.fact("data_directory"), unknown="the data directory")
    start = f"Start it through its manager once nobody else is at work in {directory}."
    if cause.id != "stopped_cleanly":
        return ("Keep a copy of the server log before it rotates.", start)
    ask = "Ask whoever stopped it whether it may run again."
    if target.desired == "running":
        return (ask, start)
    return (ask, start, "Say `desired: running` if Stanch is to undo a stop nobody ordered.")


def _lock(cause: CauseFinding, _target: TargetPolicy) -> tuple[str, ...]:
    pid = _shown(cause.fact("lock_pid"), unknown="the one in its first line")
    return (
        f"See which process has the PID of the lock file ({pid}): `ps -fp PID`.",
        "Stop that other process if it may be stopped; the server then starts by itself.",
        "Rename postmaster.pid, never delete it, once no process has the data directory open.",
    )


def _live(cause: CauseFinding, _target: TargetPolicy) -> tuple[str, ...]:
    return (
        "Leave the lock file alone: a server is alive behind it.",
        "Find out why that server does not take connections; see its log.",
    )


def _connections(cause: CauseFinding, _target: TargetPolicy) -> tuple[str, ...]:
    name = _shown(cause.fact("application_name"), unknown="the application")
    idle = _shown(cause.fact("idle_sessions"), unknown="its")
    return (
        f"Restart {name}, or lower its pool size: it holds {idle} idle sessions.",
        "End its oldest idle sessions one by one with pg_terminate_backend.",
        "Set idle_session_timeout for its role, so that it cannot happen again.",
    )


def _load(cause: CauseFinding, _target: TargetPolicy) -> tuple[str, ...]:
    return (
        "Shed load at the application: fewer workers, a smaller pool, a queue before it.",
        "Put a pooler in transaction mode between the application and the server.",
        "Raise max_connections only with memory to spare; it takes a restart.",
    )


def _chain(cause: CauseFinding, _target: TargetPolicy) -> tuple[str, ...]:
    if cause.fact("root_pid") == 0:
        gid = _shown(cause.fact("prepared_gid"), unknown="its name")
        return (
            f"Ask the owner of the prepared transaction {gid} whether it is to be kept.",
            "COMMIT PREPARED or ROLLBACK PREPARED it; only a person can know which.",
        )
    pid = _shown(cause.fact("root_pid"), unknown="the session at the head")
    name = _shown(cause.fact("root_application"), unknown="an unnamed application")
    kind = cause.fact("root_backend_type") or "client backend"
    if kind != "client backend" or name.casefold().startswith(KEPT_APPLICATIONS):
        return (
            "Cancel the schema change that waits for it (pg_cancel_backend); those queued behind "
            "that one go on at once.",
            f"Let {name if kind == 'client backend' else kind} end by itself (pid {pid}).",
        )
    return (
        f"Let {name} end its transaction (pid {pid}); nothing is lost then.",
        f"SELECT pg_cancel_backend({pid}) where it is running a statement.",
        f"SELECT pg_terminate_backend({pid}); its transaction is rolled back.",
        "Set idle_in_transaction_session_timeout for its role.",
    )


def _runaway(cause: CauseFinding, _target: TargetPolicy) -> tuple[str, ...]:
    pid = _shown(cause.fact("statement_pid"), unknown="PID")
    name = _shown(cause.fact("application_name"), unknown="the application")
    return (
        f"Ask {name} to stop the job that sends it: it would come again.",
        f"SELECT pg_cancel_backend({pid}); what it did so far is lost, its session lives on.",
        "Set statement_timeout for its role, so that it ends by itself the next time.",
    )


def _disk(cause: CauseFinding, target: TargetPolicy) -> tuple[str, ...]:
    volume = _shown(cause.fact("volume"), unknown="the volume")
    own = () if target.free_space.ballast else ("Keep a ballast file there for the next time.",)
    return (f"Grow {volume}.", *_retainer(cause), "Move what is not PostgreSQL's elsewhere.", *own)


def _retainer(cause: CauseFinding) -> tuple[str, ...]:
    """What holds back WAL, named; never the WAL itself."""
    retainer = cause.fact("retainer")
    held = _shown(cause.fact("retained_bytes"), unknown="an unknown number of")
    if isinstance(retainer, str) and retainer.startswith("slot:"):
        slot = printable(retainer.removeprefix("slot:"))[:100]
        return (
            f"Bring back the consumer of the replication slot {slot}: it holds {held} bytes.",
            f"Drop the slot {slot} only if its consumer may be rebuilt from scratch.",
        )
    if retainer == "archiver":
        return (f"Repair the archive: {held} bytes of WAL wait for it.",)
    if retainer == "wal_keep":
        return ("Lower wal_keep_size and reload.",)
    if retainer == "none":
        return ()
    return ("Find what retains WAL: pg_replication_slots, pg_stat_archiver, wal_keep_size.",)


def _network(cause: CauseFinding, _target: TargetPolicy) -> tuple[str, ...]:
    return (
        "Try to reach it from another place, and from the machine itself.",
        "Look at routes, the firewall and the load balancer before the server.",
    )


def _mend(cause: CauseFinding, _target: TargetPolicy) -> tuple[str, ...]:
    data = _shown(cause.fact("data_directory"), unknown="the data directory")
    return (
        f"Settings: `postgres -D {data} -C port` as its owner says what is wrong with them.",
        f"Files: owner and mode (0700) of {data}, and that its volumes are mounted.",
        "Port: see who has it (`ss -ltnp`). Version: compare PG_VERSION with `postgres --version`.",
        "Start it through its manager once that is mended; Stanch does not try while the log's "
        "last word is that.",
    )


def _restore(cause: CauseFinding, _target: TargetPolicy) -> tuple[str, ...]:
    data = _shown(cause.fact("data_directory"), unknown="the data directory")
    return (
        f"Stop everything that touches {data}, and copy it whole, with its WAL and tablespaces.",
        "Fail over, if a standby is there and its data is newer than the newest backup.",
        "Restore the newest backup beside it, with the WAL of the archive.",
    )


def _upgrade(cause: CauseFinding, _target: TargetPolicy) -> tuple[str, ...]:
    data = _shown(cause.fact("data_directory"), unknown="the data directory")
    return (
        f"Read what pg_upgrade wrote: {data}/pg_upgrade_output.d, or the folder it ran in.",
        "Find out whether the new cluster was ever started, and whether --link, --clone, --copy or "
        "--swap was given.",
        "Not started: give pg_control.old its name back and start the old programs. Started with "
        "--link or --swap: go on with the new cluster, or restore a backup.",
    )


def _recovery(cause: CauseFinding, _target: TargetPolicy) -> tuple[str, ...]:
    process = _shown(cause.fact("startup_process"), unknown="its startup process")
    return (
        f"See that it moves: {process}",
        "Tell people when it will be back; a standby that is up to date is the other way.",
        "Afterwards: a shorter checkpoint_timeout or a smaller max_wal_size shortens recovery.",
    )


def _suspended(cause: CauseFinding, _target: TargetPolicy) -> tuple[str, ...]:
    pid = _shown(cause.fact("postmaster_pid"), unknown="PID")
    return (
        f"See what holds it: `ps -o pid,stat,wchan -p {pid}`; TracerPid in /proc/{pid}/status "
        "names a debugger.",
        f"Let it go on once nobody needs it suspended: `kill -CONT {pid}`.",
    )


def _dns(_cause: CauseFinding, _target: TargetPolicy) -> tuple[str, ...]:
    return (
        "Repair the resolver, or put the name back where it was removed.",
        "Watch the server by its address (hostaddr) until the name works again.",
    )


def _credentials(_cause: CauseFinding, _target: TargetPolicy) -> tuple[str, ...]:
    return (
        "Give the watch the password that is valid now (passfile or service), then reload it.",
        "See pg_hba_file_rules and the role's rolcanlogin and rolvaliduntil in pg_roles.",
    )


def _no_sessions(_cause: CauseFinding, _target: TargetPolicy) -> tuple[str, ...]:
    return (
        "See what it does: its log, and the WAL that its startup process names (ps).",
        "Watch its progress from the primary: pg_stat_replication.",
    )


def _other(cause: CauseFinding, _target: TargetPolicy) -> tuple[str, ...]:
    now = _shown(cause.fact("cluster_answering"), unknown="the new one")
    return (
        "See who has the address: `ss -ltnp` on the machine, and SHOW data_directory in a session.",
        "Stop that server or give it another port; then start the watched one through its manager.",
        f'If it is meant to be there, set system_identifier: "{now}" for this target in '
        "stanch.yaml, and reload.",
    )


_OPTIONS: Mapping[str, Callable[[CauseFinding, TargetPolicy], tuple[str, ...]]] = {
    "stopped_cleanly": _start,
    "crashed": _start,
    "killed": _start,
    "oom_killed": _start,
    "stale_lock_file": _lock,
    "live_lock_file": _live,
    "cannot_start": _mend,
    "version_mismatch": _mend,
    "kernel_resources_short": _mend,
    "preload_library_missing": _mend,
    "bad_configuration": _mend,
    "no_valid_checkpoint": _restore,
    "upgrade_failed": _upgrade,
    "long_recovery": _recovery,
    "connections_leaked": _connections,
    "connections_behind_lock": _chain,
    "connections_load": _load,
    "blocking_chain": _chain,
    "idle_in_transaction": _chain,
    "bad_query": _runaway,
    "disk_full_data": _disk,
    "disk_full_wal": _disk,
    "archiver_failing": _disk,
    "slot_inactive": _disk,
    "slot_stuck": _disk,
    "wal_burst": _disk,
    "temp_file_spill": _disk,
    "log_volume_full": _disk,
    "inodes_exhausted": _disk,
    "network_unreachable": _network,
    "postmaster_stopped": _suspended,
    "dns_failure": _dns,
    "credentials_refused": _credentials,
    "other_cluster": _other,
    "standby_without_sessions": _no_sessions,
}
