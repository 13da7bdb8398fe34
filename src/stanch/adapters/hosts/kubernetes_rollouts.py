"""Revisions of workloads, and what happened to them and to the server's pod."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from stanch.adapters.hosts.kubernetes_link import CACHED, KubernetesLink
from stanch.facts.machines.json_values import Object
from stanch.facts.machines.rollouts import events, named, revisions_in, rollouts, selector_of
from stanch.model.changes import Change
from stanch.model.diagnosis import Missing
from stanch.watch.changes.run import Seen

WORKLOADS = "/apis/apps/v1/namespaces/{namespace}/{sort}/{name}"
OWNED = "/apis/apps/v1/namespaces/{namespace}/{sort}"
EVENTS = "/api/v1/namespaces/{namespace}/events"
HISTORY_OF = {"deployment": "replicasets", "statefulset": "controllerrevisions"}
LISTED_MAX = "200"


class KubernetesRollouts:
    """What changed in a namespace, as far as the policy names it.

    Privilege: get deployments and statefulsets, list replicasets, controllerrevisions and events.
    What may not be read is told, and the rest goes on. Cost a look: two requests and one for
    events a workload, and two for the pod, from the API server's memory where it allows that.
    """

    def __init__(self, link: KubernetesLink, *, now: Callable[[], datetime]) -> None:
        self._link = link
        self._now = now

    async def look(self) -> Seen:
        """Everything of the last day."""
        changes: list[Change] = []
        missing: dict[str, None] = {}
        for workload in self._link.host.rollouts:
            for found in (await self._revisions(workload), await self._events_of(workload)):
                if isinstance(found, Missing):
                    missing[found.reason] = None
                else:
                    changes += found
        found = await self._events_of_pod()
        if isinstance(found, Missing):
            missing[found.reason] = None
        else:
            changes += found
        return Seen(changes=tuple(changes), missing="; ".join(missing))

    async def close(self) -> None:
        await self._link.close()

    async def _revisions(self, workload: str) -> list[Change] | Missing:
        sort, name = named(workload)
        one = await self._get(
            WORKLOADS, {"sort": f"{sort}s", "name": name}, {"resourceVersion": CACHED}
        )
        if isinstance(one, Missing):
            return one
        query = {"labelSelector": selector_of(one), "resourceVersion": CACHED}
        listed = await self._get(OWNED, {"sort": HISTORY_OF[sort]}, query)
        if isinstance(listed, Missing):
            return listed
        return rollouts(workload, revisions_in(listed, one), now=self._now())

    async def _events_of(self, workload: str) -> list[Change] | Missing:
        sort, name = named(workload)
        return await self._events("Deployment" if sort == "deployment" else "StatefulSet", name)

    async def _events_of_pod(self) -> list[Change] | Missing:
        pod = await self._link.pod()
        if pod is None or isinstance(pod, Missing):
            return pod or []
        return await self._events("Pod", pod.name)

    async def _events(self, kind: str, name: str) -> list[Change] | Missing:
        about = f"involvedObject.kind={kind},involvedObject.name={name}"
        listed = await self._get(EVENTS, {}, {"fieldSelector": about, "limit": LISTED_MAX})
        return listed if isinstance(listed, Missing) else events(listed, now=self._now())

    async def _get(
        self, path: str, names: dict[str, str], query: dict[str, str]
    ) -> Object | Missing:
        return await self._link.get(path, {"namespace": self._link.host.namespace, **names}, query)
