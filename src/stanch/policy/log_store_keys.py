"""The keys of `log_errors` of a target: a store of log lines, and which of them are errors."""

from __future__ import annotations

from stanch.policy.http_keys import LOGIN, PASSWORD_LOGIN, url_key
from stanch.policy.kinds import NAME, Path, Text
from stanch.policy.log_stores import BetterStackErrors, ElasticErrors, LokiErrors
from stanch.policy.shapes import Key, Named, Section, Variants

LINES_QUERY = Text(
    word="query for lines", pattern=r"\s*\{[\s\S]*", like="""'{app="shop"} |= "error"'"""
)
INDEX = Text(word="index", pattern=r'[^\s/?#\\<>|"]{1,250}', like="logs-shop-*")
TABLE = Text(word="table", pattern=r"[A-Za-z_][A-Za-z0-9_]{0,126}", like="t123456_shop_logs")
FIELD = Text(word="field", pattern=r"[A-Za-z_@][A-Za-z0-9_.@-]{0,126}", like="@timestamp")

LOKI = Section(
    title="loki",
    make=LokiErrors,
    keys=(
        url_key("The Loki; asked every 30s for one number.", "https://loki.example.com"),
        Key(
            name="query",
            field="query",
            holds=LINES_QUERY,
            doc="LogQL for the lines that are errors; they are counted there, not fetched.",
            example="""'{app="shop"} |= "error"'""",
        ),
        Key(
            name="tenant",
            field="tenant",
            holds=NAME,
            doc="The tenant (`X-Scope-OrgID`), where Loki has several.",
            example="shop",
        ),
        *LOGIN,
    ),
)

ELASTIC = Section(
    title="elasticsearch",
    make=ElasticErrors,
    keys=(
        url_key(
            "The Elasticsearch or OpenSearch; asked every 30s for one number.",
            "https://search.example.com:9200",
        ),
        Key(
            name="index",
            field="index",
            holds=INDEX,
            doc="The index, data stream or pattern with the lines.",
            example='"logs-shop-*"',
        ),
        Key(
            name="query",
            field="query",
            holds=Text(),
            doc="Which of them are errors, as a query string.",
            example='"level:error AND service:shop"',
        ),
        Key(
            name="time_field",
            field="time_field",
            holds=FIELD,
            doc="The field with a line's time.",
        ),
        Key(
            name="api_key_file",
            field="token_file",
            holds=Path(),
            doc="A file with an encoded API key, read before each question. Left out: none is "
            "sent.",
            example="/etc/stanch/search-key",
        ),
        *PASSWORD_LOGIN,
    ),
)

BETTER_STACK = Section(
    title="betterstack",
    make=BetterStackErrors,
    keys=(
        url_key(
            "The SQL interface of Better Stack, as its connection page shows it; asked every 30s "
            "for one number.",
            "https://connect.example.com",
        ),
        Key(
            name="table",
            field="table",
            holds=TABLE,
            doc="The source's table of recent lines.",
            example="t123456_shop_logs",
        ),
        Key(
            name="where",
            field="where",
            holds=Text(),
            doc="The SQL condition for lines that are errors.",
            example="\"JSONExtractString(raw, 'level') = 'error'\"",
        ),
        *PASSWORD_LOGIN,
    ),
)

LOG_STORE = Variants(
    title="log store",
    by_type={"loki": LOKI, "elasticsearch": ELASTIC, "betterstack": BETTER_STACK},
)
LOG_ERRORS = Named(entry=LOG_STORE, name=NAME, field="name", noun="service")
