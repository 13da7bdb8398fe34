"""Text from a file, made safe to show: one line, printable, short."""

from __future__ import annotations

SHOWN_CHARS_MAX = 60


def quoted(text: str) -> str:
    """The text in quotes; control characters escaped, the rest cut after 60 characters."""
    cut = text if len(text) <= SHOWN_CHARS_MAX else text[: SHOWN_CHARS_MAX - 1] + "…"
    return '"' + "".join(_printable(char) for char in cut) + '"'


def printable(text: str) -> str:
    """The whole text on one line, with control characters escaped."""
    if text.isprintable():
        return text
    return "".join(_printable(char) for char in text)


def _printable(char: str) -> str:
    if char.isprintable():
        return char
    return char.encode("unicode_escape", "backslashreplace").decode("ascii")
