"""What actions ask of a container engine, without naming a driver.

There is no call here to stop, remove, create, pause or kill a container, to run anything in one,
or to name one by anything but its full id once it was looked at.
"""

from __future__ import annotations

from typing import Protocol

from stanch.model.containers import ContainerSeen, MachineMemory
from stanch.model.diagnosis import Missing
from stanch.model.ports.server import Acted


class ContainerEngine(Protocol):
    """The engine that keeps the target's container."""

    async def container(self) -> ContainerSeen | Missing | None:
        """The container that policy means, as it is now; None: there is none."""
        ...

    async def by_id(self, container_id: str) -> ContainerSeen | Missing | None: ...

    async def of_service(self, project: str, service: str) -> tuple[ContainerSeen, ...] | Missing:
        """Every container of one Compose service, running or not, by its labels."""
        ...

    async def sharing(
        self, container: ContainerSeen, data_directory: str
    ) -> tuple[str, ...] | Missing:
        """Names of other containers with processes that may write where its data lies."""
        ...

    async def commands(self, container_id: str) -> tuple[str, ...] | Missing:
        """The titles of every process in a running container."""
        ...

    async def used_bytes(self, container_id: str) -> int | Missing:
        """Memory that a running container uses, the page cache of files included."""
        ...

    async def machine_memory(self) -> MachineMemory | Missing: ...

    async def start(self, container_id: str, *, deadline_s: float) -> Acted: ...

    async def restart(self, container_id: str, *, wait_s: int | None, deadline_s: float) -> Acted:
        """Its own stop signal, SIGKILL after `wait_s` seconds, and a start. None: its own wait."""
        ...

    async def set_memory(
        self, container_id: str, *, memory_bytes: int, swap_bytes: int, deadline_s: float
    ) -> Acted:
        """The limit of memory, and of memory and swap together (-1: none)."""
        ...
