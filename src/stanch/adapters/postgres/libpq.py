"""libpq's own objects as the driver exposes them, with their types spelled out.

The driver chooses its implementation at import, which a type checker cannot follow.
"""

from __future__ import annotations

from typing import Any, cast

from psycopg import pq
from psycopg.pq import abc

_exposed = cast("Any", pq)

PGconn = abc.PGconn
"""For annotations; `start_connecting` makes one."""
PGresult = abc.PGresult


def start_connecting(conninfo: bytes) -> PGconn:
    """Begin a connection without blocking, except to look up a host that is no address."""
    return cast("PGconn", _exposed.PGconn.connect_start(conninfo))


def parse_conninfo(conninfo: bytes) -> dict[str, str]:
    """The parameters that the string itself sets. Raises: psycopg.OperationalError."""
    parsed = cast("list[pq.ConninfoOption]", _exposed.Conninfo.parse(conninfo))
    return _by_name(parsed)


def settings_of(conn: PGconn) -> dict[str, str]:
    """Every parameter of a connection that has a value, defaults included."""
    return _by_name(cast("list[pq.ConninfoOption]", cast("Any", conn).info))


def _by_name(options: list[pq.ConninfoOption]) -> dict[str, str]:
    return {
        option.keyword.decode(): option.val.decode("utf-8", "replace")
        for option in options
        if option.val is not None
    }
