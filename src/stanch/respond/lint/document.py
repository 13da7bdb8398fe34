"""A runbook as blocks of commands, each with what is said around it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from markdown_it import MarkdownIt
from markdown_it.token import Token

Kind = Literal["shell", "sql", "settings", "other"]

SHELL = frozenset({"sh", "bash", "shell", "zsh", "ksh", "console", "shell-session", "terminal"})
SQL = frozenset({"sql", "psql", "pgsql", "postgres", "postgresql", "plpgsql"})
SETTINGS = frozenset({"ini", "conf", "cfg", "properties", "toml", "yaml", "yml", "env", "dotenv"})

_SQL_BEGINS = re.compile(
    r"(?i)\s*(select|with|insert|update|delete|truncate|drop|alter|create|vacuum|reindex|analyze"
    r"|begin|set|show|grant|revoke|cluster|checkpoint|copy|explain|\\[a-z])\b"
)
_SETTING = re.compile(r"\s*[a-z_][a-z0-9_.]*\s*=\s*\S")
_PROMPT = re.compile(r"^(\s*)(?:\w[\w@.:~/-]*)?[$#>]\s(?=\S)")
_PSQL_PROMPT = re.compile(r"^(\s*)\w*[=-][#>]\s(?=\S)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block of commands."""

    kind: Kind
    text: str
    line: int
    """Of its first line of text, counted from 1."""
    heading: str = ""
    """Of the section it stands in, with those above it."""
    prose: str = ""
    """What that section says before the block, and what its comments say, in small letters."""


@dataclass(slots=True)
class _Section:
    headings: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    prose: list[str] = field(default_factory=list[str])

    def enter(self, depth: int, title: str) -> None:
        self.headings = [*(h for h in self.headings if h[0] < depth), (depth, title)]
        self.prose = []

    @property
    def heading(self) -> str:
        return " > ".join(title for _, title in self.headings)


def blocks(text: str) -> tuple[Block, ...]:
    """The blocks of a Markdown text, in order; fences in lists and quotes too."""
    return tuple(_blocks(MarkdownIt("commonmark").parse(text)))


def _blocks(tokens: list[Token]) -> Iterator[Block]:
    section = _Section()
    depth = 0
    for token in tokens:
        if token.type == "heading_open":
            depth = int(token.tag[1:])
        elif token.type == "heading_close":
            depth = 0
        elif token.type == "inline" and depth:
            section.enter(depth, token.content)
        elif token.type == "inline":
            section.prose.append(token.content)
        elif token.type in ("fence", "code_block") and token.map is not None:
            yield _block(token, section)


def _block(token: Token, section: _Section) -> Block:
    assert token.map is not None
    info = token.info.split()[0].casefold() if token.info.split() else ""
    kind = _kind(info, token.content)
    text = "\n".join(map(_without_prompt, token.content.splitlines()))
    said = (section.heading, *section.prose, *_comments(text))
    return Block(
        kind=kind,
        text=text,
        line=token.map[0] + (2 if token.type == "fence" else 1),
        heading=section.heading,
        prose="\n".join(said).casefold(),
    )


def _kind(info: str, text: str) -> Kind:
    if info in SHELL:
        return "shell"
    if info in SQL:
        return "sql"
    if info in SETTINGS:
        return "settings"
    if info:
        return "other"
    first = next((line for line in text.splitlines() if line.strip()), "")
    if _PSQL_PROMPT.match(first) or _SQL_BEGINS.match(first):
        return "sql"
    return "settings" if _SETTING.match(first) and "$(" not in first else "shell"


def _without_prompt(line: str) -> str:
    """The line as it is typed; a comment is left alone, as its mark looks like root's prompt."""
    for prompt in (_PSQL_PROMPT, _PROMPT):
        found = prompt.match(line)
        if found is not None and not line.lstrip().startswith("# "):
            return " " * found.end() + line[found.end() :]
    return line


def _comments(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if line.lstrip().startswith(("#", "--")):
            yield line.strip().lstrip("#- ")
