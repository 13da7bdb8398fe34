"""How the policy says what is asked beside the server."""

from __future__ import annotations

import json

import pytest

from stanch.policy.canonical import canonical_text
from stanch.policy.parse import Parsed, parse_policy, read_policy
from stanch.policy.schema import json_schema
from stanch.policy.signs import ConsolePools, HealthCheck, PrometheusSigns, QueryPools

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
    services:
      shop: {url: "https://shop.example.com/health", json: .database, equals: connected}
      admin: {url: "http://admin.example.com/up", status: 204, timeout: 500ms}
    signs:
      shop: {url: "http://prometheus.example.com", error_rate: "100 * a / b"}
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
    url = "http://prometheus.example.com"
    assert target.signs == (PrometheusSigns(name="shop", url=url, error_rate_pct="100 * a / b"),)
    assert parse_policy(canonical_text(policy), file="stored") == policy


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
        ("signs: {s: {url: 'http://x'}}", "signs.s", "asks nothing"),
        ("services: {s: {url: 'http://x', timeout: 10s}}", "services.s.timeout", "out of range"),
    ],
)
def test_what_cannot_be_asked_is_named_with_its_place(written: str, path: str, what: str) -> None:
    [(level, where, said)] = found(f"    {written}\n")
    assert (level, where) == ("error", f"targets.orders.{path}")
    assert what in said, said


def test_a_password_in_the_dsn_of_a_pooler_works_and_earns_a_warning() -> None:
    dsn = "host=b dbname=pgbouncer user=stats password=x"
    [(level, where, _)] = found(f'    pools: {{b: {{type: pgbouncer, dsn: "{dsn}"}}}}\n')
    assert (level, where) == ("warning", "targets.orders.pools.b.dsn")


def test_the_schema_knows_the_kinds_of_pools() -> None:
    said = json.dumps(json_schema())
    assert '"const": "pgbouncer"' in said
    assert '"const": "query"' in said
