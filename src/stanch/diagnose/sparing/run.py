"""A slow look is called off once the server itself has refused us: that tells more, and at once."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from stanch.model.diagnosis import Missing, not_there
from stanch.model.reach import ANSWERED_BY_NOBODY, Reach

T = TypeVar("T")


async def unless_refused(
    what: str, asking: Coroutine[Any, Any, T | Missing], reached: asyncio.Task[Reach | Missing]
) -> T | Missing:
    """What the look tells. Where a refusal comes first, nothing, and nobody misses it."""
    looking = asyncio.ensure_future(asking)
    try:
        await asyncio.wait({looking, reached}, return_when=asyncio.FIRST_COMPLETED)
        if not looking.done() and _has_refused(reached):
            return not_there(what)
        return await looking
    finally:
        looking.cancel()


def _has_refused(reached: asyncio.Task[Reach | Missing]) -> bool:
    if not reached.done() or reached.cancelled() or reached.exception() is not None:
        return False
    reach = reached.result()
    return isinstance(reach, Reach) and not (reach.answers or reach.state in ANSWERED_BY_NOBODY)
