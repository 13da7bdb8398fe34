"""Rules over what services tell of themselves, on a shop that really serves its customers.

Nobody waits an hour or three weeks here: what the shop told is fed again at later moments, since
the time is a value. Every number is one that it told of requests it had served.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import chain
from urllib.parse import urlsplit

import pytest

from http_at import Asked, Said, http_at, said
from samplings import Watched, seen
from stanch.adapters.services.health import HttpHealth
from stanch.adapters.services.own_numbers import OwnNumbers
from stanch.model.readings import Reading
from stanch.policy.signs import HealthCheck, JsonSigns

Told = tuple[Reading, ...]
Looks = Iterator[tuple[float, Told]]
"""What is told at which second."""

MINUTE, HOUR, WEEK = 60.0, 3600.0, 7 * 86_400.0
PACE_S = 0.002


class Shop:
    """Serves orders, counts them, and tells how it is."""

    def __init__(self) -> None:
        self.served = self.failed = 0
        self.seconds = 0.0
        self.takes_s = 0.0
        self.tells = True
        self.database = "connected"

    def answer(self, asked: Asked) -> Said:
        if asked.path == "/numbers":
            numbers = {"served": self.served, "failed": self.failed, "seconds": self.seconds}
            return said(numbers if self.tells else {"starting": True})
        began = time.perf_counter()
        time.sleep(self.takes_s)
        if asked.path == "/health":
            return said({"database": self.database})
        self.served += 1
        self.failed += asked.path == "/sold-out"
        self.seconds += time.perf_counter() - began
        return Said(status=500 if asked.path == "/sold-out" else 200)


class Street:
    """The shop, its customers, and whoever watches it."""

    def __init__(self, shop: Shop, url: str) -> None:
        self.shop = shop
        self.url = url
        self._numbers = OwnNumbers(
            JsonSigns(
                name="shop",
                url=f"{url}/numbers",
                requests_total=".served",
                errors_total=".failed",
                latency_total=".seconds",
            )
        )
        self._health = HttpHealth(
            HealthCheck(name="shop", url=f"{url}/health", json=".database", equals="connected")
        )

    async def sells(self, orders: int, *, failing: int = 0) -> None:
        """So many customers in a row; all are answered."""
        reader, writer = await asyncio.open_connection("localhost", urlsplit(self.url).port)
        for number in range(orders):
            path = "/sold-out" if number < failing else "/order"
            writer.write(f"GET {path} HTTP/1.1\r\nHost: shop\r\n\r\n".encode())
        for _ in range(orders):
            await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async def numbers(self, orders: int = 0, *, failing: int = 0) -> Told:
        """What it tells after having sold so much since it was asked last."""
        await self.sells(orders, failing=failing)
        return await self._numbers.look()

    async def health(self) -> Told:
        return await self._health.look()


@asynccontextmanager
async def street() -> AsyncGenerator[Street]:
    shop = Shop()
    async with http_at(shop.answer) as at:
        found = Street(shop, at.url)
        await found.numbers()
        yield found


def lasting(told: Told, since_s: float, until_s: float, *, every_s: float = 15.0) -> Looks:
    """The same numbers at every look of that time."""
    at_s = since_s
    while at_s < until_s:
        yield at_s, told
        at_s += every_s


def fed(watched: Watched, *looks: Looks) -> list[str]:
    """What was raised until now."""
    for at_s, told in chain(*looks):
        watched.look(at_s, seen(readings=told))
    return watched.raised


def value(told: Told, name: str) -> float:
    [found] = [reading.value for reading in told if reading.name == name]
    assert found is not None
    return found


async def test_a_service_that_fails_one_request_in_eighty_for_five_minutes_is_told() -> None:
    async with street() as shop:
        few, some = await shop.numbers(125, failing=1), await shop.numbers(80, failing=1)
    assert (value(few, "error_rate_pct"), value(some, "error_rate_pct")) == (0.8, 1.25)
    watched = Watched()
    assert fed(watched, lasting(few, 0, HOUR)) == [], "fewer than one in a hundred"
    assert fed(watched, lasting(some, HOUR, HOUR + 270)) == [], "not for five minutes yet"
    assert fed(watched, lasting(few, HOUR + 270, 2 * HOUR)) == [], "a peak that was over"
    assert fed(watched, lasting(some, 2 * HOUR, 2 * HOUR + 360)) == ["error_rate_raised:shop"]


async def test_a_budget_that_burns_for_an_hour_is_told_and_a_burst_is_not() -> None:
    async with street() as shop:
        well, burning = await shop.numbers(200), await shop.numbers(200, failing=4)
    assert (value(well, "error_rate_pct"), value(burning, "error_rate_pct")) == (0.0, 2.0)
    begun = fed(Watched(), lasting(well, 0, HOUR), lasting(burning, HOUR, HOUR + 1200))
    assert begun == ["error_rate_raised:shop"], "the hour is good still"
    watched = Watched()
    over = fed(watched, lasting(burning, 0, 1500), lasting(well, 1500, 2400))
    assert over == ["error_rate_raised:shop"], "the last minutes are good again"
    burnt = fed(Watched(), lasting(well, 0, HOUR), lasting(burning, HOUR, 2 * HOUR))
    assert burnt == ["error_rate_raised:shop", "error_budget_burn:shop"]


def weeks(count: int, usual: Sequence[Told]) -> Looks:
    """Looks of one hour in each of so many weeks, and one of the next hour, which ends it."""
    for week in range(count):
        for number in range(13):
            yield week * WEEK + 5 * number * MINUTE, usual[number % len(usual)]


def after(count: int, told: Sequence[Told]) -> Looks:
    """One look a minute in the same hour of the week after them."""
    for minute, one in enumerate(told):
        yield count * WEEK + minute * MINUTE, one


async def told_at(shop: Street, takes_s: float) -> list[Told]:
    """How long it takes, three times. Of seven, since a machine at work delays some."""
    shop.shop.takes_s = takes_s
    numbers = [await shop.numbers(1) for _ in range(7)]
    health = [await shop.health() for _ in range(7)]
    numbers.sort(key=lambda told: value(told, "latency_s"))
    health.sort(key=lambda told: value(told, "health_check_ms"))
    return [(*one, *other) for one, other in zip(numbers[2:5], health[2:5], strict=True)]


async def quick_and_slow(shop: Street) -> tuple[list[Told], list[Told]]:
    """What it tells of itself at its usual pace, and when it takes ten times as long."""
    quick = await told_at(shop, PACE_S)
    return quick, await told_at(shop, 10 * value(quick[-1], "health_check_ms") / 1000)


async def test_a_service_that_is_slower_than_usual_at_this_hour_is_told_twice() -> None:
    async with street() as shop:
        quick, slow = await quick_and_slow(shop)
    watched = Watched()
    assert fed(watched, weeks(3, quick), after(3, quick)) == [], "it is as usual"
    assert fed(Watched(), weeks(2, quick), after(2, slow)) == [], "nobody knows what is usual"
    assert fed(Watched(), weeks(3, slow), after(3, slow)) == [], "it is always slow"
    told = fed(Watched(), weeks(3, quick), after(3, slow))
    assert sorted(told) == ["health_check_slow:shop", "latency_unusual:shop"]


@pytest.mark.parametrize("how", ["it is gone", "it tells something else"])
async def test_a_service_of_which_nothing_is_heard_is_told_and_one_without_customers_is_not(
    how: str,
) -> None:
    async with street() as shop:
        busy, idle = await shop.numbers(50), await shop.numbers()
        shop.shop.tells = False
        silent = await shop.numbers()
    if how == "it is gone":
        silent = await OwnNumbers(JsonSigns(name="shop", url=shop.url, request_rate=".rps")).look()
    assert value(busy, "request_rate") > 0
    assert value(idle, "request_rate") == 0
    assert {reading.value for reading in silent} == {None}
    watched = Watched()
    assert fed(watched, lasting(silent, 0, HOUR)) == [], "it has never said anything"
    assert fed(watched, lasting(busy, HOUR, 2 * HOUR), lasting(idle, 2 * HOUR, 3 * HOUR)) == []
    assert fed(watched, lasting(silent, 3 * HOUR, 3 * HOUR + 270)) == [], "not for five minutes yet"
    assert fed(watched, lasting(silent, 3 * HOUR + 270, 3 * HOUR + 330)) == ["requests_silent:shop"]


async def test_a_service_that_lost_its_database_is_told_and_one_missed_answer_is_not() -> None:
    async with street() as shop:
        well = await shop.health()
        shop.shop.database = "disconnected"
        ill = await shop.health()
    watched = Watched()
    looks = fed(watched, lasting(ill, 0, 5, every_s=5), lasting(well, 5, 60, every_s=5))
    assert looks == []
    assert fed(watched, lasting(ill, 60, 75, every_s=5)) == ["health_check_failing:shop"]
    assert watched.symptoms[0].detail.startswith("shop says it is not well")
