"""A folder that archive_command fills, on this machine."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stanch.adapters.backups.wal_folder import WalFolder
from stanch.facts.wal_holes import holes
from stanch.model.backups import Branch, WalHeld
from stanch.model.diagnosis import Missing

MIB = 1024 * 1024


async def walk(place: WalFolder) -> WalHeld:
    walked = await place.walk(deadline_s=30)
    assert not isinstance(walked, Missing), walked
    [held] = walked
    return held


@pytest.mark.parametrize("inside", ["", "0000000100000000"])
async def test_files_are_found_in_the_folder_and_in_those_inside(
    tmp_path: Path, inside: str
) -> None:
    folder = tmp_path / inside
    folder.mkdir(exist_ok=True)
    for n in (2, 3, 5):
        file = folder / f"00000001000000000000000{n}.gz"
        file.touch()
        os.utime(file, (n, n))
    (folder / "000000010000000000000004.gz.tmp").touch()
    (folder / "000000010000000000000002.00000028.backup").touch()
    place = WalFolder(str(tmp_path))
    [gap] = holes(await walk(place), segment_bytes=16 * MIB)
    assert (gap.first, gap.last) == (4, 4)
    when = await place.when("000000010000000000000003", repository="", deadline_s=30)
    assert when == datetime.fromtimestamp(3, UTC)
    (folder / "000000010000000000000004.gz.tmp").rename(folder / "000000010000000000000004.gz")
    assert holes(await walk(place), segment_bytes=16 * MIB) == ()


async def test_the_history_of_the_newest_timeline_is_read(tmp_path: Path) -> None:
    (tmp_path / "000000020000000000000005").touch()
    (tmp_path / "00000002.history").write_text("1\t0/5000000\tby hand\n")
    held = await walk(WalFolder(str(tmp_path)))
    assert held.branches == (Branch(timeline=1, end_bytes=0x5000000),)


async def test_a_link_to_another_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "wal").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "000000010000000000000001").touch()
    (tmp_path / "wal" / "more").symlink_to(tmp_path / "elsewhere")
    assert (await walk(WalFolder(str(tmp_path / "wal")))).runs == ()


async def test_a_folder_that_is_not_there_is_missing_with_the_reason(tmp_path: Path) -> None:
    found = await WalFolder(str(tmp_path / "none")).walk(deadline_s=5)
    assert isinstance(found, Missing)
    assert "No such file or directory" in found.reason
    assert await WalFolder(str(tmp_path / "none")).when("0", repository="", deadline_s=5) is None
