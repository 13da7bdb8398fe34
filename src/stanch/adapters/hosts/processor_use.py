"""Who uses this machine's processors: the server, other programs, nobody; measured for a moment."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stanch.adapters.hosts.threads import OwnThreads
from stanch.model.diagnosis import Missing
from stanch.model.host import ProcessorUse, ProgramUse

LOOKS_APART_S = 0.8
LOOKS_APART_S_MIN = 0.3
PROCESSES_MAX = 4000
SHOWN_MAX = 8
SHOWN_FROM = 0.1
"""Of one processor."""
KERNEL_THREAD = 0x00200000
GENERATIONS_MAX = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Process:
    name: str
    parent: int
    kernel: bool
    started: int
    ticks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What the kernel had counted at one moment."""

    idle: int
    total: int
    processors: int
    processes: Mapping[int, _Process]
    ran_ns: Mapping[int, int]
    waited_ns: Mapping[int, int]
    """Of the server's processes alone."""


class ProcessorWatch:
    """Looks twice at /proc for the server of one data directory. Cost: reads one small file of each
    process, twice; more than four thousand processes are not looked at."""

    def __init__(self, data_directory: str, *, proc: Path = Path("/proc")) -> None:
        self._directory = Path(data_directory)
        self._proc = proc
        self._threads = OwnThreads()

    async def used(self, within_s: float) -> ProcessorUse | Missing:
        """Who used them in the second that is to come."""
        apart_s = min(LOOKS_APART_S, within_s / 2)
        if apart_s < LOOKS_APART_S_MIN:
            return Missing(what="processors", reason="no time was left to look twice")
        began_s = time.monotonic()
        first = await self._threads.run(self._look)
        if isinstance(first, Missing):
            return first
        await asyncio.sleep(apart_s)
        second = await self._threads.run(self._look)
        if isinstance(second, Missing):
            return second
        return self._between(first, second, time.monotonic() - began_s)

    def _look(self) -> _Look | Missing:
        try:
            lines = (self._proc / "stat").read_text(encoding="ascii", errors="replace").splitlines()
            pids = [int(name) for name in os.listdir(self._proc) if name.isdecimal()]
        except OSError as error:
            return Missing(what="processors", reason=error.strerror or str(error))
        if len(pids) > PROCESSES_MAX:
            return Missing(what="processors", reason=f"{len(pids)} processes are too many to look")
        # user, nice, system, idle, iowait, irq, softirq, steal; guests are in user already.
        ticks = [int(word) for word in lines[0].split()[1:9]]
        processes = {pid: seen for pid in pids if (seen := self._process(pid)) is not None}
        times = {pid: self._times(pid) for pid in self._servers(processes)}
        return _Look(
            idle=ticks[3] + ticks[4],
            total=sum(ticks),
            processors=sum(line[:3] == "cpu" for line in lines) - 1,
            processes=processes,
            ran_ns={pid: told[0] for pid, told in times.items() if told},
            waited_ns={pid: told[1] for pid, told in times.items() if told},
        )

    def _process(self, pid: int) -> _Process | None:
        text = self._text(f"{pid}/stat")
        # The name in parentheses may itself hold parentheses and blanks.
        head, _, rest = text.rpartition(")")
        fields = rest.split()
        if len(fields) < 20:
            return None
        return _Process(
            name=head.partition("(")[2],
            parent=int(fields[1]),
            kernel=bool(int(fields[6]) & KERNEL_THREAD),
            started=int(fields[19]),
            ticks=int(fields[11]) + int(fields[12]),
        )

    def _times(self, pid: int) -> tuple[int, int] | None:
        """For how long it ran, and for how long it waited for a processor, in nanoseconds."""
        words = self._text(f"{pid}/schedstat").split()
        return (int(words[0]), int(words[1])) if len(words) == 3 else None

    def _text(self, name: str) -> str:
        try:
            return (self._proc / name).read_text(encoding="utf-8", errors="replace")
        except OSError:  # it has ended, or is hidden from us
            return ""

    def _servers(self, processes: Mapping[int, _Process]) -> frozenset[int]:
        """The postmaster of the lock file and all that it started, an archive command included."""
        try:
            with (self._directory / "postmaster.pid").open("rb") as file:
                first = file.readline(12).strip()
        except OSError:
            return frozenset()
        found = {int(first)} & {*processes} if first.isdigit() else set[int]()
        for _ in range(GENERATIONS_MAX):
            found |= {pid for pid, seen in processes.items() if seen.parent in found}
        return frozenset(found)

    def _between(self, first: _Look, second: _Look, seconds: float) -> ProcessorUse | Missing:
        total = second.total - first.total
        servers, own = self._servers(second.processes), os.getpid()
        if total <= 0 or not servers:
            reason = "no server was found to compare with" if total > 0 else "no time went by"
            return Missing(what="processors", reason=reason)
        used = {
            pid: (now.ticks - before.ticks) * second.processors / total
            for pid, now in second.processes.items()
            if (before := first.processes.get(pid)) is not None
            and before.started == now.started
            and not now.kernel
        }
        ran = sum(ns - first.ran_ns.get(pid, ns) for pid, ns in second.ran_ns.items())
        waited = sum(ns - first.waited_ns.get(pid, ns) for pid, ns in second.waited_ns.items())
        others = {pid: n for pid, n in used.items() if pid not in servers and pid != own}
        largest = sorted(others, key=lambda pid: (-others[pid], pid))[:SHOWN_MAX]
        return ProcessorUse(
            seconds=round(seconds, 2),
            processors=second.processors,
            idle=round((second.idle - first.idle) * second.processors / total, 2),
            server=round(sum(n for pid, n in used.items() if pid in servers), 2),
            looking=round(used.get(own, 0.0), 2),
            server_waited_share=round(waited / (ran + waited), 3) if ran + waited > 0 else None,
            programs=tuple(
                ProgramUse(pid=pid, name=second.processes[pid].name, used=round(others[pid], 2))
                for pid in largest
                if others[pid] >= SHOWN_FROM
            ),
        )
