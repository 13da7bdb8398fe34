"""Keeps tasks running: a bug ends one attempt, not the responder.

One of the two places where every exception is caught (the other is the web border): a bug while
looking at one target must not keep the others from being watched, or anybody from being paged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import structlog

from stanch.model.errors import StaleDecision, StoreError
from stanch.model.timeline import Claim

RESTART_S = (0.1, 0.5, 2.0, 10.0, 30.0)
FORGIVEN_AFTER_S = 60.0
BUG_RETRY_S = 5.0

log = structlog.get_logger("supervisor")


async def keep_running(
    name: str, start: Callable[[], Awaitable[None]], on_failure: Callable[[str], None]
) -> None:
    """Run it; when it fails, say so and run it again after a growing wait."""
    loop = asyncio.get_running_loop()
    failures = 0
    while True:
        began = loop.time()
        try:
            await start()
            return
        except Exception as error:
            failures = 1 if loop.time() - began > FORGIVEN_AFTER_S else failures + 1
            log.error("task failed, starting it again", task=name, error=repr(error), exc_info=True)
            on_failure(name)
        await asyncio.sleep(RESTART_S[min(failures, len(RESTART_S)) - 1])


def contained(
    work: Callable[[Claim], Awaitable[datetime | None]],
    *,
    now: Callable[[], datetime],
    on_failure: Callable[[str], None],
) -> Callable[[Claim], Awaitable[datetime | None]]:
    """One claim's work, whose bugs put only itself off."""

    async def run(claim: Claim) -> datetime | None:
        try:
            return await work(claim)
        except (StaleDecision, StoreError):
            raise
        except Exception as error:
            log.error(
                "work failed, trying it again",
                incident=claim.incident_id,
                lane=claim.lane.value,
                error=repr(error),
                exc_info=True,
            )
            on_failure(f"lane {claim.lane.value}")
            return now() + timedelta(seconds=BUG_RETRY_S)

    return run
