"""The loop that looks at a machine: one look at a time, and never harder because it hurts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise

from stanch.model.diagnosis import Missing
from stanch.model.host import Memory
from stanch.model.machine import HostFacts
from stanch.model.readings import Reading
from stanch.testing.virtual_time import run_virtually
from stanch.watch.hosts.run import DEADLINE_S, EVERY_S, SLOWEST_S, HostWatch

NO = Missing(what="x", reason="untold")
GONE = Missing(what="host", reason="no route")
AT = datetime(2026, 11, 21, tzinfo=UTC)
SEEN = HostFacts(
    at=AT,
    source="stand-in",
    service=NO,
    file_systems=NO,
    memory=Memory(total_bytes=100, available_bytes=40),
    cpu=NO,
    load_1min=NO,
    oom_kills=NO,
    clock_offset_s=NO,
    uptime_s=NO,
    kernel=NO,
)


@dataclass(slots=True)
class Machine:
    """Answers as told, after so long."""

    answer: HostFacts | Missing = SEEN
    takes_s: float = 0.0
    asked_at_s: list[float] = field(default_factory=list[float])
    at_once: int = 0
    most_at_once: int = 0
    closed: int = 0
    source: str = "stand-in"

    async def facts(self, *, deadline_s: float) -> HostFacts | Missing:
        self.asked_at_s.append(asyncio.get_running_loop().time())
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(min(self.takes_s, deadline_s))
        self.at_once -= 1
        return self.answer

    async def close(self) -> None:
        self.closed += 1


def watch(machine: Machine) -> HostWatch:
    return HostWatch(machine, places=lambda: (), volumes=False, now=lambda: AT)


def watched_for(seconds: float, machine: Machine) -> HostWatch:
    made = watch(machine)

    async def main() -> None:
        task = asyncio.create_task(made.run())
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run_virtually(main())
    return made


def waits(machine: Machine) -> list[float]:
    return [round(b - a) for a, b in pairwise(machine.asked_at_s)]


def memory(readings: Sequence[Reading]) -> list[float | None]:
    return [r.value for r in readings if r.name == "memory_available_pct"]


def test_a_machine_that_answers_is_asked_at_an_even_pace() -> None:
    machine = Machine()
    watched_for(EVERY_S * 5 + 1, machine)
    assert waits(machine) == [EVERY_S] * 5


def test_a_machine_that_is_gone_is_asked_less_and_less_but_never_given_up() -> None:
    machine = Machine(answer=GONE)
    watched_for(600, machine)
    assert waits(machine)[:4] == [20, 40, 60, 60]
    assert waits(machine)[-1] == SLOWEST_S


def test_a_machine_that_answers_late_is_spared_too() -> None:
    machine = Machine(takes_s=DEADLINE_S)
    watched_for(300, machine)
    assert waits(machine)[:2] == [25, 45]
    assert machine.most_at_once == 1


def test_a_machine_that_answers_again_is_asked_at_the_old_pace() -> None:
    machine = Machine(answer=GONE)

    async def main() -> None:
        task = asyncio.create_task(watch(machine).run())
        await asyncio.sleep(200)
        machine.answer = SEEN
        await asyncio.sleep(200)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run_virtually(main())
    assert waits(machine)[-3:] == [EVERY_S] * 3


def test_each_look_is_told_once() -> None:
    made = watched_for(1, Machine())
    assert memory(made.take()) == [40.0]
    assert made.take() == ()


def test_a_look_that_saw_nothing_is_told_as_nothing_and_not_as_the_last_one() -> None:
    machine = Machine()
    made = watch(machine)

    async def main() -> list[Reading]:
        await made.look()
        made.take()
        machine.answer = GONE
        await made.look()
        return list(made.take())

    told, _ = run_virtually(main())
    assert memory(told) == [None]
    assert {r.detail for r in told} == {"no route"}
    assert made.last == GONE


def test_cancelling_gives_the_connection_back() -> None:
    machine = Machine()
    watched_for(15, machine)
    assert machine.closed == 1


def test_a_look_for_a_diagnosis_waits_for_the_one_under_way_and_is_kept_for_the_watch() -> None:
    machine = Machine(takes_s=1.0)
    made = watch(machine)

    async def main() -> None:
        both = asyncio.gather(made.look(), made.service(3.0))
        await both
        assert machine.most_at_once == 1
        assert len(machine.asked_at_s) == 2
        assert made.take() != ()

    run_virtually(main())


def test_a_diagnosis_that_cannot_wait_changes_nothing_for_the_watch() -> None:
    machine = Machine(takes_s=2.0)
    made = watch(machine)

    async def main() -> None:
        await made.look()
        seen = made.last
        machine.answer = GONE
        assert await made.service(0.5) == GONE
        assert made.last is seen
        looking = asyncio.create_task(made.look())
        await asyncio.sleep(0)
        found = await made.service(0.5)
        assert isinstance(found, Missing)
        assert "another look" in found.reason
        await looking

    run_virtually(main())
