"""Levels over time: who decides, and who is asked, the longer an incident lasts. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stanch.model.ids import PersonId


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What holds from a moment of an incident's own clock on, until the next level."""

    name: str
    from_s: float = 0.0
    """Since the incident was opened, or came back."""
    act: tuple[str, ...] | None = None
    """Of the actions with mode `act`, those that still run by themselves. None: all of them."""
    page: tuple[PersonId, ...] = ()
    """Paged when it is reached, whoever has taken the incident."""
    propose: str = ""
    """Id of a runbook whose plan is made when it is reached and waits for approval."""
    says: str = ""
    """What people are told to do from here on, such as whom to call."""

    def lets_act(self, action: str) -> bool:
        """Whether it leaves this action to itself, as far as `actions` do."""
        return self.act is None or action in self.act


def standing_level(levels: Sequence[Level], reached_s: float) -> Level | None:
    """The last level that begins at or before `reached_s`; None: none has begun."""
    return next((level for level in reversed(levels) if level.from_s <= reached_s), None)


def after(levels: Sequence[Level], reached_s: float) -> tuple[Level, ...]:
    """Those that are still to come, soonest first."""
    return tuple(level for level in levels if level.from_s > reached_s)
