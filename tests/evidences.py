"""Evidence made by hand: a healthy server on a healthy machine, and what differs from it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from stanch.diagnose.evidence import Evidence, Reading
from stanch.diagnose.figures import Figures
from stanch.diagnose.history import Course, History, Track
from stanch.diagnose.inside import (
    Activity,
    Chain,
    Chains,
    Changes,
    Retention,
    SessionGroup,
    Sessions,
)
from stanch.diagnose.outside import (
    Control,
    Kernel,
    LockFileSeen,
    Log,
    LogCount,
    LogEvent,
    Place,
    ServerProcesses,
    Volume,
    Volumes,
)
from stanch.facts.workings import Doing, Ended, Held
from stanch.model.changes import NotedChange
from stanch.model.diagnosis import Missing
from stanch.model.ports.traces import StartFiles
from stanch.model.reach import Layer, Reach, ReachState
from stanch.model.readings import Reading as Figure

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
    """The counts are those of the events; `began` an hour before."""
    found = (*STARTED, *events) if started else events
    return read(
        Log(
            path="/var/log/pg.log",
            events=found,
            records_read=len(found),
            begins_at=ago(3600),
            counts=tuple(_counted(kind, found) for kind in sorted({e.kind for e in found})),
        )
    )


def _counted(kind: str, events: tuple[LogEvent, ...]) -> LogCount:
    times = [e.at for e in events if e.kind == kind and e.at is not None]
    who = Counter(e.who for e in events if e.kind == kind and e.who)
    return LogCount(
        kind=kind,
        lines=sum(e.kind == kind for e in events),
        first_at=min(times, default=None),
        last_at=max(times, default=None),
        who=tuple(sorted(who.items(), key=lambda item: (-item[1], item[0]))),
    )


def figure(name: str, value: float | None, subject: str = "", detail: str = "") -> Figure:
    return Figure(name=name, value=value, subject=subject, detail=detail)


def figures(*found: Figure, **settings: str) -> Reading[Figures]:
    """Numbers of the server's own; keywords are settings."""
    told = [figure("setting", None, name, value) for name, value in settings.items()]
    return read(Figures(items=(*found, *told)))


def doing(sessions: int, wait: str = "", **more: Any) -> Doing:
    """Sessions at work; `wait` is `Type:event`, empty on a processor."""
    wait_type, _, wait_event = wait.partition(":")
    usual: dict[str, Any] = {
        "backend_type": "client backend",
        "datname": "app",
        "usename": "app",
        "application_name": "shop",
        "state": "active",
        "query_id": "1",
        "query": "SELECT …",
        "oldest_query_s": 1.0,
        "oldest_xact_s": 1.0,
        "oldest_pid": 100,
    }
    return Doing(sessions=sessions, wait_type=wait_type, wait_event=wait_event, **(usual | more))


def held(pid: int, lock_type: str = "relation", **more: Any) -> Held:
    usual: dict[str, Any] = {
        "granted": True,
        "relation": "orders",
        "state": "active",
        "application_name": "shop",
        "backend_type": "client backend",
        "xact_s": 1.0,
        "state_s": 1.0,
        "locks": 1,
    }
    return Held(pid=pid, lock_type=lock_type, **(usual | more))


def ended(sessions: int, query: str, application_name: str = "shop") -> Ended:
    return Ended(
        datname="orders",
        usename="app",
        application_name=application_name,
        query=query,
        sessions=sessions,
    )


def activity(*found: Doing | Held | Ended) -> Reading[Activity]:
    return read(
        Activity(
            doings=tuple(one for one in found if isinstance(one, Doing)),
            held=tuple(one for one in found if isinstance(one, Held)),
            ended=tuple(one for one in found if isinstance(one, Ended)),
        )
    )


def course(name: str, usual: float | None, now: float | None, subject: str = "") -> Course:
    """A number that was always as usual before, and is as it is now ever since."""
    return Course(
        name=name,
        subject=subject,
        usual=usual,
        high=usual,
        low=usual,
        now=now,
        peak=now,
        trough=now,
    )


def track(name: str, *values: float | None) -> Track:
    """A curve that begins a minute before the onset."""
    return Track(name=name, subject="", begins_at=ago(120), step_s=40.0, values=values)


def history(*found: Course, track: Track | None = None) -> Reading[History]:
    return read(
        History(
            begins_at=ago(3600),
            ends_at=AT,
            onset=ago(60),
            courses=tuple(found),
            tracks=() if track is None else (track,),
        )
    )


def change(seconds_ago: float, kind: str, what: str, told: str = "") -> NotedChange:
    return NotedChange(at=ago(seconds_ago), kind=kind, what=what, told=told or what)


def changes(*found: NotedChange) -> Reading[Changes]:
    return read(Changes(changes=tuple(found)))


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


HEALTHY_FIGURES = (
    figure("xid_age", 50e6),
    figure("mxid_age", 1e6),
    figure("xid_age_of_database", 50e6, "app"),
    figure("client_backends", 12),
    figure("active_sessions", 4),
    figure("active_without_wait", 2),
    figure("sessions_waiting_on_lock", 0),
    figure("standbys", 0),
    figure("in_recovery", 0),
    figure("prepared_xacts", 0),
    figure("settings_loaded_age_s", 9000.0),
    figure("lock_slots_used", 20),
    figure("horizon_age_xids", 40, "session:shop", "pid 100, app, active"),
    figure("table_live_rows", 1e6, "public.orders"),
    figure("table_dead_rows", 9e3, "public.orders", "1000000 live"),
)
"""What a server at work says about itself."""
SETTINGS = {
    "autovacuum": "on",
    "autovacuum_freeze_max_age": "200000000",
    "default_transaction_read_only": "off",
    "max_connections": "100",
    "max_locks_per_transaction": "64",
    "synchronous_standby_names": "",
    "wal_level": "replica",
}
HEALTHY_COURSES = (
    course("active_sessions", 4, 4),
    course("active_without_wait", 2, 2),
    course("client_backends", 12, 12),
    course("commits_total", 100, 100),
    course("rollbacks_total", 1, 1),
    course("wal_bytes_total", 1e6, 1e6),
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
        files=read(StartFiles(version="18", control_file=True)),
        place=read(Place(data_directory="/srv/pg", manager="pg_ctl")),
        activity=activity(doing(2), doing(2, "Client:ClientRead")),
        figures=figures(*HEALTHY_FIGURES, **SETTINGS),
        history=history(*HEALTHY_COURSES),
        changes=changes(),
        onset=ago(60),
    )
    return replace(evidence, **differs)


def down(**differs: Any) -> Evidence:
    """Refused, no postmaster; how it ended is for the test to say."""
    base: dict[str, Any] = {
        "reach": reach("refused"),
        "sessions": Missing(what="sessions", reason="no session: refused"),
        "chains": Missing(what="chains", reason="no session: refused"),
        "activity": Missing(what="activity", reason="no session: refused"),
        "figures": Missing(what="figures", reason="no session: refused"),
        "history": Missing(what="history", reason="not read: no session: refused"),
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
    "files",
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
