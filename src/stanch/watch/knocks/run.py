"""Knocks beside a login, until it ends or they have told that packets get lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from stanch.model.reach import Reach
from stanch.watch.silence import Knocked

KNOCK_EVERY_S = 0.2
KNOCK_S = 0.8
"""Without loss a login is over before the first knock, or all knocks beside it end the same way.
With three packets in ten lost both ways, and two logins of two seconds, all end the same way three
times in 10,000."""

AT_ONCE_MAX = 64
"""Logins that have knocks beside them. Where more are silent at once it is not a packet that was
lost, and a thousand of them must not take every file."""

_beside = 0


async def knocking_beside(
    login: Coroutine[Any, Any, Reach], knock: Callable[[float], Awaitable[bool]]
) -> tuple[Reach, Knocked]:
    """How the login went, and what became of knocks meanwhile.

    Cost: nothing while a login is quick; else five TCP handshakes a second, each closed at once.
    """
    global _beside
    ending = asyncio.ensure_future(login)
    knocks: list[asyncio.Future[bool]] = []
    _beside += 1
    try:
        while _beside <= AT_ONCE_MAX:
            await asyncio.wait({ending}, timeout=KNOCK_EVERY_S)
            knocked = _ends_of(knocks)
            if ending.done() or (knocked.answered and knocked.silent):
                break
            knocks.append(asyncio.ensure_future(knock(KNOCK_S)))
        return await ending, _ends_of(knocks)
    finally:
        _beside -= 1
        for task in (ending, *knocks):
            task.cancel()
        await asyncio.gather(ending, *knocks, return_exceptions=True)


def _ends_of(knocks: list[asyncio.Future[bool]]) -> Knocked:
    ends = {k.result() for k in knocks if k.done()}
    return Knocked(answered=True in ends, silent=False in ends)
