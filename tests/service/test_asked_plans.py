"""A runbook that a person asks for: bound like any other plan, in the way of none, refused with a
reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from acting_worlds import AT, TARGET, cause, diagnosis
from stanch.incident.state import Incident, PlanState, Status
from stanch.model import events as e
from stanch.model.ids import IncidentId, PersonId, TargetName
from stanch.model.plans import Mode, Plan, Refusal
from stanch.respond.library import shipped_runbooks
from stanch.respond.runbook import Runbook
from stanch.service.asked_plans import ASKED_WITHIN, asked_for

ASHA = PersonId("asha")
CHAIN = cause(
    "blocking_chain",
    probability=0.3,
    root_pid=7,
    root_backend_start="2026-03-14T08:00:00+00:00",
    root_xact_start="2026-03-14T08:55:00+00:00",
    root_application="shop",
    root_backend_type="client backend",
    state="idle in transaction",
    waiters=3,
    others_wait=True,
    oldest_wait_s=12.0,
)
FOUND = diagnosis(cause("load_spike"), CHAIN)
INCIDENT = Incident(
    id=IncidentId("20260314-001"), target=TargetName("orders"), opened_at=AT, diagnosis=FOUND
)


def book(runbook_id: str) -> Runbook:
    return next(one for one in shipped_runbooks() if one.id == runbook_id)


def asked(incident: Incident = INCIDENT, runbook: str = "blocking-chain") -> tuple[e.Event, ...]:
    return asked_for(incident, book(runbook), TARGET, by=ASHA, at=AT)


def plan_in(events: tuple[e.Event, ...]) -> Plan:
    proposed = events[-1]
    assert isinstance(proposed, e.PlanProposed)
    return proposed.plan


def refusal_in(events: tuple[e.Event, ...]) -> Refusal:
    [wish] = events
    assert isinstance(wish, e.PlanRequested)
    assert wish.refusal is not None
    return wish.refusal


def test_a_person_may_choose_a_cause_that_is_not_the_first_and_still_has_to_approve() -> None:
    events = asked()
    assert events[0] == e.PlanRequested(runbook="blocking-chain", by=ASHA)
    plan = plan_in(events)
    assert (plan.cause, plan.mode, plan.asked_by) == ("blocking_chain", Mode.ADVISE, "asha")
    assert plan.expires_at == AT + ASKED_WITHIN, "others are not kept waiting for half an hour"
    [step] = plan.effects
    assert step.param("while_idle") is None, "what a person approves is done at work, too"
    assert {fact.name for fact in step.binding} >= {"root_pid", "root_xact_start"}


def test_a_plan_that_waits_gives_way_and_one_under_way_does_not() -> None:
    waits = replace(plan_in(asked()), mode=Mode.ADVISE)
    state = PlanState(plan=waits, proposed_seq=3)
    wish, over, proposed = asked(replace(INCIDENT, plan=state))
    assert isinstance(wish, e.PlanRequested)
    assert isinstance(over, e.PlanEnded)
    assert (over.plan_id, over.completed) == (waits.id, False)
    assert isinstance(proposed, e.PlanProposed)
    for under_way in (
        replace(state, approved_by=ASHA),
        replace(state, plan=replace(waits, mode=Mode.ACT)),
    ):
        assert refusal_in(asked(replace(INCIDENT, plan=under_way))).guard == "one_plan"
    ended = replace(state, approved_by=ASHA, ended=True)
    assert len(asked(replace(INCIDENT, plan=ended))) == 2


@pytest.mark.parametrize(
    ("incident", "runbook", "guard"),
    [
        (replace(INCIDENT, status=Status.RESOLVED), "blocking-chain", "open"),
        (replace(INCIDENT, diagnosis=None), "blocking-chain", "diagnosis"),
        (INCIDENT, "disk-full", "runbook"),
    ],
)
def test_what_cannot_be_followed_is_refused_and_the_wish_is_written_down(
    incident: Incident, runbook: str, guard: str
) -> None:
    refusal = refusal_in(asked(incident, runbook))
    assert refusal.guard == guard


def test_a_runbook_for_something_else_says_what_it_is_for_and_what_was_found() -> None:
    refusal = refusal_in(asked(INCIDENT, "disk-full"))
    assert "answers none of what was found" in refusal.reason
    assert "disk_full_data" in refusal.lifts
    assert "load_spike" in refusal.lifts


def test_policy_holds_for_people_too() -> None:
    target = replace(TARGET, actions={"end_blocking_session": Mode.OBSERVE})
    events = asked_for(INCIDENT, book("blocking-chain"), target, by=ASHA, at=AT)
    assert refusal_in(events).guard == "policy"


def test_so_does_what_a_standing_cause_forbids() -> None:
    forbids = replace(cause("live_lock_file"), forbids=("end_blocking_session",))
    incident = replace(INCIDENT, diagnosis=diagnosis(forbids, CHAIN))
    assert refusal_in(asked(incident)).guard == "diagnosis"


def test_an_expiry_of_the_policy_that_is_sooner_holds() -> None:
    target = replace(TARGET, approve_within_s=60.0)
    events = asked_for(INCIDENT, book("blocking-chain"), target, by=ASHA, at=AT)
    assert plan_in(events).expires_at == AT + timedelta(seconds=60)
