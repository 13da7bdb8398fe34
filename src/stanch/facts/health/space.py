"""How large databases are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from stanch.facts.reading import read_objects
from stanch.facts.sql import load

SIZES_SQL: Final = load("health_sizes")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSize:
    name: str
    size_bytes: int | None
    """None: this role may not ask."""


def parse_sizes(payload: object) -> tuple[DatabaseSize, ...]:
    """What the answer to SIZES_SQL says. Raises ProbeFailed."""
    return tuple(
        DatabaseSize(name=part.text("name"), size_bytes=part.whole_or_none("size_bytes"))
        for part in read_objects(payload, "sizes")
    )
