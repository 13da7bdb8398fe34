"""Making a text fit a lock screen: what matters most is kept, the rest gives way by priority."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stanch.model.shown import shortened
from stanch.policy.quoting import printable

SHORT_CHARS_MAX = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of a short text that may shrink or disappear.

    Pieces are shown in the order given; `priority` says which one gets room first (1 first).
    """

    priority: int
    variants: tuple[str, ...]
    """Longest first; the piece disappears when not even the last one fits."""


def one_line(text: str, chars_max: int) -> str:
    """Text from anywhere on one printable line of at most so many characters."""
    # Cut first: escaping a megabyte to show a line of it would cost the page its time.
    return shortened(printable(text[: chars_max + 1]).strip(), chars_max)


def fitted(head: str, pieces: Sequence[Piece], tail: str) -> str:
    """Head and tail whole, and between them as much of the pieces as there is room for.

    First every piece gets its shortest form, by priority; then each grows, by priority, while
    the whole stays within the limit.
    """
    chosen = ["" for _ in pieces]
    by_priority = sorted(range(len(pieces)), key=lambda n: pieces[n].priority)

    def text() -> str:
        return " ".join(part for part in (head, *chosen, tail) if part)

    for longest_first in (False, True):
        for n in by_priority:
            variants = pieces[n].variants
            for variant in variants if longest_first else variants[-1:]:
                before, chosen[n] = chosen[n], variant
                if len(text()) <= SHORT_CHARS_MAX:
                    break
                chosen[n] = before
    return text()
