"""When refused credentials may be tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import pytest

from stanch.adapters.postgres.restraint import Restraint
from stanch.model.reach import Reach, ReachState
from stanch.testing.virtual_time import run_virtually


def reach(state: ReachState) -> Reach:
    return Reach(state=state, layers=(), elapsed_ms=1.0)


REFUSED, ODD = reach(ReachState.AUTH_FAILED), reach(ReachState.TURNED_AWAY)


def virtually(script: Callable[[Restraint], Coroutine[None, None, None]]) -> None:
    async def main() -> None:
        await script(Restraint())

    run_virtually(main())


def test_after_a_refusal_nobody_tries_for_a_minute_and_then_somebody_does() -> None:
    async def script(restraint: Restraint) -> None:
        restraint.note(REFUSED)
        await asyncio.sleep(59)
        assert restraint.lately is REFUSED
        assert restraint.left_s == pytest.approx(1)
        await asyncio.sleep(1)
        assert restraint.lately is None

    virtually(script)


@pytest.mark.parametrize(
    "state", [s for s in ReachState if s is not ReachState.AUTH_FAILED], ids=str
)
def test_who_ends_in_any_other_way_may_try_again_at_once(state: ReachState) -> None:
    async def script(restraint: Restraint) -> None:
        for _ in range(3):
            restraint.note(reach(state))
            assert restraint.lately is None

    virtually(script)


def test_what_libpq_is_refused_behind_a_probe_that_got_in_is_tried_twice_and_then_each_minute() -> (
    None
):
    async def script(restraint: Restraint) -> None:
        restraint.contradict(ODD)
        assert restraint.lately is None
        for _ in range(3):
            restraint.contradict(ODD)
            assert restraint.lately is ODD
            await asyncio.sleep(60)
            assert restraint.lately is None

    virtually(script)


@pytest.mark.parametrize("between", ["a session", "another answer"])
def test_two_that_are_not_in_a_row_are_no_reason_to_wait(between: str) -> None:
    async def script(restraint: Restraint) -> None:
        for _ in range(3):
            restraint.contradict(ODD)
            if between == "a session":
                restraint.let_in()
            else:
                restraint.note(reach(ReachState.STARTING_UP))
        assert restraint.lately is None

    virtually(script)


def test_on_a_server_that_was_full_a_moment_ago_somebody_else_took_the_place() -> None:
    async def script(restraint: Restraint) -> None:
        restraint.note(reach(ReachState.TOO_MANY_CLIENTS))
        for _ in range(5):
            restraint.contradict(ODD)
        assert restraint.lately is None
        await asyncio.sleep(60)
        restraint.contradict(ODD)
        restraint.contradict(ODD)
        assert restraint.lately is ODD

    virtually(script)
