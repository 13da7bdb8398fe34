"""Measures how long this process was kept from working while it waited for somebody else."""

from __future__ import annotations

import asyncio

TICK_S = 0.05


class OwnLateness:
    """Counts from the first turn of `run` on, until that is cancelled."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due_at, self._late_s = self._loop.time(), 0.0

    async def run(self) -> None:
        while True:
            self._due_at = self._loop.time() + TICK_S
            await asyncio.sleep(TICK_S)
            self._late_s += self._behind_s()

    @property
    def late_s(self) -> float:
        """Seconds all in all, up to this moment."""
        return self._late_s + self._behind_s()

    def _behind_s(self) -> float:
        return max(0.0, self._loop.time() - self._due_at)
