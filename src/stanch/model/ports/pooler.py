"""What actions ask of a pooler's console, without naming a driver."""

from __future__ import annotations

from typing import Literal, Protocol

from stanch.model.ports.server import Acted, Row

Shown = Literal["VERSION", "CONFIG", "DATABASES", "POOLS", "SERVERS"]


class PoolerControl(Protocol):
    """One pooler, as a user of its console who may change it."""

    async def show(self, what: Shown, *, timeout_s: float) -> tuple[Row, ...]:
        """The rows of SHOW. Raises: ProbeFailed, also where this console has no such SHOW."""
        ...

    async def is_watched_one(self, *, timeout_s: float) -> bool:
        """Whether the console that is watched sees this very session among its clients: then both
        are consoles of one process. Raises: ProbeFailed."""
        ...

    async def execute(self, command: str, *, deadline_s: float) -> Acted:
        """Send one command once. Never repeats it: an unknown outcome is `in_doubt`."""
        ...

    async def close(self) -> None:
        """End both sessions."""
        ...
