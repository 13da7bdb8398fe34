"""What one look at one target yields. What could not be read is None, never zero."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from stanch.model.host import Volume
from stanch.model.ids import TargetName
from stanch.model.reach import Reach
from stanch.model.readings import Reading
from stanch.model.seats import Seat
from stanch.model.vitals import Vitals


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One look. `reach` is set only when a probe was made: an open session needs none."""

    target: TargetName
    at: datetime
    vitals: Vitals | None = None
    lets_in: bool = True
    """False: open sessions are served, but new connections get no answer."""
    refusal: Reach | None = None
    """How the newest login beside the open session was refused; None where it was let in."""
    unread: str = ""
    """Why the open session gave no vitals, several times in a row; empty where that is not so."""
    reach: Reach | None = None
    confirmed: bool = False
    """More than one witness agrees with `reach`, and none of the doubts below stands."""
    doubted: bool = False
    """More than one witness agrees, and only the doubts below keep it from being a verdict."""
    doubts: tuple[str, ...] = ()
    """Why a silence may be our own fault: a late loop, a silent control endpoint."""
    lost_at: datetime | None = None
    """When the watching session was lost or last answered, if that is why we probe."""
    volumes: tuple[Volume, ...] | None = None
    seat: Seat | None = None
    """Where it sits in its cluster; the same object for as long as that stays as it is."""
    readings: tuple[Reading, ...] = ()
    """What sources beside the session say: pools, machines, backups, logs, applications."""
