"""What a Docker daemon says of a container that somebody may act on."""

from __future__ import annotations

import posixpath

from stanch.facts.machines.json_values import Object, flag, moment, objects, part, text, whole
from stanch.model.containers import ContainerSeen, Mounted
from stanch.model.diagnosis import Missing

ONE_OFF = "com.docker.compose.oneoff"
PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
KEEPERS = (
    ("com.docker.swarm.service.id", "Docker Swarm"),
    ("io.kubernetes.pod.uid", "Kubernetes"),
    ("com.hashicorp.nomad.alloc_id", "Nomad"),
)
"""Labels of whoever would start another one in its place."""
ID_DIGITS = 64


def parse_engine(inspected: Object) -> ContainerSeen | Missing:
    """The answer to `GET /containers/{id}/json`."""
    state, config, host = (part(inspected, name) for name in ("State", "Config", "HostConfig"))
    found_id, status = text(inspected, "Id"), text(state, "Status")
    if len(found_id) != ID_DIGITS or not status:
        return Missing(what="container", reason="the engine does not tell its id and state")
    labels = part(config, "Labels")
    started = moment(state, "StartedAt")
    return ContainerSeen(
        id=found_id,
        name=text(inspected, "Name").lstrip("/"),
        image_id=text(inspected, "Image"),
        status=status,
        started_at=started.isoformat() if started is not None and started.year > 1 else "",
        exit_code=whole(state, "ExitCode"),
        oom_killed=bool(flag(state, "OOMKilled")),
        restart_policy=text(part(host, "RestartPolicy"), "Name"),
        memory_bytes=whole(host, "Memory") or 0,
        swap_bytes=whole(host, "MemorySwap") or 0,
        mounts=parse_mounts(inspected),
        stop_signal=text(config, "StopSignal"),
        stop_wait_s=whole(config, "StopTimeout"),
        has_init=bool(flag(host, "Init")),
        project=text(labels, PROJECT),
        service=text(labels, SERVICE),
        one_off=text(labels, ONE_OFF) == "True",
        keeper=next((who for label, who in KEEPERS if text(labels, label)), ""),
    )


def parse_mounts(told: Object) -> tuple[Mounted, ...]:
    """The mounts of one container, also as a list of containers shows them."""
    return tuple(
        Mounted(
            volume=text(one, "Name"),
            source=_normal(text(one, "Source")),
            destination=_normal(text(one, "Destination")),
            # What does not say that it only reads may write.
            writable=flag(one, "RW") is not False,
        )
        for one in objects(told, "Mounts")
        if text(one, "Source") and text(one, "Destination")
    )


def _normal(path: str) -> str:
    return posixpath.normpath(path)
