"""What is asked beside the server itself: its pools, the services that use it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

JSON_STEP = r'\.[A-Za-z_][A-Za-z0-9_-]*|\."[^"\\\x00-\x1f]+"|\.?\[\d{1,6}\]'
JSON_PATH = rf"(?:{JSON_STEP})+"
"""The part of jq's paths that names one value: fields, fields in quotes, places in lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsolePools:
    """The admin console of a PgBouncer, or of an Odyssey."""

    name: str
    dsn: str
    admin_dsn: str = ""
    """The same console as somebody who may change it. Empty: it is only watched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryPools:
    """Pools of an application, as a query tells them."""

    name: str
    dsn: str
    query: str = ""
    """Empty: the tables connection_pool_config and connection_pool_metrics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSource:
    """Somebody who is asked over HTTP, and how they know who asks."""

    name: str
    url: str
    username: str = ""
    password_file: str = ""
    ca_file: str = ""
    """Empty: the authorities that this machine trusts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSource(HttpSource):
    """One that knows tokens, too."""

    token_file: str = ""

    @property
    def token_scheme(self) -> str:
        """The word before the token."""
        return "Bearer"


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonPools(TokenSource):
    """Pools of an application, as it tells them over HTTP; each value by its path in a pool."""

    pools: str = ""
    """Path to the list of pools, or to an object with one a name. Empty: the answer itself."""
    pool: str = ".pool_name"
    tier: str = ".tier"
    active: str = ".active_connections"
    size: str = ".max_connections"
    size_min: str = ".min_connections"
    usage_rate: str = ".connection_usage_rate"
    waiting: str = ".pending_acquires"
    max_wait_s: str = ".max_wait_s"

    @property
    def columns(self) -> dict[str, str]:
        """Path by the name that a column of a pool query has."""
        return {
            "active": self.active,
            "size": self.size,
            "size_min": self.size_min,
            "usage_rate": self.usage_rate,
            "waiting": self.waiting,
            "max_wait_s": self.max_wait_s,
        }


PoolSource = ConsolePools | QueryPools | JsonPools


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
class PrometheusSigns(TokenSource):
    """What a service says of itself, as its Prometheus answers one query for each number."""

    request_rate: str = ""
    error_rate_pct: str = ""
    latency_s: str = ""

    @property
    def queries(self) -> dict[str, str]:
        """By the name of the reading; those that are given."""
        given = {
            "request_rate": self.request_rate,
            "error_rate_pct": self.error_rate_pct,
            "latency_s": self.latency_s,
        }
        return {name: query for name, query in given.items() if query}


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonSigns(TokenSource):
    """What a service says of itself in JSON: numbers of the moment, or counters, by their paths."""

    request_rate: str = ""
    requests_total: str = ""
    error_rate: str = ""
    error_unit: Literal["percent", "share"] = "percent"
    errors_total: str = ""
    latency: str = ""
    latency_total: str = ""
    latency_unit: Literal["s", "ms"] = "s"

    @property
    def counters(self) -> dict[str, str]:
        """Paths of what only counts up; those that are given."""
        given = {
            "requests": self.requests_total,
            "errors": self.errors_total,
            "latency": self.latency_total,
        }
        return {name: path for name, path in given.items() if path}

    @property
    def gauges(self) -> dict[str, tuple[str, float]]:
        """By the name of the reading: the path, and what its value is multiplied by."""
        given = {
            "request_rate": (self.request_rate, 1.0),
            "error_rate_pct": (self.error_rate, 100.0 if self.error_unit == "share" else 1.0),
            "latency_s": (self.latency, self.latency_factor),
        }
        return {name: asked for name, asked in given.items() if asked[0]}

    @property
    def latency_factor(self) -> float:
        return 0.001 if self.latency_unit == "ms" else 1.0


SignsOfService = PrometheusSigns | JsonSigns
