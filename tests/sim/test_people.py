"""Who is told what and when: over days, over a broken channel, over a store that is gone."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from sim.truths import STORIES, check_everything, check_record, incident
from stanch.incident.state import Status
from stanch.model import events as e
from stanch.model.ids import ITSELF
from stanch.model.messages import MessageKind
from stanch.model.symptoms import Symptom, SymptomKind
from stanch.policy.policy import Rescue, TargetPolicy
from stanch.testing.simulation import ANN, BO, Simulation, sim_policy, sim_target
from stanch.testing.simworld import SimServer
from stanch.testing.virtual_time import EPOCH, VirtualLoop, run_virtually

pytestmark = pytest.mark.sim

DAY_S = 86_400.0
ACK_WITHIN_S = 300.0


def played(
    script: Callable[[Simulation], Awaitable[None]],
    *,
    deadline_s: float,
    watched: bool = True,
    target: TargetPolicy | None = None,
) -> Simulation:
    async def main() -> Simulation:
        sim = Simulation(sim_policy(target or sim_target("orders")))
        sim.watched = watched
        await sim.run(script, deadline_s=deadline_s)
        return sim

    return run_virtually(main())[0]


def lost_pid_without_a_note(sim: Simulation) -> SimServer:
    """Broken so that Stanch may do nothing: the lock file cannot be proven stale."""
    server = sim.servers["orders"]
    server.die_and_lose_its_pid()
    sim.notes.clear()
    return server


async def asked(sim: Simulation, command: str, **more: object) -> None:
    assert sim.now is not None
    newest = sim.incident_ids()[-1]
    answer = await sim.now.house.operations.execute(
        {"command": command, "incident": newest, "by": "ann", **more}
    )
    assert answer.ok, answer.text


def pages(sim: Simulation) -> list[tuple[float, str]]:
    """Moment and person of every page that the mail server took."""
    return [
        ((at - EPOCH).total_seconds(), str(delivery.person))
        for at, message, delivery in sim.mail.taken
        if message.kind is MessageKind.PAGE
    ]


async def declared(sim: Simulation) -> None:
    assert sim.now is not None
    request = {"command": "declare", "title": "orders are lost", "target": "orders", "by": "ann"}
    answer = await sim.now.house.operations.execute({**request, "severity": "P0"})
    assert answer.ok, answer.text


async def blind(sim: Simulation) -> None:
    """An incident about the responder itself: it is nobody's target, so people are all there is."""
    assert sim.now is not None
    symptom = Symptom(kind=SymptomKind.BLIND, target=ITSELF, since=sim.clock.now())
    opened = e.IncidentOpened(
        target=ITSELF,
        title="Stanch is blind",
        symptom=symptom,
        severity_rank=1,
        severity_label="P0",
        severity_reason="blind is P0 by policy",
        data_at_risk="possible",
        policy_hash=sim.now.house.policies.current_hash,
        page_after_s=0.0,
    )
    await sim.now.house.book.open([opened])


def raised_pages(sim: Simulation) -> list[e.MessageRaised]:
    events = [r.event for r in sim.timeline(sim.incident_ids()[0])]
    return [
        event
        for event in events
        if isinstance(event, e.MessageRaised) and event.message_kind is MessageKind.PAGE
    ]


def test_nobody_answers_so_the_ladder_goes_round_and_each_level_is_paged_once() -> None:
    days = 2

    async def script(sim: Simulation) -> None:
        await asyncio.sleep(1.5)
        await blind(sim)
        await asyncio.sleep(days * DAY_S)
        await asked(sim, "resolve", unverified=True, reason="found them")

    sim = played(script, deadline_s=9 * DAY_S, watched=False)
    levels = [event.level for event in raised_pages(sim)]
    assert levels == list(range(1, len(levels) + 1))
    assert abs(len(levels) - days * DAY_S / ACK_WITHIN_S) <= 1
    told = pages(sim)
    assert [who for _, who in told] == [[ANN, BO][n % 2] for n in range(len(levels))]
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(told)]
    assert all(abs(gap - ACK_WITHIN_S) < 1.0 for gap in gaps)
    check_everything(sim)


def test_an_acknowledgement_ends_the_paging_but_not_the_incident() -> None:
    async def script(sim: Simulation) -> None:
        await asyncio.sleep(1.5)
        await declared(sim)
        await asyncio.sleep(400)
        await asked(sim, "ack")
        await asyncio.sleep(6 * ACK_WITHIN_S)
        assert incident(sim).status is Status.OPEN
        await asked(sim, "resolve", unverified=True, reason="found them")

    sim = played(script, deadline_s=9 * DAY_S, watched=False)
    assert [who for _, who in pages(sim)] == [ANN, BO]
    check_everything(sim)


def test_a_responder_that_was_away_for_hours_pages_everybody_it_skipped_in_one_page() -> None:
    async def script(sim: Simulation) -> None:
        await asyncio.sleep(1.5)
        await declared(sim)
        await asyncio.sleep(60)
        assert sim.now is not None
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        sim.now.life.kill()
        loop.jump(4 * ACK_WITHIN_S)
        await asyncio.sleep(60)
        await asked(sim, "resolve", unverified=True, reason="found them")

    sim = played(script, deadline_s=9 * DAY_S, watched=False)
    first, after = raised_pages(sim)
    assert (first.level, first.persons) == (1, (ANN,))
    assert after.level > 3
    assert set(after.persons) == {ANN, BO}
    check_everything(sim)


def test_a_channel_that_fails_for_an_hour_delivers_the_page_when_it_works_again() -> None:
    async def script(sim: Simulation) -> None:
        await asyncio.sleep(1.5)
        sim.mail.failing = True
        await blind(sim)
        await asyncio.sleep(3_600)
        assert pages(sim) == []
        sim.mail.failing = False
        await asyncio.sleep(120)
        assert len(pages(sim)) == len(raised_pages(sim))
        await asked(sim, "resolve", unverified=True, reason="found them")

    sim = played(script, deadline_s=9 * DAY_S, watched=False)
    assert sim.mail.refused > 60
    once = Counter(d.id for _, m, d in sim.mail.taken if m.kind is MessageKind.PAGE)
    assert set(once.values()) == {1}
    check_everything(sim)


def test_without_a_proof_a_lock_file_stays_and_people_are_paged() -> None:
    async def script(sim: Simulation) -> None:
        await asyncio.sleep(1.5)
        server = lost_pid_without_a_note(sim)
        await asyncio.sleep(60)
        assert [who for _, who in pages(sim)] == [ANN]
        server.come_back_by_itself()
        await asyncio.sleep(5)

    sim = played(script, deadline_s=DAY_S)
    assert sim.servers["orders"].effects == []
    check_everything(sim)


def test_without_a_store_people_are_paged_and_nothing_is_done() -> None:
    async def script(sim: Simulation) -> None:
        await asyncio.sleep(1.5)
        assert sim.now is not None
        sim.now.store.broken = True
        server = sim.servers["orders"]
        server.kill()
        await asyncio.sleep(600)
        assert server.effects == []
        sim.now.store.broken = False
        await asyncio.sleep(30)

    sim = played(script, deadline_s=DAY_S)
    unrecorded = [p for p in pages(sim) if p[0] < 601.5]
    assert unrecorded[0][0] < 4.0, "at once"
    assert {who for _, who in unrecorded} == {ANN, BO}, "the whole ladder"
    assert 2 <= len(unrecorded) / 2 <= 4, "again and again, but not each second"
    told = [
        r.event
        for r in sim.timeline(sim.incident_ids()[0])
        if isinstance(r.event, e.PagedUnrecorded)
    ]
    assert len(told) == len(unrecorded) / 2, "afterwards its timeline knows of each"
    assert sim.servers["orders"].done("start") == 1
    check_everything(sim)


def test_a_store_that_fails_in_the_middle_of_a_rescue_stops_all_acting() -> None:
    async def script(sim: Simulation) -> None:
        await asyncio.sleep(1.5)
        assert sim.now is not None
        running, server = sim.now, sim.servers["orders"]
        running.store.on_intent = lambda intent: setattr(running.store, "broken", True)
        STORIES["connections leaked"](server)
        await asyncio.sleep(600)
        during = len(server.effects)
        await asyncio.sleep(60)
        assert len(server.effects) == during
        running.store.on_intent = lambda intent: None
        running.store.broken = False
        await asyncio.sleep(30)

    sim = played(script, deadline_s=DAY_S)
    check_everything(sim)


def test_a_process_that_stood_still_does_not_count_that_time_as_proof() -> None:
    async def script(sim: Simulation) -> None:
        await asyncio.sleep(1.5)
        server = lost_pid_without_a_note(sim)
        await asyncio.sleep(5)
        server.mend_by_hand()
        assert sim.now is not None
        while not (await sim.now.house.book.get(sim.incident_ids()[0])).rescue.ok_checks:
            await asyncio.sleep(0.1)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.jump(600)

    target = replace(
        sim_target("orders"),
        rescue=Rescue(window_s=60.0, check_every_s=5.0, resolve_after_s=60.0),
    )
    sim = played(script, deadline_s=DAY_S, target=target)
    events = [r.event for r in sim.timeline(sim.incident_ids()[0])]
    [rescued] = [event for event in events if isinstance(event, e.IncidentRescued)]
    assert 60.0 <= rescued.window_s < 90.0
    assert rescued.checks >= 10
    check_everything(sim)


def test_what_was_missed_is_counted_from_the_newest_entry_of_all() -> None:
    async def script(sim: Simulation) -> None:
        await asyncio.sleep(2 * DAY_S)
        await declared(sim)
        await asyncio.sleep(5)
        assert sim.now is not None
        sim.now.life.kill()
        await asyncio.sleep(10)
        await asked(sim, "resolve", unverified=True, reason="found them")

    sim = played(script, deadline_s=3 * DAY_S, watched=False)
    [resumed] = [
        (r.at, r.event.away_since)
        for r in sim.timeline(sim.incident_ids()[0])
        if isinstance(r.event, e.ResponderResumed)
    ]
    at, since = resumed
    assert since is not None
    assert (at - since).total_seconds() < 10


def test_a_server_stopped_in_a_maintenance_window_is_started_only_after_it() -> None:
    async def script(sim: Simulation) -> None:
        await asyncio.sleep(1.5)
        server = sim.servers["orders"]
        assert sim.now is not None
        request = {"command": "maintenance", "by": "ann", "target": "orders", "seconds": 7200}
        await sim.now.house.operations.execute(request)
        server.stop()
        await asyncio.sleep(3600)
        assert server.effects == []
        assert pages(sim) == []
        await sim.now.house.operations.execute({**request, "end": True})
        await asyncio.sleep(60)
        assert [effect.kind for effect in server.effects] == ["start"]

    sim = played(script, deadline_s=DAY_S)
    check_everything(sim)


def test_a_server_that_lets_nobody_in_is_paged_for_and_left_alone() -> None:
    async def script(sim: Simulation) -> None:
        await asyncio.sleep(1.5)
        assert sim.now is not None
        server = sim.servers["orders"]
        server.reserves_slots = False
        server.kill()
        server.strangers.clear()
        server.come_back_by_itself()
        await asyncio.sleep(0.55)
        server.leak()
        await asyncio.sleep(400)
        assert [who for _, who in pages(sim)] == [ANN, BO]
        assert server.effects == []
        server.kill()
        await asyncio.sleep(60)

    sim = played(script, deadline_s=DAY_S)
    check_everything(sim)
    for incident_id in sim.incident_ids():
        check_record(sim.timeline(incident_id))
