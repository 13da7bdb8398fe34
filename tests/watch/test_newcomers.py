"""When the next greeting and the next login are due."""

from __future__ import annotations

import asyncio

import pytest

from stanch.model.reach import Reach, ReachState
from stanch.testing.virtual_time import VirtualLoop, run_virtually
from stanch.watch.newcomers.run import (
    GREET_EVERY_S,
    LOGIN_EVERY_S,
    LOGIN_GREET_APART_S,
    LOGIN_GREET_S,
    LOGIN_GREETINGS,
    Newcomers,
)
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
        newcomers = Newcomers(
            probe=logins.probe, greet=logins.greet, knock=logins.greet, jitter=lambda: place
        )
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
        newcomers = Newcomers(
            probe=logins.probe, greet=logins.greet, knock=logins.greet, jitter=lambda: 1.0
        )
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
        newcomers = Newcomers(probe=logins.probe, greet=logins.greet, knock=logins.greet)
        found = await newcomers.kept_out(LIMITS)
        assert (found is not None) is leaves
        if not leaves:
            logins.sqlstate = None
            assert await newcomers.kept_out(LIMITS) is None
            assert len(logins.at_s) == 2

    run_virtually(main())


class Hanging:
    """A server that greets and ends no login: who logs in there, and how many at once."""

    def __init__(self, *, in_turn: tuple[bool, ...] = (), lost_knocks: int = 0) -> None:
        self.tries = 0
        self._lost_knocks = lost_knocks
        self.at_once = 0
        self.most_at_once = 0
        self._in_turn = in_turn
        """For each login, whether it had its turn; the rest have."""

    async def probe(self, deadline_s: float) -> Reach:
        nth, self.tries = self.tries, self.tries + 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(deadline_s)
        self.at_once -= 1
        in_turn = self._in_turn[nth] if nth < len(self._in_turn) else True
        return Reach(state=ReachState.HUNG, layers=(), elapsed_ms=1.0, in_turn=in_turn)

    async def greet(self, deadline_s: float) -> bool:
        return True

    async def knock(self, deadline_s: float) -> bool:
        self._lost_knocks -= 1
        return self._lost_knocks < 0


def test_logins_that_stall_where_packets_get_lost_are_no_verdict() -> None:
    async def main() -> None:
        server = Hanging(lost_knocks=1)
        newcomers = Newcomers(probe=server.probe, greet=server.greet, knock=server.knock)
        assert await newcomers.kept_out(LIMITS) is None
        assert server.tries == 2
        assert not newcomers.stuck

    run_virtually(main())


def test_logins_that_come_to_no_end_are_tried_one_after_the_other() -> None:
    async def main() -> None:
        server = Hanging()
        newcomers = Newcomers(probe=server.probe, greet=server.greet, knock=server.knock)
        found = await newcomers.kept_out(LIMITS)
        assert found is not None
        assert found.state is ReachState.HUNG
        assert (server.tries, server.most_at_once) == (2, 1)
        took_s = asyncio.get_running_loop().time()
        assert took_s + LOGIN_EVERY_S + GREET_EVERY_S < 20

    run_virtually(main())


@pytest.mark.parametrize(
    ("in_turn", "tries"), [((False,), 1), ((True, False), 2)], ids=["the first", "the second"]
)
def test_a_login_that_only_waited_for_another_of_ours_is_no_witness(
    in_turn: tuple[bool, ...], tries: int
) -> None:
    async def main() -> None:
        server = Hanging(in_turn=in_turn)
        newcomers = Newcomers(probe=server.probe, greet=server.greet, knock=server.knock)
        assert await newcomers.kept_out(LIMITS) is None
        assert not newcomers.stuck
        assert server.tries == tries
        if tries == 1:
            assert await newcomers.kept_out(LIMITS) is not None, "it asks again with the next turn"

    run_virtually(main())


def test_the_greetings_beside_the_second_login_are_done_before_its_patience_ends() -> None:
    done_s = (LOGIN_GREETINGS - 1) * LOGIN_GREET_APART_S + LOGIN_GREET_S
    assert done_s <= LIMITS.hung_after_s
