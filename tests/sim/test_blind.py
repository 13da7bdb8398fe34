"""What is told of silences while it may be us who see nothing, from the packet to the page."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

import pytest

from stanch.incident.fold import fold
from stanch.incident.state import Incident
from stanch.model import events as e
from stanch.model.ids import ITSELF
from stanch.model.messages import MessageKind
from stanch.policy.policy import TargetPolicy
from stanch.service.watched.doubting import Doubts, LoopLag
from stanch.testing.simulation import Simulation, sim_policy, sim_target
from stanch.testing.virtual_time import EPOCH, run_virtually
from stanch.watch.blindness import CROWD_HOLD_S, DOUBTED_S_MAX

pytestmark = pytest.mark.sim

BLIND = "Stanch is blind"
TOGETHER = [f"t{n}" for n in range(8)]
RACK, ELSEWHERE = TOGETHER[:4], TOGETHER[4:]

Script = Callable[[Simulation], Awaitable[None]]


class Control:
    """A control endpoint, or a machine too busy to keep its time."""

    def __init__(self, sim: Simulation) -> None:
        self.answers = True
        self.late = False
        lag = LoopLag()
        self._doubts = Doubts(lag, self._knocked)
        sim.doubts = self._standing

    async def _knocked(self, deadline_s: float) -> bool:
        if not self.answers:
            await asyncio.sleep(deadline_s)
        return self.answers

    async def _standing(self) -> tuple[str, ...]:
        late = ("our own loop was late by 140 ms",) if self.late else ()
        return (*late, *await self._doubts.standing())


def played(
    script: Callable[[Simulation, Control], Awaitable[None]],
    *targets: TargetPolicy,
) -> Simulation:
    async def main() -> Simulation:
        sim = Simulation(sim_policy(*targets))
        control = Control(sim)

        async def both(sim: Simulation) -> None:
            await asyncio.sleep(1.5)
            await script(sim, control)

        await sim.run(both, deadline_s=3600)
        return sim

    return run_virtually(main())[0]


def of(*names: str) -> list[TargetPolicy]:
    """Each stands alone, and nothing may be done on it."""
    return [replace(sim_target(name), actions={}) for name in names]


def cut(sim: Simulation, names: Iterable[str]) -> None:
    for name in names:
        sim.servers[name].cut_off()


def join(sim: Simulation, names: Iterable[str]) -> None:
    for name in names:
        sim.servers[name].join_again()


def incidents(sim: Simulation) -> list[Incident]:
    found = [fold(incident_id, sim.timeline(incident_id)) for incident_id in sim.incident_ids()]
    return [incident for incident in found if incident is not None]


def opened(sim: Simulation) -> Counter[str]:
    """How many incidents there are of each target; BLIND for those about the watch."""
    return Counter(BLIND if i.target == ITSELF else str(i.target) for i in incidents(sim))


def paged(sim: Simulation) -> set[str]:
    """Targets that somebody was woken for; BLIND for the watch."""
    pages = [m for _, m, _ in sim.mail.taken if m.kind is MessageKind.PAGE]
    by_id = {i.id: BLIND if i.target == ITSELF else str(i.target) for i in incidents(sim)}
    return {by_id[page.incident_id] for page in pages}


def reason(sim: Simulation) -> str:
    [blind] = [i for i in incidents(sim) if i.target == ITSELF]
    first = sim.timeline(blind.id)[0].event
    assert isinstance(first, e.IncidentOpened)
    return first.symptom.detail


# --- in doubt ---


def test_a_silence_long_in_doubt_is_one_page_that_says_what_is_in_doubt_and_why() -> None:
    async def script(sim: Simulation, control: Control) -> None:
        control.answers = False
        cut(sim, ["orders"])
        await asyncio.sleep(120)
        assert paged(sim) == {BLIND}
        opened_at = incidents(sim)[0].opened_at
        assert opened_at is not None
        assert DOUBTED_S_MAX <= (opened_at - EPOCH).total_seconds() <= DOUBTED_S_MAX + 12
        join(sim, ["orders"])

    sim = played(script, *of("orders", "billing"))
    assert opened(sim) == {BLIND: 1}
    assert "orders" in reason(sim)
    assert "billing" not in reason(sim)
    assert "control endpoint" in reason(sim)


def test_a_loop_that_keeps_lagging_does_not_keep_a_dead_server_secret() -> None:
    async def script(sim: Simulation, control: Control) -> None:
        control.late = True
        cut(sim, ["orders"])
        await asyncio.sleep(60)
        join(sim, ["orders"])

    sim = played(script, *of("orders"))
    assert paged(sim) == {BLIND}
    assert "140 ms" in reason(sim)


def test_the_time_in_which_the_process_stood_still_is_nobodys_silence() -> None:
    async def script(sim: Simulation, control: Control) -> None:
        control.late = True
        cut(sim, ["orders"])
        for _ in range(60):
            # Four seconds of five it gets no processor.
            sim.late_s += 0.8
            await asyncio.sleep(1)
        assert paged(sim) == set()
        await asyncio.sleep(DOUBTED_S_MAX)
        assert paged(sim) == {BLIND}
        join(sim, ["orders"])

    played(script, *of("orders"))


def test_once_nothing_is_in_doubt_any_more_the_silence_is_told_for_what_it_is() -> None:
    async def script(sim: Simulation, control: Control) -> None:
        control.answers = False
        cut(sim, ["orders"])
        await asyncio.sleep(60)
        control.answers = True
        await asyncio.sleep(30)
        assert not sim.now or not sim.now.house.standing.blind_because
        join(sim, ["orders"])

    sim = played(script, *of("orders"))
    assert opened(sim) == {BLIND: 1, "orders": 1}
    assert paged(sim) == {BLIND, "orders"}


def test_our_network_gone_for_a_moment_is_no_page_at_all() -> None:
    async def script(sim: Simulation, control: Control) -> None:
        control.answers = False
        cut(sim, TOGETHER)
        await asyncio.sleep(DOUBTED_S_MAX + 2)
        control.answers = True
        join(sim, TOGETHER)
        await asyncio.sleep(60)

    assert opened(played(script, *of(*TOGETHER))) == {}


def test_our_network_gone_with_a_control_endpoint_is_one_page() -> None:
    async def script(sim: Simulation, control: Control) -> None:
        control.answers = False
        cut(sim, TOGETHER)
        await asyncio.sleep(2 * CROWD_HOLD_S)
        control.answers = True
        join(sim, TOGETHER)
        await asyncio.sleep(30)

    sim = played(script, *of(*TOGETHER))
    assert opened(sim) == {BLIND: 1}
    assert "8 targets" in reason(sim)


def test_servers_that_stay_silent_when_our_network_is_back_are_one_crowd() -> None:
    async def script(sim: Simulation, control: Control) -> None:
        control.answers = False
        cut(sim, TOGETHER)
        await asyncio.sleep(DOUBTED_S_MAX)
        assert opened(sim) == {}
        control.answers = True
        await asyncio.sleep(60)
        join(sim, TOGETHER)
        await asyncio.sleep(30)

    sim = played(script, *of(*TOGETHER))
    assert opened(sim) == {BLIND: 1}
    assert "within seconds" in reason(sim)


def test_a_restart_in_the_midst_of_doubts_pages_nobody_anew() -> None:
    async def script(sim: Simulation, control: Control) -> None:
        control.answers = False
        cut(sim, ["orders"])
        await asyncio.sleep(40)
        assert sim.now is not None
        sim.now.life.kill()
        await asyncio.sleep(60)
        [blind] = incidents(sim)
        assert not blind.status.ended
        join(sim, ["orders"])

    sim = played(script, *of("orders", "billing"))
    assert len(sim.lives) == 2
    assert opened(sim) == {BLIND: 1}


def test_a_server_that_was_told_as_down_is_not_told_again_when_doubts_come() -> None:
    async def script(sim: Simulation, control: Control) -> None:
        cut(sim, ["orders"])
        await asyncio.sleep(30)
        control.answers = False
        await asyncio.sleep(60)
        join(sim, ["orders"])

    assert opened(played(script, *of("orders"))) == {"orders": 1}


def test_a_server_under_maintenance_is_no_reason_to_call_ourselves_blind() -> None:
    async def script(sim: Simulation, control: Control) -> None:
        assert sim.now is not None
        request = {"command": "maintenance", "by": "ann", "target": "orders", "seconds": 90}
        assert (await sim.now.house.operations.execute(request)).ok
        control.answers = False
        cut(sim, ["orders"])
        await asyncio.sleep(85)
        assert opened(sim) == {}
        await asyncio.sleep(60)
        join(sim, ["orders"])

    # It goes on after the window, and is told then.
    assert opened(played(script, *of("orders"))) == {BLIND: 1}


# --- many at once ---


def test_our_network_gone_is_one_page_however_long_it_lasts_and_whoever_is_seen_late() -> None:
    async def script(sim: Simulation, control: Control) -> None:
        cut(sim, TOGETHER)
        await asyncio.sleep(2 * CROWD_HOLD_S)
        join(sim, TOGETHER)
        await asyncio.sleep(30)

    slow = [replace(t, sample_every_s=9.0) for t in of(*ELSEWHERE[2:])]
    sim = played(script, *of(*RACK, *ELSEWHERE[:2]), *slow)
    assert opened(sim) == {BLIND: 1}


def test_a_network_that_comes_back_for_a_moment_only_is_still_one_page() -> None:
    async def script(sim: Simulation, control: Control) -> None:
        cut(sim, TOGETHER)
        await asyncio.sleep(20)
        join(sim, TOGETHER[:2])
        await asyncio.sleep(3)
        cut(sim, TOGETHER[:2])
        await asyncio.sleep(CROWD_HOLD_S + 20)
        join(sim, TOGETHER)
        await asyncio.sleep(30)

    assert opened(played(script, *of(*TOGETHER))) == {BLIND: 1}


def test_a_server_that_falls_silent_elsewhere_is_told_while_a_rack_is_withheld() -> None:
    async def script(sim: Simulation, control: Control) -> None:
        cut(sim, RACK)
        await asyncio.sleep(30)
        assert opened(sim) == {BLIND: 1}
        cut(sim, ELSEWHERE[:1])
        await asyncio.sleep(10)
        assert opened(sim) == {BLIND: 1, ELSEWHERE[0]: 1}
        join(sim, TOGETHER)

    assert paged(played(script, *of(*TOGETHER))) == {BLIND, ELSEWHERE[0]}


def test_a_rack_that_stays_dead_while_others_answer_is_told_server_by_server() -> None:
    async def script(sim: Simulation, control: Control) -> None:
        cut(sim, RACK)
        await asyncio.sleep(CROWD_HOLD_S - 10)
        assert opened(sim) == {BLIND: 1}
        await asyncio.sleep(30)
        assert sim.now is not None
        assert not sim.now.house.standing.blind_because
        join(sim, RACK)

    assert paged(played(script, *of(*TOGETHER))) == {BLIND, *RACK}


def test_two_that_stay_dead_of_a_host_of_three_are_told_as_down() -> None:
    async def script(sim: Simulation, control: Control) -> None:
        cut(sim, ["a", "b", "c"])
        await asyncio.sleep(20)
        join(sim, ["a"])
        await asyncio.sleep(CROWD_HOLD_S + 10)
        join(sim, ["b", "c"])

    assert paged(played(script, *of("a", "b", "c", "d"))) == {BLIND, "b", "c"}


def test_a_restart_withholds_the_same_crowd_as_before() -> None:
    async def script(sim: Simulation, control: Control) -> None:
        cut(sim, ["a", "b", "c"])
        await asyncio.sleep(20)
        join(sim, ["a"])
        await asyncio.sleep(5)
        assert sim.now is not None
        sim.now.life.kill()
        await asyncio.sleep(30)
        join(sim, ["b", "c"])

    assert opened(played(script, *of("a", "b", "c", "d"))) == {BLIND: 1}


def test_all_silent_and_half_of_them_back_leaves_nobody_withheld_for_ever() -> None:
    async def script(sim: Simulation, control: Control) -> None:
        cut(sim, TOGETHER)
        await asyncio.sleep(2 * CROWD_HOLD_S)
        join(sim, RACK)
        await asyncio.sleep(CROWD_HOLD_S + 10)
        join(sim, ELSEWHERE)

    assert paged(played(script, *of(*TOGETHER))) == {BLIND, *ELSEWHERE}


def test_sleeping_targets_are_not_counted_among_those_that_see() -> None:
    async def script(sim: Simulation, control: Control) -> None:
        cut(sim, RACK)
        await asyncio.sleep(30)
        join(sim, RACK)

    asleep = [replace(t, wake="never") for t in of("s0", "s1", "s2", "s3", "s4", "s5")]
    assert opened(played(script, *of(*RACK), *asleep)) == {BLIND: 1}
