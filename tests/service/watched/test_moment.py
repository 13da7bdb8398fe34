"""A moment: whoever waits is told once it comes, whoever comes later at once."""

from __future__ import annotations

import asyncio

from stanch.service.watched.moment import Moment


async def test_all_who_wait_are_told_and_who_comes_later_at_once() -> None:
    moment = Moment()
    waiting = [asyncio.create_task(moment.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    moment.come()
    moment.come()
    await asyncio.gather(*waiting)
    await moment.wait()
    assert moment.is_over


async def test_whoever_stops_waiting_does_not_stop_the_others() -> None:
    moment = Moment()
    leaves, stays = asyncio.create_task(moment.wait()), asyncio.create_task(moment.wait())
    await asyncio.sleep(0)
    leaves.cancel()
    await asyncio.gather(leaves, return_exceptions=True)
    moment.come()
    await stays
    assert leaves.cancelled()


async def test_one_that_was_over_from_the_start_keeps_nobody() -> None:
    waiting = asyncio.create_task(Moment(is_over=True).wait())
    await asyncio.sleep(0)
    assert waiting.done()
