"""Numbers of services from a real Prometheus."""

from __future__ import annotations

from pathlib import Path

from samplings import Watched, seen
from stanch.adapters.postgres.scratch import free_port
from stanch.adapters.services.prometheus import PrometheusNumbers
from stanch.policy.hosts import PrometheusHost
from stanch.policy.signs import PrometheusSigns


async def test_each_query_gives_the_number_of_its_reading(prometheus: PrometheusHost) -> None:
    signs = PrometheusSigns(
        name="shop", url=prometheus.url, request_rate="count(up)", error_rate_pct="100 * 0.25",
        latency_s="vector(0) / vector(0)",
    )  # fmt: skip
    told = await PrometheusNumbers(signs).look()
    assert {(r.name, r.subject): r.value for r in told} == {
        ("request_rate", "shop"): 2.0,
        ("error_rate_pct", "shop"): 25.0,
        ("latency_s", "shop"): None,
    }


async def test_what_a_prometheus_sees_fail_is_told_and_what_it_sees_answer_is_not(
    prometheus: PrometheusHost,
) -> None:
    # Of what it scrapes, one answers and one never does.
    failing = "100 * sum(up{instance=~'%s'} == bool 0) / count(up{instance=~'%s'})"
    raised: list[list[str]] = []
    for scraped in (".*", prometheus.instance):
        query = failing % (scraped, scraped)
        signs = PrometheusSigns(name="shop", url=prometheus.url, error_rate_pct=query)
        told, rules = await PrometheusNumbers(signs).look(), Watched()
        # A minute of the same answers.
        for at_s in range(0, 75, 15):
            rules.look(at_s, seen(readings=told))
        raised.append(rules.raised)
    assert raised == [["error_rate_high:shop"], []]


async def test_a_query_that_makes_no_sense_says_so_and_the_others_are_answered(
    prometheus: PrometheusHost,
) -> None:
    signs = PrometheusSigns(
        name="shop", url=prometheus.url, request_rate="sum(", error_rate_pct="up", latency_s="0.5"
    )
    rate, errors, latency = await PrometheusNumbers(signs).look()
    assert (rate.value, errors.value, latency.value) == (None, None, 0.5)
    assert "parse error" in rate.detail
    assert errors.detail == "the query gives 2 series in place of one"


async def test_a_prometheus_that_is_gone_leaves_numbers_unknown(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    gone = PrometheusSigns(name="shop", url=url, request_rate="1")
    [told] = await PrometheusNumbers(gone).look()
    assert told.value is None
    assert told.detail
    no_token = str(tmp_path / "token")
    locked = PrometheusSigns(name="shop", url=url, request_rate="1", token_file=no_token)
    [told] = await PrometheusNumbers(locked).look()
    assert told.value is None
    assert "No such file" in told.detail
