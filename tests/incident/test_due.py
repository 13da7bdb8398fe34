from dataclasses import replace
from datetime import datetime

import pytest

from stanch.incident.commands import Reopen, Resolve, decide
from stanch.incident.due import PLANS_MAX, due
from stanch.incident.work import Due, Job
from stanch.model import events as e
from stanch.model.diagnosis import Verdict
from stanch.model.ids import ObligationId, PersonId, PlanId, StepId
from stanch.model.messages import Handover, MessageKind
from stanch.model.plans import Mode, Plan, Refusal, StepOutcome
from stanch.model.symptoms import SymptomKind
from timelines import (
    ANN,
    BO,
    POLICY,
    Story,
    at,
    diagnosed,
    intended,
    opened,
    page,
    plan,
    symptom,
    unknown_verdict,
)

DONE = e.StepEnded(
    plan_id=PlanId("plan-1"),
    step_id=StepId("s1"),
    attempt=1,
    outcome=StepOutcome.DONE,
    detail="",
)
VERIFIED = e.StepVerified(plan_id=PlanId("plan-1"), step_id=StepId("s1"), ok=True, detail="")
CLEARED = e.SymptomCleared(key="server_down")
GOOD = e.RescueChecked(ok=True, detail="logins and writes work")
RESCUED = e.IncidentRescued(
    window_s=10, checks=2, detail="", obligation=ObligationId("rescued/1@4")
)
BAD = e.RescueChecked(ok=False, detail="no login")


def jobs(story: Story, now: float = 0.0) -> dict[Job, Due]:
    return {item.job: item for item in due(POLICY, story.incident, at(now))}


def test_a_new_incident_asks_for_a_diagnosis_at_once_and_a_page_right_after_it() -> None:
    asked = jobs(Story(opened()))
    assert asked[Job.DIAGNOSE].at == at(0)
    assert asked[Job.PAGE].at == at(0.25)
    assert asked[Job.PAGE].persons == (ANN,)


def test_a_page_leaves_as_soon_as_the_diagnosis_is_there() -> None:
    story = Story(opened()).then(diagnosed(), 0.1)
    assert jobs(story)[Job.PAGE].at == at(0.1)


def test_nobody_is_paged_before_page_after_has_passed() -> None:
    assert jobs(Story(opened(page_after_s=30.0)))[Job.PAGE].at == at(30)


def test_a_target_in_maintenance_pages_nobody_before_the_window_ends() -> None:
    story = Story(opened()).then(e.PageHeld(until=at(600), reason="upgrade"), 0)
    assert jobs(story)[Job.PAGE].at == at(600)


def test_the_next_person_is_paged_when_nobody_acknowledges() -> None:
    asked = jobs(Story(opened()).then(page(), 1), now=301)[Job.PAGE]
    assert (asked.at, asked.level, asked.persons) == (at(301), 2, (BO,))


def test_the_ladder_goes_round_until_somebody_acknowledges() -> None:
    story = Story(opened()).then(page(1), 0).then(page(2, (BO,)), 300)
    assert jobs(story, now=600)[Job.PAGE].persons == (ANN,)


def test_levels_skipped_during_downtime_are_paged_together_once() -> None:
    asked = jobs(Story(opened()).then(page(), 0), now=300 * 7 + 1)[Job.PAGE]
    assert (asked.level, asked.persons) == (8, (BO, ANN))


def test_after_an_acknowledgement_nobody_is_paged() -> None:
    story = Story(opened()).then(page(), 1).then(e.IncidentAcknowledged(by=ANN, via="cli"), 2)
    assert Job.PAGE not in jobs(story, now=9999)
    assert Job.DELIVER not in jobs(story, now=9999)


def worse(rank: int = 1, by: PersonId | None = None) -> e.SeveritySet:
    return e.SeveritySet(rank=rank, label="P0", reason="worse", by=by)


def test_a_worse_severity_starts_paging_anew_for_everybody() -> None:
    story = Story(opened(severity_rank=2)).then(page(), 0)
    assert jobs(story)[Job.PAGE].at == at(900)
    asked = jobs(story.then(worse(), 10))[Job.PAGE]
    assert (asked.at, asked.level, asked.persons) == (at(10.25), 1, (ANN,))


def test_who_took_a_small_incident_is_paged_when_it_becomes_a_big_one() -> None:
    story = Story(opened(severity_rank=3)).then(e.IncidentAcknowledged(by=ANN, via="cli"), 2)
    assert Job.PAGE not in jobs(story)
    story.then(e.SymptomObserved(symptom=symptom(SymptomKind.DISK_FULL, "/data")), 60)
    assert jobs(story.then(worse(), 60))[Job.PAGE].at == at(60.25)


def test_who_took_it_and_calls_it_worse_is_not_paged_for_saying_so() -> None:
    story = Story(opened(severity_rank=2)).then(e.IncidentAcknowledged(by=ANN, via="cli"), 2)
    assert Job.PAGE not in jobs(story.then(worse(by=ANN), 10), now=9999)


def test_a_matter_too_small_to_page_for_is_told_once_without_paging() -> None:
    story = Story(opened(severity_rank=3))
    asked = jobs(story)[Job.PAGE]
    assert (asked.notice, asked.at) == (True, at(0.25))
    assert Job.PAGE not in jobs(story.then(notice(), 0.3), now=99999)


def test_a_notice_does_not_delay_the_page_once_it_becomes_worse() -> None:
    story = Story(opened(severity_rank=3)).then(notice(), 0.3).then(worse(), 5)
    asked = jobs(story)[Job.PAGE]
    assert (asked.notice, asked.at, asked.level) == (False, at(5.25), 1)


def notice() -> e.MessageRaised:
    return replace(page(), message_kind=MessageKind.UPDATE, obligation=ObligationId("notice/1@1"))


def test_a_relapse_after_rescue_pages_also_who_had_taken_it() -> None:
    story = Story(opened()).then(page(), 1).then(e.IncidentAcknowledged(by=ANN, via="cli"), 2)
    story.then(CLEARED, 5).then(GOOD, 5).then(GOOD, 15).then(RESCUED, 15)
    story.then(e.SymptomObserved(symptom=symptom()), 30)
    assert jobs(story, now=31)[Job.PAGE].level == 1


CRASHED = e.SymptomObserved(symptom=symptom(SymptomKind.PROCESS_CRASHED, "crash_child_signal"))
DAMAGED = e.SymptomObserved(symptom=symptom(SymptomKind.LOG_CORRUPTION, "invalid_page"))


def test_a_crash_that_was_told_along_does_not_hold_open_what_is_over() -> None:
    story = Story(opened()).then(page(), 1).then(CRASHED, 2).then(CLEARED, 5)
    assert jobs(story)[Job.CHECK_RESCUE].at == at(5)
    asked = jobs(story.then(GOOD, 5).then(GOOD, 15))
    assert asked[Job.RESCUED].at == at(15)
    assert Job.DIAGNOSE not in asked
    assert Job.PAGE not in jobs(story.then(RESCUED, 15), now=500)


def test_a_crash_that_is_told_late_has_the_rescue_proven_anew() -> None:
    story = Story(opened()).then(page(), 1).then(CLEARED, 5).then(GOOD, 5).then(CRASHED, 6)
    assert Job.RESCUED not in jobs(story.then(GOOD, 15))
    assert Job.RESCUED in jobs(story.then(GOOD, 25))


def test_what_may_have_cost_data_holds_an_incident_open() -> None:
    story = Story(opened()).then(page(), 1).then(DAMAGED, 2).then(CLEARED, 5)
    story.then(GOOD, 5).then(GOOD, 15)
    assert Job.RESCUED not in jobs(story)


def test_a_crash_alone_is_all_there_is_to_go_by() -> None:
    story = Story(opened(symptom=CRASHED.symptom)).then(page(), 1)
    assert story.incident.standing
    assert Job.CHECK_RESCUE not in jobs(story)
    story.then(e.SymptomCleared(key=CRASHED.symptom.key), 600)
    assert jobs(story)[Job.CHECK_RESCUE].at == at(600)


def test_a_crash_that_reopens_what_was_over_is_paged_and_held_open_as_one_alone_is() -> None:
    story = Story(opened()).then(page(), 1).then(CRASHED, 2).then(CLEARED, 5).then(GOOD, 5)
    story.then(e.IncidentResolved(verified=True, reason="stable"), 60)
    story.then(e.IncidentReopened(reason="it came back"), 120).then(CRASHED, 120)
    asked = jobs(story.then(GOOD, 121), now=122)
    assert asked[Job.PAGE].at == at(120.25)
    assert Job.RESOLVE not in asked
    refused = decide(Resolve(by=ANN, reason="seen"), story.incident, POLICY, at(122))
    assert isinstance(refused, Refusal)
    assert CRASHED.symptom.key in refused.reason


def test_what_came_back_twice_is_paged_for_at_once_however_short_each_time() -> None:
    story = Story(opened(page_after_s=60.0))
    for n in (1, 2):
        story.then(CLEARED, n * 100).then(GOOD, n * 100)
        done = e.IncidentResolved(verified=True, reason="healed", self_healed=True)
        story.then(done, n * 100).then(e.IncidentReopened(reason="back"), n * 100 + 50)
        story.then(e.SymptomObserved(symptom=symptom()), n * 100 + 50)
        expected = 150 + 60 if n == 1 else 250.25
        assert jobs(story)[Job.PAGE].at == at(expected)


def test_what_stanch_repaired_before_anybody_was_paged_is_told_and_not_called_healed() -> None:
    story = Story(opened(page_after_s=600.0)).then(diagnosed(), 0.1)
    story.then(e.PlanProposed(plan=plan()), 1).then(intended(), 2).then(DONE, 3)
    story.then(VERIFIED, 3)
    ended = e.PlanEnded(plan_id=PlanId("plan-1"), completed=True, reason="done")
    asked = jobs(story.then(ended, 3).then(CLEARED, 6).then(GOOD, 6))
    assert asked[Job.PAGE].notice
    assert Job.RESOLVE not in asked


def test_a_page_that_reached_nobody_gives_the_next_person_their_turn_soon() -> None:
    [delivery] = page().deliveries
    gone = e.DeliveryEnded(
        id=delivery.id,
        message_id=delivery.message_id,
        attempt=1,
        outcome=Handover.FAILED,
        retryable=False,
    )
    asked = jobs(Story(opened()).then(page(), 0).then(gone, 1), now=2)[Job.PAGE]
    assert (asked.at, asked.level, asked.persons) == (at(10), 2, (BO,))


def test_a_lost_page_never_makes_the_next_person_wait_longer_than_an_unanswered_one() -> None:
    hasty = replace(POLICY, severities=[replace(s, ack_within_s=4.0) for s in POLICY.severities])
    [delivery] = page().deliveries
    gone = e.DeliveryEnded(
        id=delivery.id,
        message_id=delivery.message_id,
        attempt=1,
        outcome=Handover.FAILED,
        retryable=False,
    )
    story = Story(opened()).then(page(), 0).then(gone, 1)
    [asked] = [d for d in due(hasty, story.incident, at(2)) if d.job is Job.PAGE]
    assert asked.at == at(4)


def test_what_a_person_reopens_stands_and_is_paged_for() -> None:
    story = Story(opened()).then(page(), 1).then(CLEARED, 2)
    story.then(e.IncidentResolved(verified=True, reason="ok"), 3)
    decided = decide(Reopen(by=ANN, reason="still slow"), story.incident, POLICY, at(60))
    assert isinstance(decided, tuple)
    for event in decided:
        story.then(event, 60)
    asked = jobs(story.then(GOOD, 61), now=62)
    assert asked[Job.PAGE].at == at(60.25)
    assert Job.RESOLVE not in asked


def test_what_stanch_does_not_do_is_told_once_however_often_it_is_diagnosed() -> None:
    def withheld(reason: str) -> e.Event:
        return e.PlanWithheld(cause="killed", refusal=Refusal(guard="runbook", reason=reason))

    story = Story(opened()).then(page(), 1).then(diagnosed(), 2).then(withheld("not safe"), 2)
    assert [u.rule for u in story.incident.updates_owed] == ["cause", "withheld"]
    first = story.incident.updates_owed[-1]
    story.then(diagnosed(), 60).then(withheld("not safe"), 60)
    story.then(e.PolicyApplied(policy_hash="h2", by="start"), 90).then(withheld("not safe"), 91)
    assert story.incident.updates_owed[-1] == first
    story.then(diagnosed(), 120).then(withheld("somebody is at work there"), 120)
    assert story.incident.updates_owed[-1].at == at(120)


def test_an_approval_expires_with_its_plan() -> None:
    story = Story(opened()).then(diagnosed(), 0.1).then(e.PlanProposed(plan=plan(Mode.ADVISE)), 1)
    story.then(e.PlanApproved(plan_id=PlanId("plan-1"), digest="d" * 64, by=ANN), 9)
    asked = jobs(story, now=1802)
    assert Job.STEP not in asked
    assert asked[Job.EXPIRE_PLAN].at == at(1801)


def test_a_failed_hand_over_is_tried_again_later_and_a_page_never_gives_up() -> None:
    story = Story(opened()).then(page(), 0)
    [delivery] = page().deliveries
    for attempt in range(1, 40):
        story.then(
            e.DeliveryAttempted(id=delivery.id, message_id=delivery.message_id, attempt=attempt),
            attempt,
        ).then(
            e.DeliveryEnded(
                id=delivery.id,
                message_id=delivery.message_id,
                attempt=attempt,
                outcome=Handover.FAILED,
            ),
            attempt,
        )
    assert jobs(story)[Job.DELIVER].at == at(39 + 60)


def test_an_accepted_page_is_not_sent_again() -> None:
    [delivery] = page().deliveries
    accepted = e.DeliveryEnded(
        id=delivery.id,
        message_id=delivery.message_id,
        attempt=1,
        outcome=Handover.ACCEPTED,
    )
    assert Job.DELIVER not in jobs(Story(opened()).then(page(), 0).then(accepted, 1))


def test_an_attempt_without_outcome_is_due_at_once() -> None:
    [delivery] = page().deliveries
    attempted = e.DeliveryAttempted(id=delivery.id, message_id=delivery.message_id, attempt=1)
    asked = jobs(Story(opened()).then(page(), 0).then(attempted, 1))
    assert asked[Job.DELIVER].at == at(1)


def test_a_found_cause_asks_for_a_plan_and_an_unknown_one_for_another_look() -> None:
    assert Job.PROPOSE in jobs(Story(opened()).then(diagnosed(), 0.1))
    asked = jobs(Story(opened()).then(unknown_verdict(), 0.1))
    assert Job.PROPOSE not in asked
    assert asked[Job.DIAGNOSE].at == at(1.1)


def test_a_cause_seen_only_once_it_was_over_is_told_and_asks_for_no_plan() -> None:
    found = diagnosed()
    assert isinstance(found, e.DiagnosisRecorded)
    over = replace(found, diagnosis=replace(found.diagnosis, verdict=Verdict.RECOVERED))
    story = Story(opened()).then(over, 0.1)
    assert story.incident.named is not None
    assert Job.PROPOSE not in jobs(story)


def test_a_new_symptom_makes_the_diagnosis_stale() -> None:
    story = Story(opened()).then(diagnosed(), 0.1)
    story.then(e.SymptomObserved(symptom=symptom(SymptomKind.DISK_FULL, "/data")), 5)
    asked = jobs(story)
    assert asked[Job.DIAGNOSE].at == at(5)
    assert Job.PROPOSE not in asked


@pytest.mark.parametrize("mode", list(Mode))
def test_a_plan_runs_by_itself_only_in_act_mode(mode: Mode) -> None:
    story = Story(opened()).then(diagnosed(), 0.1).then(e.PlanProposed(plan=plan(mode)), 1)
    assert (Job.STEP in jobs(story)) == (mode is Mode.ACT)


def test_an_approved_plan_runs() -> None:
    story = Story(opened()).then(diagnosed(), 0.1).then(e.PlanProposed(plan=plan(Mode.ADVISE)), 1)
    story.then(e.PlanApproved(plan_id=PlanId("plan-1"), digest="d" * 64, by=ANN), 9)
    assert jobs(story)[Job.STEP].step_id == "s1"


@pytest.mark.parametrize("now_allowed", [Mode.OBSERVE, Mode.ADVISE])
def test_a_plan_ends_when_a_reload_no_longer_lets_it_run_by_itself(now_allowed: Mode) -> None:
    story = Story(opened()).then(diagnosed(), 0.1).then(e.PlanProposed(plan=plan()), 1)
    [orders] = POLICY.targets
    stricter = replace(POLICY, targets=(replace(orders, actions={"start_server": now_allowed}),))
    asked = {d.job: d for d in due(stricter, story.incident, at(2))}
    assert Job.STEP not in asked
    assert "policy" in asked[Job.END_PLAN].reason


def test_an_approved_plan_still_runs_where_policy_asks_for_approval() -> None:
    story = Story(opened()).then(diagnosed(), 0.1).then(e.PlanProposed(plan=plan(Mode.ADVISE)), 1)
    story.then(e.PlanApproved(plan_id=PlanId("plan-1"), digest="d" * 64, by=ANN), 9)
    [orders] = POLICY.targets
    asking = replace(POLICY, targets=(replace(orders, actions={"start_server": Mode.ADVISE}),))
    assert Job.STEP in {d.job for d in due(asking, story.incident, at(9))}


def test_a_plan_nobody_approves_expires() -> None:
    story = Story(opened()).then(diagnosed(), 0.1).then(e.PlanProposed(plan=plan(Mode.ADVISE)), 1)
    assert jobs(story)[Job.EXPIRE_PLAN].at == at(1801)


def test_a_step_without_outcome_is_settled_before_anything_else_is_tried() -> None:
    story = Story(opened()).then(diagnosed(), 0.1).then(e.PlanProposed(plan=plan(steps=2)), 1)
    asked = jobs(story.then(intended(), 2))
    assert asked[Job.SETTLE].at == at(5)
    assert Job.STEP not in asked


def test_a_step_that_failed_ends_its_plan_and_the_next_step_does_not_run() -> None:
    story = Story(opened()).then(diagnosed(), 0.1).then(e.PlanProposed(plan=plan(steps=2)), 1)
    failed = replace(DONE, outcome=StepOutcome.FAILED, detail="FATAL:  the file\ncontains errors")
    story.then(intended(), 2).then(failed, 3)
    asked = jobs(story)
    assert Job.STEP not in asked
    assert not asked[Job.END_PLAN].completed
    assert "failed (FATAL: the file contains errors)" in asked[Job.END_PLAN].reason, "says why"


def test_a_step_that_was_done_but_not_looked_at_yet_is_looked_at_before_anything_else() -> None:
    story = Story(opened()).then(diagnosed(), 0.1).then(e.PlanProposed(plan=plan(steps=2)), 1)
    asked = jobs(story.then(intended(), 2).then(DONE, 3))
    assert Job.SETTLE in asked
    assert asked.keys().isdisjoint({Job.STEP, Job.END_PLAN})


def test_a_verified_step_is_followed_by_the_next_and_the_last_one_completes_the_plan() -> None:
    story = Story(opened()).then(diagnosed(), 0.1).then(e.PlanProposed(plan=plan(steps=2)), 1)
    story.then(intended(), 2).then(DONE, 3).then(VERIFIED, 3)
    assert jobs(story)[Job.STEP].step_id == "s2"
    story.then(intended("s2"), 4).then(replace(DONE, step_id=StepId("s2")), 5)
    story.then(replace(VERIFIED, step_id=StepId("s2")), 5)
    assert jobs(story)[Job.END_PLAN].completed


def test_a_waiting_plan_ends_when_a_newer_diagnosis_names_another_cause() -> None:
    story = Story(opened()).then(diagnosed(), 0.1).then(e.PlanProposed(plan=plan(Mode.ADVISE)), 1)
    assert Job.END_PLAN not in jobs(story)
    assert "another cause" in jobs(story.then(diagnosed("disk_full_wal"), 9))[Job.END_PLAN].reason


def test_after_too_many_plans_only_people_go_on() -> None:
    story = Story(opened())
    for n in range(PLANS_MAX):
        assert Job.PROPOSE in jobs(story.then(diagnosed(), n * 10 + 1))
        _plan_that_ends(story, n * 10 + 2, StepOutcome.FAILED)
    assert Job.PROPOSE not in jobs(story.then(diagnosed(), 99))


def test_plans_refused_before_anything_was_touched_use_up_no_try() -> None:
    story = Story(opened())
    for n in range(PLANS_MAX + 3):
        story.then(diagnosed(), n * 10 + 1)
        _plan_that_ends(story, n * 10 + 2, StepOutcome.REFUSED)
    assert Job.PROPOSE in jobs(story.then(diagnosed(), 99))


def reading_first() -> Plan:
    both = plan(steps=2)
    look, act = both.steps
    return replace(both, steps=(replace(look, reads_only=True), act))


def read_only_so_far() -> Story:
    story = Story(opened()).then(diagnosed(), 0.1).then(e.PlanProposed(plan=reading_first()), 1)
    return story.then(intended(), 2).then(DONE, 3).then(VERIFIED, 3)


def test_what_was_only_read_uses_up_no_try_when_the_rest_is_refused() -> None:
    story = Story(opened())
    for n in range(PLANS_MAX + 3):
        story.then(diagnosed(), n * 10 + 1).then(e.PlanProposed(plan=reading_first()), n * 10 + 2)
        story.then(intended(), n * 10 + 2).then(DONE, n * 10 + 2).then(VERIFIED, n * 10 + 2)
        refused = replace(DONE, step_id=StepId("s2"), outcome=StepOutcome.REFUSED)
        story.then(intended("s2"), n * 10 + 3).then(refused, n * 10 + 3)
        ended = e.PlanEnded(plan_id=PlanId("plan-1"), completed=False, reason="refused")
        story.then(ended, n * 10 + 4)
    assert Job.PROPOSE in jobs(story.then(diagnosed(), 99))


@pytest.mark.parametrize(
    ("outcome", "counted"),
    [
        (StepOutcome.DONE, 1),
        (StepOutcome.FAILED, 1),
        (StepOutcome.IN_DOUBT, 1),
        (StepOutcome.REFUSED, 0),
        (StepOutcome.EXPIRED, 0),
    ],
)
def test_what_a_guard_refused_was_no_act_and_what_failed_was_one(
    outcome: StepOutcome, counted: int
) -> None:
    story = Story(opened()).then(diagnosed(), 0.1).then(e.PlanProposed(plan=plan()), 1)
    story.then(intended(), 2).then(replace(DONE, outcome=outcome), 3)
    assert len(story.incident.acts) == counted


def test_a_plan_that_has_only_read_so_far_ends_when_it_is_no_longer_needed() -> None:
    assert Job.STEP in jobs(read_only_so_far())
    assert "no longer needed" in jobs(read_only_so_far().then(CLEARED, 4))[Job.END_PLAN].reason
    newer = read_only_so_far().then(diagnosed("disk_full_wal"), 9)
    assert "another cause" in jobs(newer)[Job.END_PLAN].reason


def test_a_plan_that_has_only_read_so_far_still_expires() -> None:
    assert Job.EXPIRE_PLAN in jobs(read_only_so_far())
    begun = read_only_so_far().then(intended("s2"), 4).then(replace(DONE, step_id=StepId("s2")), 5)
    assert Job.EXPIRE_PLAN not in jobs(begun)


def test_a_plan_that_a_person_asked_for_goes_on_while_its_cause_is_among_the_causes() -> None:
    asked = replace(plan(Mode.ADVISE), asked_by="asha")
    story = Story(opened()).then(diagnosed(), 0.1).then(e.PlanProposed(plan=asked), 1)
    other = diagnosed("disk_full_wal")
    assert isinstance(other, e.DiagnosisRecorded)
    also = replace(other.diagnosis.causes[0], id=asked.cause, probability=0.2)
    both = replace(other.diagnosis, causes=(*other.diagnosis.causes, also))
    assert Job.END_PLAN not in jobs(story.then(replace(other, diagnosis=both), 9))
    assert "no longer found" in jobs(story.then(other, 10))[Job.END_PLAN].reason


def _plan_that_ends(story: Story, seconds: float, outcome: StepOutcome) -> None:
    story.then(e.PlanProposed(plan=plan()), seconds).then(intended(), seconds)
    story.then(replace(DONE, outcome=outcome), seconds)
    ended = e.PlanEnded(plan_id=PlanId("plan-1"), completed=False, reason="failed")
    story.then(ended, seconds)


def rescued_after(*checks: tuple[float, e.Event]) -> dict[Job, Due]:
    story = Story(opened()).then(diagnosed(), 0.1).then(page(), 1).then(CLEARED, 5)
    for seconds, event in checks:
        story.then(event, seconds)
    return jobs(story, now=100)


def test_rescued_may_be_said_only_after_the_whole_window_was_good() -> None:
    assert Job.RESCUED not in rescued_after((5, GOOD), (10, GOOD))
    assert rescued_after((5, GOOD), (10, GOOD), (15, GOOD))[Job.RESCUED].at == at(15)


def test_what_was_done_gets_time_to_show_unless_the_checks_say_it_did_not_help() -> None:
    story = Story(opened()).then(diagnosed(), 0.1).then(e.PlanProposed(plan=plan()), 1)
    story.then(intended(), 2).then(DONE, 3).then(VERIFIED, 3)
    ended = e.PlanEnded(plan_id=PlanId("plan-1"), completed=True, reason="done")
    assert jobs(story.then(ended, 4))[Job.DIAGNOSE].at == at(14)
    assert jobs(story.then(BAD, 4.5))[Job.DIAGNOSE].at == at(5.5)


def test_one_bad_look_starts_the_window_again() -> None:
    assert Job.RESCUED not in rescued_after((5, GOOD), (10, BAD), (15, GOOD), (16, GOOD))


def test_a_gap_in_watching_starts_the_window_again() -> None:
    gap = e.ResponderResumed(away_since=at(6))
    assert Job.RESCUED not in rescued_after((5, GOOD), (12, gap), (15, GOOD))


def test_a_standing_symptom_forbids_rescued_whatever_the_checks_say() -> None:
    story = Story(opened()).then(page(), 1).then(GOOD, 5).then(GOOD, 50)
    assert Job.RESCUED not in jobs(story)


def test_what_healed_before_anybody_was_paged_is_resolved_after_one_good_look() -> None:
    story = Story(opened(page_after_s=60.0)).then(CLEARED, 5)
    assert jobs(story)[Job.CHECK_RESCUE].at == at(5)
    asked = jobs(story.then(GOOD, 6))
    assert asked[Job.RESOLVE].self_healed
    assert Job.PAGE not in asked


def test_what_only_seems_healed_is_paged_for_all_the_same() -> None:
    story = Story(opened(page_after_s=60.0)).then(CLEARED, 5).then(BAD, 6)
    assert Job.PAGE in jobs(story)


GONE = e.SymptomObserved(symptom=symptom(SymptomKind.STANDBY_GONE))
LAPSED = e.SymptomCleared(key="standby_gone", detail="still 1, and 2 were before", lapsed=True)


def test_what_is_not_over_but_usual_by_now_is_never_said_to_be_resolved_and_verified() -> None:
    story = Story(opened(symptom=GONE.symptom, severity_rank=3)).then(notice(), 1)
    asked = jobs(story.then(LAPSED, 86_400).then(GOOD, 86_401))[Job.RESOLVE]
    assert (asked.verified, asked.self_healed) == (False, False)
    assert "standby_gone" in asked.reason
    by_hand = decide(Resolve(by=ANN, reason="seen"), story.incident, POLICY, at(86_402))
    assert by_hand == (e.IncidentResolved(verified=False, reason="seen", by=ANN),)


def test_a_standby_that_is_back_after_all_is_resolved_and_verified() -> None:
    story = Story(opened(symptom=GONE.symptom, severity_rank=3)).then(notice(), 1)
    story.then(LAPSED, 86_400).then(GONE, 86_500)
    story.then(e.SymptomCleared(key="standby_gone"), 86_600).then(GOOD, 86_601)
    assert jobs(story)[Job.RESOLVE].verified


def resolve_due(*, rescued: float, checked: float) -> datetime | None:
    story = Story(opened()).then(page(), 1).then(CLEARED, 5).then(GOOD, 5).then(GOOD, 15)
    done = e.IncidentRescued(window_s=10, checks=2, detail="", obligation="rescued/1@4")  # type: ignore[arg-type]
    story.then(done, rescued).then(GOOD, checked)
    found = jobs(story, now=checked).get(Job.RESOLVE)
    return found.at if found else None


def test_once_rescued_it_is_looked_at_less_often_but_three_times_before_it_is_resolved() -> None:
    story = Story(opened()).then(diagnosed(), 0.1).then(page(), 1).then(CLEARED, 5)
    story.then(GOOD, 5).then(GOOD, 15)
    assert jobs(story, now=16)[Job.CHECK_RESCUE].at == at(17)
    assert jobs(story.then(RESCUED, 15), now=16)[Job.CHECK_RESCUE].at == at(35)


def test_resolved_may_be_said_only_after_the_stability_time() -> None:
    assert resolve_due(rescued=15, checked=70) is None
    assert resolve_due(rescued=15, checked=75) == at(75)


def test_an_event_of_a_newer_release_leaves_paging_on_and_acting_off() -> None:
    story = Story(opened()).then(diagnosed(), 0.1)
    story.then(e.UnknownEvent(stored_kind="incident.split.v7", body="{}"), 1)
    asked = jobs(story)
    assert Job.PAGE in asked
    assert asked.keys().isdisjoint({Job.PROPOSE, Job.DIAGNOSE, Job.STEP, Job.RESOLVE})


def test_people_who_were_paged_are_told_the_cause_when_it_is_found_later() -> None:
    assert Job.UPDATE not in jobs(Story(opened()).then(diagnosed(), 0.1).then(page(), 0.2))
    assert jobs(Story(opened()).then(page(), 0.2).then(diagnosed(), 3))[Job.UPDATE].at == at(3)


def test_a_step_that_was_found_done_after_a_crash_counts_as_one_of_our_tries() -> None:
    ended = e.PlanEnded(plan_id=PlanId("plan-1"), completed=True, reason="")
    story = Story(opened()).then(diagnosed(), 0.1).then(e.PlanProposed(plan=plan()), 1)
    story.then(intended(), 2).then(VERIFIED, 70).then(ended, 71)
    assert (story.incident.plans_tried, story.incident.plans_refused) == (1, 0)


def test_a_step_that_expired_before_anything_was_touched_does_not() -> None:
    ended = e.PlanEnded(plan_id=PlanId("plan-1"), completed=False, reason="")
    story = Story(opened()).then(diagnosed(), 0.1).then(e.PlanProposed(plan=plan()), 1)
    expired = replace(DONE, outcome=StepOutcome.EXPIRED)
    story.then(intended(), 2).then(expired, 62).then(ended, 63)
    assert (story.incident.plans_tried, story.incident.plans_refused) == (0, 1)
