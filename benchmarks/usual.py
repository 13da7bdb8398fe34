"""What keeping the usual times of many targets costs: rows, bytes, and milliseconds.

`python benchmarks/usual.py [--targets 1000] [--series 8]` prints one JSON line a figure. Every
series is full, eight weeks of each hour of the week, as after two months of watching. Told as well
is how late the event loop was meanwhile, and how long an operation of the journal took.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from pathlib import Path

from append import Seq
from figures import figure, say, tell

from stanch.detect.usual import HOURS, WEEKS_KEPT, Baseline
from stanch.model.ids import TargetName
from stanch.model.symptoms import SymptomKind
from stanch.service.clock import SteadyClock
from stanch.service.record.baselines import Baselines, Learned
from stanch.store.sql import SqlStore
from stanch.store.timelines import StoreThread

BENCH = "usual"
KIND = SymptomKind.LAYER_SLOW


def full(seed: int) -> Baseline:
    """A series that was learned for eight weeks."""
    chance, baseline = random.Random(seed), Baseline()
    for hour in range(HOURS * WEEKS_KEPT + 1):
        for minute in (0, 20, 40):
            baseline.learn((60 * hour + minute) * 60.0, chance.uniform(0.5, 50.0))
    return baseline


def copies(of: Baseline, count: int) -> list[Baseline]:
    content = of.stored()
    made = [Baseline.from_stored(content) for _ in range(count)]
    for baseline in made:
        baseline.unstored = 1
    return made


async def _lateness(stop: asyncio.Event, found: list[float]) -> None:
    while not stop.is_set():
        before = time.perf_counter()
        await asyncio.sleep(0.005)
        found.append(1000 * (time.perf_counter() - before - 0.005))


async def _commits(stop: asyncio.Event, store: StoreThread, found: list[float]) -> None:
    while not stop.is_set():
        before = time.perf_counter()
        await store.settled()
        found.append(1000 * (time.perf_counter() - before))
        await asyncio.sleep(0.02)


async def measure(folder: Path, targets: int, series: int) -> None:
    store = StoreThread(SqlStore.open(folder, Seq()))
    baselines = Baselines(store, SteadyClock())
    rows = targets * series
    names = [TargetName(f"db{n:04}") for n in range(targets)]
    learned = [
        Learned(names[n // series], KIND, f"layer {n % series}", baseline)
        for n, baseline in enumerate(copies(full(1), rows))
    ]
    say(f"{rows} series of {targets} targets")
    stop, late, commits = asyncio.Event(), list[float](), list[float]()
    async with asyncio.TaskGroup() as group:
        group.create_task(_lateness(stop, late))
        group.create_task(_commits(stop, store, commits))
        for case, pause_s in (("an hour that ended everywhere", 0.05), ("a clean stop", 0.0)):
            wall, cpu = time.perf_counter(), time.process_time()
            await baselines.write(learned, pause_s=pause_s)
            note = f"{rows} rows of {targets} targets"
            seconds = [time.perf_counter() - wall]
            tell(figure(BENCH, f"{case}: wall", seconds, "s", note=note))
            tell(figure(BENCH, f"{case}: processor", [time.process_time() - cpu], "s", note=note))
        stop.set()
    tell(figure(BENCH, "event loop late meanwhile", late, "ms", target_p99=20.0))
    tell(figure(BENCH, "an operation of the journal meanwhile", commits, "ms"))
    wall = time.perf_counter()
    await Baselines(store, SteadyClock()).load(names)
    tell(figure(BENCH, "reading all of it at a start", [time.perf_counter() - wall], "s"))
    await store.close()
    size = (folder / "stanch.db").stat().st_size  # nothing else goes on
    tell(figure(BENCH, "bytes a target in the store", [size / targets], "bytes"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", type=int, default=1000)
    parser.add_argument("--series", type=int, default=8)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(Path(folder), given.targets, given.series))


if __name__ == "__main__":
    main()
