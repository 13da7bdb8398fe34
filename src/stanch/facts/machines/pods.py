"""What a Kubernetes API server and a kubelet say about a pod, its container and its node."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from stanch.facts.machines.json_values import (
    NOTHING,
    Object,
    moment,
    number,
    objects,
    part,
    text,
    whole,
)
from stanch.model.diagnosis import Missing
from stanch.model.host import Memory
from stanch.model.machine import FileSystem, ServiceState

_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(|[kMGTPE]|[KMGTPE]i|m)")
_FACTORS = {
    "": 1.0,
    "m": 0.001,
    **{unit: 1000.0**n for n, unit in enumerate("kMGTPE", 1)},
    **{f"{unit}i": 1024.0**n for n, unit in enumerate("KMGTPE", 1)},
}
_TOKENS = "kube-api-access"
"""Volumes of this name hold the service account's token, in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """The pod and the one container in it that is the server."""

    name: str
    uid: str
    node: str
    container: str
    restarts: int
    service: ServiceState
    mounts: Mapping[str, str]
    """Names of the pod's volumes and where the container has them."""
    memory_limit_bytes: int | None


def chosen(listed: Object, selector: str) -> Object | Missing | None:
    """The one pod that a selector fits; None: there is none.

    A pod that is being deleted gives way to the one that takes its place.
    """
    pods = objects(listed, "items")
    staying = [pod for pod in pods if "deletionTimestamp" not in part(pod, "metadata")]
    found = staying or pods
    if len(found) > 1:
        names = ", ".join(text(part(pod, "metadata"), "name") for pod in found[:3])
        reason = f"{len(found)} pods fit {selector} ({names}); it must fit one"
        return Missing(what="host", reason=reason)
    return found[0] if found else None


def parse_pod(pod: Object, *, container: str) -> Pod | Missing:
    """The pod's own object; `container` empty: its first."""
    meta, spec, status = (part(pod, name) for name in ("metadata", "spec", "status"))
    name = text(meta, "name")
    specs = objects(spec, "containers")
    wanted = next((c for c in specs if container in ("", text(c, "name"))), None)
    if wanted is None:
        return Missing(what="service", reason=f"pod {name} has no container {container}")
    called = text(wanted, "name")
    states = objects(status, "containerStatuses")
    seen = next((s for s in states if text(s, "name") == called), NOTHING)
    return Pod(
        name=name,
        uid=text(meta, "uid"),
        node=text(spec, "nodeName"),
        container=called,
        restarts=whole(seen, "restartCount") or 0,
        service=_service(f"{name}/{called}", seen, status, image=text(wanted, "image")),
        mounts={
            text(m, "name"): text(m, "mountPath")
            for m in objects(wanted, "volumeMounts")
            if not text(m, "name").startswith(_TOKENS)
        },
        memory_limit_bytes=_bytes(text(part(part(wanted, "resources"), "limits"), "memory")),
    )


def _service(name: str, seen: Object, status: Object, *, image: str) -> ServiceState:
    state = part(seen, "state")
    running, waiting, ended = (part(state, k) for k in ("running", "waiting", "terminated"))
    last = ended or part(part(seen, "lastState"), "terminated")
    if "running" in state:
        word = "running"
    else:
        # Before there is a container, the pod alone says why: Pending, Failed (Evicted), …
        told = text(waiting, "reason") or text(ended, "reason")
        phase, why = text(status, "phase") or "unknown", text(status, "reason")
        word = told or (f"{phase} ({why})" if why else phase)
    return ServiceState(
        name=name,
        running="running" in state,
        status=word,
        started_at=_started(running, ended),
        exit_code=whole(last, "exitCode"),
        oom_killed=text(last, "reason") == "OOMKilled" if last else None,
        restarts=whole(seen, "restartCount"),
        image=image,
        image_id=text(seen, "imageID"),
    )


def _started(running: Object, ended: Object) -> datetime | None:
    return moment(running or ended, "startedAt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a kubelet's summary says about a pod."""

    file_systems: tuple[FileSystem, ...] | Missing
    memory: Memory | Missing


def parse_summary(summary: Object, pod: Pod) -> Summary:
    """The kubelet's `/stats/summary`: the pod's volumes, and the node's own file system."""
    stats = next(
        (p for p in objects(summary, "pods") if text(part(p, "podRef"), "uid") == pod.uid), None
    )
    node = part(summary, "node")
    systems = [_file_system("node", part(node, "fs"))]
    if stats is not None:
        systems += [
            _file_system(pod.mounts[text(volume, "name")], volume)
            for volume in objects(stats, "volume")
            if text(volume, "name") in pod.mounts
        ]
    found = tuple(one for one in systems if one is not None)
    return Summary(
        file_systems=found or Missing(what="file systems", reason="the kubelet tells none"),
        memory=_memory(part(node, "memory"), pod),
    )


def _file_system(mount: str, said: Object) -> FileSystem | None:
    total, free = number(said, "capacityBytes"), number(said, "availableBytes")
    if not total or free is None:
        return None
    inodes_total, inodes_free = number(said, "inodes"), number(said, "inodesFree")
    return FileSystem(
        mount=mount,
        total_bytes=int(total),
        free_bytes=int(free),
        inodes_total=int(inodes_total) if inodes_total else None,
        inodes_free=int(inodes_free) if inodes_total and inodes_free is not None else None,
    )


def _memory(node: Object, pod: Pod) -> Memory | Missing:
    """Of the node. What the container uses is left out: the kubelet counts most page cache as used,
    so that a healthy database server would always be out of memory."""
    available, used = number(node, "availableBytes"), number(node, "workingSetBytes")
    if available is None or used is None:
        return Missing(what="memory", reason="the kubelet does not tell the node's memory")
    return Memory(
        total_bytes=int(available + used),
        available_bytes=int(available),
        cgroup_limit_bytes=pod.memory_limit_bytes,
    )


def _bytes(quantity: str) -> int | None:
    """A Kubernetes quantity such as `2Gi`."""
    match = _QUANTITY.fullmatch(quantity[:40])
    return int(float(match[1]) * _FACTORS[match[2]]) if match else None


OOM_EVENTS = "container_oom_events_total"


def oom_events(line: str, *, namespace: str, pod: Pod) -> int | None:
    """The count in a line of cAdvisor's metrics; None where it is about something else."""
    if not line.startswith(f"{OOM_EVENTS}{{"):
        return None
    labels, _, rest = line.partition("} ")
    wanted = (
        f'container="{pod.container}"',
        f'namespace="{namespace}"',
        f'pod="{pod.name}"',
    )
    given = set(labels.partition("{")[2].split(","))
    if not given.issuperset(wanted):
        return None
    value = rest.split(" ")[0]
    try:
        return int(float(value))
    except (ValueError, OverflowError):
        return None
