"""Rules over backups, on dumps in a real folder: each fires on its own kind of neglect alone.

The dumps are those of a real pg_dump, one that was killed among them; only their times are moved.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from fix_servers import Templates
from samplings import ORDERS, T0, Watched
from stanch.adapters.backups.dump_folder import DumpFolder
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.adapters.postgres.scratch_folder import ScratchOptions
from stanch.model.diagnosis import Missing
from stanch.model.samples import Sample
from stanch.watch.backups.run import BackupWatch, Places

pytestmark = pytest.mark.parametrize("pg_major", [15], indirect=True)

KEEP_DAYS = 7.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Dumps:
    """What pg_dump wrote about one database."""

    whole: bytes
    of_one_table: bytes
    killed: bytes


@pytest.fixture(scope="module")
def dumps(pg_major: int, server_templates: Templates) -> Iterator[Dumps]:
    template = server_templates.of(pg_major, "trust")
    options = ScratchOptions(parent=server_templates.parent)
    with ScratchServer.create(options=options, template=template) as server:
        for statement in (
            "CREATE TABLE orders AS SELECT repeat('x', 99) FROM generate_series(1, 5000)",
            "CREATE TABLE settings AS SELECT 1 AS one",
        ):
            server.query(statement, dbname="app")
        program = [str(server.binaries.program("pg_dump")), "--dbname", server.dsn(dbname="app")]
        one = subprocess.run([*program, "-t", "settings"], check=True, capture_output=True)
        whole = subprocess.run(program, check=True, capture_output=True)
        # It fills the pipe, and has not written all of it when it dies.
        with subprocess.Popen(program, stdout=subprocess.PIPE) as dying:
            assert dying.stdout is not None
            killed = dying.stdout.read(100_000)
            dying.kill()
        yield Dumps(whole=whole.stdout, of_one_table=one.stdout, killed=killed)


def put(folder: Path, content: bytes, *, days: float) -> Path:
    """A dump taken so many days before now."""
    path = folder / f"orders-{days:g}-days-ago.sql"
    path.write_bytes(content)
    at = (T0 - timedelta(days=days)).timestamp()
    os.utime(path, (at, at))
    return path


def in_order(folder: Path, dumps: Dumps) -> None:
    for day in range(9):
        put(folder, dumps.whole, days=day + 0.25)
    latest(folder, "orders-0.25-days-ago.sql")


def latest(folder: Path, name: str) -> None:
    link = folder / "latest"
    link.unlink(missing_ok=True)
    link.symlink_to(name)


def nobody_took_one(folder: Path, dumps: Dumps) -> None:
    (folder / "orders-0.25-days-ago.sql").unlink()
    latest(folder, "orders-1.25-days-ago.sql")


def the_last_one_died(folder: Path, dumps: Dumps) -> None:
    put(folder, dumps.killed, days=0.25)
    latest(folder, "orders-1.25-days-ago.sql")


def the_last_one_is_nearly_empty(folder: Path, dumps: Dumps) -> None:
    put(folder, dumps.of_one_table, days=0.25)


def they_were_removed_too_early(folder: Path, dumps: Dumps) -> None:
    for day in range(4, 9):
        (folder / f"orders-{day + 0.25:g}-days-ago.sql").unlink()


def the_link_leads_to_an_old_one(folder: Path, dumps: Dumps) -> None:
    latest(folder, "orders-3.25-days-ago.sql")


def the_place_is_gone(folder: Path, dumps: Dumps) -> None:
    shutil.rmtree(folder)


async def raised(folder: Path, neglect: Callable[[], None]) -> set[str]:
    """What is told within two hours of it."""
    at = T0
    watch = BackupWatch(
        Places(backups=[(DumpFolder(str(folder), now=lambda: at), KEEP_DAYS)]),
        archived=_nothing,
        now=lambda: at,
    )
    rules = Watched()
    await watch.look()
    watch.take()
    neglect()
    for minutes in range(0, 130, 10):
        at = T0 + timedelta(minutes=minutes)
        await watch.look()
        rules.look(minutes * 60.0, Sample(target=ORDERS, at=at, readings=watch.take()))
    return {key.partition(":")[0] for key in rules.raised}


async def _nothing() -> Missing:
    return Missing(what="archive", reason="nobody asks for it here")


@pytest.mark.parametrize(
    ("neglect", "told"),
    [
        (lambda folder, dumps: None, set[str]()),
        (nobody_took_one, {"backup_old"}),
        (the_last_one_died, {"backup_failed", "backup_old"}),
        (the_last_one_is_nearly_empty, {"backup_small"}),
        (they_were_removed_too_early, {"backup_retention_short"}),
        (the_link_leads_to_an_old_one, {"backup_latest_wrong"}),
        (the_place_is_gone, {"backup_unseen"}),
    ],
)
async def test_each_neglect_of_backups_is_told_by_its_own_name(
    tmp_path: Path, dumps: Dumps, neglect: Callable[[Path, Dumps], None], told: set[str]
) -> None:
    folder = tmp_path / "dumps"
    folder.mkdir()
    in_order(folder, dumps)
    assert await raised(folder, partial(neglect, folder, dumps)) == told
