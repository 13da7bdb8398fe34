"""Connection pools from a JSON answer, each value by its path. An answer in, pools out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from stanch.facts.json_path import number_at, part_at, value_at
from stanch.facts.pools import Pool, Row, parse_query_pools
from stanch.model.diagnosis import Missing
from stanch.model.shown import shortened
from stanch.policy.quoting import printable
from stanch.policy.signs import JsonPools

NAME_CHARS_MAX = 100
POOLS_READ_MAX = 2_000
"""Of a longer list the rest is not looked at."""


def parse_json_pools(answer: object, told: JsonPools) -> tuple[Pool, ...]:
    """The pools of a list, or of an object with one pool a name.

    What a pool does not say, or says with something that is no number, is None.
    Raises: ValueError where the answer holds no pools, one without a name, or two of one name.
    """
    rows = [_row(name, pool, told) for name, pool in _entries(answer, told)]
    names = [row["pool"] for row in rows]
    if len(set(names)) < len(names):
        raise ValueError(f"several pools of the answer have one name at {told.pool}")
    return parse_query_pools(rows)


def _entries(answer: object, told: JsonPools) -> Iterator[tuple[str, object]]:
    where = told.pools or "the top of the answer"
    found = part_at(answer, told.pools)
    if isinstance(found, list):
        pools = cast("list[object]", found)[:POOLS_READ_MAX]
        yield from (("", pool) for pool in pools)
    elif isinstance(found, dict):
        named = cast("dict[str, object]", found)
        yield from list(named.items())[:POOLS_READ_MAX]
    else:
        raise ValueError(f"there is no list of pools at {where}")


def _row(name: str, pool: object, told: JsonPools) -> Row:
    if not isinstance(pool, dict):
        raise ValueError(f"a pool of the answer is no object at {told.pools or 'its top'}")
    fields = cast("dict[str, object]", pool)
    own = value_at(fields, told.pool) or name
    if not own:
        raise ValueError(f"a pool of the answer has no name at {told.pool}")
    tier = value_at(fields, told.tier)
    whole = f"{tier}/{own}" if tier and tier != "null" else own
    return {"pool": shortened(printable(whole), NAME_CHARS_MAX), **_numbers(fields, told)}


def _numbers(pool: object, told: JsonPools) -> dict[str, str | None]:
    found = {column: number_at(pool, path) for column, path in told.columns.items()}
    return {c: None if isinstance(n, Missing) else repr(n) for c, n in found.items()}
