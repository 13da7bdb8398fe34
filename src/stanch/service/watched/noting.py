"""What is noted about a server while it lives, for when it does not and we were started anew."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from stanch.adapters.postgres.conninfo import resolve
from stanch.facts.lock_file import LockFileWitness, parse_lock_file
from stanch.facts.log_lines import LogFormat, LogParser
from stanch.facts.recoveries import longest_recovery_s
from stanch.model.diagnosis import Missing
from stanch.model.errors import SetupError
from stanch.model.host import LockFileRead, LogChunk, ProcessInfo
from stanch.model.ports.host import HostReader
from stanch.policy.policy import Policy, TargetPolicy
from stanch.store.statedir import write_durably

Roles = tuple[tuple[datetime, bool], ...]
"""Each change between primary (True) and standby, and when it was first read; oldest first."""

Clusters = tuple[tuple[datetime, str], ...]
"""Each change of the system identifier at the target's address, read as the roles are."""

ROLES_KEPT = 64
CLUSTERS_KEPT = 16

LOG_BYTES_MAX = 256 * 1024
"""Of the log's end, right after a start: the recovery before it is told there."""

NEVER_SEEN = Missing(what="note about the last start", reason="the server was never seen running")

log = structlog.get_logger("noting")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What was noted while the server lived, for when it does not and we were started anew."""

    witness: LockFileWitness | Missing
    """Missing: the server's machine was not seen, only the server."""
    address: str
    """Where the policy's connection string led; another one is another server."""
    data_directory: str
    bin_directory: str
    log: str
    roles: Roles = ()
    clusters: Clusters = ()
    recovery_s: float | None = None
    """The longest crash recovery ever seen in its log."""
    owner_uid: int | None = None
    """The operating-system user whom the server ran as."""


def address_of(target: TargetPolicy) -> str:
    known = resolve(target.dsn)
    return f"{known.host}:{known.port}"


def as_kept(target: TargetPolicy, kept: Kept | None) -> TargetPolicy:
    """The target with what an earlier process saw, where the policy leaves it to be found."""
    if kept is None:
        return target
    return replace(
        target,
        data_directory=target.data_directory or kept.data_directory,
        bin_directory=target.bin_directory or kept.bin_directory,
        log=target.log or kept.log,
    )


async def noted(host: HostReader) -> LockFileWitness | Missing:
    """Which process the server is, on which boot, from its own lock file."""
    lock, boot_id = await host.lock_file(), await host.boot_id()
    if not isinstance(lock, LockFileRead) or isinstance(boot_id, Missing):
        return NEVER_SEEN
    parsed = parse_lock_file(lock.content)
    if parsed.pid is None or parsed.started_at_epoch_s is None:
        return NEVER_SEEN
    return LockFileWitness(
        boot_id=boot_id, pid=parsed.pid, started_at_epoch_s=parsed.started_at_epoch_s
    )


async def owner_of(host: HostReader, witness: LockFileWitness | Missing) -> int | None:
    """The operating-system user whom the noted process runs as; None: it is not shown."""
    if isinstance(witness, Missing):
        return None
    process = await host.process(witness.pid)
    return process.uid if isinstance(process, ProcessInfo) else None


def role_at(roles: Roles, moment: datetime) -> bool | None:
    """Whether it was a primary then; None: nobody had read it by then."""
    before = [primary for at, primary in roles if at <= moment]
    return before[-1] if before else None


def with_role(roles: Roles, at: datetime, *, primary: bool) -> Roles:
    """With one more reading; one that says nothing new changes nothing."""
    if roles and roles[-1][1] is primary:
        return roles
    return (*roles, (at, primary))[-ROLES_KEPT:]


def cluster_at(clusters: Clusters, moment: datetime) -> str:
    """The system identifier of the cluster that answered then; empty: nobody had read it."""
    before = [cluster for at, cluster in clusters if at <= moment]
    return before[-1] if before else ""


def with_cluster(clusters: Clusters, at: datetime, cluster: str) -> Clusters:
    """With one more reading; an unknown one, or one that says nothing new, changes nothing."""
    if not cluster or (clusters and clusters[-1][1] == cluster):
        return clusters
    return (*clusters, (at, cluster))[-CLUSTERS_KEPT:]


async def last_recovery_s(host: HostReader) -> float | None:
    """The longest crash recovery that the end of the log tells of; None where it tells none."""
    chunk = await host.log_tail(bytes_max=LOG_BYTES_MAX)
    return None if isinstance(chunk, Missing) else await asyncio.to_thread(_recovery_in, chunk)


def _recovery_in(chunk: LogChunk) -> float | None:
    parser = LogParser(LogFormat.of_path(chunk.path))
    return longest_recovery_s([*parser.feed(chunk.content), *parser.flush()])


def longer_of(*seconds: float | None) -> float | None:
    """The longest that is known."""
    return max((s for s in seconds if s is not None), default=None)


def _seconds(kept: Any) -> float | None:
    if kept is None:
        return None
    seconds = float(kept)
    if not 0.0 <= seconds < math.inf:
        raise ValueError("no length of time")
    return seconds


def _uid(kept: Any) -> int | None:
    return None if kept is None else int(kept)


def note_path(state: Path, target: TargetPolicy) -> Path:
    """Where a target's note lies in a state directory."""
    return state / "notes" / f"{target.name}.json"


def read_note(path: Path) -> Kept | None:
    """What an earlier process noted; None where it cannot be read as such."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return Kept(
            witness=_witness(kept),
            address=str(kept["address"]),
            data_directory=str(kept["data_directory"]),
            bin_directory=str(kept["bin_directory"]),
            log=str(kept["log"]),
            roles=_roles(kept.get("roles", ())),
            clusters=_clusters(kept.get("clusters", ())),
            recovery_s=_seconds(kept.get("recovery_s")),
            owner_uid=_uid(kept.get("owner_uid")),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _witness(kept: Mapping[str, Any]) -> LockFileWitness | Missing:
    if kept["pid"] is None:
        return NEVER_SEEN
    return LockFileWitness(
        boot_id=str(kept["boot_id"]),
        pid=int(kept["pid"]),
        started_at_epoch_s=int(kept["started_at_epoch_s"]),
    )


def _roles(kept: Any) -> Roles:
    roles = tuple((datetime.fromisoformat(at), primary is True) for at, primary in kept)
    if any(at.tzinfo is None for at, _ in roles):
        raise ValueError("a moment without its zone")
    return roles[-ROLES_KEPT:]


def _clusters(kept: Any) -> Clusters:
    clusters = tuple((datetime.fromisoformat(at), str(cluster)) for at, cluster in kept)
    if any(at.tzinfo is None for at, _ in clusters):
        raise ValueError("a moment without its zone")
    return clusters[-CLUSTERS_KEPT:]


def write_note(path: Path, kept: Kept) -> None:
    """Keep it durably. Never: raises where it cannot be kept."""
    witness = None if isinstance(kept.witness, Missing) else kept.witness
    text = json.dumps(
        {
            "boot_id": witness and witness.boot_id,
            "pid": witness and witness.pid,
            "started_at_epoch_s": witness and witness.started_at_epoch_s,
            "address": kept.address,
            "data_directory": kept.data_directory,
            "bin_directory": kept.bin_directory,
            "log": kept.log,
            "roles": [(at.isoformat(), primary) for at, primary in kept.roles],
            "clusters": [(at.isoformat(), cluster) for at, cluster in kept.clusters],
            "recovery_s": kept.recovery_s,
            "owner_uid": kept.owner_uid,
        }
    )
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        write_durably(path, text.encode())
    except OSError as error:
        # Without the note a stale lock file stays unproven after our own restart, and a primary
        # that came back as a standby is not known to have been one.
        log.warning("the note about the server's start was not kept", error=str(error))


def target_at(policy: Policy, dsn: str) -> TargetPolicy:
    """The target of a policy on the same host and port.

    Raises: SetupError where there is none, and for a string that libpq cannot use.
    """
    wanted = resolve(dsn)
    known = [t for t in policy.targets if address_of(t) == f"{wanted.host}:{wanted.port}"]
    if known:
        return known[0]
    raise SetupError(
        "no target of the policy is this server",
        on=wanted.label,
        hint="Name it as the policy does, or leave --config out.",
    )
