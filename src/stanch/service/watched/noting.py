"""What is noted about a server while it lives, for when it does not and we were started anew."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from stanch.adapters.postgres.conninfo import resolve
from stanch.facts.lock_file import LockFileWitness, parse_lock_file
from stanch.model.diagnosis import Missing
from stanch.model.host import LockFileRead
from stanch.model.ports.host import HostReader
from stanch.policy.policy import TargetPolicy
from stanch.store.statedir import write_durably

NEVER_SEEN = Missing(what="note about the last start", reason="the server was never seen running")

log = structlog.get_logger("noting")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What was noted while the server lived, for when it does not and we were started anew."""

    witness: LockFileWitness
    address: str
    """Where the policy's connection string led; another one is another server."""
    data_directory: str
    bin_directory: str
    log: str


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


def read_note(path: Path) -> Kept | None:
    """What an earlier process noted; None where it cannot be read as such."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return Kept(
            witness=LockFileWitness(
                boot_id=str(kept["boot_id"]),
                pid=int(kept["pid"]),
                started_at_epoch_s=int(kept["started_at_epoch_s"]),
            ),
            address=str(kept["address"]),
            data_directory=str(kept["data_directory"]),
            bin_directory=str(kept["bin_directory"]),
            log=str(kept["log"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_note(path: Path, kept: Kept) -> None:
    """Keep it durably. Never: raises where it cannot be kept."""
    text = json.dumps(
        {
            "boot_id": kept.witness.boot_id,
            "pid": kept.witness.pid,
            "started_at_epoch_s": kept.witness.started_at_epoch_s,
            "address": kept.address,
            "data_directory": kept.data_directory,
            "bin_directory": kept.bin_directory,
            "log": kept.log,
        }
    )
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        write_durably(path, text.encode())
    except OSError as error:
        # Without the note a stale lock file stays unproven after our own restart; nothing worse.
        log.warning("the note about the server's start was not kept", error=str(error))
