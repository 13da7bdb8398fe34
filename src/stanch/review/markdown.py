"""Plain text into Markdown that shows exactly that text: no markup, link or mention comes alive."""

from __future__ import annotations

import re

from stanch.review.names import shown

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;"}
_SPECIAL = re.compile(r"[\\`*_\[\]|~$&<>@]")
_LIVE_ADDRESS = re.compile(r"(?i)(https?|ftp|mailto|xmpp)(:)|(www)(\.)")
_AT_START = re.compile(r"^(?:([-+=#])|(\d{1,9})([.)])(?=\s|$))")


def escaped(text: str) -> str:
    """One line of anybody's text, escaped for any place in a Markdown document."""
    line = _SPECIAL.sub(lambda m: _ENTITIES.get(m[0], f"\\{m[0]}"), shown(text, 1000))
    # Many renderers turn a bare address into a link; one escaped character stops them.
    line = _LIVE_ADDRESS.sub(lambda m: f"{m[1] or m[3]}{'&#58;' if m[2] else '&#46;'}", line)
    return _AT_START.sub(lambda m: f"\\{m[1]}" if m[1] else f"{m[2]}\\{m[3]}", line)


def bullet(text: str) -> str:
    return f"- {escaped(text)}"


def row(*cells: str) -> str:
    """A table row of plain texts."""
    return "| " + " | ".join(escaped(cell) or " " for cell in cells) + " |"


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    return [row(*head), "|" + " --- |" * len(head), *(row(*cells) for cells in rows)]
