"""Threads that may be left behind: a read on a dead mount must not keep a command from ending."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import BoundedSemaphore, Thread
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

THREADS_MAX = 32


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
