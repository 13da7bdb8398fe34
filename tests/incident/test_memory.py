"""Which incidents of before look like the one at hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stanch.incident.memory import alike
from stanch.incident.state import Incident
from stanch.model import events as e
from stanch.model.diagnosis import CauseFinding, Diagnosis, Finding, Verdict
from stanch.model.ids import CauseId, IncidentId, ObligationId, TargetName
from stanch.model.symptoms import SymptomKind
from timelines import ANN, Story, at, opened, page, plan, symptom

CLEARED = e.SymptomCleared(key="server_down")
GOOD = e.RescueChecked(ok=True, detail="")
RESCUED = e.IncidentRescued(window_s=10, checks=2, detail="", obligation=ObligationId("r"))
RESOLVED = e.IncidentResolved(verified=True, reason="")


def found(cause: str, *evidence: str) -> e.DiagnosisRecorded:
    pro = tuple(Finding(evidence=name, text=name, weight=2.0) for name in evidence)
    first = CauseFinding(id=CauseId(cause), summary=cause, probability=0.9, evidence_for=pro)
    return e.DiagnosisRecorded(
        diagnosis=Diagnosis(verdict=Verdict.CAUSE, causes=(first,), at=at(0), elapsed_ms=1.0)
    )


KILLED = found("killed", "refused", "postmaster_alive", "control_in_production")


def over(n: int, *events: e.Event, cause: e.Event = KILLED) -> Incident:
    """An incident of before that was rescued after twenty seconds."""
    story = Story(opened()).then(cause, 1)
    for event in events:
        story.then(event, 2)
    story.then(CLEARED, 10).then(GOOD, 10).then(GOOD, 20).then(RESCUED, 20).then(RESOLVED, 600)
    return replace(story.incident, id=IncidentId(f"20260201-{n:03}"))


def now(cause: e.Event = KILLED) -> Incident:
    return Story(opened()).then(cause, 1).incident


def test_what_had_the_same_cause_on_the_same_evidence_is_told_with_what_ended_it() -> None:
    ended = e.PlanEnded(plan_id=plan().id, completed=True, reason="")
    [one] = alike(now(), [over(1, page(), e.PlanProposed(plan=plan()), ended)])
    assert (one.cause, one.likeness, one.took_s) == ("killed", 1.0, 20.0)
    assert one.fixed_by == "Stanch: start_server"


@pytest.mark.parametrize(
    ("events", "ended_by"),
    [
        ((), "itself"),
        ((page(),), "people, or itself"),
        ((page(), e.IncidentAcknowledged(by=ANN, via="cli")), "people (ann)"),
    ],
)
def test_who_ended_it_is_said_as_far_as_it_is_known(
    events: tuple[e.Event, ...], ended_by: str
) -> None:
    [one] = alike(now(), [over(1, *events)])
    assert one.fixed_by == ended_by


def test_the_most_alike_comes_first_and_three_are_enough() -> None:
    partly = over(9, cause=found("killed", "refused"))
    elsewhere = replace(over(2), target=TargetName("other"))
    told = alike(now(), [partly, elsewhere, over(1), over(3)])
    assert [one.id[-3:] for one in told[:2]] in (["001", "003"], ["003", "001"])
    assert len(told) == 3


def test_another_cause_on_other_evidence_does_not_look_like_it() -> None:
    other = over(1, cause=found("connections_leaked", "leaking", "near_limit"))
    assert alike(now(), [other]) == ()


def test_another_cause_on_the_same_evidence_and_symptoms_does() -> None:
    other = over(1, cause=found("crashed", "refused", "postmaster_alive", "control_in_production"))
    assert [one.cause for one in alike(now(), [other])] == ["crashed"]


def test_what_is_open_was_merged_or_was_a_drill_is_no_memory() -> None:
    still = Story(opened()).then(KILLED, 1).incident
    drill = replace(over(2), drill=True)
    unnamed = Story(opened()).then(CLEARED, 1).then(RESOLVED, 2).incident
    others = enumerate((still, drill, unnamed))
    assert alike(now(), [replace(i, id=IncidentId(f"20260201-1{n}")) for n, i in others]) == ()


def test_an_incident_without_a_cause_looks_like_none() -> None:
    assert alike(Story(opened(symptom=symptom(SymptomKind.DISK_FULL))).incident, [over(1)]) == ()
