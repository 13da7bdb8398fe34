"""SQL without what may be secret: no literal and no comment of a statement is left.

Identifiers and keywords stay. Where the text is cut in the middle of a literal, or it cannot be
told where a literal ends, everything from there on is left out.
"""

from __future__ import annotations

import re
from typing import Final

LITERAL: Final = "'…'"
NUMBER: Final = "?"
CUT: Final = "…"

_PIECE: Final = re.compile(
    r"""
    (?P<line>--[^\n]*)
  | (?P<comment>/\*)
  | (?P<dollar>(?<![\w$])\$(?P<tag>[^\W\d]\w*|)\$)
  | (?P<string>(?<![\w$])(?:[eEbBxXnN]|[uU]&)?')
  | (?P<identifier>(?:(?<![\w$])[uU]&)?"(?:[^"]|"")*")
  | (?P<unfinished>")
  | (?P<word>[^\W\d][\w$]*)
  | (?P<number>(?<![\w$])\d[\w.]*)
  | (?P<space>\s+)
    """,
    re.VERBOSE,
)
_PASSWORD: Final = re.compile(r"(?i)\b(password)\s+(?!null\b|'…')(\"[^\"]*\"?|[^\s;,)]+)")
_MARK: Final = re.compile(r"/\*|\*/")
_ENDS: Final = {"'": re.compile(r"(?:[^']|'')*'"), "\\": re.compile(r"(?:[^'\\]|''|\\.)*'", re.S)}


def redacted(sql: str) -> str:
    """The statement on one line, without literals, numbers and comments."""
    parts: list[str] = []
    position = 0
    while position < len(sql):
        match = _PIECE.match(sql, position)
        if match is None:
            parts.append(sql[position])
            position += 1
            continue
        shown, end = _shown(sql, match)
        parts.append(shown)
        if end is None:
            break
        position = end
    text = " ".join("".join(parts).split())
    return _PASSWORD.sub(rf"\1 {LITERAL}", text)


def _shown(sql: str, match: re.Match[str]) -> tuple[str, int | None]:
    """What stands for a piece, and where the next begins; None: nobody knows."""
    match match.lastgroup:
        case "line" | "space":
            return " ", match.end()
        case "comment":
            return " ", _after_comment(sql, match.end())
        case "dollar" | "tag":
            end = sql.find(match["dollar"], match.end())
            return (CUT, None) if end < 0 else (LITERAL, end + len(match["dollar"]))
        case "string":
            return _string(sql, match)
        case "unfinished":
            return CUT, None
        case "number":
            return NUMBER, match.end()
        case _:
            return match[0], match.end()


def _after_comment(sql: str, position: int) -> int | None:
    """Comments may be nested."""
    depth = 1
    for mark in _MARK.finditer(sql, position):
        depth += 1 if mark[0] == "/*" else -1
        if depth == 0:
            return mark.end()
    return None


def _string(sql: str, match: re.Match[str]) -> tuple[str, int | None]:
    escapes = match["string"][0] in "eE"
    end = _ENDS["\\" if escapes else "'"].match(sql, match.end())
    if end is None:
        return CUT, None
    if not escapes and end[0].endswith("\\'"):
        # With standard_conforming_strings off it goes on here, and nobody told us.
        return CUT, None
    return LITERAL, end.end()
