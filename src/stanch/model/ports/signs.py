"""Whoever is asked beside the server itself: a pooler, a service, a trial write."""

from __future__ import annotations

from typing import Protocol

from stanch.model.readings import Reading


class SignSource(Protocol):
    """Looks when told to, and says what it found in readings."""

    async def look(self) -> tuple[Reading, ...]:
        """One look within a deadline of its own; trouble is in the readings.

        Never: an exception for trouble at the other end, or two questions at once.
        """
        ...

    async def close(self) -> None: ...
