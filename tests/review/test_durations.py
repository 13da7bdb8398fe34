from dataclasses import replace
from datetime import timedelta

import pytest

from stanch.model import events as e
from stanch.model.ids import ObligationId
from stanch.model.symptoms import SymptomKind
from stanch.review.durations import NOT_REACHED, durations, outages_in
from timelines import ANN, T0, Story, at, diagnosed, opened, page, symptom, unknown_verdict

ACK = e.IncidentAcknowledged(by=ANN, via="cli")
GOOD = e.RescueChecked(ok=True, detail="")
BAD = e.RescueChecked(ok=False, detail="")
RESCUED = e.IncidentRescued(window_s=10, checks=3, detail="", obligation=ObligationId("r"))
RESOLVED = e.IncidentResolved(verified=True, reason="")
CLEARED = e.SymptomCleared(key="server_down")


def early(seconds: float) -> e.IncidentOpened:
    """An incident opened so long after its onset."""
    return opened(symptom=replace(symptom(), since=T0 - timedelta(seconds=seconds)))


def took(story: Story) -> dict[str, str]:
    return {d.name: d.shown for d in durations(story.timeline).all}


def rescued_story() -> Story:
    story = Story(early(0.4)).then(diagnosed(), 0.2).then(page(), 0.3).then(ACK, 240)
    for second in (20, 24, 28):
        story.then(GOOD, second)
    return story.then(RESCUED, 30).then(RESOLVED, 630)


def test_a_whole_incident_has_every_duration_counted_from_what_it_says() -> None:
    assert took(rescued_story()) == {
        "detect": "0.4 s",
        "acknowledge": "4 min",
        "diagnose": "0.2 s",
        "mitigate": "20 s",
        "resolve": "10 min 30 s",
    }


def test_an_incident_that_only_opened_has_only_its_detection() -> None:
    assert took(Story(early(2))) == {
        "detect": "2 s",
        "acknowledge": NOT_REACHED,
        "diagnose": NOT_REACHED,
        "mitigate": NOT_REACHED,
        "resolve": NOT_REACHED,
    }


def test_a_diagnosis_that_names_no_cause_does_not_end_the_diagnosing() -> None:
    story = Story(opened()).then(unknown_verdict(), 1).then(diagnosed(), 9)
    assert took(story)["diagnose"] == "9 s"


def test_whoever_takes_it_before_any_page_is_measured_from_the_opening() -> None:
    story = Story(opened()).then(ACK, 5).then(page(), 60)
    assert took(story)["acknowledge"] == "5 s"


def test_escalation_does_not_shorten_the_time_to_acknowledge() -> None:
    story = Story(opened()).then(page(1), 10).then(page(2), 310).then(ACK, 320)
    assert took(story)["acknowledge"] == "5 min 10 s"


def test_a_page_from_memory_counts_although_it_was_written_down_later() -> None:
    sent = e.PagedUnrecorded(sent_at=at(1), persons=(ANN,), short="s", outcomes=())
    assert took(Story(opened()).then(sent, 90).then(ACK, 91))["acknowledge"] == "1 min 30 s"


def test_a_bad_look_in_between_starts_the_run_of_good_ones_again() -> None:
    story = Story(opened()).then(GOOD, 5).then(BAD, 8).then(GOOD, 12).then(RESCUED, 22)
    assert took(story)["mitigate"] == "12 s"


def test_good_looks_before_a_gap_in_the_watch_do_not_count() -> None:
    away = e.ResponderResumed(away_since=at(6))
    story = Story(opened()).then(GOOD, 5).then(away, 50).then(GOOD, 52).then(RESCUED, 62)
    assert took(story)["mitigate"] == "52 s"


def test_good_looks_without_the_proof_of_a_window_are_no_mitigation() -> None:
    assert took(Story(opened()).then(GOOD, 5).then(GOOD, 9))["mitigate"] == NOT_REACHED


def test_a_relapse_takes_the_mitigation_back_and_begins_another_outage() -> None:
    again = e.SymptomObserved(symptom=replace(symptom(), since=at(60)))
    story = Story(opened()).then(GOOD, 5).then(RESCUED, 15).then(again, 61)
    assert took(story)["mitigate"] == NOT_REACHED
    assert [(o.start, o.end) for o in outages_in(story.timeline)] == [
        (T0, at(5)),
        (at(60), None),
    ]


def test_a_symptom_older_than_the_proof_of_service_does_not_take_the_proof_back() -> None:
    other = replace(symptom(SymptomKind.DISK_LOW), since=at(2))
    story = Story(opened()).then(GOOD, 5).then(RESCUED, 15)
    story.then(e.SymptomObserved(symptom=other), 20)
    assert [(o.start, o.end) for o in outages_in(story.timeline)] == [(T0, at(5)), (at(5), None)]


def test_a_reopened_incident_is_not_resolved_until_it_is_resolved_again() -> None:
    story = rescued_story().then(e.IncidentReopened(reason="again"), 700)
    assert took(story)["resolve"] == NOT_REACHED
    story.then(GOOD, 710).then(RESCUED, 720).then(RESOLVED, 800)
    assert took(story)["resolve"] == "13 min 20 s"
    assert len(outages_in(story.timeline)) == 2


def test_what_healed_by_itself_served_again_when_its_symptom_was_gone() -> None:
    healed = e.IncidentResolved(verified=True, reason="", self_healed=True)
    story = Story(opened()).then(CLEARED, 4).then(healed, 30)
    assert took(story)["mitigate"] == "4 s"


def test_a_person_s_word_without_proof_ends_no_outage() -> None:
    closed = e.IncidentResolved(verified=False, reason="", by=ANN)
    story = Story(opened()).then(closed, 30)
    assert took(story)["mitigate"] == NOT_REACHED
    assert took(story)["resolve"] == "30 s"


def test_a_clock_that_moved_back_gives_no_negative_duration() -> None:
    assert took(Story(early(-30)))["detect"] == "unknown: the clock moved back"


@pytest.mark.parametrize("length", range(len(rescued_story().timeline) + 1))
def test_every_prefix_of_an_incident_has_durations(length: int) -> None:
    assert len(durations(rescued_story().timeline[:length]).all) == 5


def test_a_crash_told_along_says_nothing_about_when_service_was_back() -> None:
    crashed = symptom(SymptomKind.PROCESS_CRASHED, "crash_child_signal")
    story = Story(opened()).then(e.SymptomObserved(symptom=crashed), 1).then(CLEARED, 30)
    story.then(replace(RESOLVED, verified=False, by=ANN), 60)
    assert [o.end for o in outages_in(story.timeline)] == [at(30)]


def test_a_crash_that_reopens_an_incident_is_an_outage_of_its_own_until_it_is_over() -> None:
    crashed = symptom(SymptomKind.PROCESS_CRASHED, "crash_child_signal")
    again = e.SymptomObserved(symptom=replace(crashed, since=at(700)))
    story = Story(opened()).then(e.SymptomObserved(symptom=crashed), 1).then(CLEARED, 5)
    story.then(GOOD, 5).then(RESCUED, 15).then(RESOLVED, 600)
    story.then(e.IncidentReopened(reason="again"), 700).then(again, 700)
    story.then(e.SymptomCleared(key=crashed.key), 1300)
    story.then(replace(RESOLVED, verified=False, by=ANN), 1400)
    assert [o.end for o in outages_in(story.timeline)] == [at(5), at(1300)]
