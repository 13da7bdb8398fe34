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

    First every piece gets its shortest form, by priority. Then all grow in turns, by priority, so
    that no piece is told at length while another is left at a word.
    """
    chosen = ["" for _ in pieces]
    longer = [list(piece.variants) for piece in pieces]
    turns = sorted(range(len(pieces)), key=lambda n: pieces[n].priority)
    while turns:
        for n in tuple(turns):
            before, chosen[n] = chosen[n], longer[n].pop()
            text = " ".join(part for part in (head, *chosen, tail) if part)
            if len(text) > SHORT_CHARS_MAX:
                chosen[n] = before
            if len(text) > SHORT_CHARS_MAX or not longer[n]:
                turns.remove(n)
    return " ".join(part for part in (head, *chosen, tail) if part)
