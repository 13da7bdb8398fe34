"""An event loop on which time passes only when everybody waits: a week of waiting takes a moment.

The loop asks its selector to wait until the next timer; this selector does not wait, it moves the
loop's clock. Code under test uses plain `asyncio.sleep`, `asyncio.timeout` and `loop.time()`.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")

EPOCH = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)


class _JumpingSelector(selectors.BaseSelector):
    """Waits for nothing but real input, and lets time jump when there is none."""

    def __init__(self) -> None:
        self._real = selectors.DefaultSelector()
        self.now_s = 0.0

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("everybody waits for something that will never come")
            self.now_s += max(0.0, timeout)
        return ready

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose `time()` is virtual seconds since it was made."""

    def __init__(self, *, start_s: float = 0.0) -> None:
        self._jumping = _JumpingSelector()
        self._jumping.now_s = start_s
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now_s

    def jump(self, seconds: float) -> None:
        """Time that passes while nobody runs, as for a process that is stopped and continued."""
        self._jumping.now_s += seconds


def run_virtually(main: Coroutine[Any, Any, T], *, start_s: float = 0.0) -> tuple[T, float]:
    """Run to the end on virtual time. Returns the result and the moment it ended, in seconds."""
    loop = VirtualLoop(start_s=start_s)
    try:
        result = loop.run_until_complete(main)
        return result, loop.time()
    finally:
        _cancel_all(loop)
        loop.close()


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))


class VirtualClock:
    """The service's clock on a virtual loop; also its boot clock and the store's lease clock."""

    boot_id = "virtual-boot"

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self._s())

    def now_ns(self) -> int:
        return int(self._s() * 1e9)

    def now_us(self) -> int:
        return int(self._s() * 1e6)

    @staticmethod
    def _s() -> float:
        return asyncio.get_running_loop().time()
