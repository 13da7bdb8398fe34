"""Rules over backups, on dumps in a real folder: each fires on its own kind of neglect alone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from samplings import ORDERS, T0, Watched
from stanch.adapters.backups.dump_folder import DumpFolder
from stanch.model.diagnosis import Missing
from stanch.model.samples import Sample
from stanch.watch.backups.run import BackupWatch, Places

ROWS = b"INSERT INTO orders VALUES (1);\n"
END = b"--\n-- PostgreSQL database dump complete\n--\n"
KEEP_DAYS = 7.0


def dump(folder: Path, *, days: float, rows: int = 1000, end: bytes = END) -> Path:
    """A dump taken so many days before now."""
    path = folder / f"orders-{days:g}-days-ago.sql"
    path.write_bytes(ROWS * rows + end)
    at = (T0 - timedelta(days=days)).timestamp()
    os.utime(path, (at, at))
    return path


def in_order(folder: Path) -> None:
    for day in range(9):
        dump(folder, days=day + 0.25, rows=1000 + 10 * day)
    latest(folder, "orders-0.25-days-ago.sql")


def latest(folder: Path, name: str) -> None:
    link = folder / "latest"
    link.unlink(missing_ok=True)
    link.symlink_to(name)


def nobody_took_one(folder: Path) -> None:
    (folder / "orders-0.25-days-ago.sql").unlink()
    latest(folder, "orders-1.25-days-ago.sql")


def the_last_one_died(folder: Path) -> None:
    dump(folder, days=0.25, end=b"")
    latest(folder, "orders-1.25-days-ago.sql")


def the_last_one_is_nearly_empty(folder: Path) -> None:
    dump(folder, days=0.25, rows=10)


def they_were_removed_too_early(folder: Path) -> None:
    for day in range(4, 9):
        (folder / f"orders-{day + 0.25:g}-days-ago.sql").unlink()


def the_link_leads_to_an_old_one(folder: Path) -> None:
    latest(folder, "orders-3.25-days-ago.sql")


def the_place_is_gone(folder: Path) -> None:
    shutil.rmtree(folder)


async def raised(folder: Path, neglect: Callable[[Path], None]) -> set[str]:
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
    neglect(folder)
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
        (lambda folder: None, set[str]()),
        (nobody_took_one, {"backup_old"}),
        (the_last_one_died, {"backup_failed", "backup_old"}),
        (the_last_one_is_nearly_empty, {"backup_small"}),
        (they_were_removed_too_early, {"backup_retention_short"}),
        (the_link_leads_to_an_old_one, {"backup_latest_wrong"}),
        (the_place_is_gone, {"backup_unseen"}),
    ],
)
async def test_each_neglect_of_backups_is_told_by_its_own_name(
    tmp_path: Path, neglect: Callable[[Path], None], told: set[str]
) -> None:
    folder = tmp_path / "dumps"
    folder.mkdir()
    in_order(folder)
    assert await raised(folder, neglect) == told
