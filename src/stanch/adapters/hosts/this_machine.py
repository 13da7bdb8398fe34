"""The machine we run on, as the watch sees it: cheap readings, every few seconds."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import psutil

from stanch.adapters.hosts import processes
from stanch.adapters.hosts.kernel_clock import clock_offset
from stanch.adapters.hosts.kernel_log import KernelLog
from stanch.adapters.hosts.local import LocalHost
from stanch.adapters.hosts.threads import OwnThreads
from stanch.facts.lock_file import parse_lock_file
from stanch.facts.machines.file_systems import each_once, takes_no_writes, worth_watching
from stanch.model.diagnosis import Missing
from stanch.model.host import LockFileRead, ProcessInfo
from stanch.model.machine import CpuTimes, FileSystem, HostFacts, KernelMessage, ServiceState

NOWHERE = "/nonexistent"
"""Where no server is: so only the machine is looked at."""


class ThisMachine:
    """A `MachineReader` of the machine that Stanch runs on.

    Cost: a few files of /proc, and one question to each mounted file system. A dead network mount
    holds one thread, never more: the next look does not ask again while the last still waits.
    """

    source = "local"

    def __init__(
        self,
        data_directory: Callable[[], str],
        *,
        now: Callable[[], datetime],
        kernel_log: KernelLog | None = None,
    ) -> None:
        """`data_directory`: of the server whose process is looked for; may be empty."""
        self._data_directory = data_directory
        self._now = now
        self._kernel_log = kernel_log or KernelLog()
        self._host: LocalHost | None = None
        self._threads = OwnThreads()
        self._counting: asyncio.Future[tuple[FileSystem, ...]] | None = None

    async def facts(self, *, deadline_s: float) -> HostFacts | Missing:
        end_s = asyncio.get_running_loop().time() + deadline_s
        folder = self._data_directory()
        host = self._host_of(folder)
        try:
            async with asyncio.timeout(deadline_s):
                service, memory, kills, seen = await asyncio.gather(
                    self._service(host, folder),
                    host.memory(),
                    host.oom_kills(),
                    self._threads.run(self._machine),
                )
        except TimeoutError:
            return Missing(what="host", reason=f"no answer within {deadline_s:g} s")
        return HostFacts(
            at=self._now(),
            source=self.source,
            service=service,
            file_systems=await self._file_systems(end_s),
            memory=memory,
            cpu=seen.cpu,
            load_1min=seen.load_1min,
            oom_kills=kills,
            clock_offset_s=seen.clock_offset_s,
            uptime_s=seen.uptime_s,
            kernel=seen.kernel,
        )

    async def close(self) -> None:
        self._kernel_log.close()

    def _host_of(self, folder: str) -> LocalHost:
        """Kept from look to look: it remembers the control group of a server that was killed."""
        if self._host is None or self._host.data_directory != (folder or NOWHERE):
            self._host = LocalHost(data_directory=folder or NOWHERE)
        return self._host

    async def _file_systems(self, end_s: float) -> tuple[FileSystem, ...] | Missing:
        loop = asyncio.get_running_loop()
        counting = self._counting
        if counting is None or counting.done():
            # By a name of its own: another look may begin the next count while this one waits.
            counting = self._counting = asyncio.ensure_future(self._threads.run(_mounted))
        waiting = max(0.05, end_s - loop.time())
        done, _ = await asyncio.wait({counting}, timeout=waiting)
        if not done:
            reason = "a file system does not answer; perhaps a dead network mount"
            return Missing(what="file systems", reason=reason)
        return counting.result() or Missing(what="file systems", reason="none is mounted")

    async def _service(self, host: LocalHost, folder: str) -> ServiceState | Missing:
        if not folder:
            return Missing(what="service", reason="the data directory is not known")
        lock = await host.lock_file()
        if isinstance(lock, Missing):
            return Missing(what="service", reason=lock.reason)
        if lock is None:
            exists = await self._threads.run(os.path.isdir, folder)
            if not exists:
                return Missing(what="service", reason=f"{folder} is not there")
            return ServiceState(name=folder, running=False, status="no lock file")
        return await self._of_lock_file(host, folder, lock)

    async def _of_lock_file(
        self, host: LocalHost, folder: str, lock: LockFileRead
    ) -> ServiceState | Missing:
        pid = parse_lock_file(lock.content).pid
        if pid is None:
            return Missing(what="service", reason="the lock file begins with no number")
        process = await host.process(pid)
        if isinstance(process, Missing):
            return Missing(what="service", reason=process.reason)
        if process is not None and _is_server(process, folder):
            return ServiceState(
                name=folder, running=True, status=f"process {pid}", started_at=process.started_at
            )
        signs = await host.container_signs()
        if signs.in_container is not False:
            reason = f"process {pid} of the lock file may be one inside a container"
            return Missing(what="service", reason=reason)
        ended = process is None or process.state == "zombie"
        status = f"process {pid} " + ("is gone" if ended else "is another program")
        return ServiceState(name=folder, running=False, status=status)

    def _machine(self) -> _Seen:
        """Files of the kernel, which never wait for a disk."""
        return _Seen(
            cpu=_cpu(),
            load_1min=_load(),
            uptime_s=max(0.0, self._now().timestamp() - psutil.boot_time()),
            clock_offset_s=clock_offset(),
            kernel=self._kernel_log.read(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What the kernel itself tells."""

    cpu: CpuTimes | Missing
    load_1min: float | Missing
    uptime_s: float
    clock_offset_s: float | Missing
    kernel: tuple[KernelMessage, ...] | Missing


def _cpu() -> CpuTimes | Missing:
    times = psutil.cpu_times()
    steal_s = getattr(times, "steal", None)
    if steal_s is None:
        return Missing(what="cpu", reason="this system does not count stolen time")
    # Time of guests is counted as the time of their users already.
    guests = sum(getattr(times, name, 0.0) for name in ("guest", "guest_nice"))
    return CpuTimes(total_s=sum(times) - guests, steal_s=steal_s, count=psutil.cpu_count() or 1)


def _load() -> float | Missing:
    try:
        return os.getloadavg()[0]
    except OSError:
        return Missing(what="load", reason="this system does not tell its load")


def _is_server(process: ProcessInfo, folder: str) -> bool:
    """Where the process hides its program, its title has to do."""
    if process.state == "zombie":
        return False
    if process.exe is None:
        return "postgres" in process.title
    return processes.is_server(process.exe) and process.cwd in (None, os.path.realpath(folder))


def _mounted() -> tuple[FileSystem, ...]:
    found: list[tuple[str, FileSystem]] = []
    for part in psutil.disk_partitions(all=True):
        if not worth_watching(part.mountpoint, part.fstype):
            continue
        try:
            room = os.statvfs(part.mountpoint)
        except OSError:
            continue  # Unmounted meanwhile, or not ours to look into.
        if not room.f_blocks:
            continue
        one = FileSystem(
            mount=part.mountpoint,
            total_bytes=room.f_blocks * room.f_frsize,
            free_bytes=room.f_bavail * room.f_frsize,
            inodes_total=room.f_files or None,
            inodes_free=room.f_favail if room.f_files else None,
            read_only=bool(room.f_flag & os.ST_RDONLY) or takes_no_writes(part.opts),
        )
        found.append((part.device, one))
    return each_once(found)
