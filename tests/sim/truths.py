"""What must be true of every story, however often the responder was killed in it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

from stanch.incident.fold import fold
from stanch.incident.state import Incident
from stanch.model import events as e
from stanch.model.events import obligation_of
from stanch.model.ids import RESPONDER, IncidentId
from stanch.model.messages import MessageKind
from stanch.model.plans import StepOutcome
from stanch.model.timeline import Recorded
from stanch.testing.simulation import Simulation, sim_policy, sim_target
from stanch.testing.simworld import SimServer
from stanch.testing.virtual_time import run_virtually

FAULT_AT_S = 1.5

Break = Callable[[SimServer], None]

STORIES: dict[str, Break] = {
    "killed": SimServer.kill,
    "stopped cleanly": SimServer.stop,
    "stale lock file": SimServer.die_and_lose_its_pid,
    "connections leaked": SimServer.leak,
    "blocked by an idle transaction": SimServer.block,
    "disk full": lambda server: server.fill(dies=True),
}

EFFECTS: dict[str, dict[str, range]] = {
    "killed": {"start": range(1, 2)},
    "stopped cleanly": {"start": range(1, 2)},
    "stale lock file": {"rename": range(1, 2), "start": range(1, 2)},
    # Killed half-way, it finds enough room before the last of them has to go.
    "connections leaked": {"end": range(8, 13)},
    "blocked by an idle transaction": {"end": range(1, 2)},
    "disk full": {"remove": range(1, 2), "start": range(1, 2)},
}
"""What mends each, and not one effect more."""


async def broken_once(sim: Simulation, break_it: Break) -> None:
    """Break the one server, and wait until somebody has noticed."""
    await asyncio.sleep(FAULT_AT_S)
    break_it(sim.servers["orders"])
    while not sim.incident_ids():
        await asyncio.sleep(0.25)


def told(break_it: Break, *deaths: int) -> Simulation:
    """The story of one server that breaks once, to its end."""
    made: list[Simulation] = []

    async def main() -> None:
        sim = Simulation(sim_policy(sim_target("orders")))
        made.append(sim)
        await sim.run(lambda s: broken_once(s, break_it), deaths=deaths)

    run_virtually(main())
    return made[0]


def check_everything(sim: Simulation) -> None:
    """Every truth that holds for any story that came to its end."""
    assert sim.failures == []
    assert [v for s in sim.servers.values() for v in s.violations] == []
    report = sim.sql.verify()
    assert report.ok, report.problems
    for incident_id in sim.incident_ids():
        timeline = sim.timeline(incident_id)
        check_record(timeline)
        check_pages(sim, timeline)
        check_rescues(sim, timeline)
        check_steps(timeline)
        assert fold(incident_id, timeline).status.ended, incident_id
    check_record(sim.timeline(RESPONDER))


def check_record(timeline: Sequence[Recorded]) -> None:
    """Nothing is missing, nothing runs backwards, nothing owed was paid twice."""
    assert [r.seq for r in timeline] == list(range(1, len(timeline) + 1))
    assert all(a.at <= b.at for a, b in pairwise(timeline))
    owed = [o for r in timeline if (o := obligation_of(r.event)) is not None]
    assert len(owed) == len(set(owed))


def check_pages(sim: Simulation, timeline: Sequence[Recorded]) -> None:
    """Every page reached the channel, unless somebody had the incident already."""
    taken = {delivery.id for _, _, delivery in sim.mail.taken}
    for recorded in timeline:
        event = recorded.event
        if isinstance(event, e.MessageRaised) and event.message_kind is MessageKind.PAGE:
            lost = [d.id for d in event.deliveries if d.id not in taken]
            over = any(
                isinstance(r.event, e.IncidentAcknowledged | e.IncidentResolved | e.IncidentMerged)
                for r in timeline[recorded.seq :]
                if (r.at - recorded.at).total_seconds() < 0.5 or sim.mail.refused
            )
            assert not lost or over, f"never accepted: {lost}"


def check_rescues(sim: Simulation, timeline: Sequence[Recorded]) -> None:
    """Nobody said "rescued" of a server that did not serve for the whole window."""
    server = sim.servers.get(fold_target(timeline))
    for recorded in timeline:
        if not isinstance(recorded.event, e.IncidentRescued) or server is None:
            continue
        looks = [
            r
            for r in timeline[: recorded.seq]
            if isinstance(r.event, e.RescueChecked) and r.event.ok
        ]
        first = looks[-recorded.event.checks]
        stated_s = (looks[-1].at - first.at).total_seconds()
        assert abs(stated_s - recorded.event.window_s) < 0.001
        assert server.served_throughout(first.at, looks[-1].at)


def check_steps(timeline: Sequence[Recorded]) -> None:
    """One intent a step and attempt; done is never said twice of one step of one plan."""
    intents = Counter(
        (r.event.plan_id, r.event.step_id, r.event.attempt)
        for r in timeline
        if isinstance(r.event, e.StepIntended)
    )
    assert all(count == 1 for count in intents.values()), intents
    done = Counter(
        (r.event.plan_id, r.event.step_id)
        for r in timeline
        if isinstance(r.event, e.StepEnded) and r.event.outcome is StepOutcome.DONE
    )
    assert all(count == 1 for count in done.values()), done


def fold_target(timeline: Sequence[Recorded]) -> str:
    first = timeline[0].event
    return first.target if isinstance(first, e.IncidentOpened) else ""


def incident(sim: Simulation, number: int = 0) -> Incident:
    """The incident at its end."""
    incident_id: IncidentId = sim.incident_ids()[number]
    return fold(incident_id, sim.timeline(incident_id))


def check_effects(sim: Simulation, story: str) -> None:
    """Everything was done that mends it, nothing else, and nothing twice."""
    seen = Counter(effect.kind for effect in sim.servers["orders"].effects)
    assert seen.keys() == EFFECTS[story].keys(), seen
    assert all(count in EFFECTS[story][kind] for kind, count in seen.items()), seen
    touched = [(effect.kind, effect.what) for effect in sim.servers["orders"].effects]
    assert len(touched) == len(set(touched)), "the same thing was done twice"
