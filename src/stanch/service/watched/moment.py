"""A moment that is waited for, at hardly any cost until somebody does."""

from __future__ import annotations

import asyncio


class Moment:
    """Comes once, and is over for all who wait and for whoever asks later.

    Five of them a target are kept, and most are never waited for: an `asyncio.Event` makes room for
    its waiters beforehand, 0.7 kB each.
    """

    __slots__ = ("_waiting", "is_over")

    def __init__(self, *, is_over: bool = False) -> None:
        self.is_over = is_over
        self._waiting: asyncio.Future[None] | None = None
        """Made by whoever waits first, and shared by all who do."""

    def come(self) -> None:
        """Now. Once more changes nothing."""
        self.is_over = True
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.set_result(None)

    async def wait(self) -> None:
        """Returns once it has come, at once if it has."""
        if self.is_over:
            return
        if self._waiting is None:
            self._waiting = asyncio.get_running_loop().create_future()
        # Whoever stops waiting does not end it for the others.
        await asyncio.shield(self._waiting)
