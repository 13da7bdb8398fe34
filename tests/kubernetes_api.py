"""A stand-in of Kubernetes' API server, strict: what the real one refuses, it refuses the same way.

Pods with labels and a selector's whole grammar, resource versions, logs with their options, a
kubelet behind the node proxy, tokens, and rights; errors are `Status` objects. What it does not
know is an error, too, never an empty answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiohttp import web

TOKEN = "secret-of-the-test"
WORKLOADS = ("deployments", "statefulsets", "replicasets", "controllerrevisions")
_TERM = re.compile(
    r"\s*(?:(!?[\w./-]+)\s*$|([\w./-]+)\s*(==|=|!=)\s*([\w.-]*)\s*$"
    r"|([\w./-]+)\s+(in|notin)\s+\(([\w., -]*)\)\s*$)"
)


def selected(labels: Mapping[str, str], selector: str) -> bool:
    """Whether a label selector fits. Raises ValueError for what is no selector."""
    terms = [term for term in re.split(r",(?![^(]*\))", selector) if term.strip()]
    return all(_fits(labels, term) for term in terms)


def _fits(labels: Mapping[str, str], term: str) -> bool:
    match = _TERM.match(term)
    if match is None:
        raise ValueError(f"unable to parse requirement: {term}")
    there, key, sign, value, of, word, values = match.groups()
    if there:
        return (there.lstrip("!") in labels) != there.startswith("!")
    if key:
        return (labels.get(key) == value) == (sign != "!=")
    listed = {each.strip() for each in values.split(",")}
    return (labels.get(of) in listed) == (word == "in")


class Refused(Exception):
    """Becomes a Status object."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason = code, reason


@dataclass(slots=True)
class Line:
    """One line that a container wrote."""

    at: datetime
    text: bytes


@dataclass(slots=True)
class KubernetesApi:
    """One namespace, `shop`; change its fields while it runs."""

    kubeconfig: Path
    pods: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    logs: dict[tuple[str, bool], list[Line]] = field(
        default_factory=dict[tuple[str, bool], list[Line]]
    )
    """By pod, and whether of the container before."""
    summary: dict[str, Any] = field(default_factory=dict[str, Any])
    cadvisor: str = ""
    objects: dict[tuple[str, str], dict[str, Any]] = field(
        default_factory=dict[tuple[str, str], dict[str, Any]]
    )
    """Workloads and their revisions, by plural and name."""
    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    forbidden: set[str] = field(default_factory=set[str])
    """Words in a path that this service account may not read."""
    token: str = TOKEN
    version: int = 7
    asked: list[str] = field(default_factory=list[str])
    _runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application(middlewares=[self._as_status])
        base = "/api/v1/namespaces/{namespace}/pods"
        app.router.add_get(base, self._list)
        app.router.add_get(base + "/{pod}", self._get)
        app.router.add_get(base + "/{pod}/log", self._log)
        for sort in WORKLOADS:
            app.router.add_get(f"/apis/apps/v1/namespaces/{{namespace}}/{sort}", self._owned)
            app.router.add_get(
                f"/apis/apps/v1/namespaces/{{namespace}}/{sort}/{{name}}", self._workload
            )
        app.router.add_get("/api/v1/namespaces/{namespace}/events", self._events)
        app.router.add_get("/api/v1/nodes/{node}/proxy/{path:.*}", self._node)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.kubeconfig.write_text(json.dumps(_kubeconfig(f"http://127.0.0.1:{port}")))

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def put(self, name: str, *, labels: Mapping[str, str], **status: Any) -> dict[str, Any]:
        """A pod with one container `postgres`, running unless `status` says otherwise."""
        running = {"running": {"startedAt": "2026-11-21T08:00:00Z"}}
        container = {"name": "postgres", "restartCount": 0, "state": running, **status}
        self.version += 1
        pod = {
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": "shop",
                "uid": f"uid-of-{name}",
                "labels": dict(labels),
                "resourceVersion": str(self.version),
            },
            "spec": {
                "nodeName": "node-1",
                "containers": [
                    {
                        "name": "postgres",
                        "image": "registry.example.com/postgres:16",
                        "resources": {"limits": {"memory": "2Gi"}},
                        "volumeMounts": [
                            {"name": "data", "mountPath": "/var/lib/postgresql/data"},
                            {"name": "kube-api-access-x", "mountPath": "/var/run/secrets"},
                        ],
                    },
                    {"name": "exporter", "image": "registry.example.com/exporter:1"},
                ],
            },
            "status": {"phase": "Running", "containerStatuses": [container]},
        }
        self.pods[name] = pod
        return pod

    def roll_out(self, deployment: str, number: int, image: str, at: datetime) -> None:
        """Make this the deployment's newest revision; a ReplicaSet of this image is used again."""
        labels = {"app": deployment}
        self.version += 1
        self.objects["deployments", deployment] = {
            "kind": "Deployment",
            "metadata": {"name": deployment, "uid": f"uid-of-{deployment}"},
            "spec": {"selector": {"matchLabels": labels}},
        }
        name = f"{deployment}-{image.rpartition(':')[2]}"
        made = self.objects.setdefault(
            ("replicasets", name),
            {
                "metadata": {
                    "name": name,
                    "uid": f"uid-of-{name}",
                    "labels": labels,
                    "creationTimestamp": f"{at:%Y-%m-%dT%H:%M:%SZ}",
                    "ownerReferences": [{"uid": f"uid-of-{deployment}"}],
                },
                "spec": {"template": {"spec": {"containers": [{"image": image}]}}},
            },
        )
        made["metadata"]["annotations"] = {"deployment.kubernetes.io/revision": str(number)}

    def happen(self, kind: str, name: str, reason: str, at: datetime, **more: Any) -> None:
        """An event about an object."""
        uid = f"event-{len(self.events)}"
        self.events.append(
            {
                "metadata": {"uid": uid, "creationTimestamp": f"{at:%Y-%m-%dT%H:%M:%SZ}"},
                "involvedObject": {"kind": kind, "name": name},
                "reason": reason,
                "type": "Normal",
                "lastTimestamp": f"{at:%Y-%m-%dT%H:%M:%SZ}",
                **more,
            }
        )

    def write(self, pod: str, *lines: bytes, at: datetime, previous: bool = False) -> None:
        kept = self.logs.setdefault((pod, previous), [])
        for number, text in enumerate(lines):
            kept.append(Line(at=at + timedelta(microseconds=number), text=text))

    @web.middleware
    async def _as_status(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        try:
            if request.headers.get("Authorization") != f"Bearer {self.token}":
                raise Refused(401, "Unauthorized", "Unauthorized")
            for word in self.forbidden:
                if word in request.path:
                    message = f'{word} is forbidden: User "watcher" cannot get resource "{word}"'
                    raise Refused(403, "Forbidden", message)
            answer: web.StreamResponse = await handler(request)
            return answer
        except Refused as refused:
            return _status(refused.code, refused.reason, str(refused))
        except web.HTTPNotFound:
            return _status(404, "NotFound", "the server could not find the requested resource")

    def _query(self, request: web.Request, *known: str) -> Mapping[str, str]:
        unknown = set(request.query) - set(known)
        if unknown:
            raise Refused(400, "BadRequest", f"unknown parameters: {sorted(unknown)}")
        asked = request.query.get("resourceVersion", "0")
        if asked not in ("0", str(self.version)):
            raise Refused(410, "Expired", f"too old resource version: {asked}")
        return request.query

    async def _list(self, request: web.Request) -> web.Response:
        query = self._query(request, "labelSelector", "resourceVersion", "limit")
        try:
            found = [
                pod
                for pod in self.pods.values()
                if request.match_info["namespace"] == "shop"
                and selected(pod["metadata"]["labels"], query.get("labelSelector", ""))
            ]
        except ValueError as error:
            raise Refused(400, "BadRequest", str(error)) from error
        meta = {"resourceVersion": str(self.version)}
        return web.json_response({"kind": "PodList", "metadata": meta, "items": found})

    async def _get(self, request: web.Request) -> web.Response:
        self._query(request, "resourceVersion")
        return web.json_response(self._pod(request))

    def _pod(self, request: web.Request) -> dict[str, Any]:
        name = request.match_info["pod"]
        if request.match_info["namespace"] != "shop" or name not in self.pods:
            raise Refused(404, "NotFound", f'pods "{name}" not found')
        return self.pods[name]

    async def _owned(self, request: web.Request) -> web.Response:
        query = self._query(request, "labelSelector", "resourceVersion", "limit")
        sort = request.path.rpartition("/")[2]
        found = [
            one
            for (kind, _), one in self.objects.items()
            if kind == sort
            and request.match_info["namespace"] == "shop"
            and selected(one["metadata"].get("labels", {}), query.get("labelSelector", ""))
        ]
        return web.json_response({"kind": "List", "items": found})

    async def _workload(self, request: web.Request) -> web.Response:
        self._query(request, "resourceVersion")
        sort, name = request.path.split("/")[-2:]
        if request.match_info["namespace"] != "shop" or (sort, name) not in self.objects:
            raise Refused(404, "NotFound", f'{sort}.apps "{name}" not found')
        return web.json_response(self.objects[sort, name])

    async def _events(self, request: web.Request) -> web.Response:
        query = self._query(request, "fieldSelector", "resourceVersion", "limit")
        found = self.events
        for term in filter(None, query.get("fieldSelector", "").split(",")):
            path, _, value = term.partition("=")
            outer, _, inner = path.partition(".")
            if outer != "involvedObject" or inner not in ("kind", "name"):
                raise Refused(400, "BadRequest", f'"{path}" is not a known field selector')
            found = [event for event in found if event[outer][inner] == value]
        return web.json_response({"kind": "EventList", "items": found[: int(query["limit"])]})

    async def _log(self, request: web.Request) -> web.Response:
        query = self._query(
            request, "container", "timestamps", "tailLines", "sinceTime", "previous", "limitBytes"
        )
        pod, previous = self._pod(request), query.get("previous") == "true"
        name = pod["metadata"]["name"]
        names = [container["name"] for container in pod["spec"]["containers"]]
        if len(names) > 1 and query.get("container") not in names:
            raise Refused(400, "BadRequest", f"a container name must be specified: {names}")
        if previous and (name, True) not in self.logs:
            raise Refused(400, "BadRequest", "previous terminated container not found")
        lines = self.logs.get((name, previous), [])
        if "sinceTime" in query:
            since = datetime.fromisoformat(query["sinceTime"])
            lines = [line for line in lines if line.at >= since.astimezone(UTC)]
        if "tailLines" in query:
            lines = lines[-int(query["tailLines"]) :]
        stamped = query.get("timestamps") == "true"
        body = b"".join((_stamp(line.at) if stamped else b"") + line.text for line in lines)
        limit = int(query.get("limitBytes", len(body)))
        return web.Response(body=body[:limit], content_type="text/plain")

    async def _node(self, request: web.Request) -> web.Response:
        if request.match_info["node"] != "node-1":
            raise Refused(404, "NotFound", f'nodes "{request.match_info["node"]}" not found')
        if request.match_info["path"] == "stats/summary":
            return web.json_response(self.summary)
        if request.match_info["path"] == "metrics/cadvisor":
            return web.Response(text=self.cadvisor)
        raise Refused(404, "NotFound", "404 page not found")


def _stamp(at: datetime) -> bytes:
    """As Go writes times: without zeros at the end."""
    decimals = f"{at.microsecond:06d}000".rstrip("0")
    return f"{at:%Y-%m-%dT%H:%M:%S}{'.' if decimals else ''}{decimals}Z ".encode()


def _status(code: int, reason: str, message: str) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code}
    return web.json_response({**body, "reason": reason, "message": message}, status=code)


def _kubeconfig(server: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": server}}],
        "users": [{"name": "watcher", "user": {"token": TOKEN}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "watcher"}}],
    }
