"""The machine of a server in a container, as actions ask it: every question anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from stanch.adapters.hosts.docker_manager import still_volumes
from stanch.adapters.hosts.far_host import FarHost
from stanch.model.diagnosis import Missing
from stanch.model.host import (
    ContainerSigns,
    DataDirectoryProcesses,
    DeletedOpenFile,
    DirectorySizes,
    FileHolds,
    LockFileRead,
    LogChunk,
    LogPosition,
    Memory,
    OomKills,
    ProcessInfo,
    SharedMemory,
    TempRelationFile,
    Volume,
    VolumeUse,
)
from stanch.policy.hosts import DockerHost
from stanch.policy.policy import TargetPolicy
from stanch.service.watched.afar import Glance

LOOK_S = 4.0
TOGETHER_S = 1.0


@dataclass(slots=True, kw_only=True)
class _Shared:
    """One look, and how many questions wait for it; with the last of them it is closed."""

    glance: Glance
    begun_s: float
    asking: int = 0


class ContainerHost:
    """A `HostReader` whose every answer is of this moment, as a guard needs it.

    Questions that are asked together share one look, never one begun more than a second before.
    Cost a look: what one diagnosis asks for it, over connections of its own.
    """

    def __init__(self, target: TargetPolicy, *, folder: Callable[[], str]) -> None:
        self._target = target
        self._folder = folder
        self._shared: _Shared | None = None

    @asynccontextmanager
    async def _look(self) -> AsyncGenerator[FarHost]:
        now_s, shared = asyncio.get_running_loop().time(), self._shared
        if shared is None or now_s - shared.begun_s > TOGETHER_S:
            named = replace(self._target, data_directory=self._folder())
            shared = _Shared(glance=Glance(named, deadline_s=LOOK_S), begun_s=now_s)
            self._shared = shared
        shared.asking += 1
        try:
            yield shared.glance.afar.host
        finally:
            shared.asking -= 1
            if not shared.asking:
                if self._shared is shared:
                    self._shared = None
                await shared.glance.close()

    async def lock_file(self) -> LockFileRead | Missing | None:
        async with self._look() as host:
            return await host.lock_file()

    async def process(self, pid: int) -> ProcessInfo | Missing | None:
        async with self._look() as host:
            return await host.process(pid)

    async def data_directory_processes(self) -> DataDirectoryProcesses | Missing:
        async with self._look() as host:
            return await host.data_directory_processes()

    async def file_holds(self, *, deadline_s: float) -> FileHolds | Missing:
        async with self._look() as host:
            return await host.file_holds(deadline_s=deadline_s)

    async def boot_id(self) -> str | Missing:
        async with self._look() as host:
            return await host.boot_id()

    async def shared_memory(self, shm_id: int) -> SharedMemory | Missing:
        async with self._look() as host:
            return await host.shared_memory(shm_id)

    async def volumes(self) -> tuple[Volume | Missing, ...]:
        """Nothing can be run in a container that is down: then they are looked at from outside."""
        async with self._look() as host:
            looks = host.looks
            still = None if looks is None else await looks.stopped.get()
            if still is None:
                return await host.volumes()
        assert isinstance(self._target.host, DockerHost)
        return await still_volumes(self._target.host, self._folder())

    async def volume(self, use: VolumeUse, path: str) -> Volume | Missing:
        async with self._look() as host:
            return await host.volume(use, path)

    async def memory(self) -> Memory | Missing:
        async with self._look() as host:
            return await host.memory()

    async def oom_kills(self) -> OomKills | Missing:
        async with self._look() as host:
            return await host.oom_kills()

    async def controldata(self, *, deadline_s: float) -> str | Missing:
        async with self._look() as host:
            return await host.controldata(deadline_s=deadline_s)

    async def log_tail(self, *, bytes_max: int) -> LogChunk | Missing:
        async with self._look() as host:
            return await host.log_tail(bytes_max=bytes_max)

    async def log_since(self, position: LogPosition, *, bytes_max: int) -> LogChunk | Missing:
        async with self._look() as host:
            return await host.log_since(position, bytes_max=bytes_max)

    async def directory_sizes(self, *, deadline_s: float) -> DirectorySizes | Missing:
        async with self._look() as host:
            return await host.directory_sizes(deadline_s=deadline_s)

    async def deleted_open_files(self) -> tuple[DeletedOpenFile, ...] | Missing:
        async with self._look() as host:
            return await host.deleted_open_files()

    async def temp_relation_files(self) -> tuple[TempRelationFile, ...] | Missing:
        async with self._look() as host:
            return await host.temp_relation_files()

    async def container_signs(self) -> ContainerSigns:
        async with self._look() as host:
            return await host.container_signs()
