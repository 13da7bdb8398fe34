"""How late the slow lane of a real server is, and who is told."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import datetime, timedelta

import psycopg
import pytest

from fix_servers import MakeServer
from samplings import ORDERS, T0, seen
from samplings import Watched as Rules
from stanch.policy.policy import TargetPolicy
from stanch.service.watched.eyes import SharedSentinel
from stanch.service.watched.slow_lane import SlowWatch

pytestmark = pytest.mark.parametrize("pg_major", [15], indirect=True)

OVERDUE = "slow_look_overdue"


class Hours:
    """The slow lane of one server, looked at whenever a minute of its day is named."""

    def __init__(self, dsn: str) -> None:
        self._at = T0
        self._sentinel = SharedSentinel(dsn, now=self.now)
        target = TargetPolicy(name=ORDERS, dsn=dsn)
        self.watch = SlowWatch(target, self._sentinel, now=self.now)
        self.rules = Rules()

    def now(self) -> datetime:
        return self._at

    async def open(self) -> None:
        await self._sentinel.open(5.0)
        assert self._sentinel.is_open

    async def close(self) -> None:
        await self._sentinel.close()

    async def look(self) -> None:
        self.watch.note(seen(vitals=await self._sentinel.vitals(timeout_s=5.0)))
        await self.watch.lane.look()

    def tell(self, minute: float) -> float | None:
        """How late it was said to be."""
        self._at = T0 + timedelta(minutes=minute)
        [late] = [r for r in self.watch.take() if r.name == "slow_look_late_s"]
        self.rules.look(60 * minute, seen(readings=(late,)))
        return late.value


async def until(done: Callable[[], bool], hours: Hours) -> None:
    for _ in range(50):
        await hours.look()
        if done():
            return
    raise AssertionError(hours.watch.lane.skipped)


async def test_a_server_too_full_to_be_looked_at_is_told_after_an_hour_and_one_looked_at_is_not(
    make_server: MakeServer,
) -> None:
    server = make_server(conf={"max_connections": 10})
    hours = Hours(server.dsn("stanch_watch", "postgres"))
    await hours.open()
    lane = hours.watch.lane
    assert [hours.tell(minute) for minute in (0, 5, 64, 65)] == [0, 0, 59 * 60, 3600]
    await until(lambda: not lane.skipped, hours)
    assert [hours.tell(minute) for minute in (66, 70, 75)] == [0, 0, 300]
    assert hours.rules.raised == [], "an hour alone is nothing while a look comes"

    with ExitStack() as crowd:
        for _ in range(5):
            crowd.enter_context(closing(psycopg.connect(server.dsn(dbname="app"))))
        await until(lambda: lane.skipped == "slow lane: connections are short", hours)
        for minute in range(76, 145):
            hours.tell(minute)
        assert hours.rules.raised == [OVERDUE]
        [symptom] = hours.rules.symptoms
        assert "overdue by 1 h 10 min (slow lane: connections are short)" in symptom.detail
    await until(lambda: not lane.skipped, hours)
    for minute in (146, 147):
        hours.tell(minute)
    assert hours.rules.cleared == [OVERDUE]
    await hours.close()
    assert hours.tell(300) is None, "of a server that is not reached nobody expects a look"
