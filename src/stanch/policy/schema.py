"""The JSON schema of stanch.yaml, for editors; the parser says more and has the last word."""

from __future__ import annotations

from dataclasses import MISSING
from typing import Any

from stanch.policy.keys import POLICY
from stanch.policy.kinds import Boolean, Integer, JsonSchema
from stanch.policy.rule_keys import RULES
from stanch.policy.shapes import ByName, Key, ListOf, MapOf, Named, OneOf, Section, Shape, Variants

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> JsonSchema:
    """Schema of the whole file; unknown keys are refused everywhere, as the parser does."""
    rules = {"type": "object", "properties": _properties(RULES), "additionalProperties": False}
    return {
        "$schema": DIALECT,
        "title": "stanch.yaml",
        **_section(POLICY),
        "$defs": {RULES.noun: rules},
    }


def _properties(shape: ByName) -> JsonSchema:
    return {name: _section(section) for name, section in shape.sections.items()}


def _section(section: Section, extra: JsonSchema | None = None) -> JsonSchema:
    properties: JsonSchema = dict(extra or {})
    for key in section.keys:
        properties[key.name] = {"description": key.doc, **_default(section, key), **_of(key.holds)}
    required = [*(extra or {}), *(key.name for key in section.keys if section.required(key))]
    schema: JsonSchema = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    return schema | ({"required": required} if required else {})


def _of(shape: Shape) -> JsonSchema:
    if isinstance(shape, Section):
        return _section(shape)
    if isinstance(shape, OneOf):
        return {"oneOf": [shape.words.schema(), *map(_only, shape.by_key.items())]}
    if isinstance(shape, Named):
        return _named(shape)
    if isinstance(shape, ByName):
        # Written once: the same names can be given in several places.
        return {"$ref": f"#/$defs/{shape.noun}"}
    if isinstance(shape, ListOf):
        return {"type": "array", "items": _of(shape.item)}
    if isinstance(shape, MapOf):
        return {
            "type": "object",
            "properties": {name: _of(shape.value) for name in shape.names},
            "additionalProperties": False,
        }
    return shape.schema()


def _only(pair: tuple[str, Section]) -> JsonSchema:
    """A mapping with one key."""
    name, section = pair
    return {
        "type": "object",
        "properties": {name: _section(section)},
        "required": [name],
        "additionalProperties": False,
    }


def _named(shape: Named) -> JsonSchema:
    if isinstance(shape.entry, Variants):
        entry: JsonSchema = {
            "oneOf": [
                _section(section, {"type": {"const": word}})
                for word, section in shape.entry.by_type.items()
            ]
        }
    else:
        entry = _section(shape.entry)
    if shape.complete:
        return {
            "type": "object",
            "properties": dict.fromkeys(shape.complete, entry),
            "required": list(shape.complete),
            "additionalProperties": False,
        }
    pattern = shape.name.schema().get("pattern", "")
    return {"type": "object", "propertyNames": {"pattern": pattern}, "additionalProperties": entry}


def _default(section: Section, key: Key) -> JsonSchema:
    default = section.default(key)
    if default is MISSING or default is None or default == "":
        return {}
    return _shown(key.holds, default)


def _shown(shape: Shape, default: Any) -> JsonSchema:
    if isinstance(shape, Boolean | Integer):
        return {"default": default}
    if isinstance(shape, Section | Named | ByName | ListOf | MapOf):
        return {}
    return {"default": default if isinstance(default, str) else shape.show(default)}
