"""What the watch asks of a machine, near or far: what every way of seeing one can answer."""

from __future__ import annotations

from typing import Protocol

from stanch.model.diagnosis import Missing
from stanch.model.host import LogChunk, LogPosition
from stanch.model.machine import HostFacts


class MachineReader(Protocol):
    """Sees one machine, container or pod. Never changes anything there.

    One look is one call. It ends within its deadline with what it has: an unreachable machine, a
    refused right or a late answer is `Missing` with the reason, never an exception.
    """

    @property
    def source(self) -> str:
        """How it is seen, as `HostFacts.source`."""
        ...

    async def facts(self, *, deadline_s: float) -> HostFacts | Missing: ...

    async def close(self) -> None:
        """Give connections back; a later look opens them anew."""
        ...


class LogReader(Protocol):
    """Reads a server's log from a file, near or far, or from what a container wrote.

    Bounded by `bytes_max`, across rotation, truncation and a new container: first what is left of
    the old, then the new from its beginning. `HostReader` is one, too.
    """

    async def log_tail(self, *, bytes_max: int) -> LogChunk | Missing:
        """The last bytes written, from a line's beginning on."""
        ...

    async def log_since(self, position: LogPosition, *, bytes_max: int) -> LogChunk | Missing:
        """What was written after `position`; empty content: nothing new."""
        ...
