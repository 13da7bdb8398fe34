"""Incidents on many servers, with everything going wrong at random moments."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter

import pytest

from sim.truths import check_everything
from stanch.testing.simulation import ANN, Simulation, sim_policy, sim_target
from stanch.testing.simworld import SimServer
from stanch.testing.virtual_time import run_virtually

pytestmark = pytest.mark.sim

SOAK = os.environ.get("STANCH_SOAK") == "1"
WORLDS = 80 if SOAK else 2
SERVERS = 10 if SOAK else 6
STORIES_EACH = 5 if SOAK else 4
"""Fifty stories in the ordinary run, four thousand in `make soak`."""

FAULTS = ("kill", "stop", "stale", "leak", "block", "fill", "fill and die", "cut off")


async def live(sim: Simulation, server: SimServer, chance: random.Random) -> None:
    """One server's bad week: fault after fault, each once the one before is mended."""
    await asyncio.sleep(chance.uniform(1.0, 30.0))
    for _ in range(STORIES_EACH):
        fault = chance.choice(FAULTS)
        await break_it(server, fault, chance)
        await mended(server)
        # Beyond a flap, so that most faults are incidents of their own.
        await asyncio.sleep(chance.choice((10.0, 100.0)))


async def break_it(server: SimServer, fault: str, chance: random.Random) -> None:
    match fault:
        case "kill":
            server.kill()
        case "stop":
            server.stop()
        case "stale":
            server.die_and_lose_its_pid()
        case "leak":
            server.leak()
        case "block":
            server.block()
        case "fill":
            server.fill(dies=False)
        case "fill and die":
            server.fill(dies=True)
        case _:
            server.cut_off()
            await asyncio.sleep(chance.uniform(0.2, 40.0))
            server.join_again()


async def mended(server: SimServer) -> None:
    """Until it is well; after a while people give up waiting and mend it themselves."""
    for _ in range(300):
        await asyncio.sleep(1.0)
        if server.well:
            return
    server.mend_by_hand()
    await asyncio.sleep(5.0)


async def trouble_of_our_own(sim: Simulation, chance: random.Random) -> None:
    """The responder dies, its mail server fails, its store goes away; people acknowledge."""
    while True:
        await asyncio.sleep(chance.uniform(20.0, 400.0))
        running = sim.now
        if running is None:
            continue
        match chance.choice(("die", "mail", "store", "ack")):
            case "die":
                running.life.kill()
            case "mail":
                sim.mail.failing = True
                await asyncio.sleep(chance.uniform(1.0, 60.0))
                sim.mail.failing = False
            case "store":
                running.store.broken = True
                await asyncio.sleep(chance.uniform(0.5, 30.0))
                running.store.broken = False
            case _:
                await acknowledge(sim)


async def acknowledge(sim: Simulation) -> None:
    if sim.now is None:
        return
    operations = sim.now.house.operations
    for incident in await operations.incidents(open_only=True, limit=3):
        await operations.execute({"command": "ack", "incident": incident.id, "by": ANN})


@pytest.mark.parametrize("seed", range(WORLDS))
def test_whatever_happens_every_incident_ends_and_nothing_is_done_twice(seed: int) -> None:
    print(f"seed {seed}")
    chance = random.Random(seed)

    async def main() -> Simulation:
        names = [f"server-{n}" for n in range(SERVERS)]
        sim = Simulation(
            sim_policy(*(sim_target(name, sample_every_s=5.0) for name in names)), seed=seed
        )

        async def script(sim: Simulation) -> None:
            trouble = asyncio.create_task(trouble_of_our_own(sim, chance))
            await asyncio.gather(*(live(sim, server, chance) for server in sim.servers.values()))
            trouble.cancel()
            sim.mail.failing = False
            if sim.now is not None:
                sim.now.store.broken = False

        await sim.run(script, deadline_s=86_400.0)
        return sim

    sim, _ = run_virtually(main())
    faults = sum((server.faults for server in sim.servers.values()), Counter())
    assert faults.total() == SERVERS * STORIES_EACH
    assert len(sim.incident_ids()) >= 0.4 * faults.total()
    check_everything(sim)
    done = sum((Counter(e.kind for e in s.effects) for s in sim.servers.values()), Counter())
    down = faults["kill"] + faults["stop"] + faults["stale"]
    assert done["start"] <= down + faults["fill"]
    assert done["rename"] <= faults["stale"]
    assert done["remove"] <= faults["fill"]
