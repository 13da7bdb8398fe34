"""Rules over the machine, heard from the real one under these tests; only the limits are ours."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from samplings import ORDERS, T0, TARGET, Watched, seen, target
from stanch.adapters.hosts.local import LocalHost
from stanch.adapters.hosts.this_machine import ThisMachine
from stanch.adapters.postgres.volumes import mount_sized_volume
from stanch.model.host import Volume
from stanch.model.machine import HostFacts
from stanch.model.samples import Sample
from stanch.policy.policy import TargetPolicy
from stanch.watch.hosts.readings import MachineReadings

EAGER = target(
    memory_low={"limit": 100.0, "clear": 101.0, "hold_s": 0.0},
    load_high={"limit": 0.0, "clear": -1.0, "hold_s": 0.0},
    cpu_stolen={"limit": 0.0, "clear": -1.0, "hold_s": 0.0},
    disk_low={"hold_s": 0.0},
    inodes_low={"limit": 100.0, "clear": 101.0, "hold_s": 0.0},
    disk_short={"hold_s": 0.0},
    disk_filling={"hold_s": 0.0},
)
"""What is true of any machine is trouble to these rules."""


class Judge:
    """Looks at this machine, a made-up minute apart, and keeps what the rules raise."""

    def __init__(self, policy: TargetPolicy, folder: Path) -> None:
        self._reader = ThisMachine(lambda: str(folder), now=lambda: datetime.now(UTC))
        self._readings = MachineReadings(volumes=True)
        self._places = [str(folder)]
        self._rules = Watched(policy)
        self._minutes = 0

    @property
    def raised(self) -> set[str]:
        return {key.partition(":")[0] for key in self._rules.raised}

    async def look(self) -> None:
        facts = await self._reader.facts(deadline_s=5.0)
        assert isinstance(facts, HostFacts)
        self._minutes += 1
        readings = self._readings.of(facts, places=self._places)
        sample = Sample(target=ORDERS, at=T0, readings=readings)
        self._rules.look(60.0 * self._minutes, sample)


@pytest.fixture
def small_volume(tmp_path: Path) -> Iterator[Path]:
    volume = mount_sized_volume(tmp_path / "volume", size_mb=400, owner=None)
    if volume is None:
        pytest.skip("this machine lets us mount no volume")
    yield volume.mount_point
    volume.unmount()


async def test_what_is_short_on_this_machine_is_told_and_nothing_by_the_usual_limits(
    tmp_path: Path,
) -> None:
    eager, usual = Judge(EAGER, tmp_path), Judge(TARGET, tmp_path)
    for judge in (eager, usual):
        await judge.look()
        # Processor time has to pass between two looks.
        await asyncio.sleep(0.05)
        await judge.look()
    assert {"memory_low", "load_high", "cpu_stolen"} <= eager.raised
    assert not {"memory_low", "cpu_stolen"} & usual.raised


async def test_a_volume_that_fills_is_told_before_it_is_low_and_before_it_is_full(
    small_volume: Path,
) -> None:
    judge = Judge(EAGER, small_volume)
    await judge.look()
    assert judge.raised == {"memory_low", "load_high", "inodes_low"}
    for number in range(8):
        take(small_volume / str(number), megabytes=40)
        await judge.look()
    assert {"disk_filling", "disk_short"} <= judge.raised
    assert "disk_low" not in judge.raised
    take(small_volume / "more", megabytes=43)
    await judge.look()
    assert "disk_low" in judge.raised
    assert "disk_full" not in judge.raised
    take(small_volume / "all", megabytes=20)
    await judge.look()
    assert "disk_full" in judge.raised


async def test_a_volume_that_takes_no_writes_is_told_and_one_that_only_we_may_not_write_is_not(
    small_volume: Path,
) -> None:
    data = small_volume / "data"
    data.mkdir()
    there, inside = LocalHost(data_directory=str(data)), Judge(TARGET, data)
    rules = Watched()

    async def look(at_s: float) -> list[str]:
        volumes = [v for v in await there.volumes() if isinstance(v, Volume)]
        await inside.look()
        rules.look(at_s, seen(volumes=tuple(volumes)))
        return [key for key in rules.raised if key.startswith("volume_read_only")]

    for at_s in (0, 10):
        assert await look(at_s) == []
    view = small_volume.parent / "view"
    view.mkdir()
    mount("--bind", small_volume, view)
    try:
        mount("-o", "remount,bind,ro", view)
        there = LocalHost(data_directory=str(view / "data"))
        for at_s in (20, 30):
            assert await look(at_s) == [], "a container with a read-only view of it"
    finally:
        subprocess.run(["umount", view], check=True)
    there = LocalHost(data_directory=str(data))
    mount("-o", "remount,ro", small_volume)
    assert await look(40) == []
    assert await look(46) == [f"volume_read_only:{small_volume}"]
    await inside.look()
    assert "volume_read_only" in inside.raised


def mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *arguments], check=True)


def take(path: Path, *, megabytes: int) -> None:
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, megabytes * 2**20)
