"""The backups of a watched target come with its samples, and the rules read them."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fix_servers import MakeServer
from samplings import Watched as Rules
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.model.ids import TargetName
from stanch.model.samples import Sample
from stanch.model.symptoms import SymptomKind
from stanch.policy.backups import Backups
from stanch.policy.policy import TargetPolicy
from stanch.service.clock import SteadyClock
from stanch.service.watched.backups import BackupPlaces, backup_watch
from stanch.service.watched.eyes import SharedSentinel
from stanch.service.watched.target import Watched
from stanch.store.statedir import StateDir
from stanch.watch.backups.run import EVERY_S

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


async def test_a_file_that_goes_missing_in_a_servers_archive_is_told_and_one_on_its_way_is_not(
    make_server: MakeServer, public_folder: Path
) -> None:
    archive = public_folder / "wal"
    archive.mkdir(mode=0o777)
    archive.chmod(0o777)
    renamed = f"cp %p {archive}/%f.tmp && mv {archive}/%f.tmp {archive}/%f"
    server = make_server(conf={"archive_mode": "on", "archive_command": renamed})
    switched: list[str] = []
    for number in range(3):
        server.query(f"CREATE TABLE t{number} ()")
        switched.append(server.query("SELECT pg_walfile_name(pg_switch_wal())")[0][0])
    asked = f"SELECT last_archived_wal >= '{switched[-1]}' FROM pg_stat_archiver"
    while server.query(asked) != [(True,)]:
        await asyncio.sleep(0.02)

    policy = TargetPolicy(
        name=TargetName("orders"),
        dsn=server.dsn("stanch_watch"),
        backups=Backups(wal=str(archive)),
    )
    at = [datetime(2026, 11, 21, 12, tzinfo=UTC)]
    sentinel = SharedSentinel(policy.dsn, now=lambda: at[-1])
    await sentinel.open(5)
    watch = backup_watch(
        policy,
        BackupPlaces(policy, now=lambda: at[-1]),
        server=sentinel,
        now=lambda: at[-1],
    )
    rules = Rules()

    async def told() -> list[str]:
        await watch.look()
        sample = Sample(target=policy.name, at=at[-1], readings=watch.take())
        rules.look((at[-1] - at[0]).total_seconds(), sample)
        at.append(at[-1] + timedelta(seconds=EVERY_S))
        kinds = [s.kind for s in rules.symptoms]
        return [kind for kind in kinds if kind.startswith("archive")]

    try:
        assert await told() == []
        lost = archive / switched[1]
        lost.rename(f"{lost}.tmp")
        assert await told() == []
        Path(f"{lost}.tmp").rename(lost)
        assert [await told(), await told()] == [[], []]
        lost.unlink()
        assert [await told(), await told()] == [[], [SymptomKind.ARCHIVE_HOLES]]
        [symptom] = rules.symptoms
        assert f"{switched[1]} is missing" in symptom.detail
    finally:
        await sentinel.close()


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
