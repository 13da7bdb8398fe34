"""Beside a login: knocks, which get through where packets are lost and a login does not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from stanch.model.reach import Reach

KNOCK_EVERY_S = 0.15
KNOCK_S = 0.8
"""With three packets in ten lost both ways, all knocks beside two silent logins of two seconds stay
unanswered once in a million; without loss a login is over before the first of them."""


async def knocking_beside(
    login: Coroutine[Any, Any, Reach], knock: Callable[[float], Awaitable[bool]] | None
) -> tuple[Reach, bool]:
    """How the login went, and whether a knock was answered meanwhile.

    Cost: nothing while a login is quick; else one TCP handshake every 0.15 s until one is answered.
    """
    ending = asyncio.ensure_future(login)
    knocks: list[asyncio.Future[bool]] = []
    try:
        while knock is not None:
            await asyncio.wait({ending}, timeout=KNOCK_EVERY_S)
            if ending.done() or _any_answered(knocks):
                break
            knocks.append(asyncio.ensure_future(knock(KNOCK_S)))
        return await ending, _any_answered(knocks)
    finally:
        for task in (ending, *knocks):
            task.cancel()
        await asyncio.gather(ending, *knocks, return_exceptions=True)


def _any_answered(knocks: list[asyncio.Future[bool]]) -> bool:
    return any(k.done() and k.result() for k in knocks)
