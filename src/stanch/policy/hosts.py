"""How the machine of a server is seen where it is not the one that Stanch runs on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class SshHost:
    """A machine seen over ssh."""

    host: str
    port: int = 22
    user: str = ""
    key_file: str = ""
    """Empty: the keys of the agent, and those in ~/.ssh."""
    known_hosts: str = ""
    """Empty: ~/.ssh/known_hosts of the OS user that runs Stanch."""
    service: str = ""
    """The server's systemd unit. Empty: its process is told from the data directory."""

    @property
    def known_hosts_path(self) -> str:
        return self.known_hosts or os.path.expanduser("~/.ssh/known_hosts")


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerHost:
    """A container of a Docker daemon; found by its name or by its labels of Compose."""

    container: str = ""
    compose_project: str = ""
    compose_service: str = ""
    socket: str = "/var/run/docker.sock"
    memory_max_bytes: int = 0
    """The most that the container's memory limit may be raised to; 0: it is not raised."""
    services: tuple[str, ...] = ()
    """Services of the same Compose project, beside the server's, that may be restarted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesHost:
    """A pod, by its name or by a label selector that fits one pod at a time."""

    namespace: str
    pod: str = ""
    selector: str = ""
    container: str = ""
    """Empty: the pod's first."""
    kubeconfig: str = ""
    """Empty: the service account inside a cluster, else ~/.kube/config."""
    context: str = ""
    rollouts: tuple[str, ...] = ()
    """Workloads of the namespace whose revisions are changes, such as `deployment/checkout`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusHost:
    """A machine as its node_exporter tells a Prometheus."""

    url: str
    instance: str
    service: str = ""
    """The server's systemd unit, where the exporter collects units."""
    token_file: str = ""


SeenHost = SshHost | DockerHost | KubernetesHost | PrometheusHost
HostWord = Literal["auto", "local", "none", "managed"]
NO_MACHINE: frozenset[object] = frozenset({"none", "managed"})
"""Nobody looks at a machine: because somebody says so, or because nobody can."""
HostPolicy = HostWord | SeenHost
