"""A container's engine as who starts its server, and the room where its data lies."""

from __future__ import annotations

import asyncio
import os
import posixpath
from collections.abc import Callable
from pathlib import Path

from stanch.adapters.hosts.docker_engine import DockerEngine
from stanch.adapters.hosts.docker_files import DockerFiles
from stanch.adapters.hosts.docker_link import DockerLink
from stanch.adapters.hosts.rivals import markers_in
from stanch.adapters.hosts.volumes import mounts, read_volume
from stanch.facts.control_file import READ_BYTES, as_printed
from stanch.model.containers import ContainerSeen, is_within
from stanch.model.diagnosis import Missing
from stanch.model.errors import ProbeFailed
from stanch.model.host import Volume, VolumeUse
from stanch.model.ports.acting import ManagerAnswer, ManagerStatus, Postmaster, Verb
from stanch.policy.hosts import DockerHost

EXITED = "exited"
PATRONI = "patroni.dynamic.json"
"""Patroni's, in the data directory of a server that it starts and stops."""
OTHER_ACTION = (
    "the server of a container is ended with it: restart_container is the action for that"
)
KEPT_UP = frozenset({"always", "unless-stopped"})
"""Under these an engine starts what ended by itself: what stays down, somebody stopped."""


class DockerManager:
    """A `ServerManager` that starts the one container it looked at, by its full id.

    The lock file in the container is never touched: in a new life PostgreSQL has a PID of its own,
    and heeds the file by its own rules.
    """

    kind = "docker"

    def __init__(self, host: DockerHost, *, data_directory: Callable[[], str]) -> None:
        self._host = host
        self._engine = DockerEngine(host)
        self._data = data_directory
        self._looked: ContainerSeen | None = None

    def describe(self) -> str:
        name = self._host.container or self._host.compose_service
        return f"the container engine: `docker start {name}`"

    async def status(self) -> ManagerStatus | Missing:
        self._looked = None
        seen = await self._engine.container()
        if seen is None:
            return Missing(what="container", reason="the engine has none of this name")
        if isinstance(seen, Missing):
            return seen
        sharing = await self._engine.sharing(seen, self._data())
        place = await proven_place(self._host, seen, self._data())
        if isinstance(place, Missing):
            return place
        markers, patroni = await asyncio.to_thread(_left_in, place)
        self._looked = seen
        return status_of(seen, sharing, markers, patroni)

    async def start(self, *, deadline_s: float) -> ManagerAnswer:
        """Raises: ProbeFailed."""
        seen = self._looked
        if seen is None:
            return ManagerAnswer(ok=False, detail="the container was not looked at before")
        acted = await self._engine.start(seen.id, deadline_s=deadline_s)
        if acted.outcome == "in_doubt":
            raise ProbeFailed(acted.detail, on=f"docker start {seen.id[:12]}")
        again = seen.restart_policy or "no"
        told = acted.detail or f"container {seen.id}, restart policy {again}"
        return ManagerAnswer(ok=acted.outcome == "done", detail=told)

    async def stop(self, server: Postmaster, *, deadline_s: float) -> ManagerAnswer:
        """Never: its status declines."""
        return ManagerAnswer(ok=False, detail=OTHER_ACTION)

    async def restart(self, server: Postmaster, *, deadline_s: float) -> ManagerAnswer:
        """Never: its status declines."""
        return ManagerAnswer(ok=False, detail=OTHER_ACTION)


def status_of(
    seen: ContainerSeen, sharing: tuple[str, ...] | Missing, markers: tuple[str, ...], rival: str
) -> ManagerStatus:
    """What was found as a start has to know it. Only an end is undone by a start: one that was
    never started, is paused, or is being restarted is somebody's work."""
    exited = seen.status == EXITED
    return ManagerStatus(
        restarts_by_itself=seen.restart_policy not in ("", "no"),
        other_manager=seen.keeper or rival,
        jobs=(),
        markers=markers,
        may_act=True,
        declines=_declined(seen),
        container=seen.id,
        shared_with=sharing,
        stopped_by_hand=exited and seen.restart_policy in KEPT_UP,
    )


def _declined(seen: ContainerSeen) -> tuple[tuple[Verb, str], ...]:
    idle = f"the container is {seen.status}: a start would do nothing"
    start: tuple[tuple[Verb, str], ...] = () if seen.status == EXITED else (("start", idle),)
    return (*start, ("stop", OTHER_ACTION), ("restart", OTHER_ACTION))


async def still_volumes(host: DockerHost, data_directory: str) -> tuple[Volume | Missing, ...]:
    """Of data and WAL of a container that does not run, looked at from outside."""
    seen = await DockerEngine(host).container()
    if seen is None or isinstance(seen, Missing):
        return (seen or Missing(what="volumes", reason="there is no such container"),)
    place = await proven_place(host, seen, data_directory)
    if isinstance(place, Missing):
        return (Missing(what="volumes", reason=place.reason),)
    return await asyncio.to_thread(_volumes, seen, data_directory, place)


async def proven_place(host: DockerHost, seen: ContainerSeen, data_directory: str) -> str | Missing:
    """Where the data of a container lies on this machine.

    The engine tells the folder; that it is the same one here is proven by the control file, which
    has to read as the one that the engine hands out. Where Stanch is not on the engine's machine,
    or may not read there, it is `Missing`: Docker's own volumes are root's.
    """
    here = place_here(seen, data_directory) if data_directory else ""
    if not here:
        return Missing(what="its data", reason="its data lies in no volume of the container")
    link = DockerLink(host)
    try:
        control = await DockerFiles(link).control(seen.id, data_directory)
    finally:
        await link.close()
    if isinstance(control, Missing):
        return control
    same = await asyncio.to_thread(reads_as, here, control)
    return same if isinstance(same, Missing) else here


def reads_as(here: str, control: str) -> Missing | None:
    """Why a folder of this machine is not the one whose control file was handed out."""
    try:
        content = (Path(here) / "global/pg_control").read_bytes()
    except OSError as error:
        why = f"{here} cannot be read here ({error.strerror or error})"
        return Missing(what="its data", reason=why)
    if as_printed(content[:READ_BYTES]) == control:
        return None
    return Missing(what="its data", reason=f"another cluster lies in {here} on this machine")


def _left_in(place: str) -> tuple[tuple[str, ...], str]:
    """The markers of unfinished work, and who else starts and stops this server."""
    patroni = "Patroni" if os.path.lexists(os.path.join(place, PATRONI)) else ""
    return markers_in(place), patroni


def _volumes(seen: ContainerSeen, data_directory: str, here: str) -> tuple[Volume | Missing, ...]:
    wal = linked(seen, data_directory, "pg_wal", here)
    known = mounts(Path("/proc"))
    return (
        read_volume(VolumeUse.DATA, here, known),
        read_volume(VolumeUse.WAL, wal, known)
        if wal
        else Missing(what="volume of pg_wal", reason="it lies outside of every volume"),
    )


def place_here(seen: ContainerSeen, path: str) -> str:
    """A folder of the container as its machine calls it; empty: it lies in no mount."""
    over = [m for m in seen.mounts if is_within(path, m.destination)]
    nearest = max(over, key=lambda m: len(m.destination), default=None)
    if nearest is None:
        return ""
    return posixpath.normpath(
        posixpath.join(nearest.source, posixpath.relpath(path, nearest.destination))
    )


def linked(seen: ContainerSeen, folder: str, name: str, here: str) -> str:
    """A link is the container's: where it leads is a path inside."""
    inside, outside = posixpath.join(folder, name), os.path.join(here, name)
    if any(m.destination == inside for m in seen.mounts):
        return place_here(seen, inside)
    if not os.path.islink(outside):
        return outside
    return place_here(seen, posixpath.normpath(posixpath.join(folder, os.readlink(outside))))
