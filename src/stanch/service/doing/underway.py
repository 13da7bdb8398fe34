"""Steps that are being taken just now, so that nobody pulls the sessions from under them."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

from stanch.model.ids import TargetName


class UnderWay:
    """Who takes a step says so; who would close what it needs waits for its end."""

    def __init__(self) -> None:
        self._steps: dict[TargetName, set[asyncio.Future[None]]] = {}

    def on(self, target: TargetName) -> bool:
        """Whether a step is being taken on this target."""
        return target in self._steps

    @contextmanager
    def step(self, target: TargetName) -> Generator[None]:
        """Held from before a step asks for its target until nothing of it is needed any more."""
        done = asyncio.get_running_loop().create_future()
        self._steps.setdefault(target, set()).add(done)
        try:
            yield
        finally:
            done.set_result(None)
            self._steps[target].discard(done)
            if not self._steps[target]:
                del self._steps[target]

    async def ended(self, target: TargetName, *, within_s: float) -> bool:
        """Wait until no step is under way. False: one still is, after all that time.

        Never: lets another one begin between the answer and whatever its caller does at once.
        """
        loop = asyncio.get_running_loop()
        until_s = loop.time() + within_s
        while self.on(target):
            left_s = until_s - loop.time()
            if left_s <= 0:
                return False
            await asyncio.wait(set(self._steps[target]), timeout=left_s)
        return True
