from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from stanch.adapters.backups.leaving import OneLook
from stanch.adapters.hosts.threads import LeavableThreads, OwnThreads
from stanch.model.diagnosis import Missing

STUCK = """
import asyncio, sys, threading
from stanch.adapters.hosts.threads import LeavableThreads

async def main():
    asyncio.get_running_loop().set_default_executor(LeavableThreads())
    stuck = asyncio.create_task(asyncio.to_thread(threading.Event().wait))
    await asyncio.wait({stuck}, timeout=0.1)
    stuck.cancel()

asyncio.run(main())
print("ended")
"""


def test_a_read_that_never_returns_does_not_keep_the_program_from_ending() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STUCK], capture_output=True, text=True, timeout=20, check=True
    )
    assert done.stdout == "ended\n"


async def test_results_and_errors_come_back_to_whoever_waits() -> None:
    asyncio.get_running_loop().set_default_executor(LeavableThreads())
    assert await asyncio.to_thread(int, "7") == 7
    with pytest.raises(ValueError, match="invalid literal"):
        await asyncio.to_thread(int, "x")
    many = await asyncio.gather(*(asyncio.to_thread(str, n) for n in range(100)))
    assert many == [str(n) for n in range(100)]


async def test_a_dead_mount_holds_a_few_threads_of_its_own_and_those_of_nobody_else() -> None:
    gone, entered = threading.Event(), list[int]()

    def hang() -> None:
        entered.append(1)
        gone.wait()

    dead, other = OwnThreads(threads_max=3), OwnThreads(threads_max=3)
    waiting = [asyncio.ensure_future(dead.run(hang)) for _ in range(40)]
    await asyncio.sleep(0)
    try:
        async with asyncio.timeout(5):
            assert await asyncio.to_thread(int, "7") == 7
            assert await other.run(int, "8") == 8
        assert len(entered) == 3
        # Whoever gives up does not make room for another thread that would hang.
        for one in waiting[:20]:
            one.cancel()
        await asyncio.gather(*waiting[:20], return_exceptions=True)
        assert len(entered) == 3
    finally:
        gone.set()
    await asyncio.gather(*waiting[20:])
    assert await dead.run(int, "9") == 9


async def test_backups_on_a_dead_mount_hold_no_thread_that_others_need() -> None:
    gone = threading.Event()
    looks = [OneLook(gone.wait, late="it was not read") for _ in range(40)]
    try:
        told = await asyncio.gather(*(look.answer(deadline_s=0.05) for look in looks))
        assert {isinstance(one, Missing) for one in told} == {True}
        async with asyncio.timeout(5):
            assert await asyncio.to_thread(int, "7") == 7
    finally:
        gone.set()
    assert await looks[0].answer(deadline_s=5) is True
