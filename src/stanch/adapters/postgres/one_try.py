"""One try at a time with the same credentials, and none for a minute after a refusal."""

from __future__ import annotations

import asyncio
from types import TracebackType

from stanch.adapters.postgres import refusals
from stanch.adapters.postgres.startup import AuthNotPossible, SessionRefused
from stanch.model.reach import ReachState

RETRY_S_AFTER_WRONG_CREDENTIALS = 60.0


class OneTry:
    """What a login holds while it says who it is. Use as an async context manager.

    A watch, a diagnosis and a rescue may all come to the same server at the same moment; a login
    takes milliseconds, so waiting for each other costs nothing, and a wrong password is sent once.
    Raises: AuthNotPossible on entering, within a minute of a refusal.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._refused_until = 0.0

    async def __aenter__(self) -> None:
        await self._turn.acquire()
        if asyncio.get_running_loop().time() < self._refused_until:
            self._turn.release()
            raise AuthNotPossible("these credentials were refused less than a minute ago")

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._turn.release()
        if isinstance(error, SessionRefused):
            state = refusals.state_of_refusal(error.error)
            if state is ReachState.AUTH_FAILED:
                now_s = asyncio.get_running_loop().time()
                self._refused_until = now_s + RETRY_S_AFTER_WRONG_CREDENTIALS
