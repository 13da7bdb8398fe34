"""Jobs that fall silent: missed in time, over with the next beat, also across restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from signals_at import SignalHouse, policy_with
from stanch.policy.signals import ExpectedHeartbeat, Signals
from stanch.service.signals.heartbeats import Heartbeats

DUMP = ExpectedHeartbeat(name="dump", every_s=60, token_file="/t", target="orders")
POLICY = policy_with(Signals(heartbeats=(DUMP,)))


@asynccontextmanager
async def waiting(house: SignalHouse) -> AsyncIterator[Heartbeats]:
    """One life of a responder."""
    task = asyncio.create_task(house.intake.run())
    try:
        yield Heartbeats(house.rows, house.intake, policies=house.policies, clock=house)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def told(house: SignalHouse, beats: Heartbeats, *, after: float) -> list[list[str]]:
    """The standing symptoms of every incident, after so long."""
    house.later(after)
    await beats.look()
    await house.tell()
    return [sorted(incident.symptoms) for incident in await house.incidents()]


MISSED = ["outside_alert:heartbeat:dump"]


async def test_a_silence_is_an_incident_and_the_next_beat_clears_it() -> None:
    house = await SignalHouse(POLICY).open()
    async with waiting(house) as beats:
        await beats.hear("dump")
        assert await told(house, beats, after=60) == []
        # The first start gave this silence nothing: it was heard after it.
        assert await told(house, beats, after=1) == [MISSED]
        [incident] = await house.incidents()
        assert (incident.target, incident.title) == ("orders", "no heartbeat of dump for 1 min 1 s")
        await beats.hear("dump")
        assert await told(house, beats, after=1) == [[]]


async def test_what_was_heard_before_a_restart_counts_and_the_start_gives_one_interval() -> None:
    house = await SignalHouse(POLICY).open()
    async with waiting(house) as beats:
        await beats.hear("dump")
    house.later(50)
    async with waiting(house) as beats:
        assert await told(house, beats, after=0) == []
        # It may have been sent while nobody listened: missed at 50 + 60 s, not at 60 s.
        assert await told(house, beats, after=59) == []
    async with waiting(house) as beats:
        # A second start in the same silence gives nothing more.
        assert await told(house, beats, after=2) == [MISSED]


async def test_a_silence_that_goes_on_is_repeated_now_and_then() -> None:
    house = await SignalHouse(POLICY).open()
    async with waiting(house) as beats:
        await told(house, beats, after=0)
        for _ in range(200):
            await told(house, beats, after=5)
        [row] = await house.rows.listed(firing_only=True, limit=9)
        assert 10 <= row.count <= 20
        [incident] = await house.incidents()
        assert await house.events(incident) == ["incident.opened"]


async def test_the_age_is_a_reading() -> None:
    house = await SignalHouse(POLICY).open()
    async with waiting(house) as beats:
        await beats.hear("dump")
        house.later(7)
        [reading] = beats.readings()
        assert (reading.name, reading.subject, reading.value) == ("heartbeat_age_s", "dump", 7.0)


async def test_after_a_reload_others_are_waited_for() -> None:
    house = await SignalHouse(POLICY).open()
    async with waiting(house) as beats:
        await beats.look()
        other = ExpectedHeartbeat(name="sync", every_s=60, token_file="/t")
        house.policies.apply("h2", policy_with(Signals(heartbeats=(other,))), "{}")
        await beats.look()
        assert [beat.name for beat in await house.rows.beats()] == ["sync"]
