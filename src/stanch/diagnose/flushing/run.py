"""Looks at how far WAL is flushed until it moves, for a second at most."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from stanch.facts.flushing import FLUSHING_SQL, WAITS_FOR_FLUSH, FlushLooks, parse_flushing
from stanch.facts.workings import Doing
from stanch.model.diagnosis import Missing
from stanch.model.readings import Reading

LOOKS_S_MAX = 0.9
PAUSE_S = 0.06
KEPT_S = 0.4
"""Of the time there is, for what comes afterwards."""


def is_waited_for(doings: Iterable[Doing]) -> bool:
    """Some session waits for WAL at this moment; only then is it worth looking."""
    return any(doing.wait_event.upper() in WAITS_FOR_FLUSH for doing in doings)


async def look_at_flushes(
    ask: Callable[[str], Awaitable[str | Missing]], *, left_s: Callable[[], float]
) -> tuple[Reading, ...]:
    """How long no flush ended. Cost: up to fifteen small statements on the session that is there;
    six where the disk is well. Raises: ProbeFailed, where an answer cannot be read."""
    loop = asyncio.get_running_loop()
    looks, until_s = FlushLooks(), loop.time() + min(LOOKS_S_MAX, left_s() - KEPT_S)
    while loop.time() < until_s and not looks.is_enough:
        told = await ask(FLUSHING_SQL)
        if isinstance(told, Missing):
            break
        looks.add(parse_flushing(told, at_s=loop.time()))
        await asyncio.sleep(PAUSE_S)
    return looks.told()
