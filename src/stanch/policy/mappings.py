"""The keys of one YAML mapping: merges (`<<`) filled in, duplicates and odd keys found."""

from __future__ import annotations

from typing import cast

import yaml

from stanch.policy.places import PathTo, Places
from stanch.policy.quoting import quoted

Entry = tuple[yaml.ScalarNode, yaml.Node]

_MERGE = "tag:yaml.org,2002:merge"


def entries(node: yaml.Node, path: PathTo, places: Places, *, title: str) -> list[Entry]:
    """Each key with its value, in the order of the file; nothing where this is no mapping."""
    if not isinstance(node, yaml.MappingNode):
        places.find(path, f"is {described(node)}, not a {title}", "Write `key: value` lines.")
        return []
    own: dict[str, Entry] = {}
    merged: dict[str, Entry] = {}
    for key, value in pairs(node):
        if not places.step(path):
            return []
        if key.tag == _MERGE:
            merged = {**_merged(value, (*path, "<<"), key, places, seen={id(node)}), **merged}
        elif not isinstance(key, yaml.ScalarNode):
            places.mark((*path, "?"), key)
            places.find((*path, "?"), f"a key is {described(key)}", "Keys are plain words.")
        elif key.value in own:
            _duplicate(own[key.value][0], key, path, places)
        else:
            own[key.value] = (key, value)
            places.mark((*path, key.value), key)
    for name in merged.keys() - own.keys():
        places.mark((*path, name), merged[name][0])
    return list({**merged, **own}.values())


def pairs(node: yaml.MappingNode) -> list[tuple[yaml.Node, yaml.Node]]:
    return cast("list[tuple[yaml.Node, yaml.Node]]", node.value)


def described(node: yaml.Node) -> str:
    """What a node is, for a finding; a scalar is not repeated, because it may be a secret."""
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    return "a list" if isinstance(node, yaml.SequenceNode) else "a single value"


def _duplicate(
    first: yaml.ScalarNode, again: yaml.ScalarNode, path: PathTo, places: Places
) -> None:
    at = (*path, str(again.value))
    places.mark(at, again)
    places.find(
        at,
        f"{quoted(str(again.value))} is given twice",
        f"It is first given on line {first.start_mark.line + 1}; keep one of them.",
    )


def _merged(
    value: yaml.Node, path: PathTo, at: yaml.Node, places: Places, *, seen: set[int]
) -> dict[str, Entry]:
    listed = value.value if isinstance(value, yaml.SequenceNode) else [value]
    found: dict[str, Entry] = {}
    for source in cast("list[yaml.Node]", listed):
        if not isinstance(source, yaml.MappingNode) or id(source) in seen:
            places.mark(path, at)
            places.find(path, "merges something that is no other mapping", "Write `<<: *name`.")
            continue
        for key, item in pairs(source):
            if not places.step(path):
                return found
            if key.tag == _MERGE:
                inner = _merged(item, path, key, places, seen=seen | {id(source)})
                found = {**inner, **found}
            elif isinstance(key, yaml.ScalarNode):
                found.setdefault(key.value, (key, item))
    return found
