"""A machine that nobody can see, because a provider keeps it to itself."""

from __future__ import annotations

from stanch.model.diagnosis import Missing, not_there
from stanch.model.machine import HostFacts


class NoMachine:
    """A `MachineReader` where there is nobody to be asked."""

    source = "the provider"

    async def facts(self, *, deadline_s: float) -> HostFacts | Missing:
        return not_there("host")

    async def close(self) -> None:
        """Nothing was opened."""
