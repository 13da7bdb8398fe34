"""What a simulated server is made of, and the sizes of its world."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from stanch.model.ports.acting import KeptFile

MIB = 1024 * 1024
TOTAL_BYTES = 10_240 * MIB
BALLAST_BYTES = 3_072 * MIB
"""Given up, it leaves more room than any rule about space minds."""
ROOMY_BYTES = 5_120 * MIB
FULL_BYTES = MIB
MAX_CONNECTIONS = 40
RESERVED = 3
SERVER_UID = 1000
START_S = 0.2
RECOVERY_S = 0.5
IDLE_FOR_S = 900.0
"""How long leaked sessions have been idle when they are noticed."""
MARK_LOW_PCT = 10.0

LEAKING = "shop"
BLOCKING = "nightly"


@dataclass(frozen=True, slots=True, kw_only=True)
class SimSession:
    """One client session."""

    pid: int
    backend_start: datetime
    application: str
    usename: str = "app"
    state: str = "idle"
    state_change: datetime
    xact_start: datetime | None = None
    waits_for: int | None = None
    advisory: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Stranger:
    """A process of the same user that is no server."""

    pid: int
    started_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """Something that was really done to the server from outside."""

    at: datetime
    kind: str
    what: str


def ballast_file(path: str, *, inode: int) -> KeptFile:
    """The file that is kept for the day when the volume is full."""
    return KeptFile(
        path=path,
        inode=inode,
        size_bytes=BALLAST_BYTES,
        mtime_ns=1,
        allocated_bytes=BALLAST_BYTES,
        device=1,
    )


def lock_text(pid: int, data_directory: str, started_at: datetime, *, shm_id: int) -> bytes:
    """`postmaster.pid` as a running server writes it."""
    epoch_s = int(started_at.timestamp())
    ends = ("5432", "/run/postgresql", "localhost", f"  5432001  {shm_id}", "ready", "")
    return "\n".join((str(pid), data_directory, str(epoch_s), *ends)).encode()
