"""The loop of the canary on virtual time, with a scripted server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import pytest

from samplings import Watched as Rules
from samplings import seen
from stanch.model.canary import WriteOutcome, Wrote
from stanch.model.readings import Reading
from stanch.model.symptoms import SymptomKind
from stanch.testing.virtual_time import EPOCH, run_virtually
from stanch.watch.canary.run import CanaryWatch


class Server:
    """What a canary finds; tests change it while it writes."""

    def __init__(self) -> None:
        self.takes_s = 0.005
        self.outcome = WriteOutcome(wrote=Wrote.DONE, ms=5.0)
        self.left_behind: tuple[float, str] | None = None
        self.writes = 0
        self.open_now = 0
        self.open_most = 0
        self.given_up = 0
        self.in_the_way = ""
        self.in_recovery = False
        self.reads_work = True

    async def write(self) -> WriteOutcome:
        self.writes += 1
        self.open_now += 1
        self.open_most = max(self.open_most, self.open_now)
        try:
            await asyncio.sleep(self.takes_s)
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        finally:
            self.open_now -= 1
        return self.outcome

    async def under_way(self) -> tuple[float, str] | None:
        return (self.takes_s, "a standby") if self.open_now else self.left_behind


def now() -> datetime:
    return EPOCH + timedelta(seconds=asyncio.get_running_loop().time())


Seen = list[tuple[float, tuple[Reading, ...]]]


def watched(script: Callable[[Server], Awaitable[None]]) -> tuple[Server, Seen]:
    """What is fetched once a second while the script runs beside the canary."""
    server, fetched = Server(), []

    async def main() -> None:
        canary = CanaryWatch(
            server,
            every_s=10.0,
            deadline_s=5.0,
            in_the_way=lambda: server.in_the_way,
            in_recovery=lambda: server.in_recovery,
            reads_work=lambda: server.reads_work,
            now=now,
        )

        async def fetch() -> None:
            while True:
                await asyncio.sleep(1)
                if readings := canary.take():
                    fetched.append((asyncio.get_running_loop().time(), readings))

        running = [asyncio.create_task(canary.run()), asyncio.create_task(fetch())]
        await script(server)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    run_virtually(main())
    return server, fetched


def values(fetched: Seen, name: str) -> list[float | None]:
    return [r.value for _, readings in fetched for r in readings if r.name == name]


def judged(fetched: Seen) -> Rules:
    rules = Rules()
    for at_s, readings in fetched:
        rules.look(at_s, seen(readings=readings))
    return rules


def test_it_writes_as_often_as_it_is_told_and_says_how_long_it_took() -> None:
    async def script(server: Server) -> None:
        await asyncio.sleep(101)

    server, fetched = watched(script)
    assert server.writes == 10
    assert set(values(fetched, "canary_ok")) == {1.0}
    assert set(values(fetched, "canary_ms")) == {5.0}
    assert judged(fetched).raised == []


def test_a_write_that_hangs_stays_the_only_one_and_is_told_with_its_age() -> None:
    async def script(server: Server) -> None:
        server.takes_s = 1e9
        await asyncio.sleep(1000)

    server, fetched = watched(script)
    assert (server.writes, server.open_most, server.given_up) == (1, 1, 1)
    ages = [age or 0.0 for age in values(fetched, "canary_stuck_s")]
    assert ages == sorted(ages)
    assert ages[0] < 6.5
    assert ages[-1] > 990
    [symptom] = judged(fetched).symptoms
    assert symptom.kind is SymptomKind.WRITES_FAILING
    assert "a standby" in fetched[-1][1][0].detail


def test_a_slow_write_that_is_done_in_time_is_no_failure() -> None:
    async def script(server: Server) -> None:
        server.takes_s = 4.9
        await asyncio.sleep(200)

    server, fetched = watched(script)
    assert server.open_most == 1
    assert judged(fetched).raised == []


def test_a_failure_is_told_within_seconds_and_over_within_seconds() -> None:
    async def script(server: Server) -> None:
        await asyncio.sleep(30.5)
        server.outcome = WriteOutcome(wrote=Wrote.FAILED, detail="disk full", sqlstate="53100")
        await asyncio.sleep(60)
        server.outcome = WriteOutcome(wrote=Wrote.DONE, ms=1.0)
        await asyncio.sleep(10)

    _, fetched = watched(script)
    rules = judged(fetched)
    assert rules.raised == rules.cleared == ["writes_failing"]
    assert "disk full" in rules.symptoms[0].detail


@pytest.mark.parametrize("wrote", [Wrote.UNKNOWN, Wrote.UNUSABLE])
def test_what_says_nothing_about_others_writes_is_no_verdict(wrote: Wrote) -> None:
    async def script(server: Server) -> None:
        server.outcome = WriteOutcome(wrote=wrote, detail="42P01: no such table")
        await asyncio.sleep(300)

    _, fetched = watched(script)
    assert set(values(fetched, "canary_ok")) == {None}
    told = ["canary_unusable"] if wrote is Wrote.UNUSABLE else []
    assert judged(fetched).raised == told


def test_a_standby_is_never_written_to_and_one_that_failed_before_has_nothing_left_to_fail() -> (
    None
):
    async def script(server: Server) -> None:
        server.in_recovery = True
        await asyncio.sleep(100)
        assert server.writes == 0
        server.in_recovery = False
        server.outcome = WriteOutcome(wrote=Wrote.FAILED, detail="53100")
        await asyncio.sleep(60)
        server.in_recovery = True
        await asyncio.sleep(60)

    _, fetched = watched(script)
    assert values(fetched, "canary_ok")[:5] == [None] * 5
    rules = judged(fetched)
    assert rules.raised == rules.cleared == ["writes_failing"]


def test_a_write_that_an_earlier_process_left_behind_is_waited_for() -> None:
    async def script(server: Server) -> None:
        server.left_behind = (90.0, "a standby")
        await asyncio.sleep(200)
        assert server.writes == 0
        server.left_behind = None
        await asyncio.sleep(30)

    server, fetched = watched(script)
    assert server.writes > 0
    rules = judged(fetched)
    assert rules.raised == rules.cleared == ["writes_failing"]


def test_nothing_is_said_of_writes_while_reads_do_not_work() -> None:
    async def script(server: Server) -> None:
        server.takes_s, server.reads_work = 1e9, False
        await asyncio.sleep(100)
        server.in_the_way = "the server is not read"

    _, fetched = watched(script)
    assert fetched == []


def test_it_gives_way_to_other_sessions_of_ours() -> None:
    async def script(server: Server) -> None:
        server.in_the_way = "another session is open"
        await asyncio.sleep(100)
        assert server.writes == 0
        server.in_the_way = ""
        await asyncio.sleep(20)

    server, _ = watched(script)
    assert server.writes > 0
