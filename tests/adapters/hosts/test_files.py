"""The three things done to files: conditional, reversible where they can be, never more."""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stanch.adapters.hosts import files
from stanch.adapters.hosts.files import LOCK_FILE, LocalFiles
from stanch.model.diagnosis import Missing
from stanch.model.errors import ActionFailed
from stanch.model.ports.acting import FileAnswer, KeptFile, Space

ASIDE = "postmaster.pid.stale.20260314T090000Z"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "PG_VERSION").write_text("15\n")
    for name in ("base", "global", "pg_wal", "log"):
        (tmp_path / name).mkdir()
    (tmp_path / LOCK_FILE).write_text("100\n/data\n")
    return tmp_path


def proof(path: Path) -> dict[str, object]:
    return {"inode": path.stat().st_ino, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


async def test_the_proven_lock_file_is_renamed_and_kept(data: Path) -> None:
    known = proof(data / LOCK_FILE)
    report = await LocalFiles().set_aside_lock_file(str(data), new_name=ASIDE, **known)  # pyright: ignore
    assert report.answer is FileAnswer.DONE
    assert not (data / LOCK_FILE).exists()
    assert (data / ASIDE).read_text() == "100\n/data\n"


@pytest.mark.parametrize("what", ["content", "inode"])
async def test_a_lock_file_that_is_not_the_proven_one_is_not_touched(data: Path, what: str) -> None:
    known = proof(data / LOCK_FILE)
    if what == "content":
        (data / LOCK_FILE).write_text("101\n/data\n")
    else:
        other = data / "other"
        other.write_text("100\n/data\n")
        other.rename(data / LOCK_FILE)
    before = (data / LOCK_FILE).read_bytes()
    report = await LocalFiles().set_aside_lock_file(str(data), new_name=ASIDE, **known)  # pyright: ignore
    assert report.answer is FileAnswer.CHANGED
    assert (data / LOCK_FILE).read_bytes() == before
    assert not (data / ASIDE).exists()


async def test_no_lock_file_is_an_answer(data: Path) -> None:
    known = proof(data / LOCK_FILE)
    (data / LOCK_FILE).unlink()
    report = await LocalFiles().set_aside_lock_file(str(data), new_name=ASIDE, **known)  # pyright: ignore
    assert report.answer is FileAnswer.ABSENT


async def test_a_link_in_its_place_is_not_followed(data: Path) -> None:
    known = proof(data / LOCK_FILE)
    (data / LOCK_FILE).rename(data / "elsewhere")
    (data / LOCK_FILE).symlink_to(data / "elsewhere")
    with pytest.raises(ActionFailed):
        await LocalFiles().set_aside_lock_file(str(data), new_name=ASIDE, **known)  # pyright: ignore
    assert (data / LOCK_FILE).is_symlink()


async def test_nothing_is_overwritten_by_the_rename(data: Path) -> None:
    (data / ASIDE).write_text("older evidence")
    known = proof(data / LOCK_FILE)
    with pytest.raises(ActionFailed):
        await LocalFiles().set_aside_lock_file(str(data), new_name=ASIDE, **known)  # pyright: ignore
    assert (data / ASIDE).read_text() == "older evidence"
    assert (data / LOCK_FILE).exists()


def folder_of(data: Path) -> int:
    return os.open(data, os.O_RDONLY | os.O_DIRECTORY)


def test_a_file_that_proves_to_be_another_after_the_rename_is_put_back(data: Path) -> None:
    (data / LOCK_FILE).rename(data / ASIDE)
    folder = folder_of(data)
    report = files.put_back(folder, ASIDE)
    os.close(folder)
    assert report.answer is FileAnswer.PUT_BACK
    assert (data / LOCK_FILE).read_text() == "100\n/data\n"
    assert not (data / ASIDE).exists()


def test_putting_back_never_overwrites_a_newer_lock_file(data: Path) -> None:
    (data / ASIDE).write_text("100\n/data\n")
    (data / LOCK_FILE).write_text("200\n/data\n")
    folder = folder_of(data)
    report = files.put_back(folder, ASIDE)
    os.close(folder)
    assert report.answer is FileAnswer.NOT_PUT_BACK
    assert (data / LOCK_FILE).read_text() == "200\n/data\n"
    assert (data / ASIDE).exists()


# --- deleting -------------------------------------------------------------------------------------


async def kept(path: Path) -> KeptFile:
    found = await LocalFiles().kept_file(str(path))
    assert isinstance(found, KeptFile)
    return found


async def test_a_file_is_deleted_if_it_is_still_the_one_that_was_chosen(data: Path) -> None:
    ballast = data / "ballast-1"
    ballast.write_bytes(b"x" * 100_000)
    report = await LocalFiles().remove(await kept(ballast))
    assert report.answer is FileAnswer.DONE
    assert report.freed_bytes >= 100_000
    assert not ballast.exists()


@pytest.mark.parametrize("change", ["grown", "replaced", "link", "gone", "open"])
async def test_a_file_that_changed_meanwhile_is_not_deleted(data: Path, change: str) -> None:
    ballast = data / "ballast-1"
    ballast.write_bytes(b"x" * 1000)
    chosen = await kept(ballast)
    held = None
    if change == "grown":
        ballast.write_bytes(b"x" * 2000)
    elif change == "replaced":
        ballast.rename(data / "moved")
        ballast.write_bytes(b"x" * 1000)
    elif change == "link":
        ballast.rename(data / "moved")
        ballast.symlink_to(data / "moved")
    elif change == "gone":
        ballast.rename(data / "moved")
    else:
        held = ballast.open("rb")
    report = await LocalFiles().remove(chosen)
    if held:
        held.close()
    wanted = FileAnswer.ABSENT if change == "gone" else FileAnswer.CHANGED
    assert report.answer is wanted
    assert (data / "moved").exists() or ballast.exists()


@pytest.mark.parametrize(
    "name",
    [
        "pg_wal/000000010000000000000001",
        "pg_wal/ballast",
        "base/5",
        "global/pg_control",
        "postgresql.conf",
        LOCK_FILE,
    ],
)
async def test_what_postgresql_owns_is_never_deleted(data: Path, name: str) -> None:
    path = data / name
    path.write_bytes(b"x" * 10)
    with pytest.raises(ActionFailed):
        await LocalFiles().remove(await kept(path))
    assert path.exists()


async def test_pg_wal_is_protected_where_it_is_a_link_to_elsewhere(tmp_path: Path) -> None:
    wal = tmp_path / "fast-disk" / "pg_wal"
    wal.mkdir(parents=True)
    (wal / "0000").write_bytes(b"x")
    (tmp_path / "data").symlink_to(wal)
    with pytest.raises(ActionFailed):
        await LocalFiles().remove(await kept(tmp_path / "data" / "0000"))
    assert (wal / "0000").exists()


async def test_a_folder_or_a_link_is_no_file_to_keep(data: Path) -> None:
    (data / "link").symlink_to(data / LOCK_FILE)
    for name in ("log", "link", "nothing"):
        assert isinstance(await LocalFiles().kept_file(str(data / name)), Missing)


# --- old logs -------------------------------------------------------------------------------------


async def test_only_old_closed_logs_are_listed_and_never_the_newest(data: Path) -> None:
    now = datetime.now(UTC)
    ages = {"a.log": 30, "b.csv": 20, "c.log.gz": 10, "d.log": 9, "e.log": 0, "notes": 99}
    for name, days in ages.items():
        (data / "log" / name).write_text("x")
        then = (now - timedelta(days=days)).timestamp()
        os.utime(data / "log" / name, (then, then))
    with (data / "log" / "d.log").open():
        found = await LocalFiles().old_logs(
            str(data / "log"), modified_before=now - timedelta(days=7)
        )
    assert not isinstance(found, Missing)
    assert [Path(f.path).name for f in found] == ["a.log", "b.csv", "c.log.gz"]


async def test_the_newest_log_is_kept_however_old_it_is(data: Path) -> None:
    (data / "log" / "only.log").write_text("how it ended")
    os.utime(data / "log" / "only.log", (1, 1))
    found = await LocalFiles().old_logs(str(data / "log"), modified_before=datetime.now(UTC))
    assert found == ()


async def test_space_is_that_of_the_volume(data: Path) -> None:
    space = await LocalFiles().space(str(data))
    assert isinstance(space, Space)
    assert 0 < space.free_bytes < space.total_bytes
    assert space.device == data.stat().st_dev
    assert isinstance(await LocalFiles().space(str(data / "nothing")), Missing)
