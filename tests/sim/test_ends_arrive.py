"""Whatever is broken, silenced, merged, removed or forgotten: every end arrives."""

from __future__ import annotations

import os
import random
from dataclasses import replace

import pytest

from clusters_at import PRIMARY, STANDBY, STOCK, ClusterHouse, cluster_house
from signals_at import signal
from stanch.incident.effects import AFTER_S
from stanch.model.ids import TargetName
from stanch.policy.signals import SignalSource

pytestmark = pytest.mark.sim

WORLDS = 400 if os.environ.get("STANCH_SOAK") == "1" else 4
TURNS = 60
TARGETS = (PRIMARY, STANDBY, STOCK)
SERVICES = ("checkout", "till", *(f"api-{n}" for n in range(18)))
FORGETS_AFTER_S = 300.0


class World:
    """What is wrong at the moment, and everything that may change it."""

    def __init__(self, house: ClusterHouse, chance: random.Random) -> None:
        self.house = house
        self.chance = chance
        self.down: set[TargetName] = set()
        self.ill: dict[TargetName, set[str]] = {t: set() for t in TARGETS}
        self.all_targets = house.policies.current
        self.alerts = 0

    async def look(self, times: int = 1) -> None:
        for _ in range(times):
            for target in TARGETS:
                ill = self.ill[target]
                await self.house.see(
                    target,
                    down=target in self.down,
                    failing=sorted(ill),
                    well=sorted({*SERVICES} - ill),
                    after=0.4,
                )
            await self.house.watching.let_go()

    async def turn(self) -> None:
        target = self.chance.choice(TARGETS)
        match self.chance.randrange(12):
            case 0 | 1:
                self.down ^= {target}
            case 2 | 3:
                self.ill[target] = {*self.chance.sample(SERVICES, self.chance.randrange(20))}
            case 4:
                self.ill[target] = set()
            case 5:
                await self.house.restart()
            case 6:
                with self.house.no_store():
                    self.ill[target] ^= {self.chance.choice(SERVICES)}
                    await self.look(self.chance.randrange(20))
            case 7:
                await self.remove(target)
            case 8:
                await self.alert(target)
            case 9:
                await self.hold(target)
            case 10:
                await self.close_one()
            case _:
                self.house.later(self.chance.choice((1.0, 70.0, 700.0)))
        await self.look(self.chance.randrange(16))

    async def remove(self, target: TargetName) -> None:
        """Out of the policy, and back some other time."""
        if self.house.policies.current is not self.all_targets:
            self.house.adopt(self.all_targets)
            return
        left = tuple(t for t in self.all_targets.targets if t.name != target)
        self.house.adopt(replace(self.all_targets, targets=left))

    async def alert(self, target: TargetName) -> None:
        """Some are said to be over, some are forgotten by their source."""
        self.alerts += 1
        key = f"k{self.chance.randrange(1, self.alerts + 1)}"
        over = self.chance.random() < 0.3
        await self.house.hear(signal(key, labels={"target": target}, resolved=over))

    async def hold(self, target: TargetName) -> None:
        if self.house.policies.current.target(target) is None:
            return
        rule = self.chance.choice(("server_down", "health_check_failing", "outside_alert"))
        command = self.chance.choice(("silence", "maintenance"))
        request = {"command": command, "target": target, "by": "ann", "reason": "known"}
        end = self.chance.random() < 0.4
        await self.house.house.operations.execute(
            {
                **request,
                "rule": rule,
                "subject": "prom:k1" if rule == "outside_alert" else "",
                "end": end,
                "seconds": self.chance.choice((5, 90, 900)),
            }
        )

    async def close_one(self) -> None:
        for incident in (await self.house.open_ones())[:1]:
            await self.house.resolve(incident)

    async def mended(self) -> None:
        """All is well again, for longer than anything waits."""
        self.house.adopt(self.all_targets)
        self.down.clear()
        self.ill = {t: set() for t in TARGETS}
        await self.look(12)
        for _ in range(3):
            self.house.later(max(AFTER_S, FORGETS_AFTER_S, 900.0) + 1)
            await self.look(12)
            await self.house.sweep()


async def house_of_a_forgetful_source() -> ClusterHouse:
    house = await cluster_house()
    source = SignalSource(
        name="prom",
        format="alertmanager",
        token_file="/nowhere",
        resolve_after_s=FORGETS_AFTER_S,
    )
    policy = house.policies.current
    house.adopt(replace(policy, signals=replace(policy.signals, sources=(source,))))
    return house


@pytest.mark.parametrize("seed", range(WORLDS))
async def test_every_end_arrives(seed: int) -> None:
    world = World(await house_of_a_forgetful_source(), random.Random(seed))
    for _ in range(TURNS):
        await world.turn()
    await world.mended()
    for incident in await world.house.incidents():
        assert list(incident.everything) == [], incident.id
        assert world.house.pages_due(incident) == [], incident.id
