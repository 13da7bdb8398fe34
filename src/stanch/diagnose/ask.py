"""How a question reads the evidence: present or missing, yes or no."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from stanch.diagnose.cause import Answer, Clue
from stanch.diagnose.evidence import Evidence, Reading
from stanch.model.diagnosis import Missing

T = TypeVar("T")

YES_NO = tuple[bool, str] | tuple[bool, str, datetime | None] | str
"""Yes or no with a sentence (and a time); a bare sentence: it cannot say, and why; empty: the
question does not arise."""


def clue_on(
    clue_id: str,
    question: str,
    read: Callable[[Evidence], Reading[T] | Missing],
    judge: Callable[[T, Evidence], YES_NO],
) -> Clue:
    """A clue that rests on one reading; where that is missing, so is the answer."""

    def ask(evidence: Evidence) -> Answer:
        item = read(evidence)
        if isinstance(item, Missing):
            return Answer(yes=None, text=item.reason)
        said = judge(item.value, evidence)
        if isinstance(said, str):
            return Answer(yes=None, text=said)
        at = said[2] if len(said) == 3 else None
        return Answer(yes=said[0], text=said[1], at=at or item.at)

    return Clue(id=clue_id, question=question, ask=ask)


def human_bytes(count: float) -> str:
    """1536 -> `1.5 KiB`; whole bytes below 1 KiB."""
    size, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if abs(size) < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
