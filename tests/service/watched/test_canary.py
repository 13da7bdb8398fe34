"""The canary of a target as it is wired: whom it asks, and what it does not add to."""

from __future__ import annotations

import asyncio
from contextlib import closing
from datetime import UTC, datetime

import psycopg
import pytest

from fix_servers import MakeServer
from stanch.model.ids import TargetName
from stanch.model.readings import Reading
from stanch.policy.canary import CanaryPolicy
from stanch.policy.policy import TargetPolicy
from stanch.service.readiness.grants import grants
from stanch.service.watched.canary import canary_watch
from stanch.service.watched.eyes import SharedSentinel

OURS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'stanch canary'"

WAITS = f"{OURS} AND wait_event = 'SyncRep'"


class Open:
    """A gate that lets everything through."""

    def reads_work(self) -> bool:
        return True

    def in_recovery(self) -> bool:
        return False

    def no_write(self) -> str:
        return ""


def now() -> datetime:
    return datetime.now(UTC)


def ok(told: tuple[Reading, ...]) -> float | None:
    return next((r.value for r in told if r.name == "canary_ok"), None)


def test_nothing_is_written_unless_the_policy_says_so() -> None:
    target = TargetPolicy(name=TargetName("orders"), dsn="service=orders")
    sentinel = SharedSentinel(target.dsn, now=now)
    assert canary_watch(target, sentinel, gate=Open(), now=now) is None


@pytest.mark.parametrize("pg_major", [18], indirect=True)
async def test_a_write_that_a_killed_process_left_behind_is_told_and_none_is_added(
    make_server: MakeServer,
) -> None:
    server = make_server(conf={"synchronous_standby_names": "nobody"})
    with closing(psycopg.connect(server.dsn(dbname="postgres"), autocommit=True)) as admin:
        admin.execute("SET synchronous_commit = local")
        admin.execute(grants().canary.encode())
    policy = CanaryPolicy(every_s=1.0, deadline_s=0.05)
    dsn = server.dsn("stanch_watch", "postgres")
    target = TargetPolicy(name=TargetName("orders"), dsn=dsn, canary=policy)
    sentinel = SharedSentinel(dsn, now=now)
    await sentinel.open(5)
    canary = canary_watch(target, sentinel, gate=Open(), now=now)
    assert canary is not None

    left = psycopg.connect(dsn, autocommit=True, application_name="stanch canary")
    left.pgconn.send_query(b"INSERT INTO stanch.canary VALUES ('orders', now())")
    told: tuple[Reading, ...] = ()
    async with asyncio.timeout(10):
        while server.query(WAITS) != [(1,)]:
            await asyncio.sleep(0.01)
        while ok(told) != 0.0:
            await canary.beat()
            told = canary.take() or told
            await asyncio.sleep(0.01)
    for _ in range(100):
        await canary.beat()
    assert any("a synchronous standby" in reading.detail for reading in told)
    assert server.query(OURS) == [(1,)], "a hundred looks, and nothing but what was there"

    server.set_conf({"synchronous_standby_names": ""})
    async with asyncio.timeout(10):
        while ok(told) != 1.0:
            await canary.beat()
            told = canary.take() or told
            await asyncio.sleep(0.01)
    left.close()
    await sentinel.close()
