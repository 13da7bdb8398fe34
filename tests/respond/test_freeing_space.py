"""free_space on real volumes: one file at a time, only what policy names, never the server's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from acting_worlds import TARGET, FixedProber, bare_world, permits, run, step
from stanch.adapters.hosts.files import LocalFiles
from stanch.adapters.postgres.os_user import server_user
from stanch.adapters.postgres.volumes import mount_sized_volume
from stanch.model.diagnosis import Missing
from stanch.model.plans import PlannedStep, Refusal, StepOutcome
from stanch.model.ports.acting import KeptFile, Space
from stanch.model.rules import RuleChange
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
