"""How many lines a log store counted: the question in each store's own words, and its answer.

A store that answers with only a part of its shards, or knows no such index, has not counted: that
is missing, and not a smaller number.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from stanch.facts.machines.json_values import as_object, part, read_json, text, whole
from stanch.facts.prometheus_numbers import parse_number
from stanch.model.diagnosis import Missing
from stanch.policy.log_stores import BetterStackErrors, ElasticErrors, LokiErrors

COUNT_MAX = 10**15


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """From after one second to the end of another, in seconds since 1970."""

    since_s: int
    until_s: int


# --- Loki ---------------------------------------------------------------------------------------


def loki_parameters(logs: LokiErrors, span: Span) -> dict[str, str]:
    """Of `/loki/api/v1/query`; a range there ends with its moment and is open at its beginning."""
    seconds = span.until_s - span.since_s
    # On lines of its own, so that a comment at the query's end takes nothing with it.
    query = f"sum(count_over_time(\n{logs.query}\n[{seconds}s]))"
    return {"query": query, "time": f"{span.until_s}000000000"}


def parse_loki(answer: bytes) -> float | Missing:
    """No series is what Loki makes of no lines."""
    said = read_json(answer)
    data = part(as_object(said), "data")
    if as_object(said).get("status") == "success" and data.get("result") == []:
        return 0.0 if text(data, "resultType") == "vector" else parse_number(said)
    number = parse_number(said)
    return number if isinstance(number, Missing) else _counted(number)


# --- Elasticsearch and OpenSearch ---------------------------------------------------------------


def elastic_body(logs: ElasticErrors, span: Span) -> bytes:
    """Of `_count`."""
    times = {"gt": span.since_s * 1000, "lte": span.until_s * 1000, "format": "epoch_millis"}
    filters = [{"query_string": {"query": logs.query}}, {"range": {logs.time_field: times}}]
    return json.dumps({"query": {"bool": {"filter": filters}}}).encode("ascii")


def parse_elastic(answer: bytes) -> float | Missing:
    said = as_object(read_json(answer))
    count, shards = whole(said, "count"), part(said, "_shards")
    total, failed = whole(shards, "total"), whole(shards, "failed")
    if count is None or total is None or failed is None:
        return _missing("this is not the answer of an Elasticsearch or OpenSearch")
    if not total:
        return _missing("no index has that name")
    if failed:
        return _missing(f"{failed} of {total} shards did not count")
    return _counted(count)


# --- Better Stack -------------------------------------------------------------------------------


def better_stack_sql(logs: BetterStackErrors, span: Span) -> bytes:
    """ClickHouse's SQL; the condition stands on lines of its own for the sake of its comments."""
    return (  # the table's name is checked, and the condition is the operator's own
        f"SELECT count() AS errors FROM remote({logs.table})\n"  # noqa: S608
        f"WHERE dt > {_moment(span.since_s)} AND dt <= {_moment(span.until_s)} AND (\n"
        f"{logs.where}\n)\nFORMAT JSONEachRow"
    ).encode()


def parse_better_stack(answer: bytes) -> float | Missing:
    """One row; large counts are text there."""
    try:
        row = cast("object", json.loads(answer))
        count = int(str(as_object(row)["errors"]))
    except (ValueError, KeyError, RecursionError):
        return _missing("this is not the answer of a Better Stack")
    return _counted(count)


def _counted(count: float) -> float | Missing:
    return float(count) if 0 <= count <= COUNT_MAX else _missing("the count is no number of lines")


def _moment(at_s: int) -> str:
    at = datetime.fromtimestamp(at_s, UTC)
    return f"toDateTime64('{at:%Y-%m-%d %H:%M:%S}', 3, 'UTC')"


def _missing(reason: str) -> Missing:
    return Missing(what="count", reason=reason)
