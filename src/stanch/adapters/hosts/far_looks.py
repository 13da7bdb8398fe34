"""The few commands with which a far machine is asked about one server, each asked once."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping

from stanch.adapters.hosts.commands import Commands
from stanch.adapters.hosts.docker_files import DockerFiles, data_directory_of
from stanch.adapters.hosts.far_once import Once
from stanch.facts.machines.far_files import FarFiles, boot_time, parse_files
from stanch.facts.machines.far_place import Seen, Whereabouts, parse_seen, whereabouts
from stanch.facts.machines.far_scripts import (
    FILES_SCRIPT,
    FIND_SCRIPT,
    OUTPUT_BYTES_MAX,
    SIZES_SCRIPT,
    VOLUMES_SCRIPT,
    parts_of,
)
from stanch.facts.machines.json_values import Object
from stanch.model.diagnosis import Missing

SCRIPT_S_MIN = 0.1


class FarLooks:
    """What commands there tell, each within what is left of one deadline.

    Cost there: four shells with some dozens of short processes; nothing is written.
    """

    def __init__(
        self,
        commands: Commands,
        *,
        port: int,
        data_directory: str,
        own: bool,
        still: DockerFiles | None,
        left_s: Callable[[], float],
    ) -> None:
        """`own`: the machine is the server's alone; `still` reads files where no command runs."""
        self._commands = commands
        self._port = port
        self._given = data_directory
        self._own = own
        self._still = still
        self._left_s = left_s
        self.stopped = Once(self._ask_stopped)
        """The container where it does not run: then nothing can be run in it."""
        self.seen = Once(self._find)
        self.place = Once(self._locate)
        """Where its files are asked for."""
        self.concluded = Once(self._concluded)
        """The same with all that its processes and its settings say of it: log, zone, programs."""
        self.files = Once(self._read_files)
        self.sizes = Once(self._count)
        self.volumes = Once(self._measure)

    async def close(self) -> None:
        every = (self.concluded, self.files, self.sizes, self.volumes, self.place, self.seen)
        for one in (*every, self.stopped):
            await one.close()

    async def _ask_stopped(self) -> Object | None:
        return None if self._still is None else await self._still.stopped()

    async def _find(self) -> Seen | Missing:
        parts = await self._ran(FIND_SCRIPT, str(self._port))
        if isinstance(parts, Missing):
            return parts
        if "processes" not in parts:
            return Missing(what="host", reason=f"{self._commands.source}: it has no shell")
        return parse_seen(parts, boot_at=boot_time(parts))

    async def _locate(self) -> Whereabouts | Missing:
        container = await self.stopped.get()
        if container is not None:
            folder = self._given or data_directory_of(container)
            if not folder:
                reason = "PGDATA of the container is not set; --data-directory names it"
                return Missing(what="place", reason=reason)
            return Whereabouts(data_directory=folder, source="PGDATA of the container")
        if self._given:
            # Nobody has to be found first; what the processes tell of it comes beside the rest.
            return Whereabouts(data_directory=self._given, source="named")
        return await self.concluded.get()

    async def _concluded(self) -> Whereabouts | Missing:
        seen = await self.seen.get()
        if isinstance(seen, Missing):
            return Missing(what="place", reason=seen.reason)
        return whereabouts(seen, port=self._port, given=self._given, own=self._own)

    async def _read_files(self) -> FarFiles | Missing:
        place = await self.place.get()
        if isinstance(place, Missing):
            return Missing(what="files", reason=place.reason)
        container = await self.stopped.get()
        if container is not None and self._still is not None:
            return await self._still.files(container, place.data_directory)
        parts = await self._ran(FILES_SCRIPT, place.data_directory)
        if isinstance(parts, Missing):
            return parts
        return parse_files(parts, place.data_directory, boot_at=boot_time(parts))

    async def _count(self) -> Mapping[str, str] | Missing:
        return await self._in_folder(SIZES_SCRIPT)

    async def _measure(self) -> Mapping[str, str] | Missing:
        return await self._in_folder(VOLUMES_SCRIPT)

    async def _in_folder(self, script: str) -> Mapping[str, str] | Missing:
        place = await self.place.get()
        if isinstance(place, Missing):
            return place
        if await self.stopped.get() is not None:
            return Missing(what="files", reason="the container does not run")
        return await self._ran(script, place.data_directory, log_folder(place))

    async def _ran(self, script: str, *argv: str) -> Mapping[str, str] | Missing:
        """The parts of what a script printed, also where it was cut short."""
        word = f"=={secrets.token_hex(8)}"
        printed = await self._commands.printed(
            *("sh", "-c", script, "stanch", word, *argv),
            bytes_max=OUTPUT_BYTES_MAX,
            deadline_s=max(SCRIPT_S_MIN, self._left_s()),
        )
        if isinstance(printed, Missing):
            return printed
        parts = parts_of(word, printed.output)
        if not parts:
            why = printed.incomplete or "it said nothing; perhaps another command is forced there"
            return Missing(what="host", reason=f"{self._commands.source}: {why}")
        return parts


def log_folder(place: Whereabouts) -> str:
    """Where its log lies; empty where that is not known."""
    return place.log.rpartition("/")[0]
