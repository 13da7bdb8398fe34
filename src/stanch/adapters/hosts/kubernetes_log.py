"""What a pod's container wrote, and what the container before it wrote last."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from stanch.adapters.hosts.kubernetes_link import KubernetesLink
from stanch.facts.machines.pods import Pod
from stanch.facts.machines.stamped import Following, Lines, Tail
from stanch.model.diagnosis import Missing
from stanch.model.host import LogChunk, LogPosition

DEADLINE_S = 5.0
LINE_BYTES_GUESSED = 100


class KubernetesLog:
    """A `LogReader` of a container in a pod. Privilege: get pods and pods/log.

    Cost: the kubelet sends what was written since the last second that was read, and no more than
    is wanted.
    """

    def __init__(self, link: KubernetesLink) -> None:
        self._link = link

    async def log_tail(self, *, bytes_max: int) -> LogChunk | Missing:
        pod = await self._pod()
        if isinstance(pod, Missing):
            return pod
        tail = Tail(path=_path(pod, pod.restarts), bytes_max=bytes_max)
        lines = max(100, bytes_max // LINE_BYTES_GUESSED)
        failed = await self._read(pod, {"tailLines": str(lines)}, tail.take, bytes_max=bytes_max)
        return failed or tail.chunk()

    async def log_since(self, position: LogPosition, *, bytes_max: int) -> LogChunk | Missing:
        pod = await self._pod()
        if isinstance(pod, Missing):
            return pod
        if pod.restarts > 0 and position.path == _path(pod, pod.restarts - 1):
            # What ended the server is in the log of the container that was before.
            rest = await self._since(pod, position, bytes_max, previous=True)
            if isinstance(rest, LogChunk) and rest.content:
                return LogChunk(
                    path=rest.path,
                    content=rest.content,
                    position=rest.position,
                    skipped_bytes=rest.skipped_bytes,
                    more=True,
                )
        return await self._since(pod, position, bytes_max)

    async def _since(
        self, pod: Pod, position: LogPosition, bytes_max: int, *, previous: bool = False
    ) -> LogChunk | Missing:
        path = _path(pod, pod.restarts - 1 if previous else pod.restarts)
        following = Following(path=path, after=position, bytes_max=bytes_max)
        query = {"previous": "true"} if previous else {}
        if following.after is not None and position.offset:
            query["sinceTime"] = _second(position.offset)
        failed = await self._read(
            pod, query, following.take, bytes_max=bytes_max, enough=lambda: following.full
        )
        return failed or following.chunk()

    async def _pod(self) -> Pod | Missing:
        pod = await self._link.pod()
        if isinstance(pod, Missing):
            return Missing(what="log", reason=pod.reason)
        return pod or Missing(what="log", reason=f"{self._link.source}: there is no such pod")

    async def _read(
        self,
        pod: Pod,
        query: Mapping[str, str],
        take: Callable[[bytes], None],
        *,
        bytes_max: int,
        enough: Callable[[], bool] = lambda: False,
    ) -> Missing | None:
        """Hand over line by line until there is enough. None: it went well."""
        path = "/api/v1/namespaces/{namespace}/pods/{pod}/log"
        names = {"namespace": self._link.host.namespace, "pod": pod.name}
        asked = {"container": pod.container, "timestamps": "true", **query}
        lines = Lines(line_bytes_max=bytes_max)
        try:
            async with asyncio.timeout(DEADLINE_S), self._link.stream(path, names, asked) as said:
                if isinstance(said, Missing):
                    return Missing(what="log", reason=said.reason)
                async for piece in said.content.iter_any():
                    for line in lines.feed(piece):
                        take(line)
                    if enough():
                        break
        except self._link.errors as error:
            return Missing(what="log", reason=self._link.failed(error).reason)
        return None


def _path(pod: Pod, restarts: int) -> str:
    """Each start of a container has a log of its own."""
    return f"kubernetes:{pod.uid}/{pod.container}/{restarts}"


def _second(offset_ns: int) -> str:
    return f"{datetime.fromtimestamp(offset_ns // 10**9, UTC):%Y-%m-%dT%H:%M:%SZ}"
