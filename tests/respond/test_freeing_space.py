"""free_space on real volumes: one file at a time, only what policy names, never the server's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from acting_worlds import TARGET, FixedProber, bare_world, permits, run, step
from stanch.adapters.hosts.files import LocalFiles
from stanch.adapters.hosts.old_dumps import old_dumps
from stanch.adapters.postgres.os_user import server_user
from stanch.adapters.postgres.volumes import mount_sized_volume
from stanch.model.diagnosis import Missing
from stanch.model.plans import PlannedStep, Refusal, StepOutcome
from stanch.model.ports.acting import KeptFile, Space
from stanch.model.rules import RuleChange
from stanch.policy.backups import Backups
from stanch.policy.policy import FreeSpace
from stanch.respond.actions.free_space.guards import GUARDS, SpaceReadings, deletable
from stanch.respond.actions.free_space.run import FREE_SPACE
from stanch.steps.action import ActReport
from stanch.steps.world import World

MB = 1 << 20
DAY_S = 86_400
RULES = {
    "disk_low": RuleChange(kind="disk_low", limit=20.0),
    "disk_full": RuleChange(kind="disk_full", limit=2 * MB),
}

KEPT = KeptFile(
    path="/data/ballast",
    inode=5,
    size_bytes=4 * MB,
    mtime_ns=1,
    allocated_bytes=4 * MB,
    device=9,
)
FULL = Space(device=9, total_bytes=100 * MB, free_bytes=MB)
SEEN = SpaceReadings(space=FULL, ballast=(KEPT,), old_logs=())


def refusal_of(seen: SpaceReadings) -> str:
    found = deletable(seen, replace(TARGET, rules=RULES))
    assert isinstance(found, Refusal)
    return found.guard


STOPS = [
    ("the volume is gone", "same_volume", replace(SEEN, space=Missing(what="/", reason="gone"))),
    ("there is room", "still_full", replace(SEEN, space=replace(FULL, free_bytes=20 * MB))),
    ("nothing is named", "known_safe", replace(SEEN, ballast=())),
    ("it is on another volume", "known_safe", replace(SEEN, ballast=(replace(KEPT, device=8),))),
    ("it is sparse", "known_safe", replace(SEEN, ballast=(replace(KEPT, allocated_bytes=4096),))),
    ("it has a second name", "known_safe", replace(SEEN, ballast=(replace(KEPT, links=2),))),
    ("it is empty", "known_safe", replace(SEEN, ballast=(replace(KEPT, size_bytes=0),))),
    ("it is not there", "known_safe", replace(SEEN, ballast=(Missing(what="b", reason="gone"),))),
]


@pytest.mark.parametrize(("_why", "guard", "seen"), STOPS, ids=[why for why, _, _ in STOPS])
def test_nothing_is_deleted_when(_why: str, guard: str, seen: SpaceReadings) -> None:
    assert refusal_of(seen) == guard


def test_ballast_goes_before_logs_and_the_oldest_log_first() -> None:
    log = replace(KEPT, path="/data/log/old.log", inode=6)
    found = deletable(replace(SEEN, old_logs=(log,)), replace(TARGET, rules=RULES))
    assert found == (KEPT, log)


def test_every_guard_is_tested_here() -> None:
    assert {g.name for g in GUARDS} - {guard for _, guard, _ in STOPS} == {"files"}


async def test_without_access_to_files_it_is_refused() -> None:
    refusal = await FREE_SPACE.check(step("free_space", volume="/"), bare_world())
    assert refusal is not None
    assert refusal.guard == "files"


# --- a real, small volume -----------------------------------------------------------------------


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """Forty megabytes that can really be full."""
    mounted = mount_sized_volume(tmp_path / "volume", size_mb=40, owner=server_user())
    if mounted is None:
        pytest.skip("no size-limited volume can be made here")
    yield mounted.mount_point
    mounted.unmount()


def fill(path: Path, megabytes: int) -> None:
    path.write_bytes(b"x" * (megabytes * MB))


def fill_up(volume: Path) -> None:
    with suppress(OSError), (volume / "table").open("wb") as table:
        while True:
            table.write(b"x" * MB)
            table.flush()


def world(volume: Path, *ballast: str, days: int | None = None) -> World:
    free = FreeSpace(ballast=tuple(str(volume / name) for name in ballast), old_logs_days=days)
    return World(
        target=replace(TARGET, rules=RULES, free_space=free),
        prober=FixedProber(),
        at=lambda: datetime.now(UTC),
        files=LocalFiles(),
        log_directory=str(volume / "log"),
    )


def free(volume: Path) -> PlannedStep:
    return step("free_space", volume=str(volume))


async def test_ballast_is_deleted_one_by_one_until_there_is_room(volume: Path) -> None:
    for name in ("ballast-1", "ballast-2", "ballast-3"):
        fill(volume / name, 5)
    fill_up(volume)

    done, log = await run(
        FREE_SPACE, free(volume), world(volume, "ballast-1", "ballast-2", "ballast-3")
    )

    assert done.outcome is StepOutcome.DONE, done.refusal
    assert log.verified().ok
    assert sorted(p.name for p in volume.glob("ballast-*")) == ["ballast-3"]
    assert "ballast-1" in log.ended().detail


async def test_old_logs_go_and_young_ones_and_the_newest_stay(volume: Path) -> None:
    logs = volume / "log"
    logs.mkdir()
    for name, age_days in (("a.log", 30), ("b.log", 20), ("c.log", 1), ("notes.txt", 90)):
        fill(logs / name, 3)
        then = datetime.now(UTC).timestamp() - age_days * DAY_S
        os.utime(logs / name, (then, then))
    fill_up(volume)

    done, _log = await run(FREE_SPACE, free(volume), world(volume, days=7))

    assert done.outcome is StepOutcome.DONE, done.refusal
    assert sorted(p.name for p in logs.iterdir()) == ["c.log", "notes.txt"]


async def test_an_old_log_that_is_still_written_stays(volume: Path) -> None:
    logs = volume / "log"
    logs.mkdir()
    fill(logs / "new.log", 1)
    fill(logs / "open.log", 5)
    os.utime(logs / "open.log", (1, 1))
    fill_up(volume)
    with (logs / "open.log").open("ab"):
        refusal = await FREE_SPACE.check(free(volume), world(volume, days=7))
    assert refusal is not None
    assert refusal.guard == "known_safe"


async def test_without_permission_no_log_is_looked_at(volume: Path) -> None:
    logs = volume / "log"
    logs.mkdir()
    fill(logs / "a.log", 3)
    fill(logs / "b.log", 3)
    os.utime(logs / "a.log", (1, 1))
    fill_up(volume)
    refusal = await FREE_SPACE.check(free(volume), world(volume, days=None))
    assert refusal is not None
    assert (logs / "a.log").exists()


async def test_a_halt_half_way_deletes_nothing_else(volume: Path) -> None:
    for name in ("ballast-1", "ballast-2"):
        fill(volume / name, 2)
    fill_up(volume)
    report = await FREE_SPACE.act(free(volume), world(volume, "ballast-1", "ballast-2"), permits(1))
    assert isinstance(report, ActReport)
    assert (volume / "ballast-2").exists()
    assert not (volume / "ballast-1").exists()


async def test_with_room_nothing_is_deleted(volume: Path) -> None:
    fill(volume / "ballast-1", 5)
    done, _log = await run(FREE_SPACE, free(volume), world(volume, "ballast-1"))
    assert done.refusal is not None
    assert done.refusal.guard == "still_full"
    assert (volume / "ballast-1").exists()


# --- dumps ----------------------------------------------------------------------------------------

WHOLE = "SELECT 1;\n--\n-- PostgreSQL database dump complete\n--\n"
NOW = datetime(2026, 3, 14, 9, 0, tzinfo=UTC)
AGES = (1, 2, 3, 20, 30, 40)


def dump(folder: Path, name: str, *, age_days: float, text: str = WHOLE) -> Path:
    path = folder / name
    path.write_text(text)
    then = NOW.timestamp() - age_days * DAY_S
    os.utime(path, (then, then))
    return path


def nightly(folder: Path, *, cut: tuple[int, ...] = ()) -> None:
    for age in AGES:
        text = "SELECT 1;\n" if age in cut else WHOLE
        dump(folder, f"orders-{age:03}.sql", age_days=age, text=text)


def may_go(folder: Path, *, keep: int = 3, older_days: float = 7) -> list[str]:
    before = NOW - timedelta(days=older_days)
    found = old_dumps(str(folder), keep=keep, modified_before=before, now=NOW)
    assert not isinstance(found, Missing)
    return [Path(file.path).name for file in found]


def test_dumps_go_oldest_first_and_the_three_newest_whole_ones_stay(tmp_path: Path) -> None:
    nightly(tmp_path)
    assert may_go(tmp_path) == ["orders-040.sql", "orders-030.sql", "orders-020.sql"]
    assert may_go(tmp_path, keep=5) == ["orders-040.sql"]
    assert may_go(tmp_path, keep=6) == []
    assert may_go(tmp_path, older_days=25) == ["orders-040.sql", "orders-030.sql"]


def test_a_dump_that_is_cut_off_does_not_count_as_a_newer_one(tmp_path: Path) -> None:
    nightly(tmp_path, cut=(1, 2))
    assert may_go(tmp_path) == ["orders-040.sql"]
    nightly(tmp_path, cut=(1, 2, 3, 20))
    assert may_go(tmp_path) == []


def test_one_that_may_still_be_written_does_not_count_either(tmp_path: Path) -> None:
    for age_days in (0.001, 1, 2, 20):
        dump(tmp_path, f"orders-{age_days:06.3f}.sql", age_days=age_days)
    assert may_go(tmp_path) == []
    dump(tmp_path, "orders-03.000.sql", age_days=3)
    assert may_go(tmp_path) == ["orders-20.000.sql"]


def test_dumps_of_another_series_are_no_newer_ones_of_this(tmp_path: Path) -> None:
    for age in AGES[:3]:
        dump(tmp_path, f"crm-{age:03}.sql", age_days=age)
        dump(tmp_path, f"orders-{age:03}.sql.gz", age_days=age)
    dump(tmp_path, "orders-040.sql", age_days=40)
    dump(tmp_path, "before-the-move.sql", age_days=90)
    assert may_go(tmp_path) == []


def test_what_has_a_hold_or_is_linked_to_stays(tmp_path: Path) -> None:
    nightly(tmp_path)
    (tmp_path / "orders-040.sql.hold").touch()
    (tmp_path / "latest").symlink_to("orders-030.sql")
    assert may_go(tmp_path) == ["orders-020.sql"]
    (tmp_path / ".hold").touch()
    assert may_go(tmp_path) == []


def test_folders_and_what_is_no_dump_are_never_offered(tmp_path: Path) -> None:
    nightly(tmp_path)
    (tmp_path / "orders-090.sql").mkdir()
    os.utime(tmp_path / "orders-090.sql", (1, 1))
    dump(tmp_path, "orders-090.txt", age_days=90)
    (tmp_path / "orders-091.sql").symlink_to("/etc/hostname")
    assert len(may_go(tmp_path)) == 3


def test_a_folder_that_is_not_there_gives_nothing(tmp_path: Path) -> None:
    gone = old_dumps(str(tmp_path / "gone"), keep=3, modified_before=NOW, now=NOW)
    assert isinstance(gone, Missing)
    assert refusal_of(replace(SEEN, ballast=(), old_dumps=gone)) == "known_safe"


def dumping(volume: Path, *ballast: str) -> World:
    one = world(volume, *ballast)
    space = replace(one.target.free_space, keep_dumps=3)
    return replace(
        one,
        target=replace(one.target, free_space=space, backups=Backups(dumps=str(volume / "dumps"))),
        at=lambda: NOW,
    )


async def test_dumps_go_last_and_only_once_somebody_approved_it(volume: Path) -> None:
    folder = volume / "dumps"
    folder.mkdir()
    nightly(folder)
    dump(folder, "orders-040.sql", age_days=40, text=" " * 6 * MB + WHOLE)
    dump(folder, "orders-030.sql", age_days=30, text=" " * 6 * MB + WHOLE)
    fill(volume / "ballast-1", 1)
    fill_up(volume)
    unasked = step("free_space", volume=str(volume), without_dumps=True)
    assert FREE_SPACE.planning.unasked == (("without_dumps", True),)
    refusal = await FREE_SPACE.check(unasked, dumping(volume))
    assert refusal is not None
    assert refusal.guard == "known_safe"

    done, log = await run(FREE_SPACE, free(volume), dumping(volume, "ballast-1"))

    assert done.outcome is StepOutcome.DONE, done.refusal
    assert log.verified().ok
    assert not (volume / "ballast-1").exists()
    left = sorted(path.name for path in folder.iterdir())
    assert left == [f"orders-{age:03}.sql" for age in (1, 2, 3, 20)]
