"""Whoever tells people of an incident goes first; in a crowd the healthy are looked at later.

Beside a thousand targets the loop is busy four fifths of the time, and each of the dozen steps from
an incident to its page waits for its turn behind their looks.
"""

from __future__ import annotations

from collections.abc import Callable

CROWD = 200
"""Of so many targets on, the looks at the healthy ones are felt by a page."""

HELD_S = 1.0
"""From an incident's beginning; most of its pages are out by then."""


class RightOfWay:
    """Held from the beginning of an incident for a moment, by its target."""

    def __init__(self, now_s: Callable[[], float], *, watched: Callable[[], int]) -> None:
        """`now_s`: a clock that only goes forward; `watched`: how many targets there are."""
        self._now_s = now_s
        self._watched = watched
        self._target = ""
        self._until_s = float("-inf")

    def take(self, target: str) -> None:
        """An incident begins on this target."""
        self._target, self._until_s = target, self._now_s() + HELD_S

    def goes_before(self, target: str) -> bool:
        """Whether a look at this target, if it is healthy, had better be left out once."""
        if self._now_s() >= self._until_s or target == self._target:
            return False
        return self._watched() >= CROWD
