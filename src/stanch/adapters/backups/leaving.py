"""Blocking looks in a thread, one at a time: what hangs is waited for, never asked again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from stanch.adapters.channels.threads import in_own_thread
from stanch.model.diagnosis import Missing

T = TypeVar("T")


class OneLook(Generic[T]):
    """The look that is under way, if there is one; the next that asks waits for its answer."""

    def __init__(self, look: Callable[[], T | Missing], *, late: str) -> None:
        """`late`: what is said when the deadline passes."""
        self._look = look
        self._late = late
        self._looking: asyncio.Future[T | Missing] | None = None

    async def answer(self, *, deadline_s: float) -> T | Missing:
        if self._looking is None:
            # Of its own: a dead mount or a storage that hangs must hold none that others wait for.
            looking = in_own_thread(self._look, name="stanch-backups")
            self._looking = asyncio.ensure_future(looking)
        looking = self._looking
        done, _ = await asyncio.wait({looking}, timeout=deadline_s)
        if not done:
            return Missing(what="backups", reason=f"{self._late} within {deadline_s:g} s")
        self._looking = None
        return looking.result()
