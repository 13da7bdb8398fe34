"""From what the ports return to what a diagnosis keeps: counts and identities, nothing bulky."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from stanch.diagnose.inside import Chain, Chains, Retention, SessionGroup, Sessions, Slot
from stanch.diagnose.outside import Control, Kernel, Kill, ServerProcesses, Stall, Volume, Volumes
from stanch.facts.blocking import BlockingChain, blocking_roots
from stanch.facts.controldata import ControlData
from stanch.facts.reading import Answer, read_object
from stanch.facts.sessions import WaitingSession
from stanch.model import host
from stanch.model.diagnosis import Missing
from stanch.model.ports.traces import KernelKill, KernelStall, WalOnDisk
from stanch.model.vitals import Vitals

CHAINS_MAX = 10
NAMES_MAX = 200
SERVER_NAMES = frozenset({"postgres", "postmaster", "postgresql"})
KILLS_MAX = 20
SUSPENDED = frozenset({"stopped", "tracing-stop"})
SUSPENDED_MAX = 20


# --- from inside the server ---------------------------------------------------------------------


def sessions_from(vitals: Vitals) -> Sessions | Missing:
    """Who holds the connections; Missing where the role may not see it."""
    seen, settings = vitals.sessions, vitals.settings
    if seen is None:
        reason = "the role lacks pg_monitor: other sessions are not visible"
        return Missing(what="sessions", reason=reason)
    return Sessions(
        max_connections=settings.max_connections,
        reserved=settings.superuser_reserved_connections + (settings.reserved_connections or 0),
        client_backends=seen.client_backends,
        groups=tuple(
            SessionGroup(
                application_name=group.application_name,
                usename=group.usename,
                state=group.state,
                sessions=group.sessions,
                oldest_state_s=group.oldest_state_age_s or 0.0,
            )
            for group in seen.groups
        ),
        waiting=seen.waiting_on_lock,
        oldest_wait_s=seen.oldest_lock_wait_s or 0.0,
        oldest_idle_in_transaction_s=seen.oldest_idle_in_transaction_s or 0.0,
        limits_hit=tuple(
            f'{limit.scope} "{limit.name}" has {limit.used} of the {limit.allowed} sessions that '
            "its own CONNECTION LIMIT allows"
            for limit in seen.limits
            if limit.hit
        ),
        postmaster_start=vitals.postmaster_start,
        in_recovery=vitals.in_recovery,
    )


def chains_from(waiting: Sequence[WaitingSession], open_transactions: object) -> Chains:
    """The blocking chains and the transactions that stay open without doing anything.

    Raises: ProbeFailed where the answer is not what the statement gives.
    """
    answer = read_object(open_transactions, "open_transactions")
    prepared = answer.parts("prepared")
    roots = blocking_roots(waiting)[:CHAINS_MAX]
    return Chains(
        chains=tuple(_chain(root, prepared) for root in roots if not root.cycle),
        old_idle=tuple(_idle(row) for row in answer.parts("idle")),
    )


def _chain(found: BlockingChain, prepared: Sequence[Answer]) -> Chain:
    root, waiters, wait_s = found.root, len(found.waiters), found.oldest_wait_s
    if found.prepared:
        # Locks of prepared transactions carry no link to the waiter: the oldest is the likeliest.
        first = prepared[0] if prepared else None
        return Chain(
            root_pid=0,
            root_state="prepared",
            root_usename=first.text("usename") if first else "",
            root_datname=first.text("datname") if first else "",
            root_in_state_s=(first.age_s("age_s") or 0.0) if first else 0.0,
            prepared_gid=first.text("gid") if first else "",
            waiters=waiters,
            oldest_wait_s=wait_s,
        )
    if root is None:
        return Chain(root_pid=found.root_pid, waiters=waiters, oldest_wait_s=wait_s)
    return Chain(
        root_pid=root.pid,
        root_backend_start=root.backend_start,
        root_xact_start=root.xact_start,
        root_state=root.state,
        root_state_change=root.state_change,
        root_application=root.application_name,
        root_usename=root.usename,
        root_datname=root.datname,
        root_backend_type=root.backend_type,
        root_in_state_s=root.state_age_s or 0.0,
        waiters=waiters,
        oldest_wait_s=wait_s,
    )


def _idle(row: Answer) -> Chain:
    return Chain(
        root_pid=row.whole("pid"),
        root_backend_start=row.moment_or_none("backend_start"),
        root_xact_start=row.moment_or_none("xact_start"),
        root_state=row.text("state"),
        root_state_change=row.moment_or_none("state_change"),
        root_application=row.text("application_name"),
        root_usename=row.text("usename"),
        root_datname=row.text("datname"),
        root_backend_type=row.text("backend_type"),
        root_in_state_s=row.age_s("state_age_s") or 0.0,
        waiters=0,
        oldest_wait_s=0.0,
    )


def retention_from(vitals: Vitals, open_transactions: object) -> Retention:
    """What keeps WAL, as the running server tells it."""
    answer = read_object(open_transactions, "open_transactions")
    return replace(
        retention_before(vitals),
        archive_mode=answer.flag("archive_mode"),
        wal_keep_bytes=answer.whole("wal_keep_bytes"),
        wal_segment_bytes=answer.whole("wal_segment_bytes"),
    )


def retention_before(vitals: Vitals) -> Retention:
    """What keeps WAL as far as the vital signs alone tell it: slots and the archiver."""
    archiver = vitals.archiver
    return Retention(
        slots=tuple(
            Slot(name=s.name, active=s.active, retained_bytes=s.retained_bytes)
            for s in vitals.slots
            if s.retained_bytes
        ),
        archiver_failing=archiver.failing if archiver else None,
    )


# --- from the machine ---------------------------------------------------------------------------


def retention_on_disk(
    wal: WalOnDisk, ready_files: int | None, before: Vitals | None = None
) -> Retention:
    """What keeps WAL, as files tell it. Whether a slot was in use, and whether archiving failed, is
    not on disk: that is known where somebody saw it while the server lived."""
    used = {s.name: s.active for s in before.slots} if before else {}
    archiver = before.archiver if before else None
    return Retention(
        slots=tuple(
            Slot(
                name=s.name,
                active=used.get(s.name),
                retained_bytes=max(0, wal.newest_lsn - s.restart_lsn),
            )
            for s in wal.slots
            if s.restart_lsn
        ),
        # It may have begun to fail since.
        archiver_failing=True if archiver and archiver.failing else None,
        ready_files=ready_files,
        wal_segment_bytes=wal.segment_bytes,
        wal_end_bytes=wal.newest_lsn,
    )


_TAKES_A_TABLE = frozenset({"ALTER TABLE", "CLUSTER", "DROP TABLE", "LOCK TABLE", "TRUNCATE TABLE"})
"""Commands that ask for a lock behind which everybody queues. Not those that have a gentle way as
well, which a title does not tell: CREATE INDEX, REINDEX, REFRESH and VACUUM."""

_TITLE = re.compile(
    r"^postgres: (?:.{0,200}: )?(?P<who>.{1,200}?) (?:\[local\]|[^ ]{1,60}\(\d{1,5}\)) "
    r"(?P<doing>.+)$"
)


def sessions_from_titles(processes: host.DataDirectoryProcesses) -> Sessions | None:
    """Client sessions as their processes' titles tell them, where nobody new is let in.

    Source: the command line that PostgreSQL keeps up to date (update_process_title); names of
    applications and ages are not in it. None where no client session shows a title.
    """
    counts: Counter[tuple[str, str]] = Counter()
    waits: list[str] = []
    for process in processes.members:
        found = _TITLE.match(process.title)
        if found is None:
            continue
        doing = found["doing"].strip()
        if doing.endswith(" waiting"):
            waits.append(doing.removesuffix(" waiting"))
        idle = doing == "idle" or doing.startswith("idle in transaction")
        counts[found["who"].split(" ")[0], doing if idle else "active"] += 1
    if not counts:
        return None
    return Sessions(
        max_connections=None,
        reserved=0,
        client_backends=counts.total(),
        groups=tuple(
            SessionGroup(application_name="", usename=who, state=state, sessions=n)
            for (who, state), n in sorted(counts.items(), key=lambda i: (-i[1], i[0]))
        ),
        waiting=len(waits),
        changes_waiting=tuple(w for w in waits if w in _TAKES_A_TABLE),
    )


def processes_from(seen: host.DataDirectoryProcesses) -> ServerProcesses:
    """The server's own processes, and how many others did not let themselves be looked at."""
    titles = [process.title for process in (*seen.members, *seen.orphans)]
    replaying = next((t for t in titles if "startup recovering" in t or "startup  rec" in t), "")
    return ServerProcesses(
        postmaster_pid=seen.postmaster.pid if seen.postmaster else None,
        postmaster_stopped=seen.postmaster is not None and seen.postmaster.state in SUSPENDED,
        postmaster_traced=seen.postmaster is not None and seen.postmaster.state == "tracing-stop",
        children=len(seen.members),
        orphans=len(seen.orphans),
        recovering=replaying[:NAMES_MAX],
        waiting_for_storage=sum(process.state == "disk-sleep" for process in seen.members),
        suspended=tuple(p.pid for p in seen.members if p.state in SUSPENDED)[:SUSPENDED_MAX],
        uninspected=seen.unreadable,
    )


def control_from(control: ControlData) -> Control | Missing:
    """The control file's account; Missing where it is damaged or of another version."""
    if control.state is None or control.crc_wrong:
        return Missing(what="control", reason="the control file could not be read as one")
    return Control(
        state=control.state.value,
        system_identifier=control.system_identifier or "",
        checkpoint_lsn=control.checkpoint_lsn or "",
    )


def volumes_from(
    seen: Sequence[host.Volume | Missing], sizes: host.DirectorySizes | Missing
) -> Volumes | Missing:
    """Volumes with what they hold, each once."""
    found: dict[str, host.Volume] = {}
    holds: dict[str, list[str]] = {}
    for volume in seen:
        if isinstance(volume, Missing):
            continue
        found.setdefault(volume.mount_point, volume)
        holds.setdefault(volume.mount_point, []).append(str(volume.use))
    if not found:
        reasons = sorted({v.reason for v in seen if isinstance(v, Missing)})
        return Missing(what="volumes", reason="; ".join(reasons) or "no volume was found")
    return Volumes(
        volumes=tuple(
            Volume(
                holds=tuple(dict.fromkeys(holds[mount])),
                mount_point=mount,
                device=volume.device,
                total_bytes=volume.total_bytes,
                free_bytes=volume.free_bytes,
                free_inodes=volume.inodes_free if volume.inodes_total else None,
            )
            for mount, volume in found.items()
        ),
        wal_bytes=None if isinstance(sizes, Missing) else sizes.wal_bytes,
        temp_bytes=None if isinstance(sizes, Missing) else sizes.temp_bytes,
        log_bytes=None if isinstance(sizes, Missing) else sizes.log_bytes,
    )


def kernel_from(
    kills: Sequence[KernelKill] | Missing,
    counted: host.OomKills | Missing,
    memory: host.Memory | Missing,
    *,
    before: host.OomKills | None,
    same_pids: bool = False,
    stalls: Sequence[KernelStall] = (),
) -> Kernel | Missing:
    """The kernel's account; the log tells whom and when, the counters only how many."""
    counts = None if isinstance(counted, Missing) else _kills(counted)
    ours = () if isinstance(kills, Missing) else _of_servers(kills)
    if counts is None and isinstance(kills, Missing):
        return Missing(what="kernel", reason=f"no counter, and the log: {kills.reason}")
    if counts is None and not ours:
        counts = 0
    earlier = _kills(before) if before else None
    new = max(0, counts - earlier) if counts is not None and earlier is not None else None
    total, available = (None, None) if isinstance(memory, Missing) else _memory(memory)
    # A log that was read and holds no kill of a server says more than a counter without times.
    silent_log = not isinstance(kills, Missing) and not ours and not new
    return Kernel(
        oom_kills=0 if silent_log else counts,
        new_oom_kills=new,
        own_group=not isinstance(counted, Missing) and counted.own_group,
        kills=ours,
        same_pids=same_pids and not isinstance(kills, Missing),
        stalls=tuple(
            Stall(pid=s.pid, name=s.name, at=s.at) for s in stalls if s.name in SERVER_NAMES
        )[-KILLS_MAX:],
        memory_total_bytes=total,
        memory_available_bytes=available,
    )


def _memory(known: host.Memory) -> tuple[int, int]:
    """How much there is and how much of it is left: of the server's own control group, where that
    may have less than the machine. Page cache is given back when somebody needs it."""
    limit, used = known.cgroup_limit_bytes, known.cgroup_used_bytes
    if limit is None or used is None or limit >= known.total_bytes:
        return known.total_bytes, known.available_bytes
    left = max(0, limit - max(0, used - known.cgroup_cache_bytes))
    return limit, min(left, known.available_bytes)


def _kills(counted: host.OomKills) -> int | None:
    """Of the server's own group where there is one: others on the machine are not its story."""
    return counted.host if counted.cgroup is None else counted.cgroup


def _of_servers(kills: Sequence[KernelKill]) -> tuple[Kill, ...]:
    servers = [kill for kill in kills if kill.name in SERVER_NAMES]
    return tuple(Kill(pid=k.pid, name=k.name, at=k.at) for k in servers[-KILLS_MAX:])
