"""Whether a silence may be our own fault."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from stanch.service.watched.doubting import (
    CAUGHT_UP_S_MAX,
    CONTROL_REMEMBERED_S,
    LAG_S_MAX,
    REMEMBERED_S,
    Doubts,
    LoopLag,
    knock_at,
)
from stanch.testing.virtual_time import VirtualLoop, run_virtually
from stanch.watch.blindness import DOUBTED_S_MAX


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


def test_the_time_it_stood_still_is_summed_up() -> None:
    async def script(lag: LoopLag, loop: VirtualLoop) -> None:
        for stopped_s in (12, 0.05, 3):
            loop.jump(stopped_s)
            await asyncio.sleep(0.1)
        assert lag.late_s == pytest.approx(15, abs=0.1)

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


def test_one_stop_however_long_is_never_doubted_for_so_long_that_it_is_told_as_blindness() -> None:
    assert REMEMBERED_S + CAUGHT_UP_S_MAX < DOUBTED_S_MAX


# --- the control endpoint ---


def test_silence_of_the_control_endpoint_is_a_doubt_and_for_a_moment_after_it() -> None:
    async def script(lag: LoopLag, loop: VirtualLoop) -> None:
        answers = True

        async def control(deadline_s: float) -> bool:
            return answers

        doubts = Doubts(lag, control)
        assert await doubts.standing() == ()
        answers = False
        assert await doubts.standing() == ("the control endpoint does not answer either",)
        answers = True
        # A probe that failed just now began while it was silent.
        await asyncio.sleep(CONTROL_REMEMBERED_S - 0.1)
        assert len(await doubts.standing()) == 1
        await asyncio.sleep(0.2)
        assert await doubts.standing() == ()

    measured(script)


async def test_a_knock_that_nobody_answers_is_silence_and_a_refusal_is_not(full_port: int) -> None:
    assert not await knock_at(f"127.0.0.1:{full_port}", 0.2)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert await knock_at(f"127.0.0.1:{taken.getsockname()[1]}", 5.0)
