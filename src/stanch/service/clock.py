"""Time as the service sees it: UTC that never runs backwards, whatever the wall clock does."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

JUMP_S = 2.0
"""A wall clock further than this from where it should be has been set, not slewed."""


class Clock(Protocol):
    """Where the service gets its moments from; the simulator brings its own."""

    def now(self) -> datetime: ...


def boottime_ns() -> int:
    """Nanoseconds since boot, suspend included where the platform has it."""
    clock_id = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(clock_id)


class SteadyClock:
    """UTC carried forward by the boot clock from one reading of the wall clock.

    Deadlines must neither all fire because somebody set the clock a day ahead, nor stay away
    because somebody set it back. `jump_s` tells how far the wall clock has since been moved.
    """

    def __init__(
        self,
        *,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        boot_ns: Callable[[], int] = boottime_ns,
        not_before: datetime | None = None,
    ) -> None:
        """`not_before`: the newest moment in the store; a timeline never runs backwards."""
        self._wall = wall
        self._boot_ns = boot_ns
        started = wall()
        self._anchor = max(started, not_before) if not_before else started
        self._anchor_ns = boot_ns()

    def now(self) -> datetime:
        passed_us = (self._boot_ns() - self._anchor_ns) // 1000
        return self._anchor + timedelta(microseconds=passed_us)

    def jump_s(self) -> float:
        """Seconds by which the wall clock has left this one; 0 within what slewing does."""
        ahead_s = (self._wall() - self.now()).total_seconds()
        return ahead_s if abs(ahead_s) > JUMP_S else 0.0


class MachineBootClock:
    """This machine's boot clock (`model.ports.acting.BootClock`)."""

    def __init__(self) -> None:
        path = Path("/proc/sys/kernel/random/boot_id")
        # macOS has no boot id; the boot moment names the boot as well as anything.
        self._boot_id = path.read_text().strip() if path.exists() else _boot_moment()

    @property
    def boot_id(self) -> str:
        return self._boot_id

    def now_ns(self) -> int:
        return boottime_ns()


def _boot_moment() -> str:
    return f"boot-{int(time.time() - boottime_ns() / 1e9)}"
