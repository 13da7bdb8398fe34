"""What an action asks of whatever stands beside a server, without naming a driver."""

from __future__ import annotations

from typing import Protocol

from stanch.model.diagnosis import Missing
from stanch.model.hooks import Hook
from stanch.model.ports.server import Acted


class HookCaller(Protocol):
    """Sends the requests that policy names."""

    async def value(self, hook: Hook, *, timeout_s: float) -> str | Missing:
        """What stands where the hook says that its effect is seen; nothing is changed."""
        ...

    async def call(self, hook: Hook, *, key: str, deadline_s: float) -> Acted:
        """Send it once; `key` goes with it, so that a repeat is known as one. An answer that does
        not come is `in_doubt`."""
        ...
