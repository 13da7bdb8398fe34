"""The network of the quiet day: packets are sent again as TCP does, and a cut stays a cut."""

from __future__ import annotations

import asyncio

import pytest
from quiet_day import Share
from weather import NEVER_S, FarServer, Spell, Way, Weather

from stanch.model.errors import ProbeFailed
from stanch.model.reach import ReachState
from stanch.testing.virtual_time import run_virtually

CLEAR = Weather(spells=(), usually=0.0)


def way(*spells: Spell) -> Way:
    weather = Weather(spells=spells, usually=0.0)
    return Way(weather, round_trip_s=0.02, seed=1)


def cut(from_s: float, until_s: float) -> Spell:
    return Spell(from_s=from_s, until_s=until_s, lost=1.0)


@pytest.mark.parametrize(
    ("until_s", "answered_s"), [(0.1, 0.22), (0.25, 0.62), (0.7, 1.42), (1.5, 3.02)]
)
def test_what_is_lost_is_sent_again_after_ever_longer_waits(
    until_s: float, answered_s: float
) -> None:
    assert way(cut(0.0, until_s)).exchange_s(0.0) == pytest.approx(answered_s)


def test_a_lost_answer_is_sent_again_by_the_other_side() -> None:
    # The question is through before the cut, its answer is not.
    assert way(cut(0.005, 0.1)).exchange_s(0.0) == pytest.approx(0.22)


def test_the_first_packet_of_a_connection_is_sent_again_a_second_later() -> None:
    assert way(cut(0.0, 0.1)).connect_s(0.0) == pytest.approx(1.02)
    assert way().connect_s(0.0) == pytest.approx(0.02)


def test_the_worst_of_overlapping_spells_counts() -> None:
    mild = Spell(from_s=0.0, until_s=10.0, lost=0.2)
    weather = Weather(spells=(mild, cut(4.0, 5.0)), usually=0.01)
    assert [weather.lost(s) for s in (1.0, 4.5, 5.0, 10.0)] == [0.2, 1.0, 0.2, 0.01]


def test_a_way_that_is_cut_for_good_never_answers_and_ends_the_session() -> None:
    async def story() -> None:
        road = way()
        server = FarServer(road)
        assert (await server.open(2.0)).state is ReachState.UP
        assert (await server.vitals(timeout_s=1.0)).version_num
        assert not server.unheard
        road.cut_at_s = asyncio.get_running_loop().time()
        assert road.exchange_s(road.cut_at_s) == NEVER_S
        question = asyncio.ensure_future(server.vitals(timeout_s=1.0))
        await asyncio.sleep(0.5)
        assert server.unheard
        with pytest.raises(ProbeFailed):
            await question
        assert not server.is_open
        assert not await server.knock(0.3)
        assert (await server.probe(2.0)).state is ReachState.TIMEOUT

    run_virtually(story())


def test_quiet_minutes_have_no_incident_until_its_targets_are_cut_off() -> None:
    day, _ = run_virtually(Share(["a", "b"], hours=0.1, seed=3).pass_by())
    assert day.looks > 600
    assert {name for name, _, _ in day.told} == {"a", "b"}
    for name, second, title in day.told:
        assert title == "server down"
        assert 0 < second - day.cut_at_s[name] <= 3.0
