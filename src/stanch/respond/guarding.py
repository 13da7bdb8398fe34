"""Small words the guards of all actions share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from stanch.model.diagnosis import Missing
from stanch.model.plans import Refusal
from stanch.policy.quoting import printable


def no(guard: str, reason: str, *, lifts: str = "") -> Refusal:
    """A guard's no, with what would lift it."""
    return Refusal(guard=guard, reason=reason, lifts=lifts)


def unknown(guard: str, missing: Missing, *, lifts: str = "") -> Refusal:
    """A guard without an answer: that is a no."""
    return Refusal(
        guard=guard,
        reason=f"{missing.what} cannot be read ({missing.reason}), and unknown means no",
        lifts=lifts,
    )


def first_no(answers: Iterable[Refusal | None]) -> Refusal | None:
    """The first guard that says no, in the order given."""
    return next((answer for answer in answers if answer is not None), None)


def names(found: Sequence[str]) -> str:
    """The first few of them, escaped, for a sentence."""
    rest = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return ", ".join(printable(name)[:80] for name in found[:3]) + rest
