"""Whether a silence may be our own fault: a late event loop, or a network that is ours to lack."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable

TICK_S = 0.02
LAG_S_MAX = 0.1
"""An event loop later than this sees answers late: no silence is believed meanwhile."""
REMEMBERED_S = 3.0
CAUGHT_UP_S_MAX = 10.0
"""What came due during a lag is caught up with in about as long again, at most in so long."""
CONTROL_DEADLINE_S = 1.0
CONTROL_REMEMBERED_S = 5.0
"""A probe that began while the control endpoint was silent ends at most so much later."""


class LoopLag:
    """Measures how late the event loop is, all the time."""

    def __init__(self, observe: Callable[[float], None] = lambda lag_s: None) -> None:
        self._observe = observe
        self._recent: deque[tuple[float, float]] = deque()
        """Until when each lag counts, and how long it was."""
        self._due_s: float | None = None
        """When the next tick should come."""
        self.late_s = 0.0
        """How long nothing could be seen for it, in all."""

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._due_s = loop.time() + TICK_S
            await asyncio.sleep(TICK_S)
            now_s = loop.time()
            lag_s = max(0.0, now_s - self._due_s)
            self._observe(lag_s)
            self._remember(now_s, lag_s)

    def _remember(self, now_s: float, lag_s: float) -> None:
        while self._recent and self._recent[0][0] < now_s:
            self._recent.popleft()
        if lag_s > LAG_S_MAX:
            self.late_s += lag_s
        if lag_s > TICK_S / 4:
            until_s = now_s + REMEMBERED_S + min(lag_s, CAUGHT_UP_S_MAX)
            self._recent.append((until_s, lag_s))

    def worst_s(self) -> float:
        """The longest lag of the last seconds, the one that lasts included: after a stop of this
        process others may have their turn before the tick has."""
        now_s = asyncio.get_running_loop().time()
        lasting_s = 0.0 if self._due_s is None else now_s - self._due_s
        return max(0.0, lasting_s, *(lag for until_s, lag in self._recent if until_s >= now_s))


class Doubts:
    """Asked before a silence is told as a verdict."""

    def __init__(self, lag: LoopLag, control: Callable[[float], Awaitable[bool]] | None) -> None:
        """`control` knocks at something that is up whenever our own network is."""
        self._lag = lag
        self._control = control
        self._out_until_s = -math.inf
        """So long a silence of the control endpoint counts."""

    async def standing(self) -> tuple[str, ...]:
        doubts: list[str] = []
        worst_s = self._lag.worst_s()
        if worst_s > LAG_S_MAX:
            doubts.append(f"our own loop was late by {worst_s * 1000:.0f} ms")
        if self._control is not None:
            loop = asyncio.get_running_loop()
            if not await self._control(CONTROL_DEADLINE_S):
                self._out_until_s = loop.time() + CONTROL_REMEMBERED_S
            if loop.time() < self._out_until_s:
                doubts.append("the control endpoint does not answer either")
        return tuple(doubts)


async def knock_at(endpoint: str, deadline_s: float) -> bool:
    """True if `host:port` accepts or refuses a connection: either proves our network."""
    host, _, port = endpoint.rpartition(":")
    try:
        async with asyncio.timeout(deadline_s):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    writer.close()
    return True
