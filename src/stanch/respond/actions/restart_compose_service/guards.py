"""When a service beside the server may be restarted. Pure: from a look right before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from stanch.model.containers import ContainerSeen, share
from stanch.model.diagnosis import CauseFinding, Missing
from stanch.model.plans import PlannedStep, Refusal
from stanch.policy.hosts import DockerHost
from stanch.policy.policy import TargetPolicy
from stanch.policy.quoting import printable
from stanch.respond.containers import guards as common
from stanch.respond.containers.guards import ENGINE, began_after
from stanch.respond.guarding import no, unknown
from stanch.steps.action import Guard

CONTAINERS_MAX = 20

GUARDS = (
    ENGINE,
    Guard(name="named_service", asks="Does policy name this service, under `services`?"),
    Guard(name="same_project", asks="Is it in the Compose project of the server's container?"),
    Guard(name="not_the_server", asks="Is no container of it the server's, or on its data?"),
    Guard(name="no_other_manager", asks="Does nobody above the engine start and stop it?"),
    Guard(name="at_rest", asks="Is no container of it being restarted already, or paused?"),
    Guard(name="some_left", asks="Does one run that has not begun anew since the plan was made?"),
)

SERVICES_HINT = "`services` under `docker` of this target."


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceReadings:
    """Everything the guards look at."""

    server: ContainerSeen | Missing | None
    data_directory: str
    containers: tuple[ContainerSeen, ...] | Missing
    target: TargetPolicy
    planned_at: datetime | None


def named_service(step: PlannedStep, target: TargetPolicy) -> str | Refusal:
    """The service of a step, by its name in policy."""
    name = step.param("service")
    host = target.host if isinstance(target.host, DockerHost) else DockerHost()
    if isinstance(name, str) and name in host.services and name != host.compose_service:
        return name
    shown = printable(str(name))[:80]
    return no("named_service", f"policy names no service {shown} beside it", lifts=SERVICES_HINT)


def withheld(step: PlannedStep, cause: CauseFinding, target: TargetPolicy) -> Refusal | None:
    refusal = common.withheld(step, cause, target)
    found = named_service(step, target)
    return refusal or (found if isinstance(found, Refusal) else None)


def may_restart(step: PlannedStep, seen: ServiceReadings) -> Refusal | tuple[ContainerSeen, ...]:
    """The containers that are to be restarted, or the first reason to leave them all."""
    service = named_service(step, seen.target)
    if isinstance(service, Refusal):
        return service
    if seen.server is None or isinstance(seen.server, Missing):
        gone = Missing(what="its container", reason="there is none")
        return unknown("not_the_server", seen.server or gone)
    if not seen.server.project:
        return no("same_project", "the server's container was not made by Docker Compose")
    if isinstance(seen.containers, Missing):
        return unknown("same_project", seen.containers)
    return _foreign(service, seen.server, seen) or _running(seen.containers, seen.planned_at)


def _foreign(service: str, server: ContainerSeen, seen: ServiceReadings) -> Refusal | None:
    if isinstance(seen.containers, Missing):
        return unknown("same_project", seen.containers)
    if any((c.project, c.service) != (server.project, service) for c in seen.containers):
        return no("same_project", "the engine named a container of another service")
    if not seen.data_directory:
        return no("not_the_server", "where the server's data lies is not known")
    data = server.mounts_of(seen.data_directory)
    for one in seen.containers:
        if one.id == server.id or one.service == server.service:
            told = f"{common.short(one)} is the server's own"
            return no("not_the_server", told, lifts="`restart_container` for that one.")
        if share(data, one.mounts):
            return no("not_the_server", f"{common.short(one)} may write to the server's data")
        if one.keeper:
            told = f"{one.keeper} starts and stops {common.short(one)}"
            return no("no_other_manager", told, lifts="Ask that manager.")
    return None


def _running(
    containers: Sequence[ContainerSeen], planned_at: datetime | None
) -> Refusal | tuple[ContainerSeen, ...]:
    service = [one for one in containers if not one.one_off]
    for one in service:
        if one.status in ("restarting", "paused", "removing"):
            return no("at_rest", f"{common.short(one)} is {one.status}", lifts="Its end.")
    left = tuple(one for one in service if is_left(one, planned_at))
    if not left:
        told = "no container of it runs that has not begun anew since the plan was made"
        return no("some_left", told, lifts="Nothing is needed, or a new plan.")
    if len(left) > CONTAINERS_MAX:
        return no("some_left", f"{len(left)} containers are more than {CONTAINERS_MAX}")
    return left


def is_left(one: ContainerSeen, planned_at: datetime | None) -> bool:
    """Whether it still lives the life that the plan is about; one that is down is left alone."""
    if one.one_off or one.status != "running" or planned_at is None:
        return False
    return began_after(one, planned_at) is False
