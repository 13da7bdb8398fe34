"""A server's machine seen from afar, as a diagnosis asks it: every question once, in one deadline.

What a way of seeing a machine cannot tell is `Missing` and names the way.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from stanch.adapters.hosts.commands import Commands
from stanch.adapters.hosts.docker_files import DockerFiles
from stanch.adapters.hosts.far_looks import FarLooks
from stanch.adapters.hosts.far_once import Once
from stanch.adapters.hosts.far_volumes import parse_volumes, volumes_of_look
from stanch.facts.lock_file import parse_lock_file
from stanch.facts.machines.far_files import FarFiles, parse_sizes
from stanch.facts.machines.far_place import HIDDEN, Whereabouts
from stanch.facts.machines.far_processes import of_directory
from stanch.facts.machines.json_values import part, text
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
from stanch.model.machine import HostFacts, ServiceState
from stanch.model.ports.machine import LogReader, MachineReader

ZONE_S = 0.5
MARGIN_S = 0.15
"""So much before the deadline a question is given up, so that what came of it is told."""
ENDED = frozenset({"created", "exited", "dead"})
"""Docker's words for a container in which there are no processes."""

LogAt = Callable[[str], LogReader | Missing]


class FarHost:
    """A `HostReader` of one server on a far machine or in a container, for one diagnosis."""

    def __init__(
        self,
        reader: MachineReader,
        commands: Commands | None,
        *,
        log: LogReader | Missing,
        log_at: LogAt,
        given_log: str,
        data_directory: str,
        port: int,
        own: bool,
        still: DockerFiles | None,
        deadline_s: float,
    ) -> None:
        """`commands` None: it shows no files. `own`: the machine is the server's alone."""
        self._reader = reader
        self._log, self._log_at, self._given_log = log, log_at, given_log
        self._data_directory = data_directory
        self._own = own
        self._until_s = asyncio.get_running_loop().time() + deadline_s - MARGIN_S
        self.facts = Once(self._ask_facts)
        self.looks = (
            None
            if commands is None
            else FarLooks(
                commands,
                port=port,
                data_directory=data_directory,
                own=own,
                still=still,
                left_s=self._left_s,
            )
        )

    async def close(self) -> None:
        """Ask no longer; whoever made the connection gives it back."""
        await self.facts.close()
        if self.looks is not None:
            await self.looks.close()

    def _left_s(self) -> float:
        return max(0.0, self._until_s - asyncio.get_running_loop().time())

    def _blind(self, what: str) -> Missing:
        return Missing(what=what, reason=f"{self._reader.source} shows no files of the server")

    async def _ask_facts(self) -> HostFacts | Missing:
        if self.looks is not None and not self._own:
            # Over ssh it is the data directory that tells which process is the server.
            await self.looks.place.get()
        return await self._reader.facts(deadline_s=max(MARGIN_S, self._left_s()))

    async def service(self, deadline_s: float) -> ServiceState | Missing:
        """What whoever keeps the server says of it."""
        facts = await self.facts.get()
        return facts if isinstance(facts, Missing) else facts.service

    @property
    def place(self) -> Whereabouts | Missing:
        """Where it lives there, as far as that is known by now."""
        looks = self.looks
        known = () if looks is None else (looks.concluded.answer, looks.place.answer)
        found = next((one for one in known if isinstance(one, Whereabouts)), None)
        if found is None:
            found = next((one for one in known if one is not None), None)
        if found is not None:
            return found
        if self.looks is None and self._data_directory:
            return Whereabouts(data_directory=self._data_directory, source="named")
        blind = self._blind("place")
        return blind if self.looks is None else Missing(what="place", reason="not found in time")

    async def _files(self, what: str) -> FarFiles | Missing:
        return self._blind(what) if self.looks is None else await self.looks.files.get()

    # --- processes and lock file ---

    async def lock_file(self) -> LockFileRead | Missing | None:
        files = await self._files("lock file")
        return files if isinstance(files, Missing) else files.lock_file

    async def process(self, pid: int) -> ProcessInfo | Missing | None:
        files = await self._files("process")
        if isinstance(files, Missing):
            return files
        if _pid_in(files) == pid:
            return files.process
        return Missing(what=f"process {pid}", reason="only that of the lock file is looked at")

    async def data_directory_processes(self) -> DataDirectoryProcesses | Missing:
        what = "processes of the data directory"
        if self.looks is None:
            return self._blind(what)
        place = await self.looks.place.get()
        if isinstance(place, Missing):
            return place
        container = await self.looks.stopped.get()
        if container is not None:
            status = text(part(container, "State"), "Status")
            if status in ENDED:
                return DataDirectoryProcesses(postmaster=None, members=(), orphans=(), holders=())
            return Missing(what=what, reason=f"the container is {status}")
        files, seen = await self.looks.files.get(), await self.looks.seen.get()
        if isinstance(seen, Missing):
            return seen
        known = None if isinstance(files, Missing) else files
        found = of_directory(
            seen.processes,
            place.data_directory,
            folder=known.folder if known else None,
            lock_pid=_pid_in(known) if known else None,
        )
        if found.postmaster is None and (seen.hidden or not seen.whole):
            return Missing(what=what, reason=HIDDEN if seen.hidden else "the list was cut short")
        return found

    async def file_holds(self, *, deadline_s: float) -> FileHolds | Missing:
        return Missing(what="open files", reason="files are not opened on a far machine to see it")

    async def boot_id(self) -> str | Missing:
        files = await self._files("boot id")
        return files if isinstance(files, Missing) else files.boot_id

    async def shared_memory(self, shm_id: int) -> SharedMemory | Missing:
        files = await self._files("shared memory")
        segments = files if isinstance(files, Missing) else files.segments
        if isinstance(segments, Missing):
            return segments
        return SharedMemory(
            shm_id=shm_id, exists=shm_id in segments, attached=segments.get(shm_id, 0)
        )

    async def container_signs(self) -> ContainerSigns:
        if self._own:
            return ContainerSigns(in_container=True, signs=(self._reader.source,))
        return ContainerSigns(in_container=None)

    # --- space, memory ---

    async def volumes(self) -> tuple[Volume | Missing, ...]:
        if self.looks is not None:
            parts = await self.looks.volumes.get()
            if isinstance(parts, Missing):
                return (parts,)
            if "mounts" not in parts:
                return (Missing(what="volumes", reason="there was no time to ask for them"),)
            return parse_volumes(parts)
        facts = await self.facts.get()
        found = facts if isinstance(facts, Missing) else facts.file_systems
        if isinstance(found, Missing):
            return (found,)
        return volumes_of_look(found, self._data_directory, own=self._own)

    async def volume(self, use: VolumeUse, path: str) -> Volume | Missing:
        for one in await self.volumes():
            if isinstance(one, Volume) and one.use is use:
                return one
        return Missing(what=f"volume of {path}", reason="it was not among those that were asked")

    async def memory(self) -> Memory | Missing:
        facts = await self.facts.get()
        return facts if isinstance(facts, Missing) else facts.memory

    async def oom_kills(self) -> OomKills | Missing:
        facts = await self.facts.get()
        return facts if isinstance(facts, Missing) else facts.oom_kills

    async def directory_sizes(self, *, deadline_s: float) -> DirectorySizes | Missing:
        if self.looks is None:
            return self._blind("directory sizes")
        parts, place = await self.looks.sizes.get(), await self.looks.place.get()
        if isinstance(parts, Missing) or isinstance(place, Missing):
            return parts if isinstance(parts, Missing) else Missing(what="sizes", reason="no place")
        return parse_sizes(parts, place.data_directory)

    async def deleted_open_files(self) -> tuple[DeletedOpenFile, ...] | Missing:
        return Missing(what="deleted open files", reason="they are not looked for from afar")

    async def temp_relation_files(self) -> tuple[TempRelationFile, ...] | Missing:
        return Missing(what="temporary tables", reason="they are not looked for from afar")

    # --- what it wrote ---

    async def controldata(self, *, deadline_s: float) -> str | Missing:
        files = await self._files("controldata")
        return files if isinstance(files, Missing) else files.controldata

    async def log_tail(self, *, bytes_max: int) -> LogChunk | Missing:
        if self.looks is not None and not self._own:
            # Where the server itself says where its log is, the reader has to know the folder.
            await self.looks.place.get()
        first = (
            self._log if isinstance(self._log, Missing) else await self._tail(self._log, bytes_max)
        )
        if isinstance(first, LogChunk) or self._given_log:
            await self._zone_is_known()
            return first
        other = await self._other_log()
        return first if other is None else await self._tail(other, bytes_max)

    async def _zone_is_known(self) -> None:
        """Times in the log may be in the zone of that machine, which is told with its processes."""
        if self.looks is None or self._own:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ZONE_S):
                await self.looks.concluded.get()

    async def _tail(self, log: LogReader, bytes_max: int) -> LogChunk | Missing:
        return await log.log_tail(bytes_max=bytes_max)

    async def _other_log(self) -> LogReader | None:
        """The file that its standard error goes to, or that its distribution names."""
        place = None if self.looks is None else await self.looks.concluded.get()
        if place is None or isinstance(place, Missing) or not place.log:
            return None
        reader = self._log_at(place.log)
        return None if isinstance(reader, Missing) else reader

    async def log_since(self, position: LogPosition, *, bytes_max: int) -> LogChunk | Missing:
        if isinstance(self._log, Missing):
            return self._log
        return await self._log.log_since(position, bytes_max=bytes_max)


def _pid_in(files: FarFiles) -> int | None:
    """The PID in the lock file."""
    lock = files.lock_file
    return parse_lock_file(lock.content).pid if isinstance(lock, LockFileRead) else None
