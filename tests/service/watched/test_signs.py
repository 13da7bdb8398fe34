"""Who is asked beside the server, together: rounds, hand-over to samples, and the end of it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from fix_servers import MakeServer
from http_at import Asked, Said, http_at, said
from log_stores_at import TENANT, Line, Lines, loki
from stanch.adapters.postgres.probe import probe
from stanch.adapters.postgres.scratch import free_port
from stanch.model.ids import TargetName
from stanch.model.ports.signs import SignSource
from stanch.model.reach import Layer, Reach, ReachState
from stanch.model.readings import Reading
from stanch.model.samples import Sample
from stanch.policy.log_stores import LokiErrors
from stanch.policy.policy import TargetPolicy
from stanch.policy.signs import HealthCheck, JsonPools, JsonSigns, QueryPools
from stanch.service.watched.signs import Signs
from stanch.watch.signs.run import SignWatch

AT = datetime(2026, 11, 21, tzinfo=UTC)
NAME = TargetName("orders")
SAMPLE = Sample(target=NAME, at=AT)


class Source:
    """Says one reading, when it is let; counts who looks at the same time."""

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.may = asyncio.Event()
        self.looking = self.looks = 0
        self.closed = False

    async def look(self) -> tuple[Reading, ...]:
        self.looking += 1
        assert self.looking == 1, "asked twice at once"
        await self.may.wait()
        self.looking -= 1
        self.looks += 1
        return (Reading(name="health_check_ok", value=1.0, subject=self.subject),)

    async def close(self) -> None:
        self.closed = True


async def until_told(watch: SignWatch) -> tuple[Reading, ...]:
    async with asyncio.timeout(5):
        while not (told := watch.take()):
            await asyncio.sleep(0.001)
    return told


async def test_a_round_tells_all_sources_together_or_not_yet() -> None:
    quick, slow = Source("quick"), Source("slow")
    sources: list[SignSource] = [quick, slow]
    watch = SignWatch(sources, every_s=0.01)
    running = asyncio.create_task(watch.run())
    quick.may.set()
    async with asyncio.timeout(5):
        while not quick.looks:
            await asyncio.sleep(0.001)
    assert watch.take() == (), "half a round would tell that the other is gone"
    slow.may.set()
    assert {r.subject for r in await until_told(watch)} == {"quick", "slow"}
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert quick.closed
    assert slow.closed


async def test_what_was_told_is_not_told_again() -> None:
    source = Source("one")
    source.may.set()
    watch = SignWatch([source], every_s=60)
    await watch.look()
    assert len(watch.take()) == 1
    assert watch.take() == ()


async def test_where_nobody_is_asked_it_ends_at_once_and_samples_stay_as_they_are() -> None:
    signs = Signs(TargetPolicy(name=NAME, dsn="service=orders", wake="never"), now=lambda: AT)
    async with asyncio.timeout(1):
        await signs.run()
    assert signs.take() == ()


async def test_a_login_that_is_made_anyway_tells_its_layers_once() -> None:
    asked: list[float] = []

    async def login(deadline_s: float) -> Reach:
        asked.append(deadline_s)
        return Reach(
            state=ReachState.UP,
            layers=(Layer(name="tcp", ok=True, ms=1.5),),
            elapsed_ms=2.0,
            certificate_ends=AT + timedelta(days=3),
        )

    clock = [AT]
    signs = Signs(TargetPolicy(name=NAME, dsn="service=orders"), now=lambda: clock[0])
    await signs.noting(login)(2.0)
    told = {r.name: r.value for r in signs.take()}
    assert told == {"layer_ms": 1.5}
    assert signs.take() == ()
    assert asked == [2.0], "nobody logs in for the readings"

    clock[0] += timedelta(seconds=59)
    await signs.noting(login)(2.0)
    assert signs.take() == (), "one login a minute is enough to learn from"
    clock[0] += timedelta(seconds=1)
    await signs.noting(login)(2.0)
    assert len(signs.take()) == 1


@pytest.mark.parametrize("pg_major", [15], indirect=True)
async def test_pools_and_services_of_a_target_come_with_its_samples(
    make_server: MakeServer,
) -> None:
    server = make_server()
    target = TargetPolicy(
        name=NAME,
        dsn=server.dsn("stanch_watch"),
        pools=(
            QueryPools(
                name="jobs",
                dsn=server.dsn("app", dbname="app"),
                query="SELECT 'all' AS pool, 19 AS active, 20 AS size",
            ),
        ),
        services=(HealthCheck(name="shop", url=f"http://127.0.0.1:{free_port()}/"),),
    )
    signs = Signs(target, now=lambda: AT)
    running = asyncio.create_task(signs.run())
    await signs.noting(lambda deadline_s: probe(target.dsn, deadline_s=deadline_s))(5.0)
    told: dict[tuple[str, str], float | None] = {}
    async with asyncio.timeout(10):
        while ("pool_usage_pct", "jobs/all") not in told:
            readings = signs.take()
            told |= {(r.name, r.subject): r.value for r in readings}
            await asyncio.sleep(0.01)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert told["pool_usage_pct", "jobs/all"] == 95.0
    assert told["health_check_ok", "pool source jobs"] == 1.0
    assert told["health_check_ok", "shop"] == 0.0
    assert told["layer_ms", "select"] is not None


async def test_what_services_tell_over_http_and_what_their_logs_hold_come_with_samples() -> None:
    lines = Lines()
    lines.log("shop", *[Line(at_s=AT.timestamp() - 45)] * 3)

    def answers(asked: Asked) -> Said:
        match asked.path:
            case "/numbers":
                return said({"rps": 12, "bad": 3})
            case "/pools":
                return said([{"pool_name": "web", "pending_acquires": 4}])
            case _:
                return loki(lines)(asked)

    async with http_at(answers) as at:
        target = TargetPolicy(
            name=NAME,
            dsn="service=orders",
            pools=(JsonPools(name="app", url=f"{at.url}/pools"),),
            signs=(
                JsonSigns(
                    name="shop", url=f"{at.url}/numbers", request_rate=".rps", error_rate=".bad"
                ),
            ),
            log_errors=(LokiErrors(name="shop", url=at.url, query='{app="shop"}', tenant=TENANT),),
        )
        signs = Signs(target, now=lambda: AT)
        running = asyncio.create_task(signs.run())
        told: dict[tuple[str, str], float | None] = {}
        async with asyncio.timeout(10):
            while len(told) < 7:
                readings = signs.take()
                told |= {(r.name, r.subject): r.value for r in readings}
                await asyncio.sleep(0.01)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    assert told == {
        ("health_check_ok", "pool source app"): 1.0,
        ("pool_usage_pct", "app/web"): None,
        ("pool_waiting", "app/web"): 4.0,
        ("pool_max_wait_s", "app/web"): None,
        ("request_rate", "shop"): 12.0,
        ("error_rate_pct", "shop"): 3.0,
        ("log_errors_total", "shop"): 3.0,
    }
