"""A pod as the API server tells it, with its volumes and its node as the kubelet tells them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from stanch.adapters.hosts.kubernetes_link import KubernetesLink
from stanch.facts.machines.pods import Pod, Summary, oom_events, parse_summary
from stanch.facts.machines.stamped import Lines
from stanch.model.diagnosis import Missing
from stanch.model.host import OomKills
from stanch.model.machine import HostFacts, ServiceState

COUNT_KILLS_EVERY_S = 60.0
METRICS_BYTES_MAX = 64 * 1024 * 1024
UNKNOWN_HERE = "the Kubernetes API does not tell; watch the node through Prometheus for it"


class KubernetesMachine:
    """A `MachineReader` through Kubernetes' API.

    Privilege: get pods in the namespace; get nodes/proxy for volumes, memory and kills.
    Cost a look: the pod from the API server's memory and the kubelet's summary; once a minute the
    node's container metrics, which may be some megabytes.
    """

    def __init__(self, link: KubernetesLink, *, now: Callable[[], datetime]) -> None:
        self._link = link
        self._now = now
        self._kills: OomKills | Missing = Missing(what="oom kills", reason="not counted yet")
        self._counted_for = ""
        self._count_at_s = 0.0

    @property
    def source(self) -> str:
        return self._link.source

    async def facts(self, *, deadline_s: float) -> HostFacts | Missing:
        try:
            async with asyncio.timeout(deadline_s):
                pod = await self._link.pod()
                if isinstance(pod, Missing):
                    return pod
                if pod is None:
                    name = self._link.host.pod or self._link.host.selector
                    gone = ServiceState(name=name, running=False, status="no such pod")
                    return self._seen(gone, _no_summary("there is no such pod"))
                summary = await self._summary(pod)
                await self._count_kills(pod)
                return self._seen(pod.service, summary)
        except TimeoutError:
            return Missing(what="host", reason=f"{self.source}: no answer within {deadline_s:g} s")

    async def close(self) -> None:
        await self._link.close()

    def _seen(self, service: ServiceState, summary: Summary) -> HostFacts:
        at = self._now()
        up = service.running and service.started_at is not None
        return HostFacts(
            at=at,
            source=self.source,
            service=service,
            file_systems=summary.file_systems,
            memory=summary.memory,
            cpu=Missing(what="cpu", reason=UNKNOWN_HERE),
            load_1min=Missing(what="load", reason=UNKNOWN_HERE),
            oom_kills=self._kills,
            clock_offset_s=Missing(what="clock", reason=UNKNOWN_HERE),
            uptime_s=max(0.0, (at - service.started_at).total_seconds())
            if up and service.started_at is not None
            else Missing(what="uptime", reason="the container is not running"),
            kernel=Missing(what="kernel messages", reason=UNKNOWN_HERE),
        )

    async def _summary(self, pod: Pod) -> Summary:
        if not pod.node:
            return _no_summary("the pod is on no node yet")
        found = await self._link.get("/api/v1/nodes/{node}/proxy/stats/summary", {"node": pod.node})
        return (
            _no_summary(found.reason) if isinstance(found, Missing) else parse_summary(found, pod)
        )

    async def _count_kills(self, pod: Pod) -> None:
        """Also kills inside a container that lives on, which its state says nothing about."""
        now_s = asyncio.get_running_loop().time()
        if not pod.node or (pod.uid == self._counted_for and now_s < self._count_at_s):
            return
        self._counted_for, self._count_at_s = pod.uid, now_s + COUNT_KILLS_EVERY_S
        self._kills = await self._counted(pod)

    async def _counted(self, pod: Pod) -> OomKills | Missing:
        path, names = "/api/v1/nodes/{node}/proxy/metrics/cadvisor", {"node": pod.node}
        lines, counts, read_bytes = Lines(line_bytes_max=65536), list[int](), 0
        try:
            async with self._link.stream(path, names) as said:
                if isinstance(said, Missing):
                    return Missing(what="oom kills", reason=said.reason)
                async for piece in said.content.iter_any():
                    read_bytes += len(piece)
                    if read_bytes > METRICS_BYTES_MAX:
                        return Missing(what="oom kills", reason="the node's metrics do not end")
                    for line in lines.feed(piece):
                        told = line.decode("utf-8", "replace").strip()
                        count = oom_events(told, namespace=self._link.host.namespace, pod=pod)
                        counts += [] if count is None else [count]
        except self._link.errors as error:
            return Missing(what="oom kills", reason=self._link.failed(error).reason)
        if not counts:
            return Missing(what="oom kills", reason="the kubelet does not count them")
        return OomKills(host=None, cgroup=max(counts), own_group=True)


def _no_summary(reason: str) -> Summary:
    return Summary(
        file_systems=Missing(what="file systems", reason=reason),
        memory=Missing(what="memory", reason=reason),
    )
