"""A container's engine as who starts its server, and the room where its data lies."""

from __future__ import annotations

import asyncio
import os
import posixpath
from collections.abc import Callable
from pathlib import Path

import httpx

from stanch.adapters.hosts.docker_engine import DockerEngine
from stanch.adapters.hosts.docker_files import REQUEST_S
from stanch.adapters.hosts.docker_link import DockerLink
from stanch.adapters.hosts.rivals import MARKERS
from stanch.adapters.hosts.volumes import mounts, read_volume
from stanch.facts.control_file import READ_BYTES, as_printed
from stanch.model.containers import ContainerSeen, is_within
from stanch.model.diagnosis import Missing
from stanch.model.errors import ProbeFailed
from stanch.model.host import Volume, VolumeUse
from stanch.model.ports.acting import ManagerAnswer, ManagerStatus
from stanch.policy.hosts import DockerHost

EXITED = "exited"
PATRONI = "patroni.dynamic.json"
"""Patroni's, in the data directory of a server that it starts and stops."""
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
        markers = await _markers(DockerLink(self._host), seen.id, self._data())
        if isinstance(markers, Missing):
            return markers
        self._looked = seen
        patroni = "Patroni" if PATRONI in markers else ""
        exited = seen.status == EXITED
        return ManagerStatus(
            restarts_by_itself=seen.restart_policy not in ("", "no"),
            other_manager=seen.keeper or patroni,
            jobs=(),
            markers=tuple(name for name in markers if name != PATRONI),
            may_act=exited,
            detail="" if exited else f"the container is {seen.status}: a start would do nothing",
            container=seen.id,
            shared_with=sharing,
            stopped_by_hand=exited and seen.restart_policy in KEPT_UP,
        )

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


async def still_volumes(
    host: DockerHost, data_directory: str, control: str | Missing
) -> tuple[Volume | Missing, ...]:
    """Where the data of a container that does not run lies on this machine.

    The engine tells the folder; that it is the same one here is proven by the control file, which
    has to read as the one that the engine hands out (`control`). Anything else is `Missing`.
    """
    seen = await DockerEngine(host).container()
    if seen is None or isinstance(seen, Missing):
        reason = "there is no such container" if seen is None else seen.reason
        return (Missing(what="volumes", reason=reason),)
    if isinstance(control, Missing):
        return (Missing(what="volumes", reason=control.reason),)
    return await asyncio.to_thread(_volumes, seen, data_directory, control)


def _volumes(
    seen: ContainerSeen, data_directory: str, control: str
) -> tuple[Volume | Missing, ...]:
    here = place_here(seen, data_directory)
    try:
        content = b"" if not here else (Path(here) / "global/pg_control").read_bytes()
    except OSError as error:
        content = b""
        why = f"{here} cannot be read here ({error.strerror or error})"
    else:
        why = "its data lies in no volume" if not here else "another one lies there on this machine"
    if as_printed(content[:READ_BYTES]) != control:
        return (Missing(what="volumes", reason=why),)
    wal = _linked(seen, data_directory, "pg_wal", here)
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


def _linked(seen: ContainerSeen, folder: str, name: str, here: str) -> str:
    """A link is the container's: where it leads is a path inside."""
    inside, outside = posixpath.join(folder, name), os.path.join(here, name)
    if any(m.destination == inside for m in seen.mounts):
        return place_here(seen, inside)
    if not os.path.islink(outside):
        return outside
    return place_here(seen, posixpath.normpath(posixpath.join(folder, os.readlink(outside))))


async def _markers(link: DockerLink, container_id: str, folder: str) -> tuple[str, ...] | Missing:
    """Which of the files of an unfinished backup, restore or upgrade the container has."""
    if not folder:
        return Missing(what="markers", reason="the data directory is not known")
    found: list[str] = []
    path = f"/containers/{container_id}/archive"
    try:
        async with asyncio.timeout(REQUEST_S):
            for name in (*MARKERS, PATRONI):
                asked = {"path": f"{folder}/{name}"}
                async with link.stream("HEAD", path, asked) as said:
                    status = said.status_code
                if status == 200:
                    found.append(name)
                elif status != 404:
                    return Missing(what="markers", reason=f"{name}: HTTP {status}")
    except (TimeoutError, httpx.HTTPError, OSError) as error:
        return link.failed(error)
    finally:
        await link.close()
    return tuple(found)
