"""The keys of `pools` of a target: a pooler's console, a query, or JSON over HTTP."""

from __future__ import annotations

from stanch.policy.http_keys import LOGIN, url_key
from stanch.policy.kinds import NAME, Dsn, Text
from stanch.policy.shapes import Key, Named, Section, Variants
from stanch.policy.signs import JSON_PATH, ConsolePools, JsonPools, QueryPools

JSON_PATH_KIND = Text(word="JSON path", pattern=JSON_PATH, like=".database")

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
        Key(
            name="admin_dsn",
            field="admin_dsn",
            holds=Dsn(),
            doc="The same console as one of `admin_users`; only actions use it, and only those "
            "that policy lets happen. PgBouncer only. Left out: it is watched, not changed.",
            example='"host=bouncer.example.com port=6432 dbname=pgbouncer user=stanch_act"',
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


def _value(name: str, doc: str) -> Key:
    return Key(name=name, field=name, holds=JSON_PATH_KIND, doc=doc)


JSON_POOLS = Section(
    title="pools over HTTP",
    make=JsonPools,
    keys=(
        url_key(
            "Where the application tells its pools as JSON. Redirects are not followed, and 256 kB "
            "are read.",
            "https://shop.example.com/pools",
        ),
        Key(
            name="pools",
            field="pools",
            holds=JSON_PATH_KIND,
            doc="The path to the list of pools, or to an object with one pool a name. Left out: "
            "the answer itself.",
            example=".data.pools",
        ),
        _value("pool", "The path to a pool's name, from the pool on, as all below."),
        _value("tier", "To the tier it belongs to, told before its name."),
        _value("active", "To the connections in use."),
        _value("size", "To the most there may be."),
        _value("size_min", "To how many are always kept."),
        _value(
            "usage_rate",
            "To the share in use, up to 1, or the percentage; counts where there is no `size`.",
        ),
        _value("waiting", "To how many wait for a connection."),
        _value("max_wait_s", "To how long the first of them has waited, in seconds."),
        *LOGIN,
    ),
)

POOL_SOURCE = Variants(
    title="pool source", by_type={"pgbouncer": CONSOLE, "query": QUERY, "json": JSON_POOLS}
)
POOLS = Named(entry=POOL_SOURCE, name=NAME, field="name", noun="pool source")
