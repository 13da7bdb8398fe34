"""`log_line_prefix` as a pattern: which part of a line is the prefix, and what it says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Final

_SEVERITIES: Final = (
    "DEBUG[1-5]?|LOG|INFO|NOTICE|WARNING|ERROR|FATAL|PANIC"
    "|DETAIL|HINT|QUERY|CONTEXT|STATEMENT|LOCATION|BACKTRACE"
)
_NAME: Final = r"[^\n]{0,64}?"
_STAMP: Final = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
_ZONE: Final = r" (?:[A-Za-z][\w/+-]{0,40}|[+-]\d\d(?::?\d\d)?|<[+-]?\d+>)"

_ESCAPES: Final = {
    "a": ("application_name", _NAME),
    "u": ("user", _NAME),
    "d": ("database", _NAME),
    "r": ("remote", r"[^\s]{0,256}?"),
    "h": ("host", r"[^\s]{0,256}?"),
    "L": ("local_address", r"[^\s]{0,64}?"),
    "b": ("backend_type", r"[a-zA-Z][^\n]{0,95}?"),
    "p": ("pid", r"\d{1,10}"),
    "P": ("leader_pid", r"\d{0,10}"),
    "t": ("stamp", _STAMP + _ZONE),
    "m": ("stamp_ms", _STAMP + r"\.\d{3}" + _ZONE),
    "n": ("epoch", r"\d{1,12}\.\d{3}"),
    "Q": ("query_id", r"-?\d{1,20}"),
    "i": ("command_tag", r"[^\n]{0,64}?"),
    "e": ("sqlstate", r"[0-9A-Z]{5}"),
    "c": ("session_id", r"[0-9a-f]{1,16}\.[0-9a-f]{1,8}"),
    "l": ("line", r"\d{1,19}"),
    "s": ("session_start", _STAMP + _ZONE),
    "v": ("virtual_xid", r"(?:-?\d{1,10}/\d{1,10})?"),
    "x": ("xid", r"\d{1,10}"),
}
"""Escape letter: the field's name and the pattern of what PostgreSQL writes for it."""

AUTO: Final = re.compile(
    rf"^(?P<prefix>[^\n]{{0,512}}?)\b(?P<severity>{_SEVERITIES}):  ?(?P<message>.*)$", re.DOTALL
)
"""For a prefix nobody knows: whatever stands before the severity."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """A compiled `log_line_prefix`."""

    pattern: re.Pattern[str]
    text: str


@cache
def compile_prefix(log_line_prefix: str) -> Prefix:
    """The pattern of whole first lines under this prefix.

    Unknown escapes stand for nothing, as in the server. A name in the prefix (`%a`, `%u`, `%d`) is
    whatever the client sent, so under such a prefix a line can be forged: evidence, never proof.
    """
    parts: list[str] = []
    seen: set[str] = set()
    optional = 0
    position = 0
    while position < len(log_line_prefix):
        if log_line_prefix[position] != "%":
            parts.append(re.escape(log_line_prefix[position]))
            position += 1
            continue
        match = _ESCAPE.match(log_line_prefix, position)
        if match is None:
            break  # A lone percent sign at the end writes nothing.
        position = match.end()
        if match["letter"] == "q":
            # Processes without a session stop here.
            parts.append("(?:")
            optional += 1
        else:
            parts.append(_escape(match["padding"], match["letter"], seen))
    # Padding and the prefix's own last blanks may leave more or fewer blanks before the severity.
    body = "".join(parts) + ")?" * optional
    pattern = rf"^{body}(?P<severity>{_SEVERITIES}|[^\W\d_]{{2,24}}):  (?P<message>.*)$"
    return Prefix(re.compile(pattern, re.DOTALL), log_line_prefix)


_ESCAPE: Final = re.compile(r"%(?P<padding>-?\d{0,4})(?P<letter>.)", re.DOTALL)


def _escape(padding: str, letter: str, seen: set[str]) -> str:
    if letter == "%":
        return "%"
    if letter not in _ESCAPES:
        return ""
    name, text = _ESCAPES[letter]
    pattern = f"(?:{text})" if name in seen else f"(?P<{name}>{text})"
    seen.add(name)
    # Fields that are not known to a process are written as blanks of the given width.
    return rf" {{0,9999}}(?:{pattern})? {{0,9999}}?" if padding.strip("-") else pattern
