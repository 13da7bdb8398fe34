"""How the policy says what is asked beside the server."""

from __future__ import annotations

import json

import pytest

from stanch.policy.canonical import canonical_text
from stanch.policy.log_stores import BetterStackErrors, ElasticErrors, LokiErrors
from stanch.policy.parse import Parsed, parse_policy, read_policy
from stanch.policy.schema import json_schema
from stanch.policy.signs import (
    ConsolePools,
    HealthCheck,
    JsonPools,
    JsonSigns,
    PrometheusSigns,
    QueryPools,
)

HEAD = """\
state_directory: /var/lib/stanch
people: {asha: {name: Asha Example}}
ladder: [asha]
channels: {console: {type: terminal}}
targets:
  orders:
    dsn: service=orders
"""
ALL = """\
    pools:
      bouncer: {type: pgbouncer, dsn: "host=b.example.com port=6432 dbname=pgbouncer user=stats"}
      app: {type: query, dsn: service=orders_app}
      jobs: {type: query, dsn: service=jobs, query: "SELECT 'a' AS pool, 1 AS active, 2 AS size"}
      told: {type: json, url: "https://shop.example.com/pools", pools: .pools, pool: '."my name"'}
    services:
      shop: {url: "https://shop.example.com/health", json: .database, equals: connected}
      admin: {url: "http://admin.example.com/up", status: 204, timeout: 500ms}
    signs:
      shop: {type: prometheus, url: "http://prometheus.example.com", error_rate: "100 * a / b"}
      web: {type: json, url: "https://w.example.com/n", requests_total: .n, errors_total: .bad,
            latency: .p95, latency_unit: ms, username: stanch, password_file: /etc/stanch/web}
    log_errors:
      a: {type: loki, url: "https://l.example.com", query: '{app="shop"} |= "error"', tenant: shop}
      b: {type: elasticsearch, url: "https://e.example.com:9200", index: "logs-*",
          query: "level:error", api_key_file: /etc/stanch/key}
      c: {type: betterstack, url: "https://b.example.com", table: t1_shop_logs,
          where: "raw LIKE '%error%'", username: u, password_file: /etc/stanch/b}
"""


def read(more: str) -> Parsed:
    return read_policy(HEAD + more, file="p")


def found(more: str) -> list[tuple[str, str, str]]:
    return [(f.level, f.path, f.what) for f in read(more).findings]


def test_pools_and_services_are_read_and_come_back_from_the_stored_text() -> None:
    policy = parse_policy(HEAD + ALL, file="p")
    [target] = policy.targets
    assert target.pools == (
        ConsolePools(
            name="bouncer", dsn="host=b.example.com port=6432 dbname=pgbouncer user=stats"
        ),
        QueryPools(name="app", dsn="service=orders_app"),
        QueryPools(
            name="jobs", dsn="service=jobs", query="SELECT 'a' AS pool, 1 AS active, 2 AS size"
        ),
        JsonPools(
            name="told",
            url="https://shop.example.com/pools",
            pools=".pools",
            pool='."my name"',
        ),
    )
    assert target.services == (
        HealthCheck(
            name="shop",
            url="https://shop.example.com/health",
            json=".database",
            equals="connected",
        ),
        HealthCheck(name="admin", url="http://admin.example.com/up", status=204, timeout_s=0.5),
    )
    assert parse_policy(canonical_text(policy), file="stored") == policy


def test_numbers_and_logs_of_services_are_read_as_each_source_has_them() -> None:
    [target] = parse_policy(HEAD + ALL, file="p").targets
    url = "http://prometheus.example.com"
    assert target.signs == (
        PrometheusSigns(name="shop", url=url, error_rate_pct="100 * a / b"),
        JsonSigns(
            name="web",
            url="https://w.example.com/n",
            requests_total=".n",
            errors_total=".bad",
            latency=".p95",
            latency_unit="ms",
            username="stanch",
            password_file="/etc/stanch/web",
        ),
    )
    assert target.log_errors == (
        LokiErrors(
            name="a", url="https://l.example.com", query='{app="shop"} |= "error"', tenant="shop"
        ),
        ElasticErrors(
            name="b",
            url="https://e.example.com:9200",
            index="logs-*",
            query="level:error",
            token_file="/etc/stanch/key",
        ),
        BetterStackErrors(
            name="c",
            url="https://b.example.com",
            table="t1_shop_logs",
            where="raw LIKE '%error%'",
            username="u",
            password_file="/etc/stanch/b",
        ),
    )


@pytest.mark.parametrize(
    ("written", "path", "what"),
    [
        ("pools: {b: {dsn: service=b}}", "pools.b", "type is missing"),
        ("pools: {b: {type: pgpool, dsn: service=b}}", "pools.b.type", "unknown type"),
        ("pools: {b: {type: pgbouncer}}", "pools.b", "dsn is missing"),
        ("services: {s: {url: 'ftp://x'}}", "services.s.url", "not a web address"),
        ("services: {s: {url: 'http://a:b@x/'}}", "services.s.url", "not a web address"),
        (
            "services: {s: {url: 'http://x', json: '.a[*]', equals: b}}",
            "services.s.json",
            "not a JSON path",
        ),
        ("services: {s: {url: 'http://x', json: .a}}", "services.s", "only one of"),
        ("services: {s: {url: 'http://x', equals: a}}", "services.s", "only one of"),
        ("signs: {s: {url: 'http://x', latency: '1'}}", "signs.s", "type is missing"),
        ("signs: {s: {type: prometheus, url: 'http://x'}}", "signs.s", "asks nothing"),
        ("signs: {s: {type: json, url: 'http://x'}}", "signs.s", "asks nothing"),
        (
            "signs: {s: {type: json, url: 'http://x', latency: p95}}",
            "signs.s.latency",
            "not a JSON path",
        ),
        (
            "signs: {s: {type: json, url: 'http://x', request_rate: .a, requests_total: .b}}",
            "signs.s.requests_total",
            "has both",
        ),
        (
            "signs: {s: {type: json, url: 'http://x', errors_total: .b}}",
            "signs.s.errors_total",
            "without a counter of requests",
        ),
        (
            "signs: {s: {type: json, url: 'https://x', latency: .a, username: u}}",
            "signs.s.username",
            "without a password",
        ),
        (
            "pools: {b: {type: json, url: 'http://x', password_file: /p}}",
            "pools.b.password_file",
            "without a login",
        ),
        (
            "pools: {b: {type: json, url: 'https://x', token_file: /t, username: u, "
            "password_file: /p}}",
            "pools.b.username",
            "two ways",
        ),
        (
            "log_errors: {s: {type: loki, url: 'http://x', query: 'rate(x[1m])'}}",
            "log_errors.s.query",
            "not a query for lines",
        ),
        (
            "log_errors: {s: {type: elasticsearch, url: 'http://x', index: a/b, query: q}}",
            "log_errors.s.index",
            "not an index",
        ),
        (
            "log_errors: {s: {type: betterstack, url: 'https://x', table: 't1; DROP', where: a, "
            "username: u, password_file: /p}}",
            "log_errors.s.table",
            "not a table",
        ),
        (
            "log_errors: {s: {type: betterstack, url: 'https://x', table: t1, where: a}}",
            "log_errors.s",
            "has no login",
        ),
        ("log_errors: {s: {type: splunk, url: 'http://x'}}", "log_errors.s.type", "unknown type"),
        ("pools: {b: {type: json, url: 'http://x', password: p}}", "pools.b.password", "secrets"),
        ("services: {s: {url: 'http://x', timeout: 10s}}", "services.s.timeout", "out of range"),
    ],
)
def test_what_cannot_be_asked_is_named_with_its_place(written: str, path: str, what: str) -> None:
    [(level, where, said)] = found(f"    {written}\n")
    assert (level, where) == ("error", f"targets.orders.{path}")
    assert what in said, said


def test_a_login_over_plain_http_to_another_machine_earns_a_warning() -> None:
    written = "signs: {{s: {{type: json, url: 'http://{}/n', latency: .a, token_file: /t}}}}"
    [(level, where, what)] = found(f"    {written.format('shop.example.com')}\n")
    assert (level, where) == ("warning", "targets.orders.signs.s.url")
    assert "in the clear" in what
    assert found(f"    {written.format('127.0.0.1:8080')}\n") == []
    assert found(f"    {written.format('[::1]:8080')}\n") == []


def test_a_password_in_the_dsn_of_a_pooler_works_and_earns_a_warning() -> None:
    dsn = "host=b dbname=pgbouncer user=stats password=x"
    [(level, where, _)] = found(f'    pools: {{b: {{type: pgbouncer, dsn: "{dsn}"}}}}\n')
    assert (level, where) == ("warning", "targets.orders.pools.b.dsn")


def test_the_schema_knows_the_kinds_of_pools() -> None:
    said = json.dumps(json_schema())
    assert '"const": "pgbouncer"' in said
    assert '"const": "query"' in said
