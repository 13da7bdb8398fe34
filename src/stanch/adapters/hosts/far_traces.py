"""Traces of a dead server on a far machine: the kernel's word, slot files, the newest WAL."""

from __future__ import annotations

from datetime import datetime, timedelta

from stanch.adapters.hosts.far_host import FarHost
from stanch.adapters.hosts.traces import (
    parse_kill,
    parse_slot_file,
    parse_stall,
    segment_number,
)
from stanch.facts.machines.far_files import FarFiles
from stanch.model.diagnosis import Missing
from stanch.model.machine import HostFacts, KernelMessage, KernelTrouble
from stanch.model.ports.traces import KernelKill, KernelStall, StartFiles, WalOnDisk


class FarTraces:
    """A `TraceReader` of what a `FarHost` has seen."""

    def __init__(self, host: FarHost, *, own: bool) -> None:
        """`own`: it is a container, whose processes the kernel calls by other numbers."""
        self._host = host
        self._own = own

    async def kernel_kills(self) -> tuple[KernelKill, ...] | Missing:
        """Source: the kernel's messages of one look; what they need there is in docs/hosts.md."""
        facts = await self._host.facts.get()
        if isinstance(facts, Missing):
            return facts
        if isinstance(facts.kernel, Missing):
            return facts.kernel
        booted = _booted(facts)
        if booted is None:
            return Missing(what="kernel log", reason="when the machine was started is not told")
        records = _records(facts.kernel, KernelTrouble.OOM_KILL)
        return tuple(kill for r in records if (kill := parse_kill(r, booted=booted)) is not None)

    async def kernel_stalls(self) -> tuple[KernelStall, ...]:
        """Source: as that of `kernel_kills`."""
        facts = await self._host.facts.get()
        booted = None if isinstance(facts, Missing) else _booted(facts)
        if isinstance(facts, Missing) or isinstance(facts.kernel, Missing) or booted is None:
            return ()
        records = _records(facts.kernel, KernelTrouble.HUNG_TASK)
        return tuple(one for r in records if (one := parse_stall(r, booted=booted)) is not None)

    async def kernel_pids_are_ours(self) -> bool:
        files = await self._files()
        return not self._own and isinstance(files, FarFiles) and files.same_pids

    async def wal_on_disk(self, *, segment_bytes: int) -> WalOnDisk | Missing:
        """The size of a segment is that of the file: the one that is asked with may be a guess."""
        files = await self._files()
        if isinstance(files, Missing):
            return files
        if files.segment is None:
            return Missing(what="WAL and slots", reason="pg_wal shows no segment")
        name, size = files.segment
        found = (parse_slot_file(slot, content) for slot, content in sorted(files.slots.items()))
        return WalOnDisk(
            slots=tuple(slot for slot in found if slot is not None),
            newest_lsn=(segment_number(name, size) + 1) * size,
            segment_bytes=size,
        )

    async def start_files(self) -> StartFiles | Missing:
        files = await self._files()
        return files if isinstance(files, Missing) else files.start

    async def owner_uid(self) -> int | Missing:
        files = await self._files()
        return files if isinstance(files, Missing) else files.owner_uid

    async def _files(self) -> FarFiles | Missing:
        looks = self._host.looks
        if looks is None:
            return Missing(what="files", reason="this way of seeing a machine shows no files")
        return await looks.files.get()


def _records(messages: tuple[KernelMessage, ...], trouble: KernelTrouble) -> list[str]:
    """Messages as the kernel's device writes them."""
    return [
        f"0,0,{int(message.since_boot_s * 1e6)},-;{message.text}"
        for message in messages
        if message.trouble is trouble
    ]


def _booted(facts: HostFacts) -> datetime | None:
    """By the machine's own clock, which its server's log is written by as well."""
    if isinstance(facts.uptime_s, Missing):
        return None
    ahead_s = 0.0 if isinstance(facts.clock_offset_s, Missing) else facts.clock_offset_s
    return facts.at + timedelta(seconds=ahead_s - facts.uptime_s)
