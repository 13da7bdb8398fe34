"""The keys of what is asked beside the server: `pools`, `services` and `signs` of a target."""

from __future__ import annotations

from stanch.policy.host_keys import PROMETHEUS_TOKEN
from stanch.policy.kinds import HTTP_URL, NAME, Dsn, Integer, Path, Text
from stanch.policy.quantities import Duration
from stanch.policy.shapes import Key, Named, Section, Variants
from stanch.policy.signs import JSON_PATH, ConsolePools, HealthCheck, PrometheusSigns, QueryPools

_JSON_PATH = Text(word="JSON path", pattern=JSON_PATH, like=".database")

CONSOLE = Section(
    title="pooler",
    make=ConsolePools,
    keys=(
        Key(
            name="dsn",
            field="dsn",
            holds=Dsn(),
            doc="Its admin console; the user must be one of `stats_users`, or a console user of "
            "Odyssey.",
            example='"host=bouncer.example.com port=6432 dbname=pgbouncer user=stats"',
        ),
    ),
)

QUERY = Section(
    title="pool query",
    make=QueryPools,
    keys=(
        Key(
            name="dsn",
            field="dsn",
            holds=Dsn(),
            doc="The database where the application keeps account of its pools.",
            example="service=orders_app",
        ),
        Key(
            name="query",
            field="query",
            holds=Text(),
            doc="One row a pool: `pool` and any of `active`, `size`, `usage_rate`, `waiting`, "
            "`max_wait_s`. It may read only, for two seconds. Left out: the newest metrics of each "
            "pool from the tables `connection_pool_config` and `connection_pool_metrics`.",
            example='"SELECT name AS pool, busy AS active, max AS size FROM my_pools"',
        ),
    ),
)

POOL_SOURCE = Variants(title="pool source", by_type={"pgbouncer": CONSOLE, "query": QUERY})
POOLS = Named(entry=POOL_SOURCE, name=NAME, field="name", noun="pool source")

HEALTH_CHECK = Section(
    title="service",
    make=HealthCheck,
    keys=(
        Key(
            name="url",
            field="url",
            holds=HTTP_URL,
            doc="Its health check, asked every 5s. Redirects are not followed.",
            example="https://shop.example.com/health",
        ),
        Key(
            name="status",
            field="status",
            holds=Integer(low=100, high=599),
            doc="The status it answers when it is well.",
        ),
        Key(
            name="json",
            field="json",
            holds=_JSON_PATH,
            doc="The path to one value of the answer, of which 64 kB are read: fields after dots, "
            'such as `.checks.database`, in quotes where needed (`."my key"`), places in lists as '
            "`[0]`. Left out: only the status counts.",
            example=".database",
        ),
        Key(
            name="equals",
            field="equals",
            holds=Text(may_be_empty=True),
            doc="The value that must be there; numbers, true, false and null as JSON writes them.",
            example="connected",
        ),
        Key(
            name="timeout",
            field="timeout_s",
            holds=Duration(min_s=0.1, max_s=4.5),
            doc="An answer that takes longer is none.",
        ),
        Key(
            name="ca_file",
            field="ca_file",
            holds=Path(),
            doc="Certificates of the authority that signed the service's. Left out: those that "
            "this machine trusts.",
            example="/etc/ssl/internal-ca.pem",
        ),
    ),
)

SERVICES = Named(entry=HEALTH_CHECK, name=NAME, field="name", noun="service")

PROMETHEUS = Section(
    title="signs of a service",
    make=PrometheusSigns,
    keys=(
        Key(
            name="url",
            field="url",
            holds=HTTP_URL,
            doc="The Prometheus that knows the service; asked every 15s.",
            example="http://prometheus.example.com:9090",
        ),
        Key(
            name="request_rate",
            field="request_rate",
            holds=Text(),
            doc="A query that gives one number: requests a second.",
            example='"sum(rate(http_requests_total[2m]))"',
        ),
        Key(
            name="error_rate",
            field="error_rate_pct",
            holds=Text(),
            doc="The same for the requests that fail, in percent of all.",
            example='"100 * sum(rate(http_errors_total[2m])) / sum(rate(http_requests_total[2m]))"',
        ),
        Key(
            name="latency",
            field="latency_s",
            holds=Text(),
            doc="The same for how long an answer takes, in seconds.",
            example='"histogram_quantile(0.95, sum by (le) (rate(http_seconds_bucket[2m])))"',
        ),
        PROMETHEUS_TOKEN,
    ),
)

SIGNS = Named(entry=PROMETHEUS, name=NAME, field="name", noun="service")
