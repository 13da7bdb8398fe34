"""Small words the guards of all actions share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from stanch.model.diagnosis import Missing
from stanch.model.plans import Lift, Refusal
from stanch.policy.quoting import printable


def no(guard: str, reason: str, *, lifts: str = "", about: str = "", firm: bool = False) -> Refusal:
    """A guard's no, with what would lift it."""
    return Refusal(guard=guard, reason=reason, lifts=lifts, about=about, firm=firm)


def unknown(guard: str, missing: Missing, *, lifts: str = "") -> Refusal:
    """A guard without an answer: that is a no."""
    return Refusal(
        guard=guard,
        reason=f"{missing.what} cannot be read ({missing.reason}), and unknown means no",
        lifts=lifts,
        firm=True,
    )


def first_no(answers: Iterable[Refusal | None], lifted: Sequence[Lift] = ()) -> Refusal | None:
    """The first guard that says no, in the order given; past a no that a person overrides."""
    nos = (answer for answer in answers if answer is not None)
    return next((no for no in nos if not any(lift.covers(no) for lift in lifted)), None)


def names(found: Sequence[str]) -> str:
    """The first few of them, escaped, for a sentence."""
    rest = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return ", ".join(printable(name)[:80] for name in found[:3]) + rest
