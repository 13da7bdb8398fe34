from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from stanch.adapters.hosts.threads import LeavableThreads

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
