"""A container as its Docker daemon tells it, and the machine as it looks from inside."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from stanch.adapters.hosts.docker_exec import nothing_started, run_inside
from stanch.adapters.hosts.docker_link import DockerLink
from stanch.facts.machines.containers import parse_container, parse_memory
from stanch.facts.machines.json_values import text
from stanch.facts.machines.script import CONTAINER_SCRIPT, OUTPUT_BYTES_MAX, Asked, machine_facts
from stanch.model.diagnosis import Missing
from stanch.model.host import Memory
from stanch.model.machine import HostFacts, ServiceState


class DockerMachine:
    """A `MachineReader` through Docker's API.

    Cost a look: three requests, and inside a running container one shell with a dozen short
    commands, because the API tells nothing about free space.
    """

    def __init__(self, link: DockerLink, *, now: Callable[[], datetime]) -> None:
        self._link = link
        self._now = now

    @property
    def source(self) -> str:
        return self._link.source

    async def facts(self, *, deadline_s: float) -> HostFacts | Missing:
        loop = asyncio.get_running_loop()
        end_s = loop.time() + deadline_s
        try:
            async with asyncio.timeout_at(end_s):
                container = await self._link.container()
                if isinstance(container, Missing):
                    return container
                if container is None:
                    return self._without(_gone(self._link.name), "there is no such container")
                service = parse_container(self._link.name, container)
                if isinstance(service, Missing) or not service.running:
                    return self._without(service, "the container is not running")
                name = text(container, "Id")
                stats = await self._link.get(
                    f"/containers/{name}/stats", {"stream": "false", "one-shot": "true"}
                )
        except TimeoutError:
            return Missing(what="host", reason=f"{self.source}: no answer within {deadline_s:g} s")
        memory = stats if isinstance(stats, Missing) else parse_memory(stats)
        refusal = nothing_started(container, memory)
        if refusal:
            return self._without(service, refusal, memory=memory)
        seen = await self._inside(name, end_s)
        if isinstance(seen, Missing):
            return self._without(service, seen.reason, memory=memory)
        if isinstance(seen.memory, Missing) or seen.memory.cgroup_used_bytes is None:
            seen = replace(seen, memory=memory)
        return replace(seen, service=service)

    async def close(self) -> None:
        await self._link.close()

    async def _inside(self, container: str, end_s: float) -> HostFacts | Missing:
        word = f"=={secrets.token_hex(8)}"
        ran = await run_inside(
            self._link,
            container,
            ("sh", "-c", CONTAINER_SCRIPT, "stanch", word),
            bytes_max=OUTPUT_BYTES_MAX,
            until_s=end_s,
        )
        if isinstance(ran, Missing):
            return ran
        if not ran.heard_s:
            return Missing(what="host", reason=ran.ended or "the container has no shell")
        since_s = asyncio.get_running_loop().time() - (ran.asked_s + ran.heard_s) / 2
        at = self._now() - timedelta(seconds=since_s)
        asked = Asked(source=self.source, at=at, word=word, in_container=True)
        return machine_facts(asked, ran.output, ended=ran.ended)

    def _without(
        self,
        service: ServiceState | Missing,
        reason: str,
        *,
        memory: Memory | Missing | None = None,
    ) -> HostFacts:
        """What is left where nothing can be run inside."""

        def gone(what: str) -> Missing:
            return Missing(what=what, reason=reason)

        started = service.started_at if isinstance(service, ServiceState) else None
        at = self._now()
        return HostFacts(
            at=at,
            source=self.source,
            service=service,
            file_systems=gone("file systems"),
            memory=gone("memory") if memory is None else memory,
            cpu=gone("cpu"),
            load_1min=gone("load"),
            oom_kills=gone("oom kills"),
            clock_offset_s=gone("clock"),
            uptime_s=gone("uptime")
            if started is None or memory is None
            else max(0.0, (at - started).total_seconds()),
            kernel=gone("kernel messages"),
        )


def _gone(name: str) -> ServiceState:
    return ServiceState(name=name, running=False, status="no such container")
