"""Stand-ins of log stores, strict: each speaks its documented protocol and refuses all else.

They keep lines with a time and fields, and count them for whoever asks in the store's own words:
Loki's instant queries, `_count` of Elasticsearch and OpenSearch, ClickHouse's SQL of Better Stack.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from http_at import Asked, Said, said

API_KEY, PASSWORD, TENANT = "encoded-key", "s3cret", "shop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    at_s: float
    level: str = "error"
    text: str = "no connection to the database"


@dataclass(slots=True)
class Lines:
    """What was logged, by the name of a stream, an index or a table."""

    kept: dict[str, list[Line]] = field(default_factory=dict[str, list[Line]])

    def log(self, where: str, *lines: Line) -> None:
        self.kept.setdefault(where, []).extend(lines)

    def count(
        self, where: str, since_s: float, until_s: float, fits: Callable[[Line], bool]
    ) -> int:
        lines = self.kept.get(where, [])
        return sum(since_s < line.at_s <= until_s and fits(line) for line in lines)


def basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


# --- Loki ---------------------------------------------------------------------------------------

LOKI_QUERY = re.compile(
    r'sum\(count_over_time\(\s*\{app="(\w+)"\}(?:\s*\|= "([^"]*)")?(?:\s*#[^\n]*\n)?\s*'
    r"\[(\d+)s\]\s*\)\)"
)


def loki(lines: Lines) -> Callable[[Asked], Said]:
    """With several tenants, as `auth_enabled: true` makes it."""

    def answer(asked: Asked) -> Said:
        if asked.path != "/loki/api/v1/query":
            return Said(status=404, body=b"404 page not found\n")
        if asked.method not in {"GET", "POST"}:
            return Said(status=405)
        if asked.headers.get("x-scope-orgid") != TENANT:
            return Said(status=401, body=b"no org id\n")
        if not set(asked.query) <= {"query", "time", "limit", "direction"}:
            return Said(status=400, body=b"unknown parameter\n")
        query = LOKI_QUERY.fullmatch(asked.query.get("query", [""])[0])
        if query is None:
            return Said(status=400, body=b"parse error at line 1, col 1: syntax error\n")
        [time] = asked.query.get("time", [""])
        if not re.fullmatch(r"\d{19}", time):
            return Said(status=400, body=b"could not parse 'time' parameter\n")
        app, needle, seconds = query.groups()
        until_s = int(time) / 1e9
        found = lines.count(
            app, until_s - int(seconds), until_s, lambda line: (needle or "") in line.text
        )
        result = [{"metric": {}, "value": [until_s, str(found)]}] if found else []
        data = {"resultType": "vector", "result": result, "stats": {}}
        return said({"status": "success", "data": data})

    return answer


# --- Elasticsearch and OpenSearch ---------------------------------------------------------------


@dataclass(slots=True)
class Elastic:
    """One with a login; `shards_failed` of five shards do not answer."""

    lines: Lines
    shards_failed: int = 0

    def answer(self, asked: Asked) -> Said:
        known = (f"ApiKey {API_KEY}", basic("stanch", PASSWORD))
        if asked.headers.get("authorization") not in known:
            return _error(401, "security_exception", "missing authentication credentials")
        path = re.fullmatch(r"/([^/]+)/_count", asked.path)
        if path is None:
            return _error(400, "illegal_argument_exception", f"no handler found for {asked.path}")
        if asked.method not in {"GET", "POST"}:
            return _error(405, "method_not_allowed", "allowed: [POST, GET]")
        if asked.headers.get("content-type", "").split(";")[0] != "application/json":
            return _error(406, "media_type_header_exception", "Content-Type is not supported")
        if not set(asked.query) <= {"allow_no_indices", "ignore_unavailable", "q"}:
            return _error(400, "illegal_argument_exception", "unrecognized parameter")
        return self._counted(path[1], asked)

    def _counted(self, pattern: str, asked: Asked) -> Said:
        indices = [name for name in self.lines.kept if fnmatchcase(name, pattern)]
        may_be_none = asked.query.get("allow_no_indices") != ["false"] and "*" in pattern
        if not indices and not may_be_none:
            return _error(404, "index_not_found_exception", f"no such index [{pattern}]")
        try:
            times, level = _elastic_query(json.loads(asked.body))
        except (ValueError, KeyError, TypeError):
            return _error(400, "parsing_exception", "unknown query")
        count = sum(
            self.lines.count(
                name, times["gt"] / 1000, times["lte"] / 1000, lambda line: line.level == level
            )
            for name in indices
        )
        total = 5 * len(indices)
        shards = {"total": total, "successful": total, "skipped": 0, "failed": self.shards_failed}
        return said({"count": count, "_shards": shards})


def _elastic_query(body: Any) -> tuple[dict[str, int], str]:
    """The times and the level of the one kind of query that is understood."""
    string, span = body["query"]["bool"]["filter"]
    level = re.fullmatch(r"level:(\w+)", string["query_string"]["query"])
    times = span["range"]["@timestamp"]
    if level is None or times["format"] != "epoch_millis" or set(body) != {"query"}:
        raise ValueError(body)
    return times, level[1]


def _error(status: int, kind: str, reason: str) -> Said:
    return said({"error": {"type": kind, "reason": reason}, "status": status}, status)


# --- Better Stack -------------------------------------------------------------------------------

SQL = re.compile(
    r"SELECT count\(\) AS errors FROM remote\((\w+)\)\s+"
    r"WHERE dt > (toDateTime64\(.*?\)) AND dt <= (toDateTime64\(.*?\)) AND \(\s*"
    r"JSONExtractString\(raw, 'level'\) = '(\w+)'(?: -- [^\n]*\n)?\s*\)\s*FORMAT JSONEachRow"
)
MOMENT = re.compile(r"toDateTime64\('([\d-]+ [\d:]+)', 3, 'UTC'\)")


def better_stack(lines: Lines) -> Callable[[Asked], Said]:
    def answer(asked: Asked) -> Said:
        if asked.headers.get("authorization") != basic("stanch", PASSWORD):
            return Said(status=403, body=b"Code: 516. DB::Exception: Authentication failed\n")
        if asked.path != "/" or asked.method != "POST":
            return Said(status=404, body=b"There is no handle " + asked.path.encode())
        if asked.headers.get("content-type") != "plain/text":
            return Said(status=415)
        query = SQL.fullmatch(asked.body.decode())
        if query is None:
            return Said(status=400, body=b"Code: 62. DB::Exception: Syntax error\n")
        table, since, until, level = query.groups()
        if table not in lines.kept:
            return Said(status=404, body=b"Code: 60. DB::Exception: Unknown table\n")
        found = lines.count(table, _at(since), _at(until), lambda line: line.level == level)
        return Said(body=json.dumps({"errors": str(found)}).encode() + b"\n")

    return answer


def _at(written: str) -> float:
    moment = MOMENT.fullmatch(written)
    assert moment is not None, written
    return datetime.fromisoformat(moment[1]).replace(tzinfo=UTC).timestamp()
