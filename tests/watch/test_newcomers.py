"""When the next greeting and the next login are due."""

from __future__ import annotations

import asyncio

import pytest

from stanch.model.reach import Reach, ReachState
from stanch.testing.virtual_time import VirtualLoop, run_virtually
from stanch.watch.newcomers.run import GREET_EVERY_S, LOGIN_EVERY_S, Newcomers
from stanch.watch.silence import patience

LIMITS = patience(0.001)


class Logins:
    """A server that lets everybody in, and when it was asked to."""

    def __init__(self, *, sqlstate: str | None = None) -> None:
        self.at_s: list[float] = []
        self.sqlstate = sqlstate

    async def probe(self, deadline_s: float) -> Reach:
        self.at_s.append(asyncio.get_running_loop().time())
        state = ReachState.SHUTTING_DOWN if self.sqlstate else ReachState.UP
        return Reach(state=state, layers=(), elapsed_ms=1.0, sqlstate=self.sqlstate)

    async def greet(self, deadline_s: float) -> bool:
        return True


async def greeted_on(newcomers: Newcomers, until_s: float) -> list[float]:
    """Moments of the greetings."""
    greeted: list[float] = []
    loop = asyncio.get_running_loop()
    while loop.time() < until_s:
        await newcomers.until_next()
        greeted.append(loop.time())
        await newcomers.kept_out(LIMITS)
    return greeted


@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_after_a_stop_of_our_own_targets_do_not_all_log_in_at_once(place: float) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        logins = Logins()
        newcomers = Newcomers(probe=logins.probe, greet=logins.greet, jitter=lambda: place)
        newcomers.note_login()
        loop.call_at(1.0, loop.jump, 60.0)
        greeted = await greeted_on(newcomers, 90.0)
        assert greeted[0] == pytest.approx(61.0 + place * GREET_EVERY_S)
        first_s = logins.at_s[0] - greeted[0]
        assert place * LOGIN_EVERY_S <= first_s <= place * LOGIN_EVERY_S + GREET_EVERY_S

    run_virtually(main())


def test_a_turn_that_is_hardly_late_is_taken_at_once() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        logins = Logins()
        newcomers = Newcomers(probe=logins.probe, greet=logins.greet, jitter=lambda: 1.0)
        newcomers.note_login()
        loop.call_at(1.4, loop.jump, 0.4)
        greeted = await greeted_on(newcomers, 12.0)
        assert greeted[0] == pytest.approx(1.8)
        assert logins.at_s[0] == pytest.approx(LOGIN_EVERY_S, abs=2 * GREET_EVERY_S)

    run_virtually(main())


@pytest.mark.parametrize(("sqlstate", "leaves"), [("57P01", False), ("57P03", True)])
def test_a_login_that_somebody_ended_is_tried_again_and_no_word_of_the_server(
    sqlstate: str, leaves: bool
) -> None:
    async def main() -> None:
        logins = Logins(sqlstate=sqlstate)
        newcomers = Newcomers(probe=logins.probe, greet=logins.greet)
        found = await newcomers.kept_out(LIMITS)
        assert (found is not None) is leaves
        if not leaves:
            logins.sqlstate = None
            assert await newcomers.kept_out(LIMITS) is None
            assert len(logins.at_s) == 2

    run_virtually(main())
