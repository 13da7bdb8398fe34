"""A check-up of a server that nobody watches: needs no policy and no responder."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from stanch.adapters.backups.dump_folder import DumpFolder
from stanch.adapters.postgres.conninfo import resolve
from stanch.adapters.postgres.visit import visiting
from stanch.watch.health.report import Report
from stanch.watch.health.run import CheckUp


async def check_up(dsn: str, *, deadline_s: float, backups: str = "") -> Report:
    """Everything `stanch health` shows, within the deadline, login included.

    `backups` is a folder of dumps on this machine.

    Raises: SetupError for a string that libpq cannot use; ProbeFailed where no session was had.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + deadline_s
    async with visiting(dsn, deadline_s=deadline_s) as reader:
        left_s = max(0.05, until - loop.time())
        place = DumpFolder(backups, now=lambda: datetime.now(UTC)) if backups else None
        check = CheckUp(reader, deadline_s=left_s, backups=place)
        return await check.report(resolve(dsn).label)
