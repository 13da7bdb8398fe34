"""Through what a target's machine is seen: from what the policy says about its host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from stanch.adapters.hosts.commands import Commands, SshCommands
from stanch.adapters.hosts.docker_exec import DockerCommands
from stanch.adapters.hosts.docker_files import DockerFiles
from stanch.adapters.hosts.docker_link import DockerLink
from stanch.adapters.hosts.docker_log import DockerLog
from stanch.adapters.hosts.docker_machine import DockerMachine
from stanch.adapters.hosts.kubernetes_link import KubernetesLink
from stanch.adapters.hosts.kubernetes_log import KubernetesLog
from stanch.adapters.hosts.kubernetes_machine import KubernetesMachine
from stanch.adapters.hosts.kubernetes_rollouts import KubernetesRollouts
from stanch.adapters.hosts.prometheus_machine import PrometheusMachine
from stanch.adapters.hosts.ssh_link import SshLink
from stanch.adapters.hosts.ssh_log import SshLog
from stanch.adapters.hosts.ssh_machine import SshMachine
from stanch.adapters.hosts.this_machine import ThisMachine
from stanch.model.diagnosis import Missing
from stanch.model.ports.machine import LogReader, MachineReader
from stanch.policy.hosts import DockerHost, KubernetesHost, PrometheusHost, SshHost
from stanch.policy.policy import TargetPolicy
from stanch.watch.hosts.run import HostWatch

FolderOf = Callable[[], str]
"""The server's data directory there, as far as it is known now; may be empty."""


def _no_files(path: str) -> LogReader | Missing:
    return Missing(what="log", reason=f"{path} cannot be read the way this machine is seen")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One machine, and the server's log on it where that can be read the same way."""

    reader: MachineReader
    log: LogReader | Missing
    log_at: Callable[[str], LogReader | Missing] = _no_files
    """Another log file of that machine."""
    commands: Commands | None = None
    """How commands run there; None: they cannot."""
    still: DockerFiles | None = None
    """How files are read where nothing runs; None: they are not."""


def far_machine(
    target: TargetPolicy, *, folder: FolderOf, now: Callable[[], datetime]
) -> Machine | None:
    """The machine as the policy says it is seen; None where that is a word, not a way.

    Nothing is opened here: each look opens what it needs, and what is missing is in its answer.
    """
    match target.host:
        case SshHost() as host:
            link = SshLink(host)
            return Machine(
                reader=SshMachine(link, data_directory=folder, now=now),
                log=SshLog(link, given=target.log, data_directory=folder),
                log_at=lambda path: SshLog(link, given=path, data_directory=folder),
                commands=SshCommands(link),
            )
        case DockerHost() as host:
            docker = DockerLink(host)
            return Machine(
                reader=DockerMachine(docker, now=now),
                log=DockerLog(docker),
                commands=DockerCommands(docker),
                still=DockerFiles(docker),
            )
        case KubernetesHost() as host:
            cluster = KubernetesLink(host)
            return Machine(reader=KubernetesMachine(cluster, now=now), log=KubernetesLog(cluster))
        case PrometheusHost() as host:
            return Machine(
                reader=PrometheusMachine(host, now=now),
                log=Missing(what="log", reason="Prometheus keeps no logs"),
            )
        case _:
            return None


def history_of(target: TargetPolicy, *, now: Callable[[], datetime]) -> KubernetesRollouts | None:
    """Who remembers what was rolled out around a target; None where nobody does.

    It has a connection of its own: the one of the machine is closed and opened with its watch.
    """
    if not isinstance(target.host, KubernetesHost):
        return None
    return KubernetesRollouts(KubernetesLink(target.host), now=now)


def this_machine(folder: FolderOf, *, now: Callable[[], datetime]) -> MachineReader:
    """The machine that Stanch runs on, for a server whose home is here."""
    return ThisMachine(folder, now=now)


def places_of(target: TargetPolicy, folder: str) -> Sequence[str]:
    """The server's folders on its machine, as far as they are known."""
    known = (folder or target.data_directory, target.log)
    return [place for place in known if place]


def machine_watch(
    target: TargetPolicy,
    reader: MachineReader,
    *,
    folder: FolderOf,
    now: Callable[[], datetime],
) -> HostWatch:
    """The watch of the machine that `reader` sees."""
    words = isinstance(target.host, str)
    return HostWatch(
        reader,
        places=lambda: places_of(target, folder()),
        # Those of a server at home here are in every sample already.
        volumes=not words,
        own=isinstance(target.host, DockerHost | KubernetesHost),
        now=now,
    )
