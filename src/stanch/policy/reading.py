"""A YAML tree to policy values, shape by shape; every finding is collected, none stops the rest.

Where a value cannot be used, its default stands in, so that one mistake hides no other; the
caller uses the values only when there was no error.
"""

from __future__ import annotations

import re
from dataclasses import MISSING
from difflib import get_close_matches
from typing import Any, cast

import yaml

from stanch.policy.kinds import Kind, Written, Wrong, with_article
from stanch.policy.mappings import Entry, described, entries
from stanch.policy.nodes import unknown_tag
from stanch.policy.places import PathTo, Places
from stanch.policy.quoting import quoted
from stanch.policy.shapes import ByName, Key, ListOf, MapOf, Named, OneOf, Section, Shape, Variants

_STR = "tag:yaml.org,2002:str"
_NULL = "tag:yaml.org,2002:null"
_SECRET = re.compile(r"(?i)(?:^|_)(?:pass(?:word|wd|phrase)?|pwd|secret|token|api_?key)$")

_SECRETS = ("password", "passwd", "secret")
"""Misspelt ones are secrets, too."""


class Reading:
    """One walk over one tree."""

    def __init__(self, places: Places) -> None:
        self.places = places

    def section(self, section: Section, node: yaml.Node, path: PathTo) -> Any:
        """The dataclass of a section, with stand-ins for whatever is wrong or missing."""
        found = entries(node, path, self.places, title=section.title)
        return self._filled(section, found, path, {})

    def _filled(
        self, section: Section, found: list[Entry], path: PathTo, fixed: dict[str, Any]
    ) -> Any:
        values = dict(fixed)
        for key_node, value in found:
            name = str(key_node.value)
            key = section.key(name)
            if key is None:
                _unknown(name, (*path, name), section, self.places)
            else:
                values[key.field] = self._value(section, key, value, (*path, name))
        for key in section.keys:
            if key.field not in values:
                values[key.field] = self._absent(section, key, path)
        return section.make(**values)

    def _value(self, section: Section, key: Key, node: yaml.Node, path: PathTo) -> Any:
        default = section.default(key)
        spare = spare_value(key.holds) if default is MISSING else default
        if node.tag == _NULL:
            self.places.find(path, "has no value", "Give a value, or remove the line.")
            return spare
        return self._shaped(key.holds, node, path, spare)

    def _absent(self, section: Section, key: Key, path: PathTo) -> Any:
        if not section.required(key):
            return section.default(key)
        concerns = (*path, key.name)
        self.places.find(
            path, f"{key.name} is missing", f"Add `{key.name}`: {key.doc}", concerns=concerns
        )
        return spare_value(key.holds)

    def _shaped(self, shape: Shape, node: yaml.Node, path: PathTo, spare: Any) -> Any:
        if tag := unknown_tag(node):
            self.places.find(path, f"has the tag {quoted(tag)}", "Write plain YAML without tags.")
            return spare
        if isinstance(shape, Section):
            return self.section(shape, node, path)
        if isinstance(shape, OneOf):
            return self._one_of(shape, node, path, spare)
        if isinstance(shape, Named):
            return self._named(shape, node, path)
        if isinstance(shape, ByName):
            return self._by_name(shape, node, path)
        if isinstance(shape, ListOf):
            return self._list(shape, node, path)
        if isinstance(shape, MapOf):
            return self._map(shape, node, path, spare)
        return self._scalar(shape, node, path, spare)

    def _scalar(self, kind: Kind, node: yaml.Node, path: PathTo, spare: Any) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            what = f"is {described(node)}, not {with_article(kind.word)}"
            self.places.find(path, what, "Write one value here.")
            return spare
        value = kind.read(Written(text=str(node.value), is_text=node.tag == _STR))
        if isinstance(value, Wrong):
            self.places.find(path, value.what, value.hint)
            return spare
        return value

    def _one_of(self, shape: OneOf, node: yaml.Node, path: PathTo, spare: Any) -> Any:
        if not isinstance(node, yaml.MappingNode):
            return self._scalar(shape.words, node, path, spare)
        known = ", ".join(shape.by_key)
        found = entries(node, path, self.places, title="mapping")
        for key_node, _ in found:
            name = str(key_node.value)
            if name not in shape.by_key:
                hint = nearest(name, tuple(shape.by_key)) or f"Use one of: {known}."
                self.places.find((*path, name), f"unknown key {quoted(name)}", hint)
        if len(found) != 1:
            what = f"has {len(found)} keys in place of one"
            self.places.find(path, what, f"Give one of {known}, with its keys below.")
            return spare
        [(key_node, value)] = found
        section = shape.by_key.get(str(key_node.value))
        at = (*path, str(key_node.value))
        return spare if section is None else self._shaped(section, value, at, spare)

    def _list(self, shape: ListOf, node: yaml.Node, path: PathTo) -> tuple[Any, ...]:
        if not isinstance(node, yaml.SequenceNode):
            hint = f"Write [one {shape.noun}, another], or one a line after a dash."
            self.places.find(path, f"is {described(node)}, not a list", hint)
            return ()
        values: list[Any] = []
        for index, item in enumerate(cast("list[yaml.Node]", node.value), 1):
            at = (*path, str(index))
            self.places.mark(at, item)
            if self.places.step(at):
                values.append(self._shaped(shape.item, item, at, spare_value(shape.item)))
        return tuple(values)

    def _map(self, shape: MapOf, node: yaml.Node, path: PathTo, spare: Any) -> dict[str, Any]:
        values = dict(cast("dict[str, Any]", spare))
        for key_node, value in entries(node, path, self.places, title=f"mapping of {shape.noun}s"):
            name = str(key_node.value)
            at = (*path, name)
            if name not in shape.names:
                hint = nearest(name, shape.names) or f"Known: {', '.join(shape.names)}."
                self.places.find(at, f"unknown {shape.noun} {quoted(name)}", hint)
                continue
            found = self._scalar(shape.value, value, at, None)
            if found is not None:
                values[name] = found
        return values

    def _named(self, shape: Named, node: yaml.Node, path: PathTo) -> tuple[Any, ...]:
        values: list[Any] = []
        names: set[str] = set()
        title = f"mapping of names to {shape.noun} entries"
        for key_node, value in entries(node, path, self.places, title=title):
            at = (*path, str(key_node.value))
            names.add(str(key_node.value))
            name = shape.name.read(Written(text=str(key_node.value), is_text=True))
            if isinstance(name, Wrong):
                self.places.find(at, name.what, name.hint)
                continue
            values += self._entry(shape, value, at, name)
        missing = [name for name in shape.complete if name not in names]
        if missing and not self.places.failed(path):
            what = f"{shape.noun} {', '.join(missing)} missing"
            self.places.find(path, what, f"Give all of {', '.join(shape.complete)}, or none.")
        return tuple(values)

    def _by_name(self, shape: ByName, node: yaml.Node, path: PathTo) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value in entries(node, path, self.places, title=f"mapping of {shape.noun}s"):
            name = str(key_node.value)
            at, section = (*path, name), shape.sections.get(name)
            if section is None:
                near = nearest(name, tuple(shape.sections))
                hint = near or f"`stanch {shape.noun}s` lists every {shape.noun}."
                self.places.find(at, f"unknown {shape.noun} {quoted(name)}", hint)
                continue
            found = entries(value, at, self.places, title=section.title)
            values[name] = self._filled(section, found, at, {shape.field: name})
        return values

    def _entry(self, shape: Named, node: yaml.Node, path: PathTo, name: object) -> list[Any]:
        """One named entry; nothing where it has no usable type."""
        if tag := unknown_tag(node):
            self.places.find(path, f"has the tag {quoted(tag)}", "Write plain YAML without tags.")
            return []
        found = entries(node, path, self.places, title=shape.noun)
        entry = shape.entry
        if isinstance(entry, Variants):
            chosen = self._variant(entry, found, path)
            if chosen is None:
                return []
            entry, found = chosen, [pair for pair in found if pair[0].value != "type"]
        return [self._filled(entry, found, path, {shape.field: name})]

    def _variant(self, variants: Variants, found: list[Entry], path: PathTo) -> Section | None:
        hint = f"Use one of: {', '.join(variants.by_type)}."
        given = next((value for key, value in found if key.value == "type"), None)
        if given is None:
            if not self.places.failed(path):
                self.places.find(path, "type is missing", f"Add `type`. {hint}")
            return None
        chosen = variants.by_type.get(given.value) if isinstance(given, yaml.ScalarNode) else None
        if chosen is None:
            self.places.find((*path, "type"), f"unknown type of {variants.title}", hint)
        return chosen


def _unknown(name: str, path: PathTo, section: Section, places: Places) -> None:
    names = tuple(key.name for key in section.keys)
    if _SECRET.search(name) or get_close_matches(name[:80].lower(), _SECRETS, n=1, cutoff=0.8):
        places.find(path, "secrets do not belong in this file", _secret_hint(names))
        return
    if name in section.moved:
        places.find(path, f"{quoted(name)} is no longer set here", section.moved[name])
        return
    known = f"Known here: {', '.join(names)}." if names else "Nothing more is set here."
    places.find(path, f"unknown key {quoted(name)}", nearest(name, names) or known)


def nearest(name: str, names: tuple[str, ...]) -> str:
    """The question whether a known name was meant; empty where none is near."""
    plain = name[:80].lower().replace("-", "_").removesuffix("_s").removesuffix("_pct")
    near = get_close_matches(plain, names, n=1, cutoff=0.6)
    return f"Did you mean `{near[0]}`?" if near else ""


def _secret_hint(names: tuple[str, ...]) -> str:
    for name in ("password_file", "secret_file"):
        if name in names:
            return f"Put it into a file only Stanch can read, and name that in `{name}`."
    return "Use a connection service (`service=…`) or a passfile (~/.pgpass)."


def spare_value(shape: Shape) -> Any:
    """What stands in for a value that cannot be used; never reaches a policy that is valid."""
    if isinstance(shape, Named | ListOf):
        return ()
    if isinstance(shape, MapOf | ByName):
        return {}
    if isinstance(shape, Section):
        spares = {
            key.field: spare_value(key.holds) if shape.required(key) else shape.default(key)
            for key in shape.keys
        }
        return shape.make(**spares)
    return ""
