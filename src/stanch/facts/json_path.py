"""One value inside a JSON answer by its path: `.database`, `.checks[0].status`, `."a key"`.

That is the part of jq's paths that names one value: fields, fields in quotes, and places in lists
from 0 on. There is no wildcard, filter or function.
"""

from __future__ import annotations

import json
import re
from typing import cast

from stanch.policy.signs import JSON_PATH, JSON_STEP


def steps(path: str) -> tuple[str | int, ...]:
    """Names of fields and places in lists. Raises: ValueError for what is no such path."""
    if not re.fullmatch(JSON_PATH, path, re.ASCII):
        raise ValueError(f"not a path to one value: {path!r}")
    found = (step.lstrip(".") for step in re.findall(JSON_STEP, path, re.ASCII))
    return tuple(int(s[1:-1]) if s.startswith("[") else s.strip('"') for s in found)


def value_at(value: object, path: str) -> str | None:
    """The value as text: a string as it is, a number, truth or null as JSON writes it.

    None: there is nothing, or no single value but an object or a list.
    """
    for step in steps(path):
        if isinstance(step, int):
            items = cast("list[object]", value) if isinstance(value, list) else []
            if step >= len(items):
                return None
            value = items[step]
        else:
            fields = cast("dict[str, object]", value) if isinstance(value, dict) else {}
            if step not in fields:
                return None
            value = fields[step]
    if isinstance(value, dict | list):
        return None
    return value if isinstance(value, str) else json.dumps(value)
