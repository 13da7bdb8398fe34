"""A step that a dead process intended: known as such once its successor has taken over."""

from __future__ import annotations

from dataclasses import replace

from stanch.incident.fold import apply
from stanch.incident.state import Incident, StepState
from stanch.model import events as e
from stanch.model.ids import StepId, WriterId
from timelines import Story, diagnosed, intended, opened, plan

BACK = e.ResponderResumed(away_since=None)


def begun() -> Story:
    story = Story(opened()).then(diagnosed(), 0.1)
    return story.then(e.PlanProposed(plan=plan(steps=2)), 1).then(intended("s1"), 2)


def step(incident: Incident, name: str = "s1") -> StepState:
    assert incident.plan is not None
    return incident.plan.steps[StepId(name)]


def test_the_successor_on_the_same_journal_finds_it_abandoned() -> None:
    story = begun()
    assert not step(story.incident).abandoned
    assert step(story.then(BACK, 3).incident).abandoned
    assert not step(story.incident, "s2").abandoned, "nobody intended that one"


def test_a_responder_with_a_journal_of_its_own_tells_nothing_about_it() -> None:
    story = begun()
    before = story.incident
    story.then(BACK, 3)
    another = apply(before, replace(story.timeline[-1], writer_id=WriterId("another")))
    assert not step(another).abandoned


def test_a_new_attempt_is_the_living_process_own() -> None:
    story = begun().then(BACK, 3).then(intended("s1", attempt=2), 9)
    assert not step(story.incident).abandoned
