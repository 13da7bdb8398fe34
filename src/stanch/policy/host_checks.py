"""What the keys under `host` say about one another."""

from __future__ import annotations

from stanch.policy.hosts import DockerHost, HostPolicy, KubernetesHost


def contradiction(host: HostPolicy) -> tuple[str, str, str] | None:
    """The key, what is wrong, and what to do; None where the keys fit together."""
    if isinstance(host, DockerHost):
        return _docker(host)
    if isinstance(host, KubernetesHost) and bool(host.pod) == bool(host.selector):
        what = "names the pod twice" if host.pod else "names no pod"
        return "kubernetes", what, "Give `pod` or `selector`, one of them."
    return None


def _docker(host: DockerHost) -> tuple[str, str, str] | None:
    if bool(host.container) == bool(host.compose_service):
        what = "names the container twice" if host.container else "names no container"
        return "docker", what, "Give `container` or `compose_service`, one of them."
    if host.compose_project and not host.compose_service:
        return "docker", "a project without a service", "Add `compose_service`."
    if host.compose_service and host.compose_service in host.services:
        what = "lets the server's own service be restarted as one beside it"
        return "docker", what, "Take it out of `services`; `restart_container` is the server's."
    return None
