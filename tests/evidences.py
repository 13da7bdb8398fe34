"""Evidence made by hand: a healthy server on a healthy machine, and what differs from it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from stanch.diagnose.evidence import (
    Chain,
    Chains,
    Control,
    Evidence,
    Kernel,
    LockFileSeen,
    Log,
    LogEvent,
    Place,
    Reading,
    Retention,
    ServerProcesses,
    SessionGroup,
    Sessions,
    Volume,
    Volumes,
)
from stanch.model.diagnosis import Missing
from stanch.model.reach import Layer, Reach, ReachState

T = TypeVar("T")

AT = datetime(2026, 3, 1, 3, 0, 0, tzinfo=UTC)
GIB = 1024**3
MIB = 1024**2


def read(value: T, source: str = "test") -> Reading[T]:
    return Reading(value=value, at=AT, source=source, took_ms=1.0)


def ago(seconds: float) -> datetime:
    return AT - timedelta(seconds=seconds)


def reach(state: str, detail: str = "") -> Reading[Reach]:
    ok = state == "up"
    layer = Layer(name="tcp", ok=ok, ms=0.2, detail=detail)
    return read(Reach(state=ReachState(state), layers=(layer,), elapsed_ms=0.4, at=AT))


def line(kind: str, seconds_ago: float, text: str = "", **more: Any) -> LogEvent:
    return LogEvent(kind=kind, text=text or kind.replace("_", " "), at=ago(seconds_ago), **more)


STARTED = (line("starting", 9000), line("ready", 8999))


def log(*events: LogEvent, started: bool = True) -> Reading[Log]:
    found = (*STARTED, *events) if started else events
    return read(Log(path="/var/log/pg.log", events=found, records_read=len(found)))


def group(state: str, n: int, application: str = "shop", age_s: float = 5.0) -> SessionGroup:
    return SessionGroup(
        application_name=application,
        usename="app",
        state=state,
        sessions=n,
        oldest_state_s=age_s,
    )


def sessions(
    *groups: SessionGroup, maximum: int = 100, reserved: int = 3, **more: Any
) -> Reading[Sessions]:
    return read(
        Sessions(
            max_connections=maximum,
            reserved=reserved,
            client_backends=sum(g.sessions for g in groups),
            groups=groups,
            **more,
        )
    )


def chain(waiters: int, wait_s: float, state: str = "active", **more: Any) -> Chain:
    return Chain(
        root_pid=4242,
        root_backend_start=ago(600),
        root_xact_start=ago(500),
        root_state_change=ago(wait_s + 1),
        root_state=state,
        root_application="cron",
        root_usename="batch",
        root_datname="app",
        root_backend_type="client backend",
        root_in_state_s=wait_s + 1,
        waiters=waiters,
        oldest_wait_s=wait_s,
        **more,
    )


def chains(*found: Chain, old_idle: tuple[Chain, ...] = ()) -> Reading[Chains]:
    return read(Chains(chains=found, old_idle=old_idle))


def volume(
    *holds: str, free: int = 40 * GIB, total: int = 100 * GIB, mount: str = "/srv"
) -> Volume:
    return Volume(
        holds=holds, mount_point=mount, device="/dev/vdb", total_bytes=total, free_bytes=free
    )


def volumes(*found: Volume, wal_bytes: int = GIB) -> Reading[Volumes]:
    return read(Volumes(volumes=found, wal_bytes=wal_bytes))


NO_LOCK = read(LockFileSeen(present=False))
PID = 900


def lock(**more: Any) -> Reading[LockFileSeen]:
    seen = LockFileSeen(
        present=True, state="unproven", pid=PID, inode=77, sha256="ab" * 32, boot_id="b"
    )
    return read(replace(seen, **more))


LIVE_LOCK = lock(
    state="live",
    holder_pid=PID,
    holder_command="postgres -D /srv/pg",
    holder_is_postmaster=True,
    holder_blocks_start=True,
)


def healthy(**differs: Any) -> Evidence:
    evidence = Evidence(
        target="orders",
        at=AT,
        elapsed_ms=120.04,
        reach=reach("up"),
        sessions=sessions(group("idle", 8), group("active", 4)),
        chains=chains(),
        retention=read(Retention()),
        log=log(),
        control=read(
            Control(state="in production", system_identifier="7", checkpoint_lsn="0/1000")
        ),
        lock_file=LIVE_LOCK,
        processes=read(ServerProcesses(postmaster_pid=PID, children=12)),
        volumes=volumes(volume("data", "wal", "log")),
        kernel=read(Kernel(oom_kills=0)),
        place=read(Place(data_directory="/srv/pg", manager="pg_ctl")),
    )
    return replace(evidence, **differs)


def down(**differs: Any) -> Evidence:
    """Refused, no postmaster; how it ended is for the test to say."""
    base: dict[str, Any] = {
        "reach": reach("refused"),
        "sessions": Missing(what="sessions", reason="no session: refused"),
        "chains": Missing(what="chains", reason="no session: refused"),
        "processes": read(ServerProcesses(postmaster_pid=None)),
        "lock_file": NO_LOCK,
    }
    return healthy(**{**base, **differs})


HOST = (
    "retention",
    "log",
    "control",
    "lock_file",
    "processes",
    "volumes",
    "kernel",
    "place",
)


def far(**differs: Any) -> Evidence:
    """The same server seen from another machine: no host at all."""
    nothing = {name: Missing(what=name, reason="the server is on another machine") for name in HOST}
    return healthy(**{**nothing, **differs})


CONTROL_CLEAN = read(Control(state="shut down", system_identifier="7", checkpoint_lsn="0/2000"))

STOPPED = down(
    control=CONTROL_CLEAN,
    log=log(
        line("shutdown_request_fast", 40, "received fast shutdown request"),
        line("shut_down", 39, "database system is shut down"),
    ),
)
KILLED = down(lock_file=lock())
SEGV = line(
    "crash_child_signal",
    30,
    "server process (PID 77) was terminated by signal 11: Segmentation fault",
    signal=11,
    named_pid=77,
)
SIGKILLED_CHILD = line(
    "crash_child_signal",
    30,
    "server process (PID 77) was terminated by signal 9: Killed",
    signal=9,
    named_pid=77,
)
HOLDER = {
    "holder_pid": PID,
    "holder_command": "sleep 1000",
    "holder_is_postmaster": False,
    "holder_blocks_start": True,
}
STALE = down(lock_file=lock(**HOLDER))
NOT_SERVED = Missing(what="sessions", reason="no slot: every connection is taken")
