"""What a Docker daemon says about a container."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from stanch.facts.machines.json_values import flag, moment, number, part, text, whole
from stanch.model.diagnosis import Missing
from stanch.model.host import Memory
from stanch.model.machine import ServiceState

NEVER = "0001-"
"""Docker's word for a moment that has not been yet."""


def parse_container(name: str, inspected: Mapping[str, object]) -> ServiceState | Missing:
    """The answer to `GET /containers/{id}/json`."""
    state = part(inspected, "State")
    status = text(state, "Status")
    if not status:
        return Missing(what="service", reason="Docker does not tell the container's state")
    health = text(part(state, "Health"), "Status")
    ended = not text(state, "FinishedAt").startswith(NEVER)
    shown = f"{status} ({health})" if health not in ("", "none") else status
    return ServiceState(
        name=text(inspected, "Name").lstrip("/") or name,
        running=bool(flag(state, "Running")) and not flag(state, "Restarting"),
        status=shown,
        started_at=_moment(state, "StartedAt"),
        exit_code=whole(state, "ExitCode") if ended and status != "running" else None,
        oom_killed=flag(state, "OOMKilled"),
        restarts=whole(inspected, "RestartCount"),
        image=text(part(inspected, "Config"), "Image"),
        image_id=text(inspected, "Image"),
        container_id=text(inspected, "Id"),
        memory_limit_bytes=whole(part(inspected, "HostConfig"), "Memory") or None,
    )


def _moment(state: Mapping[str, object], name: str) -> datetime | None:
    return None if text(state, name).startswith(NEVER) else moment(state, name)


def parse_memory(stats: Mapping[str, object]) -> Memory | Missing:
    """The answer to `GET /containers/{id}/stats`, on control groups of either version."""
    seen = part(stats, "memory_stats")
    limit, used = number(seen, "limit"), number(seen, "usage")
    if not limit or used is None:
        return Missing(what="memory", reason="Docker does not tell the container's memory")
    detail = part(seen, "stats")
    # Version 1 has both, and only the totals count the groups below.
    prefix = "total_" if "total_inactive_file" in detail else ""
    cache = sum(number(detail, f"{prefix}{half}active_file") or 0 for half in ("", "in"))
    # Without a limit of its own Docker tells the machine's memory, which then is the truth, too.
    return Memory(
        total_bytes=int(limit),
        available_bytes=int(max(0, limit - max(0, used - cache))),
        cgroup_limit_bytes=int(limit),
        cgroup_used_bytes=int(used),
        cgroup_cache_bytes=int(cache),
    )
