from dataclasses import replace

from stanch.incident.commands import Resolve, decide
from stanch.model import events as e
from stanch.model.plans import Refusal
from stanch.model.symptoms import SymptomKind
from timelines import ANN, POLICY, Story, at, opened, symptom

GOOD = e.RescueChecked(ok=True, detail="logins and writes work")
CLOSE = Resolve(by=ANN, reason="gone")


def reported() -> Story:
    return Story(opened(symptom=symptom(SymptomKind.REPORTED), declared_by=ANN))


def test_what_only_a_person_saw_a_person_may_close_but_nobody_says_it_was_checked() -> None:
    decided = decide(CLOSE, reported().incident, POLICY, at(30))
    assert decided == (e.IncidentResolved(verified=False, reason="gone", by=ANN),)


def test_what_a_person_saw_counts_as_checked_where_a_fresh_check_says_so() -> None:
    story = reported().then(GOOD, 10)
    assert decide(CLOSE, story.incident, POLICY, at(30)) == (
        e.IncidentResolved(verified=True, reason="gone", by=ANN),
    )
    stale = decide(CLOSE, story.incident, POLICY, at(10 + 61))
    assert stale == (e.IncidentResolved(verified=False, reason="gone", by=ANN),)


def test_what_is_still_observed_cannot_be_closed() -> None:
    refused = decide(CLOSE, Story(opened()).incident, POLICY, at(30))
    assert isinstance(refused, Refusal)
    assert refused.reason == "still observed: server_down"


def test_a_crash_that_was_told_along_is_no_reason_against_closing() -> None:
    crashed = symptom(SymptomKind.PROCESS_CRASHED, "crash_child_signal")
    story = Story(opened()).then(e.SymptomObserved(symptom=crashed), 1)
    story.then(e.SymptomCleared(key="server_down"), 5).then(GOOD, 20)
    assert decide(CLOSE, story.incident, POLICY, at(30)) == (
        e.IncidentResolved(verified=True, reason="gone", by=ANN),
    )


def test_what_was_observed_needs_a_check_before_it_is_closed() -> None:
    cleared = Story(opened()).then(e.SymptomCleared(key="server_down"), 5)
    refused = decide(CLOSE, cleared.incident, POLICY, at(30))
    assert isinstance(refused, Refusal)
    assert "no check has shown yet" in refused.reason
    checked = cleared.then(GOOD, 20)
    assert decide(CLOSE, checked.incident, POLICY, at(30)) == (
        e.IncidentResolved(verified=True, reason="gone", by=ANN),
    )


def test_closing_without_proof_is_possible_and_recorded_as_that() -> None:
    unverified = replace(CLOSE, unverified=True)
    assert decide(unverified, Story(opened()).incident, POLICY, at(30)) == (
        e.IncidentResolved(verified=False, reason="gone", by=ANN),
    )
