"""The machine of a target that is seen from afar, as a witness of one diagnosis."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from stanch.adapters.hosts.far_host import FarHost
from stanch.adapters.hosts.far_traces import FarTraces
from stanch.adapters.postgres.conninfo import resolve
from stanch.diagnose.outside import Place
from stanch.facts.machines.far_place import Whereabouts
from stanch.model.diagnosis import Missing
from stanch.policy.hosts import DockerHost, KubernetesHost
from stanch.policy.policy import TargetPolicy
from stanch.service.watched.machines import Machine, far_machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Afar:
    """Who is asked about one far machine; `close` when the diagnosis is made."""

    host: FarHost
    traces: FarTraces
    manager: str
    """Who keeps the server there."""

    def place(self) -> Place | Missing:
        """Where it lives there, as far as that is known by now."""
        found = self.host.place
        if not isinstance(found, Whereabouts):
            return found
        return Place(
            data_directory=found.data_directory,
            log=found.log,
            log_timezone=found.zone,
            bin_directory=found.programs,
            manager=self.manager,
            concluded_from=found.source,
        )

    async def close(self) -> None:
        await self.host.close()


def see_afar(target: TargetPolicy, machine: Machine, *, folder: str, deadline_s: float) -> Afar:
    """The witnesses of one diagnosis. Nothing is asked yet; the deadline begins now.

    `folder`: the data directory there, as far as it is known already; may be empty.
    """
    own = isinstance(target.host, DockerHost | KubernetesHost)
    host = FarHost(
        machine.reader,
        machine.commands,
        log=machine.log,
        log_at=machine.log_at,
        given_log=target.log,
        data_directory=folder,
        port=resolve(target.dsn).port,
        own=own,
        still=machine.still,
        deadline_s=deadline_s,
    )
    return Afar(host=host, traces=FarTraces(host, own=own), manager=_manager(target))


def _manager(target: TargetPolicy) -> str:
    if isinstance(target.host, DockerHost):
        return "docker"
    return "kubernetes" if isinstance(target.host, KubernetesHost) else "unknown"


class Glance:
    """A far machine that nobody watches, opened for one diagnosis and closed after it."""

    def __init__(self, target: TargetPolicy, *, deadline_s: float) -> None:
        """`target` has a host of the kind that is seen from afar."""
        machine = far_machine(target, folder=self._folder, now=lambda: datetime.now(UTC))
        assert machine is not None, "a host that is seen from afar"
        self._given = target.data_directory
        self._machine = machine
        self.afar = see_afar(target, machine, folder=target.data_directory, deadline_s=deadline_s)

    def _folder(self) -> str:
        """Asked only once there is somebody who knows."""
        found = self.afar.host.place
        return found.data_directory if isinstance(found, Whereabouts) else self._given

    async def close(self) -> None:
        await self.afar.close()
        await self._machine.reader.close()
