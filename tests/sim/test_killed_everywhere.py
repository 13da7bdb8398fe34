"""The responder is killed at every boundary of every rescue, and started again."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence

import pytest

from sim.truths import STORIES, check_effects, check_everything, incident, told
from stanch.incident.state import Status
from stanch.model import events as e
from stanch.testing.simulation import Simulation

pytestmark = pytest.mark.sim

PARTS = 2
"""Boundaries are dealt out to so many tests a story, so that they can run side by side."""

TWICE_MAX = 4
ALL = os.environ.get("STANCH_SOAK") == "1"


def check(sim: Simulation, story: str, deaths: tuple[int, ...]) -> None:
    where = [life.passed[-1] for life in sim.lives[:-1]]
    try:
        check_everything(sim)
        assert len(sim.incident_ids()) == 1
        assert incident(sim).status is Status.RESOLVED
        check_effects(sim, story)
        assert sim.servers["orders"].well
    except AssertionError as error:
        raise AssertionError(f"{story}, killed at {deaths}: {where}: {error}") from error


@pytest.mark.parametrize("story", STORIES)
def test_without_a_crash_each_is_rescued_resolved_and_told_once(story: str) -> None:
    sim = told(STORIES[story])
    check(sim, story, ())
    events = [r.event for r in sim.timeline(sim.incident_ids()[0])]
    assert sum(isinstance(event, e.IncidentRescued) for event in events) == 1
    subjects = [message.subject for _, message, _ in sim.mail.taken]
    assert len(subjects) == len(set(subjects)), "nobody was told anything twice"


def chosen(passed: Sequence[str]) -> list[int]:
    """Every boundary from the plan to its end, between which something is touched; of the others
    every third, and all of them where there is time (STANCH_SOAK=1)."""
    acting = [n for n, name in enumerate(passed) if "plan." in name or "step." in name]
    first, last = acting[0] - 1, acting[-1] + 1
    return [n for n in range(len(passed)) if ALL or first <= n <= last or n % 3 == 0]


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("story", STORIES)
def test_killed_at_any_boundary_it_resumes_and_does_nothing_twice(story: str, part: int) -> None:
    passed = told(STORIES[story]).lives[0].passed
    assert len(passed) > 40
    for boundary in chosen(passed)[part::PARTS]:
        sim = told(STORIES[story], boundary)
        assert len(sim.lives) == 2
        check(sim, story, (boundary,))


@pytest.mark.parametrize("story", STORIES)
def test_killed_twice_it_resumes_all_the_same(story: str) -> None:
    seed = 20260301
    chance = random.Random(f"{seed} {story}")
    boundaries = len(told(STORIES[story]).lives[0].passed)
    for _ in range(TWICE_MAX):
        deaths = (chance.randrange(boundaries), chance.randrange(boundaries // 2))
        print(f"seed {seed}, killed at {deaths}")
        sim = told(STORIES[story], *deaths)
        assert len(sim.lives) >= 2
        check(sim, story, deaths)
