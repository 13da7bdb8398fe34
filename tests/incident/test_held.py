"""What planned work holds, and what is told whatever is planned."""

from __future__ import annotations

import pytest

from stanch.incident.due import due
from stanch.incident.work import Job
from stanch.model import events as e
from stanch.model.symptoms import SymptomKind
from stanch.policy.rules import declared_rules
from stanch.policy.rules.planned import held_in_maintenance
from timelines import POLICY, Story, at, opened, symptom

WINDOW = e.PageHeld(until=at(600), reason="upgrade")


def page_at(story: Story) -> object:
    return next(d.at for d in due(POLICY, story.incident, at(0)) if d.job is Job.PAGE)


def observed(kind: SymptomKind, subject: str = "x") -> e.SymptomObserved:
    return e.SymptomObserved(symptom=symptom(kind, subject))


@pytest.mark.parametrize(
    "kind",
    [
        SymptomKind.CHECKSUM_FAILURES,
        SymptomKind.OTHER_CLUSTER,
        SymptomKind.DISK_FULL,
        SymptomKind.ARCHIVE_FAILING,
    ],
)
def test_what_may_cost_data_is_told_in_the_middle_of_planned_work(kind: SymptomKind) -> None:
    story = Story(opened()).then(WINDOW, 0)
    assert page_at(story) == at(600)
    assert page_at(story.then(observed(kind), 60)) == at(0.25)
    assert page_at(Story(opened(symptom=symptom(kind))).then(WINDOW, 0)) == at(0.25)


@pytest.mark.parametrize(
    "kind",
    [
        SymptomKind.UNWATCHED,
        SymptomKind.SERVICE_STOPPED,
        SymptomKind.REPLICATION_LAG,
        SymptomKind.STANDBY_GONE,
        SymptomKind.CONNECTIONS_EXHAUSTED,
        SymptomKind.POOL_EXHAUSTED,
        SymptomKind.HEALTH_CHECK_FAILING,
        SymptomKind.DISK_LOW,
        SymptomKind.OUTSIDE_ALERT,
    ],
)
def test_what_planned_work_brings_about_waits_for_its_end(kind: SymptomKind) -> None:
    story = Story(opened()).then(WINDOW, 0).then(observed(kind), 60)
    assert page_at(story) == at(600)


def test_once_what_may_cost_data_is_over_the_rest_is_held_again() -> None:
    story = Story(opened()).then(WINDOW, 0).then(observed(SymptomKind.DISK_FULL), 60)
    assert page_at(story.then(e.SymptomCleared(key="disk_full:x"), 60.1)) == at(600)


def test_a_silence_holds_what_it_names_also_where_maintenance_would_not() -> None:
    known = e.RuleSilenced(rule="disk_full", until=at(300), reason="being extended")
    story = Story(opened()).then(WINDOW, 0).then(observed(SymptomKind.DISK_FULL), 1)
    assert page_at(story.then(known, 1)) == at(300)


def test_no_work_is_planned_that_may_cost_data_except_that_the_server_is_down() -> None:
    rules = declared_rules()
    assert [k.value for k, rule in rules.items() if rule.planned] == ["server_down"]
    speaks = {k.value for k in rules if not held_in_maintenance(k.value)}
    assert speaks == {k.value for k, rule in rules.items() if rule.at_risk} - {"server_down"}
