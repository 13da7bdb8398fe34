"""Fields of a JSON answer by name, where any of them may be absent or of another kind."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import cast

Object = Mapping[str, object]

NOTHING: Object = {}


def read_json(answer: bytes) -> object:
    """The answer's value; None where it is no JSON."""
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):
        return None


def as_object(value: object) -> Object:
    return cast("Object", value) if isinstance(value, dict) else NOTHING


def part(inside: Object, name: str) -> Object:
    """An object inside another; empty where there is none."""
    return as_object(inside.get(name))


def objects(inside: Object, name: str) -> list[Object]:
    """The objects of a list."""
    value = inside.get(name)
    listed = cast("list[object]", value) if isinstance(value, list) else []
    return [as_object(item) for item in listed]


def text(inside: Object, name: str) -> str:
    value = inside.get(name)
    return value[:1000] if isinstance(value, str) else ""


def flag(inside: Object, name: str) -> bool | None:
    value = inside.get(name)
    return value if isinstance(value, bool) else None


def number(inside: Object, name: str) -> float | None:
    value = inside.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def whole(inside: Object, name: str) -> int | None:
    value = inside.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def moment(inside: Object, name: str) -> datetime | None:
    """A time as RFC 3339 writes it, with any number of decimals."""
    written = text(inside, name)
    try:
        at = datetime.fromisoformat(written)
    except ValueError:
        return None
    return at.astimezone(UTC) if at.tzinfo is not None else None
