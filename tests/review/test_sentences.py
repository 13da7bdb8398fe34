import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stanch.model import events as e
from stanch.model.messages import Handover
from stanch.model.plans import Mode, Refusal, StepOutcome
from stanch.review.names import Names, names_in
from stanch.review.sentences import SENTENCES, sentence
from strange import event_of
from timelines import ANN, Story, intended, opened, page, plan

PEOPLE = {ANN: "Ann"}
STORY = Story(opened()).then(page(), 1).then(e.PlanProposed(plan=plan(Mode.ADVISE)), 2)
NAMES = names_in(STORY.timeline, PEOPLE)


def said(event: e.Event, names: Names = NAMES) -> str:
    return sentence(event, names)


def test_every_kind_of_event_has_a_sentence_and_no_sentence_is_for_another_kind() -> None:
    assert {cls.kind for cls in SENTENCES} == e.KINDS.keys()


@pytest.mark.parametrize("kind", sorted(e.KINDS))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_whatever_an_event_holds_its_sentence_is_one_printable_line(
    kind: str, data: st.DataObject
) -> None:
    text = said(data.draw(event_of(e.KINDS[kind])))
    assert text.isprintable()
    assert text.endswith(".")
    assert text.strip()
    assert len(text) < 2000


def test_an_event_of_a_newer_release_is_named_not_hidden() -> None:
    text = said(e.UnknownEvent(stored_kind="moon.phase.v9", body="{}"))
    assert text == "Something this release cannot read: moon.phase.v9."


def test_a_delivery_is_named_by_what_it_carries_and_to_whom() -> None:
    [delivery] = page().deliveries
    event = e.DeliveryEnded(
        id=delivery.id,
        message_id=delivery.message_id,
        attempt=1,
        outcome=Handover.FAILED,
        detail="451 try later",
    )
    assert said(event) == "Attempt 1, page 1 to Ann over mail, failed: 451 try later."


def test_a_step_is_named_by_its_action() -> None:
    event = e.StepEnded(
        plan_id=plan().id,
        step_id=plan().steps[0].id,
        attempt=1,
        outcome=StepOutcome.REFUSED,
        detail="",
        refusal=Refusal(guard="no_live_postmaster", reason="pid 7 is alive"),
    )
    assert said(event) == (
        "Step start_server refused by guard no_live_postmaster, nothing was touched: "
        "pid 7 is alive."
    )


def test_an_intent_is_never_told_as_a_deed() -> None:
    assert said(intended()).startswith("About to act: start_server")


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (
            e.IncidentResolved(verified=True, reason="stable"),
            "Resolved, checked on the database: stable.",
        ),
        (
            e.IncidentResolved(verified=True, reason="", self_healed=True),
            "Resolved by itself, checked on the database.",
        ),
        (
            e.IncidentResolved(verified=False, reason="looks fine.", by=ANN),
            "Closed by Ann without proof on the database: looks fine.",
        ),
    ],
    ids=["checked", "healed", "unproven"],
)
def test_only_what_was_checked_is_called_resolved(event: e.Event, text: str) -> None:
    assert said(event) == text


def test_a_person_not_in_the_policy_any_more_is_shown_by_id() -> None:
    names = names_in(STORY.timeline, {})
    assert said(e.IncidentAcknowledged(by=ANN, via="cli"), names).startswith("ann took")
