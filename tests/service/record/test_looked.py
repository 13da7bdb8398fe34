"""A look that brings no news never keeps the next kind of look from its turn."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast

from stanch.incident.due import due
from stanch.incident.state import Incident
from stanch.incident.work import Due, Job
from stanch.model import events as e
from stanch.model.ids import PlanId, StepId
from stanch.model.plans import StepOutcome
from stanch.model.timeline import Claim, Lane
from stanch.policy.policy import Policy
from stanch.service.pipeline import Pipeline
from stanch.service.record.looked import Looked
from timelines import POLICY, Story, at, diagnosed, intended, opened, page, plan

DONE = e.StepEnded(
    plan_id=PlanId("plan-1"), step_id=StepId("s1"), attempt=1, outcome=StepOutcome.DONE, detail=""
)
VERIFIED = e.StepVerified(plan_id=PlanId("plan-1"), step_id=StepId("s1"), ok=True, detail="")
ENDED = e.PlanEnded(plan_id=PlanId("plan-1"), completed=True, reason="done")
STILL_DOWN = e.RescueChecked(ok=False, detail="no login")


def acted_in_vain() -> Story:
    """A plan was completed at 2 s, and the server is down all the same."""
    story = Story(opened()).then(diagnosed(), 0.1).then(page(), 0.2)
    story = story.then(e.PlanProposed(plan=plan(made=0.3)), 0.3).then(intended(when=1), 1)
    story = story.then(DONE, 1.5).then(VERIFIED, 1.6).then(ENDED, 2)
    return story.then(STILL_DOWN, 3)


class Setting:
    """The clock, the timeline and the policy, standing still until told otherwise."""

    def __init__(self, incident: Incident) -> None:
        self.incident = incident
        self.time = at(0)

    def now(self) -> datetime:
        return self.time

    async def at_hand(self, incident_id: object) -> Incident:
        return self.incident

    def for_incident(self, policy_hash: str) -> Policy:
        return POLICY


class Looks:
    """Looks that never bring news."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.taken: list[Job] = []

    async def diagnose(self, *_: object) -> datetime:
        self.taken.append(Job.DIAGNOSE)
        return self.setting.time + timedelta(seconds=30)

    async def check_rescue(self, *_: object) -> datetime:
        self.taken.append(Job.CHECK_RESCUE)
        return self.setting.time + timedelta(seconds=2)

    propose = step = settle = check_rescue


def pipeline_of(setting: Setting, looks: Looks) -> Pipeline:
    anything = cast("Any", setting)
    return Pipeline(
        book=anything,
        policies=anything,
        clock=anything,
        paging=anything,
        acting=cast("Any", looks),
    )


def act_claim(incident: Incident) -> Claim:
    return Claim(incident_id=incident.id, lane=Lane.ACT, owner="me", epoch=1, due_at=at(0))


async def test_a_server_that_stays_down_is_diagnosed_again_although_checks_are_always_due() -> None:
    setting = Setting(acted_in_vain().incident)
    looks = Looks(setting)
    pipeline = pipeline_of(setting, looks)
    setting.time = at(60)
    both = due(POLICY, setting.incident, setting.time)
    assert {Job.DIAGNOSE, Job.CHECK_RESCUE} <= {d.job for d in both if d.at <= setting.time}
    for _ in range(2):
        again_at = await pipeline.work(act_claim(setting.incident))
        assert again_at == setting.time
    assert sorted(looks.taken) == [Job.CHECK_RESCUE, Job.DIAGNOSE]


async def test_each_look_waits_its_own_time_until_it_is_taken_again() -> None:
    setting = Setting(acted_in_vain().incident)
    looks = Looks(setting)
    pipeline = pipeline_of(setting, looks)
    setting.time = at(60)
    again_at = setting.time
    while again_at is not None and again_at <= at(90):
        setting.time = again_at
        again_at = await pipeline.work(act_claim(setting.incident))
    assert looks.taken.count(Job.DIAGNOSE) == 2
    assert 15 <= looks.taken.count(Job.CHECK_RESCUE) <= 16


def test_news_of_any_kind_lets_every_look_be_taken_at_once() -> None:
    looked, incident = Looked(), acted_in_vain().incident
    looked.without_news(incident, Job.DIAGNOSE, now=at(0), until=at(30))
    assert looked.put_off(incident, Job.DIAGNOSE, at(1))
    assert not looked.put_off(replace(incident, seq=incident.seq + 1), Job.DIAGNOSE, at(1))
    assert not looked.put_off(incident, Job.CHECK_RESCUE, at(1))
    assert not looked.put_off(incident, Job.DIAGNOSE, at(30))


def test_the_soonest_look_is_the_one_to_wake_for() -> None:
    looked, incident = Looked(), acted_in_vain().incident
    ready = [Due(lane=Lane.ACT, job=job, at=at(0)) for job in (Job.DIAGNOSE, Job.CHECK_RESCUE)]
    assert looked.soonest(incident, ready) is None
    looked.without_news(incident, Job.DIAGNOSE, now=at(0), until=at(30))
    looked.without_news(incident, Job.CHECK_RESCUE, now=at(0), until=at(2))
    assert looked.soonest(incident, ready) == at(2)
