"""A policy back to text: every value spelled out, so that later defaults change nothing.

The text is what is stored beside its hash and read again when the engine asks what was in force.
It is JSON, and so YAML that `parse_policy` reads. Passwords inside connection strings are left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from stanch.policy.dsn import without_secrets
from stanch.policy.keys import POLICY
from stanch.policy.kinds import Boolean, Dsn, Integer
from stanch.policy.policy import Policy
from stanch.policy.shapes import ByName, ListOf, MapOf, Named, OneOf, Section, Shape, Variants


def canonical_text(policy: Policy) -> str:
    """The same text for equal policies; `parse_policy` makes an equal policy of it."""
    plain = _section(POLICY, policy)
    return json.dumps(plain, indent=1, ensure_ascii=True) + "\n"


def _section(section: Section, value: object) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key in section.keys:
        held = getattr(value, key.field)
        # Not given and no default: there is no text for it, and none is needed.
        if held is not None and held != "":
            plain[key.name] = _plain(key.holds, held)
    return plain


def _plain(shape: Shape, value: object) -> Any:
    if isinstance(shape, Section):
        return _section(shape, value)
    if isinstance(shape, OneOf):
        key = shape.key_of(value)
        return {key: _section(shape.by_key[key], value)} if key else value
    if isinstance(shape, Named):
        return {str(getattr(item, shape.field)): _entry(shape, item) for item in _items(value)}
    if isinstance(shape, ListOf):
        return [_plain(shape.item, item) for item in _items(value)]
    if isinstance(shape, MapOf):
        known = cast("Mapping[str, object]", value)
        return {name: _plain(shape.value, known[name]) for name in known}
    if isinstance(shape, ByName):
        known = cast("Mapping[str, object]", value)
        return {name: _section(shape.sections[name], known[name]) for name in known}
    if isinstance(shape, Boolean | Integer):
        return value
    if isinstance(shape, Dsn):
        return without_secrets(str(value))
    return value if isinstance(value, str) else shape.show(value)


def _entry(shape: Named, item: object) -> dict[str, Any]:
    if isinstance(shape.entry, Variants):
        [(word, section)] = [
            (word, section)
            for word, section in shape.entry.by_type.items()
            if section.make is type(item)
        ]
        return {"type": word, **_section(section, item)}
    return _section(shape.entry, item)


def _items(value: object) -> tuple[object, ...]:
    return cast("tuple[object, ...]", value)
