"""What every act is made of."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime

from stanch.drill.judging import Expectation
from stanch.drill.scene import Place


class NotStaged(Exception):
    """The break could not be made this time; says why. Nothing is wrong with anybody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """What was done to the server, and the moment it broke."""

    at: datetime
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One way to break a server, and what must follow."""

    name: str
    title: str
    target: str
    expected: Expectation
    cannot: Callable[[], str]
    """Why it cannot be played on this machine; empty where it can."""
    breaks: Callable[[Place], AbstractContextManager[Broken]]
    """Entering breaks the server; leaving takes away what was needed for it. Raises: NotStaged."""


def always_possible() -> str:
    """For acts that every machine can play."""
    return ""
