"""How long an incident is left to heal by itself, whatever was seen first."""

from __future__ import annotations

from datetime import datetime

import pytest

from stanch.incident.due import due
from stanch.incident.work import Job
from stanch.model import events as e
from stanch.model.symptoms import SymptomKind
from timelines import ANN, POLICY, Story, at, opened, page, symptom

DOWN = "server_down"
CLEARED = e.SymptomCleared(key=DOWN)


def observed(kind: SymptomKind, subject: str = "") -> e.SymptomObserved:
    return e.SymptomObserved(symptom=symptom(kind, subject))


def went_down(page_after_s: float | None = 9.0) -> e.SymptomObserved:
    return e.SymptomObserved(symptom=symptom(), page_after_s=page_after_s)


WORST = e.SeveritySet(rank=1, label="P0", reason="server_down is P0")


def page_at(story: Story) -> datetime | None:
    found = [d for d in due(POLICY, story.incident, at(0)) if d.job is Job.PAGE and not d.notice]
    return found[0].at if found else None


@pytest.mark.parametrize(
    "kind",
    [
        SymptomKind.DISK_FULL,
        SymptomKind.OTHER_CLUSTER,
        SymptomKind.LOG_CORRUPTION,
        SymptomKind.ARCHIVE_FAILING,
        SymptomKind.OUTSIDE_ALERT,
    ],
)
def test_what_no_restart_heals_ends_the_wait_for_one(kind: SymptomKind) -> None:
    story = Story(opened(page_after_s=300.0))
    assert page_at(story) == at(300)
    assert page_at(story.then(observed(kind, "x"), 2)) == at(0.25)


@pytest.mark.parametrize(
    "kind",
    [
        SymptomKind.SERVICE_STOPPED,
        SymptomKind.HEALTH_CHECK_FAILING,
        SymptomKind.POOL_EXHAUSTED,
        SymptomKind.PROCESS_CRASHED,
        SymptomKind.LONG_TRANSACTION,
    ],
)
def test_what_heals_with_the_server_or_is_too_small_to_page_for_leaves_it_be(
    kind: SymptomKind,
) -> None:
    story = Story(opened(page_after_s=300.0)).then(observed(kind, "x"), 2)
    assert page_at(story) == at(300)


def test_it_does_not_matter_which_of_the_two_was_seen_first() -> None:
    full = symptom(SymptomKind.DISK_FULL, "/wal")
    story = Story(opened(symptom=full)).then(went_down(300.0), 0.1)
    assert page_at(story) == at(0.25)
    crash = symptom(SymptomKind.PROCESS_CRASHED, "x")
    assert page_at(Story(opened(symptom=crash)).then(went_down(), 0.1)) == at(9.1)


def test_the_wait_goes_on_when_what_ended_it_is_over_and_nobody_was_paged() -> None:
    story = Story(opened(page_after_s=300.0)).then(observed(SymptomKind.DISK_FULL, "/wal"), 2)
    assert page_at(story.then(e.SymptomCleared(key="disk_full:/wal"), 2.1)) == at(300)


def small() -> Story:
    """A matter nobody is paged for is open for a hundred seconds; then the server goes down."""
    return Story(opened(symptom=symptom(SymptomKind.LONG_TRANSACTION), severity_rank=4))


def test_a_restart_that_heals_is_waited_for_though_something_small_was_open_before() -> None:
    story = small().then(went_down(), 100).then(WORST, 100)
    assert page_at(story) == at(109)
    assert (
        page_at(story.then(CLEARED, 104).then(e.SymptomCleared(key="long_transaction"), 104))
        is None
    )


def test_where_nobody_restarts_it_people_are_paged_at_once() -> None:
    for said in (0.0, None):
        assert page_at(small().then(went_down(said), 100).then(WORST, 100)) == at(100.25)


def test_whoever_was_paged_for_the_rest_is_not_paged_anew_for_a_restart_that_heals() -> None:
    blocked = symptom(SymptomKind.SESSIONS_BLOCKED)
    story = Story(opened(symptom=blocked, severity_rank=2)).then(page(), 1)
    story.then(e.IncidentAcknowledged(by=ANN, via="cli"), 60)
    story.then(went_down(), 100).then(WORST, 100)
    assert page_at(story) == at(109)
    assert page_at(story.then(observed(SymptomKind.DISK_FULL, "/data"), 101)) == at(100.25)


def test_a_server_that_goes_down_again_and_again_is_not_waited_for_anew() -> None:
    story = Story(opened(page_after_s=9.0)).then(CLEARED, 4).then(went_down(), 6)
    assert page_at(story) == at(9)


def test_after_a_rescue_it_is_waited_for_anew() -> None:
    rescued = e.IncidentRescued(window_s=10, checks=2, detail="", obligation="rescued/1@4")  # type: ignore[arg-type]
    story = Story(opened(page_after_s=9.0)).then(page(), 9).then(CLEARED, 20)
    story.then(e.RescueChecked(ok=True, detail=""), 20).then(rescued, 30)
    assert page_at(story.then(went_down(20.0), 50)) == at(70)


def test_a_person_who_says_that_it_is_not_over_is_not_kept_waiting() -> None:
    story = Story(opened(page_after_s=300.0)).then(CLEARED, 4)
    story.then(e.IncidentResolved(verified=True, reason="healed", self_healed=True), 5)
    story.then(e.IncidentReopened(reason="no", by=ANN), 60)
    assert page_at(story.then(observed(SymptomKind.REPORTED), 60)) == at(60.25)
