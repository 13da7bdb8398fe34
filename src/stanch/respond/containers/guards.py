"""What has to be so before anything is done to a container. Pure: from a look right before."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from stanch.model.containers import ContainerSeen
from stanch.model.diagnosis import CauseFinding, Missing
from stanch.model.plans import PlannedStep, Refusal
from stanch.model.ports.server import Acted
from stanch.policy.hosts import DockerHost
from stanch.policy.policy import TargetPolicy
from stanch.policy.quoting import printable
from stanch.respond.guarding import no, unknown
from stanch.steps.action import Guard, Param

ENGINE = Guard(name="engine", asks="Does policy say which container the server lives in?")
SAME_CONTAINER = Guard(
    name="same_container", asks="Is it still that container, by its full id, and that image?"
)
NO_OTHER_MANAGER = Guard(
    name="no_other_manager", asks="Does nobody else start and stop this container or its server?"
)

ID = Param(name="container_id", kind="text", doc="Its full id.", identity=True)
IMAGE = Param(name="image_id", kind="text", doc="The id of its image.", identity=True)

HOST_HINT = "`host: {docker: …}` for this target, and Stanch beside the engine's socket."
ANEW = "A new plan for what is there now."

JOBS = re.compile(
    r"sending backup|\bCOPY\b|(?:^|/|\s)(?:pg_basebackup|pg_dump|pg_dumpall|pg_restore|pg_upgrade"
    r"|pg_rewind|pg_checksums|pg_combinebackup|pgbackrest|barman|wal-g|wal-e|initdb|rsync|tar|cp|mv)\b"
)
"""Titles of processes that copy, restore or remake the server: of programs, and of its own."""
SHELL = re.compile(r"\S*\b(?:sh|bash|dash|ash) -c\b")
"""What a shell was told to run shows as a process of its own; our own looks are such shells."""
RIVALS = re.compile(r"(?:^|/|\s)(?:patroni|pg_autoctl|repmgrd|stolon-keeper)(?:\s|$)")


def withheld(_step: PlannedStep, _cause: CauseFinding, target: TargetPolicy) -> Refusal | None:
    """Known before anybody is asked: it lives in no container that Stanch may ask for."""
    if isinstance(target.host, DockerHost):
        return None
    return no("engine", "policy names no container of this server", lifts=HOST_HINT)


def the_container(
    step: PlannedStep, seen: ContainerSeen | Missing | None
) -> ContainerSeen | Refusal:
    """The one that the step means, or why it is not there any more."""
    if isinstance(seen, Missing):
        return unknown("same_container", seen)
    meant = str(step.param("container_id"))
    if seen is None:
        return no("same_container", "there is no such container any more", lifts=ANEW)
    if seen.id != meant:
        told = f"the container is {seen.id[:12]} now, not {printable(meant)[:12]}"
        return no("same_container", told, lifts=ANEW)
    if seen.image_id != step.param("image_id"):
        told = f"it was made from another image ({printable(seen.image_id)[:24]})"
        return no("same_container", told, lifts=ANEW)
    return seen


def nobody_else(
    seen: ContainerSeen, titles: Sequence[str] | Missing, target: TargetPolicy
) -> Refusal | None:
    """Neither above the engine nor inside the container. `titles`: of the processes in it."""
    guard = "no_other_manager"
    who = seen.keeper or ("Patroni" if target.patroni is not None else "")
    if not who and isinstance(titles, Missing):
        return unknown(guard, titles)
    if not who and not isinstance(titles, Missing):
        who = next(
            (printable(title)[:60] for title in _programs(titles) if RIVALS.search(title)), ""
        )
    return no(guard, f"{who} starts and stops it", lifts="Ask that manager.") if who else None


def jobs_among(titles: Sequence[str]) -> tuple[str, ...]:
    """Those at work on a backup, a copy, a restore or an upgrade, as far as their titles tell."""
    return tuple(printable(title)[:80] for title in _programs(titles) if JOBS.search(title))


def _programs(titles: Sequence[str]) -> list[str]:
    return [title for title in titles if not SHELL.match(title)]


def began_after(seen: ContainerSeen, moment: datetime) -> bool | None:
    """Whether its present life began after a moment; None: it never lived, or nobody tells."""
    if not seen.started_at:
        return None
    return datetime.fromisoformat(seen.started_at) > moment


def short(container: ContainerSeen) -> str:
    """A container as a person would point at it."""
    return f"{printable(container.name)[:80]} ({container.id[:12]})"


def why(acted: Acted) -> str:
    return printable(acted.detail)[:240] or acted.outcome
