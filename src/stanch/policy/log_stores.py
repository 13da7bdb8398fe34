"""Stores of log lines that are asked how many errors a service logged."""

from __future__ import annotations

from dataclasses import dataclass

from stanch.policy.signs import HttpSource, TokenSource


@dataclass(frozen=True, slots=True, kw_only=True)
class LokiErrors(TokenSource):
    """A Grafana Loki, by a LogQL query for lines."""

    query: str
    tenant: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ElasticErrors(TokenSource):
    """An Elasticsearch or OpenSearch, by a query string."""

    index: str
    query: str
    time_field: str = "@timestamp"

    @property
    def token_scheme(self) -> str:
        return "ApiKey"


@dataclass(frozen=True, slots=True, kw_only=True)
class BetterStackErrors(HttpSource):
    """The SQL interface of Better Stack, by a condition on one table of lines."""

    table: str
    where: str


LogErrorSource = LokiErrors | ElasticErrors | BetterStackErrors
