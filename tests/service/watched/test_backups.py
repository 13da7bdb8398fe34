"""The backups of a watched target come with its samples, and the rules read them."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from samplings import Watched as Rules
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.model.ids import TargetName
from stanch.model.samples import Sample
from stanch.model.symptoms import SymptomKind
from stanch.policy.backups import Backups
from stanch.policy.policy import TargetPolicy
from stanch.service.clock import SteadyClock
from stanch.service.watched.target import Watched
from stanch.store.statedir import StateDir

pytestmark = pytest.mark.parametrize("pg_major", [15], indirect=True)


async def sample_with_backups(server: ScratchServer, folder: Path, state: Path) -> Sample:
    policy = TargetPolicy(
        name=TargetName("orders"),
        dsn=server.dsn("stanch_watch"),
        sample_every_s=0.2,
        backups=Backups(dumps=str(folder)),
    )

    async def no_doubts() -> tuple[str, ...]:
        return ()

    found: asyncio.Future[Sample] = asyncio.get_running_loop().create_future()

    async def emit(sample: Sample) -> None:
        if any(r.name == "backup_age_s" for r in sample.readings) and not found.done():
            found.set_result(sample)

    one = Watched(policy, clock=SteadyClock(), state=StateDir(path=state), doubts=no_doubts)
    running = [asyncio.create_task(work) for work in (one.run(emit), one.backups.run())]
    try:
        async with asyncio.timeout(20):
            return await found
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await one.close()


@pytest.mark.parametrize(("hours", "expected"), [(30, [SymptomKind.BACKUP_OLD]), (20, [])])
async def test_a_backup_older_than_a_day_is_told_and_a_younger_one_is_not(
    shared_server: ScratchServer, tmp_path: Path, hours: int, expected: list[SymptomKind]
) -> None:
    folder = tmp_path / "dumps"
    folder.mkdir()
    dump = folder / "orders.sql"
    dump.write_text("--\n-- PostgreSQL database dump complete\n--\n")
    at = (datetime.now(UTC) - timedelta(hours=hours)).timestamp()
    os.utime(dump, (at, at))
    sample = await sample_with_backups(shared_server, folder, tmp_path)
    rules = Rules()
    for t in (0, 30, 61, 90):
        rules.look(t, sample)
    told = {s.kind for s in rules.symptoms} & {k for k in SymptomKind if k.startswith("backup")}
    assert sorted(told) == expected
