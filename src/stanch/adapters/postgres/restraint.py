"""When credentials that were refused may be tried again, and what is told until then."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from stanch.adapters.postgres.one_try import RETRY_S_AFTER_WRONG_CREDENTIALS
from stanch.model.reach import Layer, Reach, ReachState

CONTRADICTIONS_MAX = 2
"""From so many in a row on it is no accident, and each costs two logins."""

_FULL = frozenset({ReachState.TOO_MANY_CLIENTS, ReachState.CONNECTION_LIMIT})


class Contradicted(Exception):
    """A probe got in and libpq, right behind it, did not: libpq tells neither code nor state."""

    def __init__(self, reach: Reach) -> None:
        super().__init__(reach.state)
        self.reach = reach


class Restraint:
    """The memory of one set of credentials: after a refusal nobody tries them for a minute.

    A server that was full a moment ago is left out of what libpq contradicts: there somebody else
    took the place that the probe had left, and nothing is wrong with how we log in.
    """

    def __init__(self) -> None:
        self._refusal: Reach | None = None
        self._until_s = 0.0
        self._contradictions = 0
        self._full_until_s = 0.0

    @property
    def lately(self) -> Reach | None:
        """The refusal within the last minute, in which nobody tries again."""
        return self._refusal if self.left_s > 0.0 else None

    @property
    def left_s(self) -> float:
        """How much longer nobody tries."""
        return max(0.0, self._until_s - _now_s())

    def refuse(self, reach: Reach) -> None:
        """These credentials were refused just now."""
        self._refusal = reach
        self._until_s = _now_s() + RETRY_S_AFTER_WRONG_CREDENTIALS

    def let_in(self) -> None:
        """A session was opened."""
        self._contradictions = 0

    def note(self, reach: Reach) -> None:
        """How a try ended, unless libpq contradicted the probe."""
        self._contradictions = 0
        if reach.state is ReachState.AUTH_FAILED:
            self.refuse(reach)
        elif reach.state in _FULL:
            self._full_until_s = _now_s() + RETRY_S_AFTER_WRONG_CREDENTIALS

    def contradict(self, reach: Reach) -> None:
        """The probe got in and libpq did not; `reach` is what that amounts to."""
        if _now_s() < self._full_until_s:
            return
        self._contradictions += 1
        if self._contradictions >= CONTRADICTIONS_MAX:
            self.refuse(reach)


def not_after_all(reach: Reach, state: ReachState, detail: str) -> Reach:
    """The probe got in and libpq did not: the answer is libpq's."""
    failed = Layer(name="startup", ok=False, ms=0.0, detail=detail)
    return replace(reach, state=state, layers=(*reach.layers, failed))


def _now_s() -> float:
    return asyncio.get_running_loop().time()
