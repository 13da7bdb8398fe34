"""One value inside a JSON answer by its path: `.database`, `.checks[0].status`, `."a key"`.

That is the part of jq's paths that names one value: fields, fields in quotes, and places in lists
from 0 on. There is no wildcard, filter or function.
"""

from __future__ import annotations

import json
import math
import re
from typing import cast

from stanch.model.diagnosis import Missing
from stanch.policy.signs import JSON_PATH, JSON_STEP

ABSENT = object()


def steps(path: str) -> tuple[str | int, ...]:
    """Names of fields and places in lists. Raises: ValueError for what is no such path."""
    if not re.fullmatch(JSON_PATH, path, re.ASCII):
        raise ValueError(f"not a path to one value: {path!r}")
    found = (step.lstrip(".") for step in re.findall(JSON_STEP, path, re.ASCII))
    return tuple(int(s[1:-1]) if s.startswith("[") else s.strip('"') for s in found)


def part_at(value: object, path: str) -> object:
    """Whatever stands there, lists and objects included; the whole answer for an empty path.

    None: there is nothing, or a JSON null.
    """
    found = _found(value, path)
    return None if found is ABSENT else found


def value_at(value: object, path: str) -> str | None:
    """The value as text: a string as it is, a number, truth or null as JSON writes it.

    None: there is nothing, or no single value but an object or a list.
    """
    found = _found(value, path)
    if found is ABSENT or isinstance(found, dict | list):
        return None
    return found if isinstance(found, str) else json.dumps(found)


def number_at(value: object, path: str) -> float | Missing:
    """A number that is not negative, also where the answer has it as text."""
    found = _found(value, path)
    if found is ABSENT or found is None:
        return Missing(what="number", reason=f"there is nothing at {path}")
    number = _number(found)
    if number is None:
        return Missing(what="number", reason=f"what is at {path} is no number")
    if number < 0:
        return Missing(what="number", reason=f"what is at {path} is negative")
    return number


def _found(value: object, path: str) -> object:
    for step in steps(path) if path else ():
        if isinstance(step, int):
            items = cast("list[object]", value) if isinstance(value, list) else []
            if step >= len(items):
                return ABSENT
            value = items[step]
        else:
            fields = cast("dict[str, object]", value) if isinstance(value, dict) else {}
            if step not in fields:
                return ABSENT
            value = fields[step]
    return value


def _number(found: object) -> float | None:
    if isinstance(found, bool) or not isinstance(found, int | float | str):
        return None
    try:
        number = float(found)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
