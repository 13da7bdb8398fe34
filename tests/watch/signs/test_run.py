"""Rounds of looks, and how those of many targets keep apart."""

from __future__ import annotations

import asyncio

import pytest

from stanch.model.ports.signs import SignSource
from stanch.model.readings import Reading
from stanch.testing.virtual_time import run_virtually
from stanch.watch.signs.run import SignWatch


class Source:
    """Says nothing, as long as it takes; notes when it was asked."""

    def __init__(self, takes_s: float) -> None:
        self.takes_s = takes_s
        self.asked_at: list[float] = []

    async def look(self) -> tuple[Reading, ...]:
        self.asked_at.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.takes_s)
        return ()

    async def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(
    ("first_wait", "takes_s", "asked_at"),
    [
        (1.0, 0.0, [0, 10, 20, 30]),
        (0.5, 0.0, [0, 5, 15, 25]),
        (0.75, 1.0, [0, 7.5, 17.5, 27.5]),
        # Slower than its rounds: it is left alone for half of one, whatever it takes.
        (1.0, 12.0, [0, 17, 34]),
    ],
)
def test_rounds_of_targets_that_start_together_do_not_stay_in_step(
    first_wait: float, takes_s: float, asked_at: list[float]
) -> None:
    source = Source(takes_s)
    sources: list[SignSource] = [source]

    async def main() -> None:
        watch = SignWatch(sources, every_s=10, first_wait=first_wait)
        running = asyncio.create_task(watch.run())
        await asyncio.sleep(34.5)
        running.cancel()

    run_virtually(main())
    assert source.asked_at == asked_at
