"""Whether many silences at once say more about the watch than about the targets."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from stanch.model.ids import TargetName

TOGETHER_S = 5.0
"""Silences that begin within this time of each other belong together."""

TARGETS_MIN = 3
SHARE_MIN = 0.5


def blinded(
    silent: Mapping[TargetName, datetime], *, watched: int, at: datetime
) -> tuple[TargetName, ...]:
    """The targets that fell silent together, if they are too many to have failed on their own.

    `silent` holds the moment of each standing silence. A refusal is an answer, not a silence: a
    power cut in the machine room of most targets does look like blindness, and one page that says
    so is what a person needs then, too.
    """
    recent = sorted(t for t, since in silent.items() if at - since <= timedelta(seconds=TOGETHER_S))
    enough = len(recent) >= TARGETS_MIN and len(recent) >= SHARE_MIN * watched
    return tuple(recent) if enough else ()
