"""A command inside a running container, where starting one does no harm."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import httpx

from stanch.adapters.hosts.commands import Printed
from stanch.adapters.hosts.docker_link import DockerLink
from stanch.adapters.hosts.ssh_link import Ran
from stanch.facts.machines.containers import parse_memory
from stanch.facts.machines.json_values import Object, part, text, whole
from stanch.facts.machines.stamped import Frames
from stanch.model.diagnosis import Missing
from stanch.model.host import Memory

HEADROOM_BYTES_MIN = 16 * 1024 * 1024
"""A container nearer to its memory limit is not given a single process more: it might be the one
too many, and the kernel would end a backend for it."""


def nothing_started(container: Object, memory: Memory | Missing) -> str:
    """Why nothing is started inside; empty where it does no harm."""
    if text(part(container, "State"), "Status") != "running":
        return "the container is paused"
    if isinstance(memory, Missing):
        return f"how much memory is left inside is not known ({memory.reason})"
    if memory.available_bytes < HEADROOM_BYTES_MIN:
        return "the container is nearly out of memory, so nothing is started in it"
    return ""


async def run_inside(
    link: DockerLink,
    container: str,
    argv: Sequence[str],
    *,
    bytes_max: int,
    until_s: float,
    wants_code: bool = False,
) -> Ran | Missing:
    """What a command prints; `until_s` is on the loop's clock, the exit code one request more."""
    loop = asyncio.get_running_loop()
    output, ended, asked_s, heard_s = bytearray(), "", loop.time(), 0.0
    code: int | None = None
    try:
        async with asyncio.timeout_at(until_s):
            asked = {"AttachStdout": True, "Cmd": list(argv)}
            started = await link.post(f"/containers/{container}/exec", asked)
            if isinstance(started, Missing):
                return started
            exec_id, frames = text(started, "Id"), Frames()
            options = {"Detach": False, "Tty": False}
            async with link.stream("POST", f"/exec/{exec_id}/start", body=options) as said:
                async for piece in said.aiter_raw():
                    heard_s = heard_s or loop.time()
                    output += b"".join(frames.feed(piece))
                    if len(output) > bytes_max:
                        ended = f"more than {bytes_max} bytes"
                        break
            if wants_code and not ended:
                told = await link.get(f"/exec/{exec_id}/json")
                code = None if isinstance(told, Missing) else whole(told, "ExitCode")
    except TimeoutError:
        ended = "no end within the deadline"
    except (httpx.HTTPError, OSError) as error:
        return link.failed(error)
    return Ran(
        output=bytes(output[:bytes_max]),
        ended=ended,
        heard_s=heard_s,
        asked_s=asked_s,
        exit_code=code,
    )


class DockerCommands:
    """`Commands` inside one container; standard error is not had there."""

    def __init__(self, link: DockerLink) -> None:
        self._link = link

    @property
    def source(self) -> str:
        return self._link.source

    async def printed(self, *argv: str, bytes_max: int, deadline_s: float) -> Printed | Missing:
        until_s = asyncio.get_running_loop().time() + deadline_s
        container = await self._ready()
        if isinstance(container, Missing):
            return container
        ran = await run_inside(
            self._link,
            container,
            argv,
            bytes_max=bytes_max,
            until_s=until_s,
            wants_code=True,
        )
        if isinstance(ran, Missing):
            return ran
        return Printed(output=ran.output, exit_code=ran.exit_code, incomplete=ran.ended)

    async def _ready(self) -> str | Missing:
        """The container's id, where something may be started in it."""
        container = await self._link.container()
        if isinstance(container, Missing):
            return container
        if container is None:
            return Missing(what="docker", reason=f"{self.source}: there is no such container")
        name = text(container, "Id")
        stats = await self._link.get(
            f"/containers/{name}/stats", {"stream": "false", "one-shot": "true"}
        )
        refusal = nothing_started(
            container, stats if isinstance(stats, Missing) else parse_memory(stats)
        )
        return Missing(what="docker", reason=f"{self.source}: {refusal}") if refusal else name

    async def close(self) -> None:
        await self._link.close()
