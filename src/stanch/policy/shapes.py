"""The shapes a part of stanch.yaml can have; `keys.py` declares the file with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache
from typing import Any

from stanch.policy.kinds import Choice, Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key of the file and the field of the policy it fills."""

    name: str
    field: str
    holds: Shape
    doc: str
    """One sentence or two for the person who edits the file."""
    example: str = ""
    """Shown in the template where there is no useful default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A mapping with known keys; its values make one dataclass, whose defaults are the defaults."""

    title: str
    make: type
    keys: tuple[Key, ...]
    moved: Mapping[str, str] = field(default_factory=dict[str, str])
    """Keys of earlier releases, each with the sentence that says where it is now."""

    def key(self, name: str) -> Key | None:
        return next((key for key in self.keys if key.name == name), None)

    def default(self, key: Key) -> Any:
        """The default of a key; MISSING when it must be given."""
        declared = _fields(self.make)[key.field]
        if declared.default_factory is not MISSING:
            return declared.default_factory()
        return declared.default

    def required(self, key: Key) -> bool:
        return self.default(key) is MISSING


@cache
def _fields(make: type) -> dict[str, Field[Any]]:
    return {one.name: one for one in fields(make)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Variants:
    """A mapping whose `type` says which section it is."""

    title: str
    by_type: Mapping[str, Section]


@dataclass(frozen=True, slots=True, kw_only=True)
class OneOf:
    """A word, or a mapping with one of a few keys, whose section says more."""

    words: Choice
    by_key: Mapping[str, Section]

    def key_of(self, value: object) -> str:
        """The key under which a section's value stands; empty for a word."""
        return next((k for k, s in self.by_key.items() if s.make is type(value)), "")

    def show(self, value: object) -> str:
        """A word as YAML."""
        assert isinstance(value, str), "sections are written a line each"
        return self.words.show(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A mapping from names to sections; the name fills a field of each."""

    entry: Section | Variants
    name: Kind
    field: str
    """The field that takes the name."""
    noun: str
    complete: tuple[str, ...] = ()
    """Names that must all be there once the mapping is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOf:
    item: Kind | Section
    noun: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MapOf:
    """A mapping from known names to values of one kind; what is left out keeps its default."""

    names: tuple[str, ...]
    value: Kind
    noun: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ByName:
    """A mapping from known names to sections, each of its own; the name fills a field of it."""

    sections: Mapping[str, Section]
    field: str
    noun: str


Shape = Kind | Section | OneOf | Named | ByName | ListOf | MapOf
