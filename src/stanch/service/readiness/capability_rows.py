"""What Stanch can and cannot do for one target tonight, why, and what would change that.

Pure: readings in, rows out; `capabilities.py` takes the readings. A row is None where nobody could
tell, and says so: a doubt is worth more before an incident than in one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stanch.adapters.postgres.privileges import Privileges, Rights
from stanch.incident.page_after import page_after
from stanch.model.diagnosis import Missing
from stanch.model.machine import HostFacts
from stanch.model.ports.acting import KeptFile, LoginReading
from stanch.model.reach import STATE_MEANINGS, Reach
from stanch.model.shown import shortened, span
from stanch.policy.policy import Heartbeat, TargetPolicy
from stanch.policy.quoting import printable
from stanch.service.readiness.cluster_row import WITH_ITS_PRIMARY, judge_cluster
from stanch.service.readiness.granting import grant
from stanch.service.readiness.grants import RESERVED_SINCE
from stanch.service.readiness.machine_row import CONTAINER, WATCH_MACHINE, Judged, judge_machine
from stanch.service.readiness.modes import mode_told
from stanch.service.readiness.rights import RIGHTS, wanted_rights
from stanch.service.watched.whereabouts import HostReadings

WHY_CHARS_MAX = 240


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """One thing a responder may count on tonight, or not."""

    feature: str
    can: bool | None
    """None: it could not be told."""
    why: str
    change: str = ""
    """The exact SQL, setting or command that would make it possible; empty where it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """Everything that was read about one target."""

    reach: Reach | Missing
    """Missing: the connection string itself cannot be used."""
    watching: Privileges | Missing
    acting: Privileges | Missing | None
    """None: the policy has no acting_dsn."""
    app: LoginReading | Missing | None
    """None: the policy has no app_dsn."""
    host: HostReadings
    machine: HostFacts | Missing
    """One look at the server's machine, in the way in which it will be watched."""
    beside: Mapping[str, Judged] = field(default_factory=dict[str, Judged])
    """Rows about what stands beside the server, where policy names any of it."""
    rights: Rights | Missing | None = None
    """Of the acting role in its own database; None: the policy has no use for them."""
    rights_on_tables: Rights | Missing | None = None
    """The same in the database of the application's tables."""


def judge(
    target: TargetPolicy, read: Readings, *, heartbeat: Heartbeat | None, cluster: str = ""
) -> tuple[Capability, ...]:
    """One row a feature, in the order of an incident; `cluster`: where the policy puts it."""
    seen = read.watching
    followed = isinstance(seen, Privileges) and seen.in_recovery and judge_cluster(seen, cluster)
    return (
        _watch(read),
        _vitals(read),
        _gets_in(read.watching, "get in when the server is full (watching)"),
        _see_host(target, read.host),
        _row(WATCH_MACHINE, **judge_machine(target, read.machine)),
        *([_row(WITH_ITS_PRIMARY, **followed)] if followed else []),
        _log_in_as_app(read),
        _end_sessions(read),
        *(
            [_gets_in(read.acting, "get in when the server is full (acting)")]
            if read.acting is not None
            else []
        ),
        *(_right(name, read) for name in wanted_rights(target)),
        _page_after(target, read.host),
        _start(target, read.host, read.beside.get(CONTAINER)),
        _lock_file(read.host),
        _free_space(target, read.host),
        *(_row(feature, **judged) for feature, judged in read.beside.items()),
        _archive(read.watching),
        _heartbeat(read.host, heartbeat),
    )


def _row(feature: str, *, can: bool | None, why: str, change: str = "") -> Capability:
    shown = shortened(printable(why), WHY_CHARS_MAX)
    return Capability(feature=feature, can=can, why=shown, change="" if can else change)


def _watch(read: Readings) -> Capability:
    reach = read.reach
    if isinstance(reach, Missing):
        return _row("watch", can=False, why=reach.reason, change="Correct `dsn`.")
    meaning = STATE_MEANINGS[reach.state]
    if reach.through_pooler:
        why = "a pooler answers here: whether the server itself lives cannot be told through it"
        change = "Name the server itself as the target, not the pooler."
        return _row("watch", can=False, why=why, change=change)
    if reach.answers:
        version = f", PostgreSQL {reach.server_version}" if reach.server_version else ""
        return _row("watch", can=True, why=f"answered in {reach.elapsed_ms:.0f} ms{version}")
    failed = reach.failed_layer
    detail = f" ({failed.name}: {failed.detail})" if failed else ""
    return _row("watch", can=False, why=f"{meaning.sentence}{detail}", change=meaning.check_next)


def _vitals(read: Readings) -> Capability:
    feature, seen = "see every session and setting", read.watching
    if isinstance(seen, Missing):
        return _unknown(feature, seen)
    if seen.reads_all_stats and seen.reads_all_settings:
        return _row(feature, can=True, why=f"{seen.role} has pg_monitor")
    return _row(
        feature,
        can=False,
        why=f"{seen.role} sees only its own sessions' states and the public settings",
        change=grant(seen.role, "pg_monitor"),
    )


def _gets_in(seen: Privileges | Missing, feature: str) -> Capability:
    if isinstance(seen, Missing):
        return _unknown(feature, seen)
    held = "the session held open since before goes on"
    if seen.reserved_slots > 0:
        why = f"{seen.reserved_slots} connections are kept free that {seen.role} may take"
        return _row(feature, can=True, why=why)
    if seen.superuser:
        return _row(
            feature,
            can=False,
            why=f"no connection is kept free for superusers; {held}",
            change="ALTER SYSTEM SET superuser_reserved_connections = 3;  -- and a restart",
        )
    if seen.major < RESERVED_SINCE:
        return _row(
            feature,
            can=False,
            why=f"PostgreSQL {seen.major} keeps connections free for superusers only; {held}",
            change=f"Upgrade to PostgreSQL {RESERVED_SINCE} or newer, which can reserve some.",
        )
    lacks: list[str] = []
    if not seen.uses_reserved:
        lacks.append(grant(seen.role, "pg_use_reserved_connections"))
    if not seen.reserved_connections:
        lacks.append("ALTER SYSTEM SET reserved_connections = 3;  -- and a restart")
    why = f"no connection is kept free that {seen.role} may take; {held}"
    return _row(feature, can=False, why=why, change=" ".join(lacks))


def _right(feature: str, read: Readings) -> Capability:
    """What the acting role needs for an action that policy does not merely observe."""
    right = RIGHTS[feature]
    seen = read.rights_on_tables if right.in_tables else read.rights
    if read.acting is None:
        return _no_acting(feature)
    if not isinstance(seen, Rights):
        return _unknown(feature, seen or Missing(what="rights", reason="not read"))
    judged = right.judge(seen)
    return _row(feature, can=judged.can, why=judged.why, change=judged.change)


def _no_acting(feature: str) -> Capability:
    change = "Run `stanch grants --only acting`, then add `acting_dsn`."
    return _row(feature, can=False, why="the policy has no acting_dsn", change=change)


def _end_sessions(read: Readings) -> Capability:
    feature, seen = "end sessions", read.acting
    if seen is None:
        return _no_acting(feature)
    if isinstance(seen, Missing) and not _answers(read):
        return _unknown(feature, seen)
    if isinstance(seen, Missing):
        return _row(
            feature,
            can=False,
            why=f"no session with acting_dsn: {seen.reason}",
            change="Correct `acting_dsn` or its passfile entry (`stanch grants --only acting`).",
        )
    if seen.superuser:
        return _row(
            feature,
            can=True,
            why=f"{seen.role} is a superuser, which is more than acting needs (`stanch grants`)",
        )
    if not seen.signals_backends:
        return _row(
            feature,
            can=False,
            why=f"{seen.role} may end its own role's sessions only",
            change=grant(seen.role, "pg_signal_backend"),
        )
    if not seen.reads_all_stats:
        return _row(
            feature,
            can=False,
            why=f"{seen.role} cannot see what other sessions do, so none is proven idle",
            change=grant(seen.role, "pg_monitor"),
        )
    return _row(feature, can=True, why="all but superusers' sessions, which nobody else may end")


def _see_host(target: TargetPolicy, host: HostReadings) -> Capability:
    feature = "see the server's machine"
    if target.host == "none":
        return _row(feature, can=False, why="host is none", change="Set `host: auto`.")
    if target.host == "managed":
        return _row(feature, can=False, why="its provider keeps the machine to itself", change="")
    if host.shared is None:
        return _row(feature, can=None, why=host.source, change="Set `host: local` if it is here.")
    if not host.shared:
        return _row(feature, can=False, why=host.source, change=ELSEWHERE)
    if host.files:
        return _row(feature, can=True, why=f"{host.source}; {host.files} can be read")
    return _row(
        feature,
        can=False,
        why=f"{host.source}; {host.files_why}",
        change="Run Stanch as the server's OS user, or set `data_directory`.",
    )


ELSEWHERE = "Run Stanch on the server's machine."


def _start(target: TargetPolicy, host: HostReadings, container: Judged | None) -> Capability:
    feature = "start the server"
    if target.manager == "none":
        return _row(feature, can=False, why="manager is none", change="Set `manager: auto`.")
    if container is not None:
        why = f"through its engine: {container['why']}{mode_told(target, 'start_server')}"
        return _row(feature, can=container["can"], why=why, change=container["change"])
    refused = _not_here(feature, host)
    if refused is not None:
        return refused
    manager = host.manager
    if manager is None or isinstance(manager, Missing):
        why = manager.reason if manager else "no manager was found"
        return _row(feature, can=None, why=why, change="Set `manager` and `bin_directory`.")
    if rival := manager.other_manager:
        why = f"{rival} owns this server; Stanch does not act past it"
        change = f"Nothing: ask {printable(rival)} to start it."
        return _row(feature, can=False, why=why, change=change)
    if not manager.may_act:
        why = manager.detail or f"this OS user may not: {host.manager_words}"
        change = "Run Stanch as the server's OS user or as root."
        return _row(feature, can=False, why=why, change=change)
    if why := manager.why_not("start"):
        change = "Nothing: its manager does it."
        return _row(feature, can=False, why=printable(why), change=change)
    return _row(feature, can=True, why=host.manager_words + mode_told(target, "start_server"))


def _page_after(target: TargetPolicy, host: HostReadings) -> Capability:
    """Not a matter of rights: how long people sleep on, and because of whom."""
    feature = "leave a restart its time before it pages"
    wait = page_after(target.page_after_s, host.restarts, recovery_s=host.recovery_s)
    told = f"page_after is {span(wait.seconds)}: {wait.source}"
    if target.page_after_s is None and isinstance(host.restarts, Missing):
        change = "Set `page_after` where something restarts it."
        return _row(feature, can=None, why=told, change=change)
    return _row(feature, can=True, why=told)


def _lock_file(host: HostReadings) -> Capability:
    feature = "set a stale lock file aside"
    refused = _not_here(feature, host)
    if refused is not None:
        return refused
    if host.in_container is not False:
        why = "in a container the file is never touched" if host.in_container else "perhaps in a "
        why += "" if host.in_container else "container, where the file is never touched"
        return _row(feature, can=False, why=why, change="Run Stanch outside the container.")
    if not host.files_writable:
        return _row(
            feature,
            can=False,
            why=f"this OS user may not rename files in {host.files}",
            change="Run Stanch as the server's OS user or as root.",
        )
    return _row(feature, can=True, why="once it is proven stale; it is renamed, never deleted")


def _free_space(target: TargetPolicy, host: HostReadings) -> Capability:
    feature = "free space on a full volume"
    if not target.free_space.any:
        return _row(
            feature,
            can=False,
            why="nothing is named that may be deleted",
            change="Keep a ballast file on the data volume and name it in `free_space.ballast`: "
            "fallocate -l 1GiB FILE",
        )
    refused = _not_here(feature, host)
    if refused is not None:
        return refused
    bad = [f"{path}: {seen.reason}" for path, seen in host.ballast if isinstance(seen, Missing)]
    if bad:
        return _row(
            feature,
            can=False,
            why="; ".join(bad),
            change="Make each ballast file an ordinary one that this OS user may delete.",
        )
    sizes = [seen.allocated_bytes for _, seen in host.ballast if isinstance(seen, KeptFile)]
    parts = [f"{len(sizes)} ballast files of {sum(sizes) / 2**20:.0f} MiB"] if sizes else []
    if target.free_space.old_logs_days is not None:
        parts.append(f"server logs older than {target.free_space.old_logs_days} days")
    if target.free_space.keep_dumps is not None:
        parts.append(f"dumps beyond {target.free_space.keep_dumps} newer whole ones")
    return _row(feature, can=True, why=" and ".join(parts) + mode_told(target, "free_space"))


def _log_in_as_app(read: Readings) -> Capability:
    feature, app = "prove a rescue by the application's login and a write", read.app
    if app is None:
        return _row(
            feature,
            can=False,
            why="the policy has no app_dsn; a rescue is proven by reading with dsn",
            change="Add `app_dsn`: the application's own role and database.",
        )
    if isinstance(app, Missing):
        return _unknown(feature, app)
    if not app.login_ok:
        return _row(
            feature, can=False, why=app.detail, change="Correct `app_dsn` or its passfile entry."
        )
    if app.write_ok:
        why = f"{app.role} logged in and its write was committed ({app.took_ms:.0f} ms)"
        return _row(feature, can=True, why=why)
    can = None if app.write_ok is None else False
    return _row(feature, can=can, why=app.detail, change="Let `app_dsn` name a role that writes.")


def _archive(seen: Privileges | Missing) -> Capability:
    feature = "go back to a moment (WAL archive)"
    if isinstance(seen, Missing):
        return _unknown(feature, seen)
    if seen.archive_mode == "off":
        return _row(
            feature,
            can=False,
            why="archive_mode is off: a restore ends at the last backup",
            change="ALTER SYSTEM SET archive_mode = on;  -- with archive_command, and a restart",
        )
    if not seen.archives_to:
        return _row(
            feature,
            can=False,
            why=f"archive_mode is {seen.archive_mode}, but no command or library is set",
            change="ALTER SYSTEM SET archive_command = '…';  -- and a reload",
        )
    why = f"archive_mode is {seen.archive_mode}; whether a restore works is not checked here"
    return _row(feature, can=None, why=why)


def _heartbeat(host: HostReadings, heartbeat: Heartbeat | None) -> Capability:
    feature = "be missed when this machine dies"
    if heartbeat is not None:
        return _row(feature, can=True, why="an outside watcher hears from Stanch")
    shared = "; Stanch and the server would fall silent together" if host.shared else ""
    return _row(
        feature,
        can=False,
        why=f"no outside heartbeat is set{shared}",
        change="Add `heartbeat: {url: …}` of a watcher outside this machine.",
    )


def _not_here(feature: str, host: HostReadings) -> Capability | None:
    """The row for what needs the server's machine, where we are not on it or cannot look."""
    if host.shared and host.files:
        return None
    can = None if host.shared is None else False
    why = host.files_why if host.shared else host.source
    change = "Make `see the server's machine` work first." if host.shared else ELSEWHERE
    return _row(feature, can=can, why=why, change=change)


def _answers(read: Readings) -> bool:
    return isinstance(read.reach, Reach) and read.reach.answers


def _unknown(feature: str, missing: Missing) -> Capability:
    return _row(feature, can=None, why=missing.reason, change="Make `watch` work first.")
