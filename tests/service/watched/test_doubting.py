"""Whether a silence may be our own fault."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from stanch.service.watched.doubting import LAG_S_MAX, REMEMBERED_S, Doubts, LoopLag
from stanch.testing.virtual_time import VirtualLoop, run_virtually


def measured(script: Callable[[LoopLag, VirtualLoop], Awaitable[None]]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        lag = LoopLag()
        running = asyncio.create_task(lag.run())
        await asyncio.sleep(1)
        await script(lag, loop)
        running.cancel()

    run_virtually(main())


def test_a_loop_that_keeps_its_time_gives_no_doubt() -> None:
    async def script(lag: LoopLag, loop: VirtualLoop) -> None:
        assert lag.worst_s() == 0.0
        assert await Doubts(lag, None).standing() == ()

    measured(script)


def test_a_stop_gives_doubt_before_anybody_else_has_had_a_turn() -> None:
    async def script(lag: LoopLag, loop: VirtualLoop) -> None:
        loop.jump(12)
        assert lag.worst_s() == pytest.approx(12, abs=0.1)
        assert await Doubts(lag, None).standing() != ()

    measured(script)


@pytest.mark.parametrize(("stopped_s", "doubted_s"), [(0.2, 3.2), (4.0, 7.0), (60.0, 13.0)])
def test_what_a_longer_stop_leaves_behind_is_doubted_for_longer(
    stopped_s: float, doubted_s: float
) -> None:
    async def script(lag: LoopLag, loop: VirtualLoop) -> None:
        loop.jump(stopped_s)
        await asyncio.sleep(doubted_s - 0.2)
        assert lag.worst_s() > LAG_S_MAX
        await asyncio.sleep(0.4)
        assert lag.worst_s() <= LAG_S_MAX

    measured(script)


def test_a_short_lag_after_a_long_one_ends_no_memory() -> None:
    async def script(lag: LoopLag, loop: VirtualLoop) -> None:
        loop.jump(4)
        await asyncio.sleep(0.1)
        loop.jump(0.2)
        await asyncio.sleep(REMEMBERED_S + 1)
        assert lag.worst_s() == pytest.approx(4, abs=0.1)

    measured(script)
