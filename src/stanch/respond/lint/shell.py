"""Shell text as the commands in it, quotes taken off. Pure; nothing is run or expanded."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import cache

import tree_sitter_bash
from tree_sitter import Language, Node, Parser

DEPTH_MAX = 60
_PLACEHOLDER = re.compile(r"<([A-Za-z][\w.:/ -]{0,60}?[\w.])>(?![>(])")
"""What a person has to fill in. To a shell it were a file to read from and one to write to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One program and its words; what is expanded only when it runs stands as it is written."""

    line: int
    words: tuple[str, ...]
    lines: tuple[int, ...]
    """On which line each word begins."""
    assigned: tuple[str, ...] = ()
    """`NAME=value` before it, or what `export` sets."""
    writes: tuple[str, ...] = ()
    """Files that its output goes to."""
    reads: tuple[str, ...] = ()
    """Files that its input comes from."""
    here: tuple[tuple[int, str], ...] = ()
    """Texts that are its input, with the line each begins on."""
    fed_by: tuple[Command, ...] = ()
    """Whose output it reads, the first of the pipeline first."""
    feeds: tuple[str, ...] = ()
    """Names of the programs behind it in the pipeline."""
    within: tuple[str, ...] = ()
    """What runs it: `sudo`, `ssh`, `docker exec`, `xargs`."""
    checked: bool = False
    """What comes next depends on how it ends."""

    @property
    def name(self) -> str:
        """The program without its folder."""
        return self.words[0].rpartition("/")[2] if self.words else ""

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def has(self, *options: str) -> bool:
        """Whether one of these words is there; of a short option also among others: -rf."""
        for word in self.words[1:]:
            if word in options or word.partition("=")[0] in options:
                return True
            short = re.fullmatch(r"-[A-Za-z]+", word)
            if short and any(len(o) == 2 and o[0] == "-" and o[1] in word for o in options):
                return True
        return False

    @property
    def arguments(self) -> tuple[str, ...]:
        """Words that are no options."""
        return tuple(word for word in self.words[1:] if not word.startswith("-"))


@dataclass(slots=True)
class _Around:
    """What stands around a command in its pipeline."""

    fed_by: tuple[Command, ...] = ()
    feeds: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    here: tuple[tuple[int, str], ...] = ()
    checked: bool = False
    found: list[Command] = field(default_factory=list[Command])

    def inside(self, **more: object) -> _Around:
        """The same for a part that is found on its own."""
        return replace(self, **{"found": self.found, **more})  # type: ignore[arg-type]


@cache
def _parser() -> Parser:
    return Parser(Language(tree_sitter_bash.language()))


def commands(text: str, *, line: int = 1) -> tuple[Command, ...]:
    """Every command of a text, in order, those in substitutions and loops too."""
    plain = _PLACEHOLDER.sub(lambda m: f"_{m[1].replace(' ', '_')}_", text)
    source = plain.encode()
    around = _Around()
    _visit(_parser().parse(source).root_node, around, line, 0)
    return tuple(around.found)


def _visit(node: Node, around: _Around, line: int, depth: int) -> None:
    if depth > DEPTH_MAX:
        return
    if node.type == "pipeline":
        _pipeline(node, around, line, depth)
    elif node.type == "redirected_statement":
        _redirected(node, around, line, depth)
    elif node.type == "command":
        _command(node, around, line, depth)
    elif node.type == "declaration_command":
        _declaration(node, around, line, depth)
    elif node.type in ("if_statement", "while_statement", "elif_clause", "negated_command"):
        _children(node, around.inside(checked=True), line, depth)
    elif node.type == "list":
        _list(node, around, line, depth)
    elif node.type not in ("comment", "heredoc_body"):
        _children(node, around, line, depth)


def _children(node: Node, around: _Around, line: int, depth: int) -> None:
    for child in node.named_children:
        _visit(child, around, line, depth + 1)


def _list(node: Node, around: _Around, line: int, depth: int) -> None:
    """`a && b`, `a || b`: whether b runs depends on a."""
    parts = node.named_children
    for n, child in enumerate(parts):
        inside = around.inside(checked=True) if n + 1 < len(parts) else around
        _visit(child, inside, line, depth + 1)


def _pipeline(node: Node, around: _Around, line: int, depth: int) -> None:
    parts = [child for child in node.named_children if child.type != "comment"]
    names = [_program(part) for part in parts]
    fed_by = around.fed_by
    for n, part in enumerate(parts):
        before = len(around.found)
        feeds = (*names[n + 1 :], *around.feeds)
        _visit(part, around.inside(fed_by=fed_by, feeds=feeds), line, depth + 1)
        fed_by = (*fed_by, *around.found[before:])


def _program(node: Node) -> str:
    """The name of the program that a part of a pipeline runs."""
    named = node
    while named.type in ("redirected_statement", "negated_command") and named.named_children:
        named = named.named_children[0]
    name = named.child_by_field_name("name") if named.type == "command" else None
    return _word(name).rpartition("/")[2] if name is not None else ""


def _redirected(node: Node, around: _Around, line: int, depth: int) -> None:
    body = node.child_by_field_name("body")
    redirects = [r for r in node.named_children if r != body and r.type.endswith("_redirect")]
    inside = _with_redirects(around, redirects, line)
    if body is not None:
        _visit(body, inside, line, depth + 1)
    for redirect in redirects:
        # What follows a here document on its line hangs below it.
        for child in redirect.named_children:
            if child.type in ("pipeline", "command", "list"):
                _visit(child, around.inside(fed_by=tuple(around.found[-1:])), line, depth + 1)


def _with_redirects(around: _Around, redirects: list[Node], line: int) -> _Around:
    writes, reads, here = [*around.writes], [*around.reads], [*around.here]
    for redirect in redirects:
        if redirect.type == "heredoc_redirect":
            bodies = (c for c in redirect.named_children if c.type == "heredoc_body")
            here += [(line + body.start_point[0], _source(body)) for body in bodies]
        elif redirect.type == "herestring_redirect" and redirect.named_children:
            text = redirect.named_children[-1]
            here.append((line + text.start_point[0], _word(text)))
        elif redirect.type == "file_redirect":
            to = redirect.child_by_field_name("destination")
            mark = next((c.type for c in redirect.children if c.type[:1] in "<>&"), ">")
            if to is not None:
                (reads if mark.startswith("<") else writes).append(_word(to))
    return around.inside(writes=tuple(writes), reads=tuple(reads), here=tuple(here))


def _command(node: Node, around: _Around, line: int, depth: int) -> None:
    own = [child for child in node.named_children if child.type.endswith("_redirect")]
    inside = _with_redirects(around, own, line) if own else around
    name = node.child_by_field_name("name")
    parts = ([] if name is None else [name]) + node.children_by_field_name("argument")
    assigned = [c for c in node.named_children if c.type == "variable_assignment"]
    # Substitutions run first.
    for part in (*assigned, *parts):
        _visit_substitutions(part, around, line, depth + 1)
    if parts:
        around.found.append(
            Command(
                line=line + node.start_point[0],
                words=tuple(_word(part) for part in parts),
                lines=tuple(line + part.start_point[0] for part in parts),
                assigned=tuple(_word(part) for part in assigned),
                writes=inside.writes,
                reads=inside.reads,
                here=inside.here,
                fed_by=inside.fed_by,
                feeds=inside.feeds,
                checked=inside.checked,
            )
        )


def _declaration(node: Node, around: _Around, line: int, depth: int) -> None:
    assigned = [c for c in node.named_children if c.type == "variable_assignment"]
    for part in assigned:
        _visit_substitutions(part, around, line, depth + 1)
    word = _source(node.children[0]) if node.children else "export"
    at = line + node.start_point[0]
    texts = tuple(_word(part) for part in assigned)
    around.found.append(Command(line=at, words=(word,), lines=(at,), assigned=texts))


def _visit_substitutions(node: Node, around: _Around, line: int, depth: int) -> None:
    if depth > DEPTH_MAX:
        return
    if node.type in ("command_substitution", "process_substitution"):
        _children(node, _Around(found=around.found), line, depth)
        return
    for child in node.named_children:
        _visit_substitutions(child, around, line, depth + 1)


# --- words --------------------------------------------------------------------------------------


def _source(node: Node) -> str:
    return (node.text or b"").decode("utf-8", "replace")


def _word(node: Node) -> str:
    """A word without its quotes."""
    text = _source(node)
    if node.type == "raw_string":
        return text[1:-1]
    if node.type == "ansi_c_string":
        return text[2:-1]
    if node.type == "string":
        return re.sub(r'\\([$`"\\])', r"\1", text[1:-1]).replace("\\\n", "")
    if node.type in ("concatenation", "command_name") and node.children:
        return "".join(_word(child) for child in node.children)
    if node.type == "variable_assignment":
        name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
        return f"{_source(name) if name else ''}={_word(value) if value else ''}"
    if node.type == "word":
        return re.sub(r"\\(.)", r"\1", text)
    return text


def inner(command: Command, words: tuple[str, ...], by: str) -> Command:
    """The command that a wrapper runs, with what stands around the wrapper."""
    start = len(command.words) - len(words)
    return replace(command, words=words, lines=command.lines[start:], within=(*command.within, by))
