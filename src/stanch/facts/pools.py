"""Connection pools from what a pooler's console or a query says. Rows in, pools out.

Columns are found by name, so that PgBouncer from 1.18 on and Odyssey are read alike; what a version
lacks is None.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

Row = Mapping[str, str | None]

ADMIN_DATABASE = "pgbouncer"
"""The console itself, which has no server connections."""

IN_USE = ("sv_active", "sv_active_cancel", "sv_being_canceled", "sv_tested", "sv_login")
"""Server connections that no further client can get now."""
LEADS_MAX = 500

OPEN = (*IN_USE, "sv_idle", "sv_used")
CLIENTS = ("cl_active", "cl_waiting", "cl_active_cancel_req", "cl_waiting_cancel_req")

CONFIG_QUERY = """
SELECT concat_ws('/', coalesce(to_jsonb(cpc) ->> 'tier', to_jsonb(cpm) ->> 'tier'),
                 coalesce(to_jsonb(cpc) ->> 'pool_name', to_jsonb(cpm) ->> 'pool_name')) AS pool,
       to_jsonb(cpm) ->> 'active_connections' AS active,
       to_jsonb(cpc) ->> 'min_connections' AS size_min,
       to_jsonb(cpc) ->> 'max_connections' AS size,
       to_jsonb(cpm) ->> 'connection_usage_rate' AS usage_rate,
       to_jsonb(cpm) ->> 'pending_acquires' AS waiting
FROM connection_pool_config cpc
LEFT JOIN LATERAL (
    SELECT * FROM connection_pool_metrics
    WHERE pool_config_id = cpc.id AND collected_at >= now() - interval '5 minutes'
    ORDER BY collected_at DESC LIMIT 1
) cpm ON true
"""
"""The newest metrics of each configured pool; empty where the last five minutes have none.

Source: two tables of the application; the role needs SELECT on them.
Cost: one row a pool, by an index on (pool_config_id, collected_at) where there is one.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """One pool at one moment; what could not be read is None."""

    name: str
    usage_pct: float | None = None
    waiting: float | None = None
    """Clients, or requests inside an application, that wait for a connection."""
    max_wait_s: float | None = None
    """How long the one at the head of the queue has waited."""
    size: float | None = None
    """How many server connections it may have; told by a pooler's console only."""
    paused: bool | None = None
    """Somebody holds its clients back on purpose; told by a pooler's console only."""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """What a pooler was told to keep to. Nothing that is missing here is taken for a limit."""

    pool_size: Mapping[str, float]
    """Server connections a pool, by database."""
    connections: Mapping[str, float]
    """Server connections of a database, whatever the user."""
    clients: float | None
    """Client connections of the whole pooler."""
    paused: Mapping[str, bool] = field(default_factory=dict[str, bool])
    """Whether it is paused, by database; those that tell it."""


def parse_limits(databases: Sequence[Row], config: Sequence[Row]) -> PoolLimits:
    """From SHOW DATABASES, and SHOW CONFIG where the pooler has it. 0 stands for no limit."""
    clients = [row.get("value") for row in config if row.get("key") == "max_client_conn"]
    return PoolLimits(
        pool_size=_limits(databases, "pool_size"),
        connections=_limits(databases, "max_connections"),
        clients=_number(clients[0]) if clients else None,
        paused={
            row.get("name") or "": row.get("paused") == "1"
            for row in databases
            if row.get("paused") in ("0", "1")
        },
    )


def parse_leads(databases: Sequence[Row]) -> tuple[tuple[str, str, int], ...]:
    """From SHOW DATABASES: each database of a pooler with the host and port behind it.

    An empty host is a socket on the pooler's own machine.
    """
    found = ((row.get("name"), row.get("host") or "", row.get("port") or "") for row in databases)
    return tuple(
        (name, host, int(port))
        for name, host, port in found
        if name and name != ADMIN_DATABASE and port.isascii() and port.isdigit() and len(port) < 6
    )[:LEADS_MAX]


def parse_pools(rows: Sequence[Row], limits: PoolLimits) -> tuple[Pool, ...]:
    """From SHOW POOLS: each pool, and all clients of the pooler together under the name `clients`.

    The fuller of its own limit and that of its database counts.
    """
    opened: dict[str, float] = {}
    for row in rows:
        database = row.get("database") or ""
        opened[database] = opened.get(database, 0.0) + _sum(row, OPEN)
    found = [
        _console_pool(row, limits, opened=opened[row.get("database") or ""])
        for row in rows
        if row.get("database") not in (None, ADMIN_DATABASE)
    ]
    return (*found, *_clients(rows, limits))


def _console_pool(row: Row, limits: PoolLimits, *, opened: float) -> Pool:
    database = row.get("database") or ""
    used = _sum(row, IN_USE)
    size, most = limits.pool_size.get(database), limits.connections.get(database)
    shares = [100 * used / size] if size else []
    # Connections that other users' pools of this database hold are taken from this one, too.
    if most and (_number(row.get("cl_waiting")) or 0.0) > 0:
        shares.append(100 * opened / most)
    seconds, micros = _number(row.get("maxwait")), _number(row.get("maxwait_us"))
    waiting = _number(row.get("cl_waiting"))
    return Pool(
        name=f"{database}/{row.get('user') or ''}",
        usage_pct=max(shares, default=None),
        waiting=waiting,
        max_wait_s=None if seconds is None else seconds + (micros or 0.0) / 1e6,
        size=size,
        paused=(paused := limits.paused.get(database)),
        detail=f"{used:g} of {_shown(size)} server connections in use, {_shown(waiting)} wait"
        + (", paused" if paused else ""),
    )


def stands_still(rows: Sequence[Row]) -> bool:
    """Whether somebody waits for a pool of which nothing is in use, as where it is paused."""
    return any(_sum(row, ("cl_waiting",)) > 0 and _sum(row, IN_USE) == 0 for row in rows)


def _clients(rows: Iterable[Row], limits: PoolLimits) -> Iterable[Pool]:
    if limits.clients:
        count = sum(_sum(row, CLIENTS) for row in rows)
        yield Pool(
            name="clients",
            usage_pct=100 * count / limits.clients,
            detail=f"{count:g} of {limits.clients:g} client connections (max_client_conn)",
        )


def parse_query_pools(rows: Sequence[Row]) -> tuple[Pool, ...]:
    """From a query with `pool` and any of `active`, `size`, `usage_rate`, `waiting`, `max_wait_s`.

    `usage_rate` counts where there is no size; up to 1 it is a share, beyond that a percentage.
    Raises: ValueError where the query has no column `pool`.
    """
    if rows and "pool" not in rows[0]:
        raise ValueError(f"the query has no column pool; it has {', '.join(rows[0])}")
    return tuple(_query_pool(row) for row in rows)


def _query_pool(row: Row) -> Pool:
    active, size = _number(row.get("active")), _number(row.get("size"))
    rate, waiting = _number(row.get("usage_rate")), _number(row.get("waiting"))
    usage = None if rate is None else rate * (100 if rate <= 1 else 1)
    if active is not None and size:
        usage = 100 * active / size
    least = _number(row.get("size_min"))
    at_least = "" if least is None else f", at least {least:g} kept"
    return Pool(
        name=row.get("pool") or "",
        usage_pct=usage if usage is None or math.isfinite(usage) else None,
        waiting=waiting,
        max_wait_s=_number(row.get("max_wait_s")),
        detail=f"{_shown(active)} of {_shown(size)} connections in use{at_least}, "
        f"{_shown(waiting)} wait",
    )


def _limits(databases: Sequence[Row], column: str) -> dict[str, float]:
    known = {row.get("name") or "": _number(row.get(column)) for row in databases}
    return {name: value for name, value in known.items() if value}


def _sum(row: Row, columns: Iterable[str]) -> float:
    return sum(_number(row.get(column)) or 0.0 for column in columns)


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _shown(value: float | None) -> str:
    return "an unknown number" if value is None else f"{value:g}"
