"""What a container wrote, as its Docker daemon keeps it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import httpx

from stanch.adapters.hosts.docker_link import DockerLink
from stanch.facts.machines.json_values import as_object, flag, part, read_json, text
from stanch.facts.machines.stamped import Following, Frames, Lines, Tail, since_text
from stanch.model.diagnosis import Missing
from stanch.model.host import LogChunk, LogPosition

DEADLINE_S = 5.0
MESSAGES_AT_ONCE = 2000
LINE_BYTES_GUESSED = 100
ERROR_BYTES_MAX = 4096


class DockerLog:
    """A `LogReader` of a container's standard output and error.

    Cost: the daemon reads the last messages from their end; all of them only where more than
    2,000 came since the last question.
    """

    def __init__(self, link: DockerLink) -> None:
        self._link = link

    async def log_tail(self, *, bytes_max: int) -> LogChunk | Missing:
        found = await self._container()
        if isinstance(found, Missing):
            return found
        name, tty = found
        tail = Tail(path=f"docker:{name}", bytes_max=bytes_max)
        lines = max(100, bytes_max // LINE_BYTES_GUESSED)
        failed = await self._read(name, {"tail": str(lines)}, tail.take, tty=tty)
        return failed or tail.chunk()

    async def log_since(self, position: LogPosition, *, bytes_max: int) -> LogChunk | Missing:
        found = await self._container()
        if isinstance(found, Missing):
            return found
        name, tty = found
        path = f"docker:{name}"
        near = Following(path=path, after=position, bytes_max=bytes_max)
        if near.after is None:
            failed = await self._read(name, {}, near.take, tty=tty, enough=lambda: near.full)
            return failed or near.chunk()
        since = {"since": since_text(position.offset)}
        last = since | {"tail": str(MESSAGES_AT_ONCE)}
        failed = await self._read(name, last, near.take, tty=tty, enough=lambda: near.full)
        if failed is not None or near.resumed or near.messages < MESSAGES_AT_ONCE:
            return failed or near.chunk()
        # The message read last is not among the newest: ask for everything since.
        whole = Following(path=path, after=position, bytes_max=bytes_max)
        failed = await self._read(name, since, whole.take, tty=tty, enough=lambda: whole.full)
        return failed or whole.chunk()

    async def _container(self) -> tuple[str, bool] | Missing:
        container = await self._link.container()
        if isinstance(container, Missing):
            return Missing(what="log", reason=container.reason)
        if container is None:
            return Missing(what="log", reason=f"there is no container {self._link.name}")
        return text(container, "Id"), bool(flag(part(container, "Config"), "Tty"))

    async def _read(
        self,
        name: str,
        params: Mapping[str, str],
        take: Callable[[bytes], None],
        *,
        tty: bool,
        enough: Callable[[], bool] = lambda: False,
    ) -> Missing | None:
        """Hand over message by message until there is enough. None: it went well."""
        asked = {"stdout": "1", "stderr": "1", "timestamps": "1", **params}
        parts = Lines() if tty else Frames()
        try:
            async with (
                asyncio.timeout(DEADLINE_S),
                self._link.stream("GET", f"/containers/{name}/logs", asked) as said,
            ):
                if said.status_code >= 400:
                    told = read_json((await said.aread())[:ERROR_BYTES_MAX])
                    reason = text(as_object(told), "message") or f"HTTP {said.status_code}"
                    return Missing(what="log", reason=f"{self._link.source}: {reason[:200]}")
                async for piece in said.aiter_raw():
                    for message in parts.feed(piece):
                        take(message)
                    if enough():
                        break
        except (TimeoutError, httpx.HTTPError, OSError) as error:
            return Missing(what="log", reason=self._link.failed(error).reason)
        return None
