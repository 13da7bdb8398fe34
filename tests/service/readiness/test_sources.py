"""What `stanch check` says of whoever is asked beside the server, each tried for real."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from http_at import Asked, Said, http_at, said
from log_stores_at import TENANT, Line, Lines, loki
from stanch.adapters.channels.trying import Tried
from stanch.adapters.postgres.scratch import ScratchServer, free_port
from stanch.model.ids import TargetName
from stanch.policy.log_stores import LokiErrors
from stanch.policy.policy import TargetPolicy
from stanch.policy.signs import HealthCheck, JsonPools, JsonSigns, QueryPools
from stanch.service.readiness.sources import POOLS_SHOWN, try_sources

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)


class App:
    """An application that tells everything there is to tell."""

    def __init__(self) -> None:
        self.served = 0
        self.lines = Lines()

    def answer(self, asked: Asked) -> Said:
        self.served += 100
        match asked.path:
            case "/numbers":
                return said({"n": self.served, "bad": 0, "p95": 250})
            case "/idle":
                return said({"n": 7, "bad": 0})
            case "/pools":
                return said([{"pool_name": f"p{n}", "pending_acquires": n} for n in range(9)])
            case "/other":
                return said([{"pool_name": "web", "busy": 3}])
            case "/health":
                return said({"database": "connected"})
            case _:
                return loki(self.lines)(asked)


async def tried(**sources: Any) -> dict[str, Tried]:
    target = TargetPolicy(name=TargetName("orders"), dsn="service=orders", **sources)
    return dict(await try_sources(target, now=lambda: AT, between_s=0.05))


def numbers(url: str) -> JsonSigns:
    return JsonSigns(name="shop", url=url, requests_total=".n", errors_total=".bad")


async def test_each_source_says_what_it_answered() -> None:
    app = App()
    app.lines.log("shop", *[Line(at_s=AT.timestamp() - 40)] * 3)
    async with http_at(app.answer) as at:
        told = await tried(
            pools=(JsonPools(name="app", url=f"{at.url}/pools"),),
            services=(
                HealthCheck(
                    name="shop", url=f"{at.url}/health", json=".database", equals="connected"
                ),
            ),
            signs=(numbers(f"{at.url}/numbers"),),
            log_errors=(LokiErrors(name="shop", url=at.url, query='{app="shop"}', tenant=TENANT),),
        )
    assert {on: one.ok for on, one in told.items()} == {
        "orders pools app": True,
        "orders services shop": True,
        "orders signs shop": True,
        "orders log_errors shop": True,
    }
    assert told["orders pools app"].detail.count("wait") == POOLS_SHOWN
    assert told["orders pools app"].detail.endswith("; and 4 more")
    assert told["orders services shop"].detail.startswith("well, ")
    assert "request_rate " in told["orders signs shop"].detail
    assert "error_rate_pct 0" in told["orders signs shop"].detail
    assert told["orders log_errors shop"].detail == "log_errors_total 3 (3 lines in 60 s)"
    assert len([asked for asked in at.asked if asked.path == "/numbers"]) == 2


async def test_a_service_that_nobody_uses_just_now_is_no_problem() -> None:
    async with http_at(App().answer) as at:
        [one] = (await tried(signs=(numbers(f"{at.url}/idle"),))).values()
    assert one.ok
    assert "no requests between two answers" in one.detail


async def test_a_mapping_that_finds_nothing_and_a_source_that_is_gone_are_problems() -> None:
    gone = f"http://127.0.0.1:{free_port()}"
    async with http_at(App().answer) as at:
        told = await tried(
            pools=(
                JsonPools(name="other", url=f"{at.url}/other"),
                JsonPools(name="gone", url=gone),
            ),
            services=(HealthCheck(name="gone", url=gone),),
            signs=(JsonSigns(name="shop", url=f"{at.url}/numbers", latency=".p99"),),
            log_errors=(LokiErrors(name="shop", url=at.url, query='{app="shop"}'),),
        )
    assert not any(one.ok for one in told.values())
    assert all(one.detail for one in told.values())
    assert told["orders pools other"].detail == "pools web, and no number of any of them"
    assert "nothing at .p99" in told["orders signs shop"].detail
    assert "another login" in told["orders log_errors shop"].detail


@pytest.mark.parametrize("pg_major", [15], indirect=True)
async def test_pools_of_a_query_are_told_as_any_others(shared_server: ScratchServer) -> None:
    query = "SELECT 'all' AS pool, count(*) AS active, 100 AS size FROM pg_stat_activity"
    pools = QueryPools(name="jobs", dsn=shared_server.dsn("app"), query=query)
    [first] = (await tried(pools=(pools,))).values()
    assert first.ok
    assert "of 100 connections in use" in first.detail
