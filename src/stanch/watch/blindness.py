"""Whether silences say more about the watch than about the targets."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from stanch.model.ids import TargetName

TOGETHER_S = 5.0
"""Silences that begin within this time of each other belong together."""

JUDGED_S_MAX = 30.0
"""Where the machine is busy or packets get lost it takes so long to be sure of one; an older one
has been told, or withheld for as long as a crowd is."""

TARGETS_MIN = 3
SHARE_MIN = 0.5

LEFT_MIN = 2
LEFT_SHARE_MIN = 0.25
"""A crowd lasts for as long as so many are left of it; one silent target may be down after all."""

CROWD_HOLD_S = 180.0
"""So long nobody is woken for one of a crowd, while others answer: a switch or a router that
restarts is back by then. Whoever is still silent is down, and not out of our sight."""

DOUBTED_S_MAX = 15.0
"""A silence that is in doubt for longer is told as blindness. The longest that one stop of this
process is doubted for, and some: after it everything is as it was."""


def blinded(
    silent: Mapping[TargetName, datetime], *, judged: TargetName, watched: int, at: datetime
) -> tuple[TargetName, ...]:
    """The targets that fell silent together with `judged`, if they are too many to have failed on
    their own.

    `silent` holds the moment each standing silence began, `watched` counts the targets that are
    looked at. A refusal is an answer, not a silence: a power
    cut in the machine room of most targets does look like blindness, and one page that says so is
    what a person needs then, too.
    """
    apart_max, its_own = timedelta(seconds=TOGETHER_S), silent.get(judged)
    if its_own is None or at - its_own > timedelta(seconds=JUDGED_S_MAX):
        return ()
    together = sorted(t for t, since in silent.items() if abs(since - its_own) <= apart_max)
    enough = len(together) >= TARGETS_MIN and len(together) >= SHARE_MIN * watched
    return tuple(together) if enough else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """Targets that fell silent together; while it lasts none of them is told as down."""

    names: frozenset[TargetName] = frozenset()
    answered_since: datetime | None = None
    """Since when somebody answers again; None while all is dark."""

    @property
    def dark(self) -> bool:
        """Nobody has answered since: whoever falls silent now is one of them."""
        return bool(self.names) and self.answered_since is None

    def joined_by(self, more: Collection[TargetName]) -> Crowd:
        return replace(self, names=self.names | frozenset(more))

    def answered(self, at: datetime) -> Crowd:
        """Somebody answers, whether of the crowd or not."""
        return self if self.answered_since is not None else replace(self, answered_since=at)

    def after(self, left: Collection[TargetName], *, watched: int, at: datetime) -> Crowd:
        """What is still withheld. `left`: targets of which nothing has been heard since."""
        enough = max(LEFT_MIN, int(LEFT_SHARE_MIN * watched))
        outlasted = self.answered_since is not None and (
            at - self.answered_since >= timedelta(seconds=CROWD_HOLD_S)
        )
        lasts = len(self.names & frozenset(left)) >= enough and not outlasted
        return self if lasts else Crowd()


def doubted_too_long(
    doubted: Mapping[TargetName, datetime], *, told: Collection[TargetName], at: datetime
) -> tuple[TargetName, ...]:
    """All whose silence is in doubt, once one that nobody was told of has been so for too long.

    `doubted` holds since when each would be called down, but for doubts about ourselves.
    """
    longest = min((since for t, since in doubted.items() if t not in told), default=at)
    return tuple(sorted(doubted)) if at - longest >= timedelta(seconds=DOUBTED_S_MAX) else ()
