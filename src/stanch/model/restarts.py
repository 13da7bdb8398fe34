"""Who brings a dead server back without being asked, and how long people may leave it to them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Restarts:
    """What the manager of a server does about its death."""

    after_s: float | None
    """So long after it died the manager starts it again; None: never."""
    source: str
    """Who that is, and from what it was concluded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageAfter:
    """How long nobody is paged for a server that is down, and why."""

    seconds: float
    source: str
