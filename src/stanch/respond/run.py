"""One look at whether a target is rescued."""

from __future__ import annotations

import asyncio

from stanch.model.diagnosis import Missing
from stanch.model.events import RescueChecked
from stanch.model.host import Volume
from stanch.model.ports.acting import LoginReading
from stanch.respond.reading.run import read_vitals
from stanch.respond.rescue import RescueReadings, judge
from stanch.steps.world import World

LOGIN_DEADLINE_S = 5.0


async def check_rescue(world: World) -> RescueChecked:
    """Log in as the application, write, count connections, look at the disks; then judge.

    Cost: two short connections, one after the other, and one vitals question; nothing stays.
    """
    login, vitals, volumes = await asyncio.gather(
        _login(world), read_vitals(world), _volumes(world)
    )
    readings = RescueReadings(
        login=login,
        vitals=vitals,
        volumes=volumes,
        diagnosis=world.diagnosis,
        was_primary=world.was_primary,
        cluster=world.cluster,
        was_cluster=world.was_cluster,
    )
    return judge(readings, world.target)


async def _login(world: World) -> LoginReading | Missing:
    if world.app_login is None:
        return Missing(what="login", reason="policy names no way to log in")
    return await world.app_login.login_and_write(deadline_s=LOGIN_DEADLINE_S)


async def _volumes(world: World) -> tuple[Volume | Missing, ...] | None:
    return None if world.host is None else await world.host.volumes()
