"""Errors counted by stores that speak their documented protocols, up to what people are told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from http_at import Asked, Said, http_at, said
from log_stores_at import (
    API_KEY,
    PASSWORD,
    TENANT,
    Elastic,
    Line,
    Lines,
    basic,
    better_stack,
    loki,
)
from samplings import ORDERS, T0, Watched
from stanch.adapters.services.log_stores import LogStore
from stanch.model.readings import Reading
from stanch.model.samples import Sample
from stanch.policy.log_stores import (
    BetterStackErrors,
    ElasticErrors,
    LogErrorSource,
    LokiErrors,
)

Answers = Callable[[Asked], Said]
Make = Callable[[str], LogErrorSource]


@pytest.fixture
def password(tmp_path: Path) -> str:
    (tmp_path / "password").write_text(PASSWORD)
    return str(tmp_path / "password")


@pytest.fixture
def key(tmp_path: Path) -> str:
    (tmp_path / "key").write_text(API_KEY)
    return str(tmp_path / "key")


def of_loki(url: str, query: str = '{app="shop"} |= "database"') -> LokiErrors:
    return LokiErrors(name="shop", url=url, query=query, tenant=TENANT)


def of_elastic(url: str, key: str, index: str = "logs-*") -> ElasticErrors:
    return ElasticErrors(name="shop", url=url, index=index, query="level:error", token_file=key)


def of_better_stack(
    url: str, password: str, where: str = "JSONExtractString(raw, 'level') = 'error'"
) -> BetterStackErrors:
    return BetterStackErrors(
        name="shop",
        url=url,
        table="t1_shop_logs",
        where=where,
        username="stanch",
        password_file=password,
    )


class Watch:
    """Looks every thirty seconds of a clock of its own."""

    def __init__(self, source: LogErrorSource) -> None:
        self.at = T0
        self.store = LogStore(source, now=lambda: self.at)

    async def look(self) -> Reading:
        [told] = await self.store.look()
        assert (told.name, told.subject) == ("log_errors_total", "shop")
        self.at += timedelta(seconds=30)
        return told


def errors(count: int, *, after_s: float, level: str = "error") -> list[Line]:
    return [Line(at_s=T0.timestamp() + after_s, level=level)] * count


NAMES = ("shop", "logs-1", "logs-2", "t1_shop_logs")
"""Where the stand-ins look: a stream of Loki, two indices, a table."""


@pytest.mark.parametrize("store", ["loki", "elastic", "better stack"])
async def test_each_line_is_counted_once_and_only_those_that_are_errors(
    store: str, key: str, password: str
) -> None:
    lines = Lines()
    answers: dict[str, Answers] = {
        "loki": loki(lines),
        "elastic": Elastic(lines).answer,
        "better stack": better_stack(lines),
    }
    for name in NAMES:
        # At the very edges of the spans, and one too young to be counted.
        for after_s in (-61, -60, -30, -29, 0, 1):
            lines.log(name, *errors(1, after_s=after_s))
        lines.log(name, Line(at_s=T0.timestamp() - 10, level="info", text="all is well"))
    each = 2 if store == "elastic" else 1
    async with http_at(answers[store]) as at:
        make: dict[str, LogErrorSource] = {
            "loki": of_loki(at.url),
            "elastic": of_elastic(at.url, key),
            "better stack": of_better_stack(at.url, password),
        }
        watch = Watch(make[store])
        told = [(await watch.look()).value for _ in range(4)]
        assert at.at_once_max == 1
    assert told == [3.0 * each, 5.0 * each, 6.0 * each, 6.0 * each]


def request(path: str, method: str = "POST", **headers: str) -> Asked:
    """With the right login of each stand-in, unless said otherwise."""
    return Asked(method=method, path=path, query={}, headers=headers, body=b"")


@pytest.mark.parametrize(
    ("store", "wrong", "status"),
    [
        ("loki", request("/loki/api/v1/query"), 401),
        ("loki", request("/api/v1/query", **{"x-scope-orgid": TENANT}), 404),
        ("loki", request("/loki/api/v1/query", "PUT", **{"x-scope-orgid": TENANT}), 405),
        ("loki", request("/loki/api/v1/query", **{"x-scope-orgid": TENANT}), 400),
        ("elastic", request("/logs-1/_count"), 401),
        ("elastic", request("/logs-1/_count", "PUT", authorization=f"ApiKey {API_KEY}"), 405),
        ("elastic", request("/logs-1/_counts", authorization=f"ApiKey {API_KEY}"), 400),
        ("elastic", request("/logs-1/_count", authorization=f"ApiKey {API_KEY}"), 406),
        ("better stack", request("/"), 403),
        ("better stack", request("/", "GET", authorization=basic("stanch", PASSWORD)), 404),
        ("better stack", request("/", authorization=basic("stanch", PASSWORD)), 415),
    ],
)
def test_the_stand_ins_refuse_what_the_stores_refuse(store: str, wrong: Asked, status: int) -> None:
    lines = Lines({"logs-1": [], "t1_shop_logs": []})
    answers: dict[str, Answers] = {
        "loki": loki(lines),
        "elastic": Elastic(lines).answer,
        "better stack": better_stack(lines),
    }
    assert answers[store](wrong).status == status


async def test_a_comment_at_the_end_of_a_query_takes_nothing_with_it(password: str) -> None:
    lines = Lines()
    lines.log("shop", *errors(2, after_s=-40))
    lines.log("t1_shop_logs", *errors(2, after_s=-40))
    async with http_at(loki(lines)) as at:
        assert (await Watch(of_loki(at.url, '{app="shop"} # all')).look()).value == 2.0
    async with http_at(better_stack(lines)) as at:
        where = "JSONExtractString(raw, 'level') = 'error' -- only these"
        assert (await Watch(of_better_stack(at.url, password, where)).look()).value == 2.0


async def test_no_lines_are_zero_where_the_store_counted_and_unknown_where_it_did_not(
    key: str, password: str, tmp_path: Path
) -> None:
    lines = Lines({"logs-1": [], "t1_shop_logs": []})
    nobody = str(tmp_path / "nobody")
    Path(nobody).write_text("nobody")
    async with http_at(loki(lines)) as at:
        assert (await Watch(of_loki(at.url)).look()).value == 0.0
        wrong = await Watch(of_loki(at.url, "{app=~`shop`}")).look()
        stranger = await Watch(LokiErrors(name="shop", url=at.url, query='{app="shop"}')).look()
        elsewhere = await Watch(of_loki(f"{at.url}/api")).look()
    assert (wrong.value, stranger.value, elsewhere.value) == (None, None, None)
    assert "parse error" in wrong.detail
    assert "another login" in stranger.detail
    assert "page not found" in elsewhere.detail
    async with http_at(Elastic(lines).answer) as at:
        assert (await Watch(of_elastic(at.url, key)).look()).value == 0.0
        for index in ("gone", "gone-*"):
            gone = await Watch(of_elastic(at.url, key, index)).look()
            assert gone.value is None, "an index that does not exist has no errors, only in name"
            assert "no such index" in gone.detail
        assert (await Watch(of_elastic(at.url, nobody)).look()).value is None
    async with http_at(better_stack(lines)) as at:
        assert (await Watch(of_better_stack(at.url, password)).look()).value == 0.0
        told = await Watch(of_better_stack(at.url, password, "1 = 1")).look()
        assert (told.value, "Syntax error" in told.detail) == (None, True)
        assert (await Watch(of_better_stack(at.url, nobody)).look()).value is None


async def test_a_count_by_a_part_of_the_shards_is_no_count(key: str) -> None:
    lines = Lines({"logs-1": errors(9, after_s=-40)})
    async with http_at(Elastic(lines, shards_failed=2).answer) as at:
        told = await Watch(of_elastic(at.url, key)).look()
    assert (told.value, told.detail) == (None, "2 of 5 shards did not count")


async def test_a_store_that_was_down_for_a_look_counts_what_was_logged_meanwhile(key: str) -> None:
    lines, down = Lines({"logs-1": []}), [False]
    store = Elastic(lines)
    lines.log("logs-1", *errors(4, after_s=-10), *errors(3, after_s=20))

    def answers(asked: Asked) -> Said:
        return Said(status=503) if down[0] else store.answer(asked)

    async with http_at(answers) as at:
        watch = Watch(of_elastic(at.url, key))
        assert (await watch.look()).value == 0.0
        down[0] = True
        assert (await watch.look()).value is None
        down[0] = False
        assert (await watch.look()).value == 7.0


@pytest.mark.parametrize(
    "answer",
    [
        {"status": "success", "data": {"resultType": "streams", "result": []}},
        {"status": "success", "data": {"resultType": "vector", "result": [{}, {}]}},
        {"count": -1, "_shards": {"total": 1, "failed": 0}},
        {"count": True, "_shards": {"total": 1, "failed": 0}},
        {"count": 5, "_shards": {"total": 0, "failed": 0}},
        {"count": 5},
        {"errors": "many"},
        {"errors": [1]},
        {"errors": "9" * 400},
        {"count": 10**400, "_shards": {"total": 1, "failed": 0}},
        {
            "status": "success",
            "data": {"resultType": "vector", "result": [{"value": [1, "-3"]}]},
        },
        [],
        None,
    ],
)
async def test_an_answer_of_another_shape_is_not_known(
    answer: object, key: str, password: str
) -> None:
    async with http_at(lambda _: said(answer)) as at:
        for source in (
            of_loki(at.url),
            of_elastic(at.url, key),
            of_better_stack(at.url, password),
        ):
            told = await Watch(source).look()
            assert told.value is None
            assert told.detail


async def raised(
    answers: Callable[[Lines], Answers], make: Make, per_look: int, looks: int = 12
) -> set[str]:
    """What a watch raises of a shop that logs so many errors in thirty seconds."""
    lines, rules = Lines(), Watched()
    for n in range(-4, looks):
        for name in NAMES:
            lines.log(name, *errors(per_look, after_s=30 * n + 15))
    async with http_at(answers(lines)) as at:
        watch = Watch(make(at.url))
        for _ in range(looks):
            now: datetime = watch.at
            sample = Sample(target=ORDERS, at=now, readings=(await watch.look(),))
            rules.look((now - T0).total_seconds(), sample)
    return set(rules.raised)


@pytest.mark.parametrize("store", ["loki", "elastic", "better stack"])
async def test_a_log_full_of_errors_is_told_and_an_error_now_and_then_is_not(
    store: str, key: str, password: str
) -> None:
    stores: dict[str, tuple[Callable[[Lines], Answers], Make]] = {
        "loki": (loki, of_loki),
        "elastic": (
            lambda lines: Elastic(lines).answer,
            lambda url: of_elastic(url, key, "logs-1"),
        ),
        "better stack": (better_stack, lambda url: of_better_stack(url, password)),
    }
    answers, make = stores[store]
    assert await raised(answers, make, per_look=40) == {"log_errors:shop"}
    assert await raised(answers, make, per_look=5) == set()
