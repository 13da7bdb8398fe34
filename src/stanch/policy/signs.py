"""What is asked beside the server itself: its pools, the services that use it."""

from __future__ import annotations

from dataclasses import dataclass

JSON_STEP = r'\.[A-Za-z_][A-Za-z0-9_-]*|\."[^"\\\x00-\x1f]+"|\.?\[\d{1,6}\]'
JSON_PATH = rf"(?:{JSON_STEP})+"
"""The part of jq's paths that names one value: fields, fields in quotes, places in lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsolePools:
    """The admin console of a PgBouncer, or of an Odyssey."""

    name: str
    dsn: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryPools:
    """Pools of an application, as a query tells them."""

    name: str
    dsn: str
    query: str = ""
    """Empty: the tables connection_pool_config and connection_pool_metrics."""


PoolSource = ConsolePools | QueryPools


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """One service that uses the database, asked over HTTP how it is."""

    name: str
    url: str
    status: int = 200
    json: str = ""
    """Path to one value of the answer. Empty: the status alone counts."""
    equals: str = ""
    timeout_s: float = 3.0
    ca_file: str = ""
    """Empty: the authorities that this machine trusts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusSigns:
    """What a service says of itself, as its Prometheus answers one query for each number."""

    name: str
    url: str
    request_rate: str = ""
    error_rate_pct: str = ""
    latency_s: str = ""
    token_file: str = ""

    @property
    def queries(self) -> dict[str, str]:
        """By the name of the reading; those that are given."""
        given = {
            "request_rate": self.request_rate,
            "error_rate_pct": self.error_rate_pct,
            "latency_s": self.latency_s,
        }
        return {name: query for name, query in given.items() if query}
