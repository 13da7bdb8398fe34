"""Beside a login: knocks, whose fate tells a way that loses packets from a server that is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from stanch.model.reach import Reach, ReachState
from stanch.watch.silence import SILENT_STATES

KNOCK_EVERY_S = 0.2
KNOCK_S = 0.8
"""Without loss a login is over before the first knock, or all knocks beside it end the same way.
With three packets in ten lost both ways, and two logins of two seconds, all end the same way three
times in 10,000."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knocked:
    """How the knocks beside a login ended."""

    answered: bool = False
    """At least one was."""
    silent: bool = False
    """At least one was not."""

    def contradicts(self, state: ReachState) -> bool:
        """Packets were lost, so that the login says little of the server.

        Who is gone answers no knock; a hung server's machine answers each.
        """
        if state in SILENT_STATES:
            return self.answered
        return state is ReachState.HUNG and self.silent


async def knocking_beside(
    login: Coroutine[Any, Any, Reach], knock: Callable[[float], Awaitable[bool]] | None
) -> tuple[Reach, Knocked]:
    """How the login went, and what became of knocks meanwhile; `None`: nobody knocks.

    Cost: nothing while a login is quick; else five TCP handshakes a second, each closed at once.
    """
    ending = asyncio.ensure_future(login)
    knocks: list[asyncio.Future[bool]] = []
    try:
        while knock is not None:
            await asyncio.wait({ending}, timeout=KNOCK_EVERY_S)
            knocked = _ends_of(knocks)
            if ending.done() or (knocked.answered and knocked.silent):
                break
            knocks.append(asyncio.ensure_future(knock(KNOCK_S)))
        return await ending, _ends_of(knocks)
    finally:
        for task in (ending, *knocks):
            task.cancel()
        await asyncio.gather(ending, *knocks, return_exceptions=True)


def _ends_of(knocks: list[asyncio.Future[bool]]) -> Knocked:
    ends = {k.result() for k in knocks if k.done()}
    return Knocked(answered=True in ends, silent=False in ends)
