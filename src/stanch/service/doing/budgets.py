"""How many sessions Stanch may end on each target within a minute, whoever wants it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from stanch.model.ids import TargetName
from stanch.model.plans import Refusal
from stanch.policy.policy import SIGNALLING_ACTIONS, TargetPolicy

WINDOW_S = 60.0


class SessionBudgets:
    """Counts single effects in memory: a restart takes longer than a mistake of many at once."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self._spent: dict[TargetName, deque[int]] = {}

    def of(self, target: TargetPolicy, action: str) -> Callable[[], Refusal | None]:
        """What an effect of this action has to ask before it happens."""
        if action not in SIGNALLING_ACTIONS:
            return _free
        return lambda: self._take(target)

    def _take(self, target: TargetPolicy) -> Refusal | None:
        now_ns, allowed = self._now_ns(), target.blast_radius.sessions_per_minute
        spent = self._spent.setdefault(target.name, deque())
        while spent and now_ns - spent[0] >= WINDOW_S * 1e9:
            spent.popleft()
        if len(spent) >= allowed:
            return Refusal(
                guard="blast_radius",
                reason=f"{len(spent)} sessions were touched within a minute",
                lifts=f"A minute, or more than `blast_radius: {{sessions_per_minute: {allowed}}}`.",
            )
        spent.append(now_ns)
        return None


def _free() -> Refusal | None:
    return None
