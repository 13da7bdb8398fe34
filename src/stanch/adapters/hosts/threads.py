"""Threads that may be left behind: a read on a dead mount must not keep a command from ending."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from threading import BoundedSemaphore, Thread
from typing import ParamSpec, TypeVar

from stanch.adapters.channels.threads import in_own_thread

P = ParamSpec("P")
T = TypeVar("T")

THREADS_MAX = 32
OWN_THREADS_MAX = 8


class OwnThreads:
    """Reads of one server's files: eight threads at most, which nobody else waits for.

    The loop's shared pool has six threads on two cores. A dead mount under one server would hold
    them all, and what is read of every other server would wait behind it.
    """

    def __init__(self, threads_max: int = OWN_THREADS_MAX) -> None:
        self._places = asyncio.Semaphore(threads_max)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of `work`, or what it raises. Whoever gives up waiting gives up no place:
        that is free once the thread has come back."""
        loop = asyncio.get_running_loop()
        await self._places.acquire()

        def held() -> T:
            try:
                return work(*args, **kwargs)
            finally:
                with suppress(RuntimeError):  # the loop has ended; nobody waits any more
                    loop.call_soon_threadsafe(self._places.release)

        return await in_own_thread(held, name="stanch-files")


class LeavableThreads(ThreadPoolExecutor):
    """One daemon thread a call, at most 32 at once; nobody waits for them when the program ends.

    For one-shot commands that only read. The standard pool joins its threads at exit, and a thread
    that waits for a disk that never answers would hold an answer back that is already there.
    """

    def __init__(self) -> None:
        super().__init__(max_workers=1)
        self._places = BoundedSemaphore(THREADS_MAX)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()

        def work() -> None:
            with self._places:
                if not future.set_running_or_notify_cancel():
                    return
                try:
                    result = fn(*args, **kwargs)
                except BaseException as error:  # noqa: BLE001 -- the caller's await raises it
                    future.set_exception(error)
                else:
                    future.set_result(result)

        Thread(target=work, daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Does not wait, whatever is asked."""
        super().shutdown(wait=False, cancel_futures=cancel_futures)
