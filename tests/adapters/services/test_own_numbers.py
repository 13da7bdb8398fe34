"""A service's own numbers and pools over real HTTP, up to what people are told."""

from __future__ import annotations

from datetime import timedelta

from http_at import Asked, Said, http_at, said
from samplings import ORDERS, T0, TARGET
from stanch.adapters.pools.told import ToldPools
from stanch.adapters.services.own_numbers import OwnNumbers
from stanch.detect.engine import Detector
from stanch.detect.in_force import plan_for
from stanch.detect.tracker import Raised, Tracks, step
from stanch.model.ports.signs import SignSource
from stanch.model.samples import Sample
from stanch.policy.signs import JsonPools, JsonSigns


class Shop:
    """Serves a hundred requests between two looks; so many of them fail."""

    def __init__(self, failing: int, busy: int = 1) -> None:
        self.served = self.failed = 0
        self.failing, self.busy = failing, busy

    def answer(self, asked: Asked) -> Said:
        if (asked.method, asked.path) == ("GET", "/pools"):
            pool = {"pool_name": "web", "active_connections": self.busy, "max_connections": 20}
            return said([pool])
        assert (asked.method, asked.path) == ("GET", "/numbers")
        self.served, self.failed = self.served + 100, self.failed + self.failing
        return said({"http": {"served": self.served, "failed": self.failed}})


async def raised(source: SignSource, *, looks: int, every_s: float) -> set[str]:
    """What a watch raises from real answers, so many seconds apart."""
    detector, found = Detector(plan_for(TARGET)), set[str]()
    state: Tracks = {}
    for n in range(looks):
        at = T0 + timedelta(seconds=n * every_s)
        sample = Sample(target=ORDERS, at=at, readings=await source.look())
        conditions = detector.conditions(sample, state)
        state, changes = step(state, conditions, target=ORDERS, at=at, clear_hold_s=3.0)
        found |= {change.symptom.key for change in changes if isinstance(change, Raised)}
    return found


def numbers(url: str) -> OwnNumbers:
    return OwnNumbers(
        JsonSigns(
            name="shop",
            url=f"{url}/numbers",
            requests_total=".http.served",
            errors_total=".http.failed",
        )
    )


async def test_a_service_that_fails_one_request_in_ten_is_told_from_its_counters() -> None:
    async with http_at(Shop(failing=10).answer) as at:
        assert "error_rate_high:shop" in await raised(numbers(at.url), looks=8, every_s=15)


async def test_a_service_that_fails_less_than_one_request_in_a_hundred_is_not_told() -> None:
    # The counter of failures is high all the same, and was from the first look on.
    shop = Shop(failing=0)
    shop.served, shop.failed = 10_000, 5_000
    async with http_at(shop.answer) as at:
        assert await raised(numbers(at.url), looks=8, every_s=15) == set()


async def test_an_exhausted_pool_that_an_application_tells_over_http_is_told() -> None:
    async with http_at(Shop(failing=0, busy=19).answer) as at:
        pools = ToldPools(JsonPools(name="app", url=f"{at.url}/pools"))
        assert await raised(pools, looks=4, every_s=5) == {"pool_exhausted:app/web"}


async def test_a_busy_pool_with_room_is_not_told_and_one_that_is_gone_is_not_known() -> None:
    async with http_at(Shop(failing=0, busy=15).answer) as at:
        pools = ToldPools(JsonPools(name="app", url=f"{at.url}/pools"))
        assert await raised(pools, looks=4, every_s=5) == set()
    told = {(r.name, r.subject): r.value for r in await pools.look()}
    assert told["health_check_ok", "pool source app"] == 0.0
    assert told["pool_usage_pct", "app/web"] is None


async def test_a_page_that_is_no_json_is_told_as_trouble_of_the_source() -> None:
    async with http_at(lambda _: Said(body=b"<html>maintenance</html>")) as at:
        [pools] = await ToldPools(JsonPools(name="app", url=at.url)).look()
        rate, _ = await numbers(at.url).look()
    assert (pools.value, pools.detail) == (
        0.0,
        "there is no list of pools at the top of the answer",
    )
    assert (rate.value, rate.detail) == (None, "the answer is no JSON")
