"""A day in which nothing breaks and much is wrong: does anybody get woken for nothing?

`python benchmarks/quiet_day.py [--quick] [--targets N]` prints one JSON line a figure. The watch,
the rules and the opening of incidents are those of `stanch run`, on virtual time; the network and
the servers are made up (`weather.py`). All the time packets are lost, for hours many of them; ways
are cut for up to a second; sessions are ended; Stanch's process is stopped and continued; its CPU
is taken away. At the end of the day every target is cut off for good, one after the other, and that
has to be told: a watch that sleeps would have a quiet day, too.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from figures import figure, say, tell
from weather import FarServer, Spell, Way, Weather

from stanch.model.errors import StoreError
from stanch.model.events import IncidentOpened
from stanch.model.ids import TargetName, WriterId
from stanch.model.samples import Sample
from stanch.model.symptoms import Symptom
from stanch.policy.canonical import canonical_text
from stanch.policy.parse import parse_policy, policy_hash
from stanch.policy.policy import Limits, Policy, TargetPolicy
from stanch.service.core import explains
from stanch.service.doing.watching import Watching
from stanch.service.house import open_house, projection_of
from stanch.service.record.policies import Policies
from stanch.service.watched.doubting import Doubts, LoopLag
from stanch.store import queries
from stanch.store.sql import SqlStore
from stanch.store.timelines import InlineStore
from stanch.testing.simulation import sim_policy
from stanch.testing.virtual_time import EPOCH, VirtualClock, VirtualLoop, run_virtually
from stanch.watch.run import Eyes, TargetWatch

BENCH = "quiet_day"
HOUR_S = 3600.0
TARGETS = 24
A_PROCESS = 8
BLACK_HOLED_S = 3.0
LAST_S = 60.0
"""Between two targets that are cut off at the end of the day, so that none is one of a crowd."""


@dataclass(kw_only=True)
class Day:
    """What came of one process's share of the targets."""

    told: list[tuple[str, float, str]] = field(default_factory=list[tuple[str, float, str]])
    """Target, second of the day, title of every incident."""
    cut_at_s: dict[str, float] = field(default_factory=dict[str, float])
    looks: int = 0
    trouble: Counter[str] = field(default_factory=Counter[str])
    """How often each kind of trouble came."""


def weather_of(rng: random.Random, hours: float, trouble: Counter[str]) -> Weather:
    """Loss all day, worse for hours, and short cuts, as the numbers say."""
    day_s = hours * HOUR_S
    spells = [
        *_spells(rng, day_s, count=hours / 4, lasts_s=(600, 3000), lost=(0.01, 0.05)),
        *_spells(rng, day_s, count=hours / 8, lasts_s=(120, 600), lost=(0.05, 0.15)),
        *_spells(rng, day_s, count=hours / 4, lasts_s=(5, 60), lost=(0.15, 0.3)),
        *_spells(rng, day_s, count=hours * 2, lasts_s=(0.1, 1.0), lost=(1.0, 1.0)),
    ]
    trouble["spells of loss"] += sum(s.lost < 1 for s in spells)
    trouble["ways cut for up to a second"] += sum(s.lost == 1 for s in spells)
    return Weather(spells=spells, usually=0.001)


def _spells(
    rng: random.Random,
    day_s: float,
    *,
    count: float,
    lasts_s: tuple[float, float],
    lost: tuple[float, float],
) -> list[Spell]:
    begins = [rng.uniform(0, day_s - lasts_s[1]) for _ in range(round(count))]
    return [
        Spell(from_s=begin, until_s=begin + rng.uniform(*lasts_s), lost=rng.uniform(*lost))
        for begin in begins
    ]


class Share:
    """One responder's loop with some of the targets, for one day."""

    def __init__(self, names: list[str], *, hours: float, seed: int) -> None:
        self._names, self._hours = names, hours
        self._rng = random.Random(seed)
        self.day = Day()
        self._servers: dict[str, FarServer] = {}
        self._ways: dict[str, Way] = {}
        self._clock = VirtualClock()

    async def pass_by(self) -> Day:
        """Live through the day, and through the cuts at its end."""
        for number, name in enumerate(self._names):
            weather = weather_of(self._rng, self._hours, self.day.trouble)
            round_trip_s = self._rng.choice((0.0005, 0.002, 0.012, 0.03))
            way = Way(weather, round_trip_s=round_trip_s, seed=self._rng.randrange(2**30) + number)
            self._ways[name], self._servers[name] = way, FarServer(way)
        watching, store = await self._watching()
        lag = LoopLag()
        doubts = Doubts(lag, None)

        async def take(sample: Sample) -> None:
            self.day.looks += 1
            await watching.take(sample)

        tasks = [asyncio.create_task(lag.run())]
        for name, server in self._servers.items():
            watch = TargetWatch(TargetName(name), self._eyes(server, doubts), take, every_s=1.0)
            tasks.append(asyncio.create_task(watch.run()))
        troubles = [
            asyncio.create_task(trouble())
            for trouble in (self._end_sessions, self._stop, self._starve)
        ]
        await asyncio.sleep(self._hours * HOUR_S)
        await _end(troubles)
        await self._cut_all()
        await _end(tasks)
        self._read(store)
        return self.day

    async def _watching(self) -> tuple[Watching, SqlStore]:
        targets = [
            TargetPolicy(
                name=TargetName(name),
                dsn=f"service={name}",
                page_after_s=0.0,
                limits=Limits(clear_hold_s=1.0, flap_window_s=0.0),
            )
            for name in self._names
        ]
        policy: Policy = sim_policy(*targets)
        text = canonical_text(policy)
        policies = Policies(
            policy_hash(text), policy, text, lambda old: parse_policy(old, file="stored")
        )
        sql = SqlStore.in_memory(
            projection_of(policies), writer_id=WriterId("day"), lease_clock_us=self._clock.now_us
        )
        house = await open_house(policies, InlineStore(sql), clock=self._clock)
        watching = Watching(
            book=house.book,
            policies=policies,
            standing=house.standing,
            clock=self._clock,
            explains=explains(),
            emergency=_nobody,
        )
        return watching, sql

    def _eyes(self, server: FarServer, doubts: Doubts) -> Eyes:
        return Eyes(
            session=server,
            probe=server.probe,
            knock=server.knock,
            greet=server.greet,
            volumes=_no_volumes,
            has_volumes=lambda: False,
            doubts=doubts.standing,
            now=self._clock.now,
        )

    # --- what is wrong ---

    async def _end_sessions(self) -> None:
        """`pg_terminate_backend` of the sentinel, a dozen times a day and target."""
        while True:
            await asyncio.sleep(self._rng.expovariate(len(self._names) / (2 * HOUR_S)))
            self._servers[self._rng.choice(self._names)].end()
            self.day.trouble["sessions ended"] += 1

    async def _stop(self) -> None:
        """SIGSTOP, and SIGCONT up to two minutes later."""
        while True:
            await asyncio.sleep(self._rng.expovariate(1 / HOUR_S))
            self._jump(self._rng.choice((0.5, 2.0, 5.0, 20.0, 120.0)) * self._rng.uniform(0.5, 1))
            self.day.trouble["stops of the process"] += 1

    async def _starve(self) -> None:
        """Ten minutes in which the process gets the CPU for moments only."""
        while True:
            await asyncio.sleep(self._rng.expovariate(1 / (3 * HOUR_S)))
            loop = asyncio.get_running_loop()
            until_s = loop.time() + 600
            while loop.time() < until_s:
                await asyncio.sleep(self._rng.expovariate(1 / 0.1))
                self._jump(min(1.5, self._rng.expovariate(1 / 0.2)))
            self.day.trouble["times without CPU"] += 1

    @staticmethod
    def _jump(seconds: float) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.jump(seconds)

    async def _cut_all(self) -> None:
        """What breaks in earnest, after the day."""
        # What the last hours left behind is over, and a clean way is what the target is about.
        for name in self._names:
            self._ways[name].weather = Weather(spells=(), usually=0.0)
        await asyncio.sleep(LAST_S)
        for name in self._names:
            await asyncio.sleep(LAST_S + self._rng.random())
            self._ways[name].cut_at_s = self.day.cut_at_s[name] = _now_s()
        await asyncio.sleep(LAST_S)

    def _read(self, store: SqlStore) -> None:
        ids = store.read(lambda c: queries.incident_ids(c, open_only=False, limit=10**6))
        for incident_id in ids:
            first = store.read(lambda c, i=incident_id: queries.timeline(c, i, after_seq=0))[0]
            assert isinstance(first.event, IncidentOpened)
            second = (first.at - EPOCH).total_seconds()
            self.day.told.append((str(first.event.target), second, first.event.title))


async def _nobody(symptom: Symptom) -> None:
    raise StoreError(f"the store in memory did not take {symptom.key}")


async def _no_volumes() -> None:
    return None


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError):
            await task


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def one_share(told: tuple[list[str], float, int]) -> Day:
    """In a process of its own."""
    names, hours, seed = told
    # The watch spreads its logins by chance; the same seed is to be the same day.
    random.seed(seed)
    day, _ = run_virtually(Share(names, hours=hours, seed=seed).pass_by())
    return day


def pass_days(targets: int, hours: float, *, seed: int) -> list[Day]:
    """All targets, a few for each process: a loop is busy with no more than it can serve."""
    names = [f"db{n + 1:03d}" for n in range(targets)]
    shares = [(names[n : n + A_PROCESS], hours, seed + n) for n in range(0, len(names), A_PROCESS)]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        return pool.map(one_share, shares)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two targets for one hour")
    parser.add_argument("--targets", type=int, default=TARGETS)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    targets, hours = (2, 1.0) if given.quick else (given.targets, given.hours)
    began = time.monotonic()
    days = pass_days(targets, hours, seed=given.seed)
    say(f"{targets} targets for {hours:g} h took {time.monotonic() - began:.0f} s")
    tell_days(days, hours=hours, targets=targets)


def tell_days(days: list[Day], *, hours: float, targets: int) -> None:
    """The figures; what was told for nothing is named on standard error."""
    false: list[str] = []
    after: list[float] = []
    for day in days:
        for name, second, title in sorted(day.told, key=_when):
            cut_at_s = day.cut_at_s.get(name, second + 1)
            if second < cut_at_s:
                false.append(f"{name} at {second:.1f} s: {title}")
            elif title == "server down":
                after.append(second - cut_at_s)
    for line in false:
        say(line)
    trouble = sum((day.trouble for day in days), Counter[str]())
    words = f"{targets} targets, {hours:g} h; {sum(d.looks for d in days)} looks; " + ", ".join(
        f"{count} {what}" for what, count in sorted(trouble.items())
    )
    tell(figure(BENCH, "incidents_nobody_caused", [len(false)], "incidents", target=0, note=words))
    assert len(after) == targets, f"{len(after)} of {targets} cuts at the end were told"
    words = "virtual time; every target once, when the day is over"
    limit = BLACK_HOLED_S
    tell(figure(BENCH, "black_holed.incident_open", after, "s", target=limit, note=words))


_when: Callable[[tuple[str, float, str]], float] = lambda told: told[1]  # noqa: E731

if __name__ == "__main__":
    main()
