"""A check-up of a server that nobody watches: needs no policy and no responder."""

from __future__ import annotations

import asyncio

from stanch.adapters.postgres.conninfo import resolve
from stanch.adapters.postgres.visit import visiting
from stanch.watch.health.report import Report
from stanch.watch.health.run import CheckUp


async def check_up(dsn: str, *, deadline_s: float) -> Report:
    """Everything `stanch health` shows, within the deadline, login included.

    Raises: SetupError for a string that libpq cannot use; ProbeFailed where no session was had.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + deadline_s
    async with visiting(dsn, deadline_s=deadline_s) as reader:
        left_s = max(0.05, until - loop.time())
        return await CheckUp(reader, deadline_s=left_s).report(resolve(dsn).label)
