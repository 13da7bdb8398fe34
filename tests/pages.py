"""The project's own pages, as values: headings, links, fenced blocks, tables."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^(```+)(.*)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block; `flags` and `options` are what follows the language."""

    page: str
    line: int
    language: str
    text: str
    flags: frozenset[str] = frozenset()
    options: dict[str, str] = field(default_factory=dict[str, str])


def pages(root: Path = ROOT) -> dict[str, str]:
    """Every page people read: those at the top and all of docs/."""
    found = [*root.glob("*.md"), *(root / "docs").rglob("*.md")]
    return {path.relative_to(root).as_posix(): path.read_text("utf-8") for path in sorted(found)}


def blocks(page: str, text: str) -> Iterator[Block]:
    opened: tuple[int, str, str] | None = None
    body: list[str] = []
    for n, line in enumerate(text.splitlines(), 1):
        fence = FENCE.match(line.strip())
        if opened is None and fence is not None:
            opened, body = (n, fence[1], fence[2]), []
        elif opened is not None and line.strip() == opened[1]:
            yield _block(page, opened[0], opened[2], "\n".join(body) + "\n")
            opened = None
        elif opened is not None:
            body.append(line)
    assert opened is None, f"{page}:{opened[0] if opened else 0}: a block is never closed"


def _block(page: str, line: int, info: str, text: str) -> Block:
    language, *rest = shlex.split(info) or [""]
    options = dict(word.split("=", 1) for word in rest if "=" in word)
    flags = frozenset(word for word in rest if "=" not in word)
    return Block(page=page, line=line, language=language, text=text, flags=flags, options=options)


def prose(text: str) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"(?ms)^```.*?^```\s*$", "", text)


def headings(text: str) -> set[str]:
    return {m[1].strip() for m in re.finditer(r"(?m)^#+ (.*)$", prose(text))}


def anchors(text: str) -> set[str]:
    """What the usual renderers make of the headings."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings(text)
    }


def links(text: str) -> Iterator[str]:
    """Targets of links inside the project."""
    for match in re.finditer(r"\]\(([^)\s]+)\)", prose(text)):
        if "://" not in match[1]:
            yield match[1]


def table_keys(text: str, column: int = 0) -> list[str]:
    """One column of every table row, without markup; heads and rulers are left out."""
    rows = [line for line in prose(text).splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return [
        re.sub(r"[`\[\]]|\(.*?\)", "", row[column])
        for row in cells
        if len(row) > column and not set(row[column]) <= set("-: ")
    ]
