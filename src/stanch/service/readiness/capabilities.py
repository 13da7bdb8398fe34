"""Reads what is needed to say what Stanch can do for a target tonight; `capability_rows` judges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from stanch.adapters.postgres.applogin import PsycopgAppLogin
from stanch.adapters.postgres.canary import Canary
from stanch.adapters.postgres.conninfo import resolve
from stanch.adapters.postgres.kept import MAINTENANCE_DATABASE
from stanch.adapters.postgres.privileges import (
    Privileges,
    Rights,
    read_privileges,
    read_rights,
)
from stanch.adapters.postgres.probe import probe
from stanch.model.diagnosis import Missing
from stanch.model.errors import ProbeFailed, SetupError, TargetError
from stanch.model.ids import TargetName
from stanch.model.machine import HostFacts
from stanch.model.ports.acting import LoginReading
from stanch.model.reach import Reach, ReachState
from stanch.policy.hosts import DockerHost
from stanch.policy.policy import Heartbeat, TargetPolicy
from stanch.respond.actions.set_parameter.parameters import PARAMETERS
from stanch.service.readiness.beside_rows import look_beside
from stanch.service.readiness.capability_rows import Capability, Readings, judge
from stanch.service.readiness.rights import RIGHTS, wanted_rights
from stanch.service.watched.machines import far_machine, this_machine
from stanch.service.watched.noting import longer_of
from stanch.service.watched.whereabouts import HostReadings, host_readings

__all__ = ["Capability", "TargetReport", "capabilities", "report_target"]

DEADLINE_S = 10.0
LOOK_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetReport:
    """The capability table of one target, with what a check must know beside it."""

    target: TargetName
    state: ReachState | None
    """None: the connection string itself cannot be used."""
    shares_host: bool | None
    """The server runs on this machine; None: could not be told."""
    capabilities: tuple[Capability, ...]
    cluster: str = ""
    """The system identifier of the one that answered; empty: not read."""
    canary: str = ""
    """Why the canary that the policy wants cannot write; empty: it can, or is not wanted."""

    @property
    def reached(self) -> bool:
        return self.state in (ReachState.UP, ReachState.READ_ONLY)


async def capabilities(
    target: TargetPolicy, *, heartbeat: Heartbeat | None, deadline_s: float = DEADLINE_S
) -> tuple[Capability, ...]:
    """One row a feature: can it, why, and the exact change that would make it possible.

    Cost: up to six short sessions, one after the other; with `app_dsn`, about 100 bytes of WAL.
    Never: changes anything, or raises for what is wrong with the target: that is in the rows.
    """
    report = await report_target(target, heartbeat=heartbeat, deadline_s=deadline_s)
    return report.capabilities


async def report_target(
    target: TargetPolicy,
    *,
    heartbeat: Heartbeat | None,
    recovery_s: float | None = None,
    cluster: str = "",
    deadline_s: float = DEADLINE_S,
) -> TargetReport:
    """As `capabilities`, with the state of the server and whether it shares this machine.

    `recovery_s`: the longest crash recovery that was noted, beside those still in the log.
    `cluster`: the one that the policy puts it into.
    """
    read = await _read(target, deadline_s)
    longest_s = longer_of(recovery_s, read.host.recovery_s)
    read = replace(read, host=replace(read.host, recovery_s=longest_s))
    canary = ""
    if target.canary is not None and isinstance(read.reach, Reach) and read.reach.answers:
        canary = await _canary(target, target.canary.table)
    return TargetReport(
        target=target.name,
        state=read.reach.state if isinstance(read.reach, Reach) else None,
        # A daemon's local socket leads to a container of this machine.
        shares_host=True if isinstance(target.host, DockerHost) else read.host.shared,
        capabilities=judge(target, read, heartbeat=heartbeat, cluster=cluster),
        cluster=read.watching.cluster if isinstance(read.watching, Privileges) else "",
        canary=canary,
    )


async def _read(target: TargetPolicy, deadline_s: float) -> Readings:
    """One session after the other: on a server that is nearly full, several at once would hurt."""
    try:
        reach = await probe(target.dsn, deadline_s=deadline_s)
    except (SetupError, TargetError) as error:
        return _unusable(target, str(error))
    watching = await _privileges(target.dsn, reach, deadline_s)
    acting = None
    if target.acting_dsn:
        acting = await _privileges(target.acting_dsn, reach, deadline_s)
    rights, on_tables = await _rights(target, acting, deadline_s)
    app: LoginReading | Missing | None = None
    if target.app_dsn and not _worth_trying(reach):
        app = _no_session(reach)
    elif target.app_dsn:
        app = await PsycopgAppLogin(target.app_dsn, writes=True).login_and_write(
            deadline_s=deadline_s
        )
    host = await host_readings(
        target,
        address=reach.address,
        data_directory=watching.data_directory if isinstance(watching, Privileges) else "",
    )
    return Readings(
        reach=reach,
        watching=watching,
        acting=acting,
        app=app,
        host=host,
        machine=await _machine(target, host),
        beside=await look_beside(target),
        rights=rights,
        rights_on_tables=on_tables,
    )


async def _rights(
    target: TargetPolicy, acting: Privileges | Missing | None, deadline_s: float
) -> tuple[Rights | Missing | None, Rights | Missing | None]:
    """Of the acting role in its own database and in that of the tables, as far as they matter."""
    if acting is None or isinstance(acting, Missing):
        return acting, acting
    wanted = [RIGHTS[name] for name in wanted_rights(target)]
    tables = resolve(target.app_dsn or target.dsn).dbname
    # The acting session goes to the first of them that lets it in.
    own = (MAINTENANCE_DATABASE, "") if any(not right.in_tables for right in wanted) else ()
    there = (tables,) if any(right.in_tables for right in wanted) else ()
    return (
        await _first_rights(target, own, deadline_s),
        await _first_rights(target, there, deadline_s),
    )


async def _first_rights(
    target: TargetPolicy, databases: Sequence[str], deadline_s: float
) -> Rights | Missing | None:
    seen: Rights | Missing | None = None
    for database in databases:
        seen = await read_rights(
            target.acting_dsn,
            database=database,
            parameters=tuple(PARAMETERS),
            deadline_s=deadline_s,
        )
        if isinstance(seen, Rights):
            break
    return seen


async def _machine(target: TargetPolicy, host: HostReadings) -> HostFacts | Missing:
    """One look, in the way in which the machine will be watched."""
    folder = target.data_directory or host.files
    far = far_machine(target, folder=lambda: folder, now=_now)
    if far is None and not host.files:
        return Missing(what="host", reason=host.files_why or host.source)
    reader = this_machine(lambda: folder, now=_now) if far is None else far.reader
    try:
        return await reader.facts(deadline_s=LOOK_S)
    finally:
        await reader.close()


async def _canary(target: TargetPolicy, table: str) -> str:
    """Asked where `stanch run` will write: in the database `postgres`, else in that of `dsn`."""
    why = ""
    for database in (MAINTENANCE_DATABASE, ""):
        canary = Canary(
            target.dsn, target=target.name, table=table, database=partial(str, database)
        )
        try:
            return await canary.unfit()
        except ProbeFailed as failed:
            why = str(failed)
    return why


def _now() -> datetime:
    return datetime.now(UTC)


async def _privileges(dsn: str, reach: Reach, deadline_s: float) -> Privileges | Missing:
    if not _worth_trying(reach):
        return _no_session(reach)
    try:
        return await read_privileges(dsn, deadline_s=deadline_s)
    except SetupError as error:
        return Missing(what="privileges", reason=str(error))


def _worth_trying(reach: Reach) -> bool:
    """Whether another role may get in; where the server is gone it would only wait once more."""
    about_this_role = (
        ReachState.TOO_MANY_CLIENTS,
        ReachState.AUTH_FAILED,
        ReachState.NO_SUCH_DATABASE,
        ReachState.CONNECTION_LIMIT,
        ReachState.TURNED_AWAY,
    )
    return reach.answers or reach.state in about_this_role


def _no_session(reach: Reach) -> Missing:
    return Missing(what="session", reason=f"not asked: the server is not there ({reach.state})")


def _unusable(target: TargetPolicy, reason: str) -> Readings:
    """A connection string that libpq cannot use: nothing behind it can be told."""
    missing = Missing(what="connection", reason=reason)
    return Readings(
        reach=missing,
        watching=missing,
        acting=missing if target.acting_dsn else None,
        app=missing if target.app_dsn else None,
        host=HostReadings(shared=None, source=reason),
        machine=missing,
    )
