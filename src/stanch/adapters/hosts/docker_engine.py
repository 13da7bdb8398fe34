"""A Docker daemon asked to start, restart or widen one container, each by its full id."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import cast

import httpx
import psutil

from stanch.adapters.hosts.docker_link import LISTED, NOT_FOUND, REQUEST_S, DockerLink
from stanch.facts.machines.containers import parse_memory
from stanch.facts.machines.engine import PROJECT, SERVICE, parse_engine, parse_mounts
from stanch.facts.machines.json_values import as_object, objects, read_json, text, whole
from stanch.model.containers import LIVES, ContainerSeen, MachineMemory, share
from stanch.model.diagnosis import Missing
from stanch.model.ports.server import Acted
from stanch.policy.hosts import DockerHost

DETAIL_CHARS_MAX = 300
ANSWER_BYTES_MAX = 64 * 1024
ALREADY = 304
CONTAINERS_MAX = 200


class DockerEngine:
    """A `ContainerEngine` over the daemon's local socket.

    Each question has a connection of its own, and nothing is kept between them. No `docker` or
    `docker compose` program is needed: what Compose calls a service is a label on containers, and
    restarting one is restarting each, without a look into any file. An act is sent once; no answer
    in time is `in_doubt`. Needs: the right to use the socket, which is root's in all but name.
    Docker 20.10 (API 1.41) and newer.
    """

    def __init__(self, host: DockerHost) -> None:
        self._host = host

    @asynccontextmanager
    async def _link(self) -> AsyncGenerator[DockerLink]:
        link = DockerLink(self._host)
        try:
            yield link
        finally:
            await link.close()

    # --- looking ---

    async def container(self) -> ContainerSeen | Missing | None:
        async with self._link() as link:
            found = await link.container()
        return found if found is None or isinstance(found, Missing) else parse_engine(found)

    async def by_id(self, container_id: str) -> ContainerSeen | Missing | None:
        async with self._link() as link:
            return await _inspected(link, container_id)

    async def of_service(self, project: str, service: str) -> tuple[ContainerSeen, ...] | Missing:
        filters = json.dumps({"label": [f"{PROJECT}={project}", f"{SERVICE}={service}"]})
        async with self._link() as link:
            answer = await link.get("/containers/json", {"all": "1", "filters": filters})
            if isinstance(answer, Missing):
                return answer
            ids = [text(one, "Id") for one in objects(answer, LISTED)]
            if len(ids) > CONTAINERS_MAX:
                return Missing(what="service", reason=f"it has {len(ids)} containers")
            found = [await _inspected(link, one) for one in ids]
        missing = next((one for one in found if isinstance(one, Missing)), None)
        return missing or tuple(one for one in found if isinstance(one, ContainerSeen))

    async def sharing(
        self, container: ContainerSeen, data_directory: str
    ) -> tuple[str, ...] | Missing:
        filters = json.dumps({"status": sorted(LIVES)})
        async with self._link() as link:
            answer = await link.get("/containers/json", {"all": "1", "filters": filters})
        if isinstance(answer, Missing):
            return answer
        ours = container.mounts_of(data_directory)
        return tuple(
            _name(one.get("Names")) or text(one, "Id")[:12]
            for one in objects(answer, LISTED)
            if text(one, "Id") != container.id and share(ours, parse_mounts(one))
        )

    async def commands(self, container_id: str) -> tuple[str, ...] | Missing:
        async with self._link() as link:
            asked = {"ps_args": "-eo pid,args"}
            told = await link.get(f"/containers/{container_id}/top", asked)
        if isinstance(told, Missing):
            return told
        rows = told.get("Processes")
        if not isinstance(rows, list):
            return Missing(what="processes", reason="the engine does not list them")
        return tuple(_last(row) for row in cast("list[object]", rows))

    async def used_bytes(self, container_id: str) -> int | Missing:
        async with self._link() as link:
            asked = {"stream": "false", "one-shot": "true"}
            stats = await link.get(f"/containers/{container_id}/stats", asked)
        seen = stats if isinstance(stats, Missing) else parse_memory(stats)
        return seen if isinstance(seen, Missing) else seen.cgroup_used_bytes or 0

    async def machine_memory(self) -> MachineMemory | Missing:
        """What is left of it is read here: a local socket leads to this kernel, and both say so."""
        async with self._link() as link:
            told = await link.get("/info")
        if isinstance(told, Missing):
            return told
        total, here = whole(told, "MemTotal"), await asyncio.to_thread(psutil.virtual_memory)
        if total is None or total != here.total:
            return Missing(what="memory of the machine", reason="the engine runs on another one")
        return MachineMemory(total_bytes=total, available_bytes=here.available)

    # --- acting ---

    async def start(self, container_id: str, *, deadline_s: float) -> Acted:
        return await self._told(f"/containers/{container_id}/start", deadline_s=deadline_s)

    async def restart(self, container_id: str, *, wait_s: int | None, deadline_s: float) -> Acted:
        wait = {} if wait_s is None else {"t": str(wait_s)}
        path = f"/containers/{container_id}/restart"
        return await self._told(path, params=wait, deadline_s=deadline_s)

    async def set_memory(
        self, container_id: str, *, memory_bytes: int, swap_bytes: int, deadline_s: float
    ) -> Acted:
        body = {"Memory": memory_bytes, "MemorySwap": swap_bytes}
        path = f"/containers/{container_id}/update"
        return await self._told(path, body=body, deadline_s=deadline_s)

    async def _told(
        self,
        path: str,
        *,
        deadline_s: float,
        params: Mapping[str, str] | None = None,
        body: object = None,
    ) -> Acted:
        limits = httpx.Timeout(deadline_s, connect=min(REQUEST_S, deadline_s))
        try:
            async with (
                asyncio.timeout(deadline_s),
                self._link() as link,
                link.stream("POST", path, params, body, timeout=limits) as said,
            ):
                answer = b""
                async for piece in said.aiter_bytes():
                    answer = (answer + piece)[:ANSWER_BYTES_MAX]
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            return Acted(outcome="not_sent", detail=_said(error))
        except TimeoutError:
            return Acted(outcome="in_doubt", detail=f"no answer within {deadline_s:g} s")
        except (httpx.HTTPError, OSError) as error:
            return Acted(outcome="in_doubt", detail=_said(error))
        if said.status_code == ALREADY:
            return Acted(outcome="done", detail="the engine says that it was so already")
        if said.status_code >= 400:
            why = text(as_object(read_json(answer)), "message") or f"HTTP {said.status_code}"
            return Acted(outcome="failed", detail=why[:DETAIL_CHARS_MAX])
        return Acted(outcome="done")


async def _inspected(link: DockerLink, container_id: str) -> ContainerSeen | Missing | None:
    found = await link.get(f"/containers/{container_id}/json")
    if isinstance(found, Missing):
        return None if found.what == NOT_FOUND else found
    seen = parse_engine(found)
    if isinstance(seen, ContainerSeen) and seen.id != container_id:
        # The engine takes a name or the beginning of an id as well; neither is meant here.
        return None
    return seen


def _name(listed: object) -> str:
    found = cast("list[object]", listed) if isinstance(listed, list) else []
    return str(found[0]).lstrip("/")[:128] if found else ""


def _last(row: object) -> str:
    cells = cast("list[object]", row) if isinstance(row, list) else []
    return str(cells[-1])[:300] if cells else ""


def _said(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:DETAIL_CHARS_MAX]
