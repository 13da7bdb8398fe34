"""The machine we run on: everything `HostReader` asks, from /proc, psutil and the file system."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from stanch.adapters.hosts import (
    containers,
    control_groups,
    leases,
    lock_files,
    log_files,
    processes,
    sizes,
    volumes,
)
from stanch.adapters.hosts.log_places import log_places
from stanch.adapters.hosts.printed import printed
from stanch.adapters.hosts.threads import OwnThreads
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


@dataclass(slots=True, kw_only=True)
class LocalHost:
    """Reads this machine for one data directory; see `HostReader` for what each reading means.

    Everything that can wait for a disk or a dead mount runs in a thread of its own, eight at most.
    """

    data_directory: str
    bin_dir: str | None = None
    log_path: str | None = None
    """The log file, or the folder it is in; None: as the server itself says."""
    proc: Path = Path("/proc")
    cgroups: Path = Path("/sys/fs/cgroup")
    root: Path = Path("/")
    _group: control_groups.MemoryGroup | None = field(default=None, init=False)
    """The server's memory group as last seen: it must be known after the server was killed."""
    _threads: OwnThreads = field(default_factory=OwnThreads, init=False)

    async def lock_file(self) -> LockFileRead | Missing | None:
        return await self._threads.run(lock_files.read_lock_file, self.data_directory)

    async def process(self, pid: int) -> ProcessInfo | Missing | None:
        return await self._threads.run(processes.read_process, pid, self.proc)

    async def data_directory_processes(self) -> DataDirectoryProcesses | Missing:
        def read() -> DataDirectoryProcesses | Missing:
            logs = log_places(self._log_source())
            return processes.read_data_directory(self.data_directory, self.proc, logs=logs)

        return await self._threads.run(read)

    async def file_holds(self, *, deadline_s: float) -> FileHolds | Missing:
        end_s = time.monotonic() + deadline_s

        def read() -> FileHolds | Missing:
            return leases.read_holds(
                self.data_directory,
                lambda: time.monotonic() > end_s,
                proc=self.proc,
                logs=log_places(self._log_source()),
            )

        return await self._threads.run(read)

    async def boot_id(self) -> str | Missing:
        return await self._threads.run(self._boot_id)

    def _boot_id(self) -> str | Missing:
        path = self.proc / "sys/kernel/random/boot_id"
        try:
            return path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            return Missing(what="boot id", reason=str(error))

    async def shared_memory(self, shm_id: int) -> SharedMemory | Missing:
        return await self._threads.run(lock_files.read_shared_memory, shm_id, self.proc)

    async def volumes(self) -> tuple[Volume | Missing, ...]:
        return await self._threads.run(self._volumes)

    def _volumes(self) -> tuple[Volume | Missing, ...]:
        known = volumes.mounts(self.proc)
        folders = volumes.server_folders(self.data_directory, self._log_directory())
        return tuple(
            volumes.read_volume(
                use, path, known, label=Path(path).name if use is VolumeUse.TABLESPACE else ""
            )
            for use, path in folders
        )

    async def volume(self, use: VolumeUse, path: str) -> Volume | Missing:
        def read() -> Volume | Missing:
            return volumes.read_volume(use, path, volumes.mounts(self.proc))

        return await self._threads.run(read)

    async def memory(self) -> Memory | Missing:
        return await self._threads.run(self._memory)

    def _memory(self) -> Memory | Missing:
        try:
            seen = psutil.virtual_memory()
        except (psutil.Error, OSError) as error:
            return Missing(what="memory", reason=str(error))
        group = self._memory_group()
        return Memory(
            total_bytes=seen.total,
            available_bytes=seen.available,
            cgroup_limit_bytes=None if group is None else control_groups.limit_bytes(group),
            cgroup_used_bytes=None if group is None else control_groups.used_bytes(group),
            cgroup_cache_bytes=0 if group is None else control_groups.cache_bytes(group),
        )

    async def oom_kills(self) -> OomKills | Missing:
        return await self._threads.run(self._oom_kills)

    def _oom_kills(self) -> OomKills | Missing:
        host, group = control_groups.host_oom_kills(self.proc), self._memory_group()
        if host is None and group is None:
            return Missing(what="oom kills", reason="the kernel shows no count here")
        return OomKills(
            host=host,
            cgroup=None if group is None else control_groups.oom_kills(group),
            cgroup_path=None if group is None else str(group.path),
            own_group=group is not None and control_groups.is_narrow(group),
        )

    def _memory_group(self) -> control_groups.MemoryGroup | None:
        pid = self._server_pid()
        if pid is not None:
            self._group = control_groups.memory_group(self.proc, self.cgroups, pid)
        return self._group

    def _server_pid(self) -> int | None:
        """The postmaster, if the lock file's process really is a server in this folder."""
        lock = lock_files.read_lock_file(self.data_directory)
        first = lock.content.split(b"\n", 1)[0] if isinstance(lock, LockFileRead) else b""
        if not first.strip().isdigit() or len(first) > 10:
            return None
        process = processes.read_process(int(first), self.proc)
        if not isinstance(process, ProcessInfo) or not processes.is_server(process.exe):
            return None
        real = os.path.realpath(self.data_directory)
        return process.pid if process.cwd == real else None

    async def controldata(self, *, deadline_s: float) -> str | Missing:
        if self.bin_dir is None:
            return Missing(what="controldata", reason="the server's programs were not found")
        command = (f"{self.bin_dir}/pg_controldata", "-D", self.data_directory)
        try:
            owner = os.stat(self.data_directory)
        except OSError as error:
            return Missing(what="controldata", reason=f"{self.data_directory}: {error.strerror}")
        return await printed(command, owner, deadline_s=deadline_s)

    async def log_tail(self, *, bytes_max: int) -> LogChunk | Missing:
        return await self._threads.run(log_files.read_tail, self._log_source(), bytes_max=bytes_max)

    async def log_since(self, position: LogPosition, *, bytes_max: int) -> LogChunk | Missing:
        return await self._threads.run(
            log_files.read_since, self._log_source(), position, bytes_max=bytes_max
        )

    def _log_source(self) -> log_files.LogSource:
        return log_files.LogSource(data_directory=self.data_directory, given=self.log_path)

    def _log_directory(self) -> str | None:
        path = log_files.current_log(self._log_source())
        return None if isinstance(path, Missing) else str(Path(path).parent)

    async def directory_sizes(self, *, deadline_s: float) -> DirectorySizes | Missing:
        end_s = time.monotonic() + deadline_s

        def read() -> DirectorySizes | Missing:
            return sizes.read_sizes(
                self.data_directory, self._log_directory(), lambda: time.monotonic() > end_s
            )

        return await self._threads.run(read)

    async def deleted_open_files(self) -> tuple[DeletedOpenFile, ...] | Missing:
        return await self._threads.run(self._deleted_open_files)

    def _deleted_open_files(self) -> tuple[DeletedOpenFile, ...] | Missing:
        devices: set[int] = set()
        for _, path in volumes.server_folders(self.data_directory, self._log_directory()):
            try:
                devices.add(os.stat(path).st_dev)
            except OSError:
                continue
        return processes.read_deleted_open(frozenset(devices), self.proc)

    async def temp_relation_files(self) -> tuple[TempRelationFile, ...] | Missing:
        return await self._threads.run(sizes.read_temp_relations, self.data_directory)

    async def container_signs(self) -> ContainerSigns:
        def read() -> ContainerSigns:
            return containers.read_signs(
                self.data_directory, self.proc, root=self.root, server_pid=self._server_pid()
            )

        return await self._threads.run(read)
