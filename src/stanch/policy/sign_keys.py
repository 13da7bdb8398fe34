"""The keys of services that use the server: `services` and `signs` of a target."""

from __future__ import annotations

from stanch.policy.http_keys import LOGIN, url_key
from stanch.policy.kinds import HTTP_URL, NAME, Choice, Integer, Path, Text
from stanch.policy.pool_keys import JSON_PATH_KIND
from stanch.policy.quantities import Duration
from stanch.policy.shapes import Key, Named, Section, Variants
from stanch.policy.signs import HealthCheck, JsonSigns, PrometheusSigns

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
            holds=JSON_PATH_KIND,
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
    title="signs in a Prometheus",
    make=PrometheusSigns,
    keys=(
        url_key(
            "The Prometheus that knows the service; asked every 15s.",
            "http://prometheus.example.com:9090",
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
        *LOGIN,
    ),
)


def _value(name: str, doc: str, example: str) -> Key:
    return Key(name=name, field=name, holds=JSON_PATH_KIND, doc=doc, example=example)


JSON_SIGNS = Section(
    title="signs over HTTP",
    make=JsonSigns,
    keys=(
        url_key(
            "Where the service tells its numbers as JSON; asked every 15s. Redirects are not "
            "followed, and 256 kB are read.",
            "https://shop.example.com/metrics.json",
        ),
        _value("request_rate", "The path to the requests a second.", ".http.requests_per_second"),
        _value(
            "requests_total",
            "In place of it, to a counter of requests. Two answers make a rate; a counter that "
            "went down was reset and starts again.",
            ".http.requests",
        ),
        _value("error_rate", "To the requests that fail, of all.", ".http.error_percent"),
        Key(
            name="error_unit",
            field="error_unit",
            holds=Choice(values=("percent", "share")),
            doc="What `error_rate` is: 0 to 100, or 0 to 1.",
        ),
        _value(
            "errors_total",
            "In place of it, to a counter of requests that failed; needs `requests_total`.",
            ".http.errors",
        ),
        _value("latency", "To how long an answer takes.", ".http.p95"),
        _value(
            "latency_total",
            "In place of it, to the time of all answers together; with `requests_total` that is "
            "their mean.",
            ".http.seconds_total",
        ),
        Key(
            name="latency_unit",
            field="latency_unit",
            holds=Choice(values=("s", "ms")),
            doc="What `latency` and `latency_total` are counted in.",
        ),
        *LOGIN,
    ),
)

SIGN_SOURCE = Variants(
    title="signs of a service", by_type={"prometheus": PROMETHEUS, "json": JSON_SIGNS}
)
SIGNS = Named(entry=SIGN_SOURCE, name=NAME, field="name", noun="service")
