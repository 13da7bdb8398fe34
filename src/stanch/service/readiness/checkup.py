"""A check-up of a server: needs no policy and no responder."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from stanch.adapters.backups.dump_folder import DumpFolder
from stanch.adapters.postgres.conninfo import resolve
from stanch.adapters.postgres.visit import visiting
from stanch.model.ports.backups import BackupReader
from stanch.policy.policy import Policy
from stanch.service.watched.backups import BackupPlaces
from stanch.service.watched.noting import target_at
from stanch.watch.health.report import Report
from stanch.watch.health.run import CheckUp


async def check_up(
    dsn: str, *, deadline_s: float, backups: str = "", policy: Policy | None = None
) -> Report:
    """Everything `stanch health` shows, within the deadline, login included.

    `backups` is a folder of dumps on this machine; `policy` names further places of this server.

    Raises: SetupError for a string that libpq cannot use, and for a server that is not in the
    policy; ProbeFailed where no session was had.
    """
    ways = None if policy is None else BackupPlaces(target_at(policy, dsn), now=_now)
    places = [DumpFolder(backups, now=_now)] if backups else list[BackupReader]()
    if ways is not None:
        places += [reader for reader, _ in ways.places.backups]
    try:
        return await _report(dsn, deadline_s, places)
    finally:
        if ways is not None:
            await ways.close()


async def _report(dsn: str, deadline_s: float, places: Sequence[BackupReader]) -> Report:
    loop = asyncio.get_running_loop()
    until = loop.time() + deadline_s
    async with visiting(dsn, deadline_s=deadline_s) as reader:
        left_s = max(0.05, until - loop.time())
        check = CheckUp(reader, deadline_s=left_s, backups=places)
        return await check.report(resolve(dsn).label)


def _now() -> datetime:
    return datetime.now(UTC)
