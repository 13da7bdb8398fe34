"""Counts of log stores: answers as their documentation shows them, and questions in their words."""

from __future__ import annotations

import json

import pytest

from stanch.facts.log_counts import (
    COUNT_MAX,
    Span,
    better_stack_sql,
    elastic_body,
    loki_parameters,
    parse_better_stack,
    parse_elastic,
    parse_loki,
)
from stanch.model.diagnosis import Missing
from stanch.policy.log_stores import BetterStackErrors, ElasticErrors, LokiErrors

SPAN = Span(since_s=1_773_456_300, until_s=1_773_456_330)
VECTOR = '{"status":"success","data":{"resultType":"vector","result":[%s],"stats":{}}}'


def test_the_questions_cover_the_span_and_nothing_else() -> None:
    loki = loki_parameters(LokiErrors(name="s", url="u", query='{a="b"} |= "c"'), SPAN)
    assert loki == {
        "query": 'sum(count_over_time(\n{a="b"} |= "c"\n[30s]))',
        "time": "1773456330000000000",
    }
    elastic = ElasticErrors(name="s", url="u", index="i", query="q", time_field="t")
    [string, times] = json.loads(elastic_body(elastic, SPAN))["query"]["bool"]["filter"]
    assert string == {"query_string": {"query": "q"}}
    assert times["range"]["t"]["gt"] == 1_773_456_300_000
    assert times["range"]["t"]["lte"] == 1_773_456_330_000
    sql = better_stack_sql(BetterStackErrors(name="s", url="u", table="t", where="x = 1"), SPAN)
    assert b"dt > toDateTime64('2026-03-14 02:45:00', 3, 'UTC')" in sql
    assert b"dt <= toDateTime64('2026-03-14 02:45:30', 3, 'UTC') AND (\nx = 1\n)" in sql


@pytest.mark.parametrize(
    ("answer", "count"),
    [
        (VECTOR % '{"metric":{},"value":[1588889221,"1267"]}', 1267.0),
        (VECTOR % "", 0.0),
        (VECTOR % '{"metric":{},"value":[1588889221,"NaN"]}', None),
        (VECTOR % '{"value":[1,"2"]},{"value":[1,"2"]}', None),
        ('{"status":"success","data":{"resultType":"streams","result":[]}}', None),
        ('{"status":"error","errorType":"timeout","error":"deadline"}', None),
        ("", None),
    ],
)
def test_loki_answers_with_one_series_or_none(answer: str, count: float | None) -> None:
    told = parse_loki(answer.encode())
    assert (None if isinstance(told, Missing) else told) == count


@pytest.mark.parametrize(
    ("answer", "count"),
    [
        ({"count": 1, "_shards": {"total": 1, "successful": 1, "skipped": 0, "failed": 0}}, 1.0),
        ({"count": 0, "_shards": {"total": 5, "successful": 5, "skipped": 4, "failed": 0}}, 0.0),
        ({"count": 9, "_shards": {"total": 5, "successful": 4, "skipped": 0, "failed": 1}}, None),
        ({"count": 0, "_shards": {"total": 0, "successful": 0, "skipped": 0, "failed": 0}}, None),
        ({"count": COUNT_MAX + 1, "_shards": {"total": 1, "failed": 0}}, None),
        ({"error": {"type": "index_not_found_exception"}, "status": 404}, None),
    ],
)
def test_elasticsearch_says_how_many_shards_have_counted(
    answer: object, count: float | None
) -> None:
    told = parse_elastic(json.dumps(answer).encode())
    assert (None if isinstance(told, Missing) else told) == count


@pytest.mark.parametrize(
    ("answer", "count"),
    [
        (b'{"errors":"42"}\n', 42.0),
        (b'{"errors":42}\n', 42.0),
        (b'{"errors":"0"}\n', 0.0),
        (b'{"errors":"1"}\n{"errors":"2"}\n', None),
        (b'{"errors":"4.5"}\n', None),
        (b'{"errors":"1"}\nCode: 241. DB::Exception: Memory limit exceeded\n', None),
        (b"", None),
    ],
)
def test_better_stack_answers_with_one_row(answer: bytes, count: float | None) -> None:
    told = parse_better_stack(answer)
    assert (None if isinstance(told, Missing) else told) == count
