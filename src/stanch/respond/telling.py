"""How the facts of a cause are written into a sentence. Pure."""

from __future__ import annotations

from stanch.model.diagnosis import Scalar
from stanch.policy.quoting import printable

CHARS_MAX = 160


def named(value: Scalar, otherwise: str) -> str:
    """Escaped and short; everything in it may come from outside."""
    return otherwise if value is None or value == "" else printable(str(value))[:CHARS_MAX]
