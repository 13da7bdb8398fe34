"""The blocks of a runbook's text: where they are, and the keys in them with their lines. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import yaml

from stanch.policy.nodes import Unreadable, compose


@dataclass(frozen=True, slots=True)
class Block:
    """Keys and values with their lines."""

    values: Mapping[str, object]
    lines: Mapping[str, int]
    first_line: int

    def line(self, key: str) -> int:
        return self.lines.get(key, self.first_line)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """One fenced block; `line` is that of its opening."""

    line: int
    kind: str
    text: str
    closed: bool


def fences(lines: list[str], start: int) -> Iterator[Fence]:
    """The fenced blocks from this line on, counted from nought."""
    n = start
    while n < len(lines):
        opened = re.match(r"^ {0,3}(```+|~~~+)\s*([\w-]*)", lines[n])
        if opened is None:
            n += 1
            continue
        mark, kind, body = opened[1], opened[2], list[str]()
        first = n
        n += 1
        while n < len(lines) and not lines[n].strip().startswith(mark):
            body.append(lines[n])
            n += 1
        yield Fence(line=first + 1, kind=kind, text="\n".join(body), closed=n < len(lines))
        n += 1


Wrong = tuple[int, str, str, str]
"""Line, path, what is wrong, and a hint."""


def mapping(text: str, *, first_line: int, known: tuple[str, ...]) -> tuple[Block, list[Wrong]]:
    """The keys of one block, each at most once, and what is wrong with them."""
    node = compose(text)
    if isinstance(node, Unreadable):
        wrong = (first_line + node.line - 1, "", node.what, node.hint)
        return Block({}, {}, first_line), [wrong]
    if not isinstance(node, yaml.MappingNode):
        return Block({}, {}, first_line), [(first_line, "", "is not a mapping of keys", "")]
    values: dict[str, object] = {}
    lines: dict[str, int] = {}
    found: list[Wrong] = []
    for key_node, value_node in node.value:
        key, line = str(key_node.value), first_line + key_node.start_mark.line
        if key not in known:
            found.append((line, key, "is unknown", f"There are: {', '.join(known)}."))
        elif key in values:
            found.append((line, key, "is there twice", ""))
        else:
            values[key] = _value(value_node)
            lines[key] = line
    return Block(values, lines, first_line), found


def _value(node: yaml.Node) -> object:
    """Plain values only: text, numbers, booleans, null, lists and mappings of them."""
    if isinstance(node, yaml.SequenceNode):
        return [_value(item) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        return {str(key.value): _value(value) for key, value in node.value}
    text = str(node.value)
    if node.tag == "tag:yaml.org,2002:bool":
        return text.lower() in ("true", "yes", "on")
    if node.tag == "tag:yaml.org,2002:null":
        return None
    if node.tag == "tag:yaml.org,2002:int" and re.fullmatch(r"[-+]?\d{1,18}", text):
        return int(text)
    return text
