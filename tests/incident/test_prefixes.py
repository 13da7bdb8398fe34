"""Any prefix of any timeline folds, and what is due from it can be told; odd events included."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from stanch.incident.due import due
from stanch.incident.fold import apply, fold
from stanch.incident.projection import IncidentProjection
from stanch.incident.state import Incident
from stanch.model import events as e
from stanch.model.diagnosis import Diagnosis, Verdict
from stanch.model.ids import (
    DeliveryId,
    IncidentId,
    MessageId,
    ObligationId,
    PlanId,
    StepId,
    TargetName,
)
from stanch.model.messages import Handover, MessageKind
from stanch.model.plans import Mode, Refusal, StepOutcome
from stanch.model.symptoms import SymptomKind
from stanch.model.timeline import Recorded
from stanch.testing.simulation import Simulation, sim_policy, sim_target
from stanch.testing.simworld import SimServer
from stanch.testing.virtual_time import run_virtually
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

PERSONS = st.sampled_from([ANN, BO])
TRUTH = st.booleans()
MESSAGES = st.sampled_from([MessageId("page-1"), MessageId("page-2"), MessageId("nowhere")])
DELIVERIES = st.sampled_from(
    [DeliveryId(f"page-{n}-{p}") for n in (1, 2) for p in (ANN, BO)] + [DeliveryId("nowhere")]
)
PLANS = st.sampled_from([PlanId("plan-1"), PlanId("another")])
STEPS = st.sampled_from([StepId("s1"), StepId("s2"), StepId("s9")])
KEYS = st.sampled_from(["server_down", "disk_full:/srv", "never seen"])
SECONDS = st.floats(0.0, 100_000.0)
OBLIGATIONS = st.integers(1, 9).map(lambda n: ObligationId(f"any/1@{n}"))

EVENTS: st.SearchStrategy[e.Event] = st.one_of(
    st.builds(opened),
    st.sampled_from(list(SymptomKind)).map(lambda kind: e.SymptomObserved(symptom=symptom(kind))),
    st.builds(e.SymptomCleared, key=KEYS),
    st.builds(
        e.SeveritySet, rank=st.integers(1, 4), label=st.just("P"), reason=st.just(""), by=PERSONS
    ),
    st.builds(e.IncidentAcknowledged, by=PERSONS, via=st.just("")),
    st.builds(e.NoteAdded, by=PERSONS, text=st.text(max_size=5)),
    st.builds(
        e.IncidentRescued,
        window_s=SECONDS,
        checks=st.integers(0, 9),
        detail=st.just(""),
        obligation=OBLIGATIONS,
    ),
    st.builds(e.IncidentResolved, verified=TRUTH, reason=st.just(""), self_healed=TRUTH),
    st.builds(e.IncidentReopened, reason=st.just(""), by=st.none() | PERSONS),
    st.builds(e.IncidentMerged, into=st.just(IncidentId("20260301-009")), reason=st.just("")),
    st.builds(e.PageHeld, until=SECONDS.map(at), reason=st.just("")),
    st.builds(
        e.RuleSilenced,
        rule=st.sampled_from(["server_down", "disk_full"]),
        until=SECONDS.map(at),
        reason=st.just(""),
    ),
    st.builds(
        e.IncidentTakenIn,
        of=st.just(IncidentId("20260301-009")),
        target=st.just(TargetName("orders-2")),
        title=st.just(""),
        page_level=st.integers(0, 2),
        paged_at=st.none() | SECONDS.map(at),
        paged=st.sampled_from([(), (ANN,)]),
        acknowledged_by=st.none() | PERSONS,
    ),
    st.sampled_from(list(SymptomKind)).map(
        lambda kind: e.SymptomObserved(
            symptom=replace(symptom(kind), target=TargetName("orders-2"))
        )
    ),
    st.builds(e.PolicyApplied, policy_hash=st.sampled_from(["h1", "h2"])),
    st.builds(e.ResponderResumed, away_since=st.none() | SECONDS.map(at)),
    st.sampled_from(["killed", "disk_full_wal"]).map(diagnosed),
    st.just(unknown_verdict()),
    st.just(
        e.DiagnosisRecorded(
            diagnosis=Diagnosis(verdict=Verdict.CAUSE, causes=(), at=at(0), elapsed_ms=0.0)
        )
    ),
    st.tuples(st.integers(0, 2), st.sampled_from([(), (ANN,), (ANN, BO)])).map(
        lambda drawn: page(level=drawn[0], persons=drawn[1])
    ),
    st.builds(
        e.DeliveryAttempted,
        id=DELIVERIES,
        message_id=MESSAGES,
        attempt=st.integers(1, 9),
        possible_repeat=TRUTH,
    ),
    st.builds(
        e.DeliveryEnded,
        id=DELIVERIES,
        message_id=MESSAGES,
        attempt=st.integers(1, 99),
        outcome=st.sampled_from(list(Handover)),
        retryable=TRUTH,
    ),
    st.tuples(st.sampled_from(list(Mode)), st.integers(0, 2)).map(
        lambda drawn: e.PlanProposed(plan=plan(drawn[0], steps=drawn[1]))
    ),
    st.builds(
        e.PlanWithheld, cause=st.just("killed"), refusal=st.just(Refusal(guard="g", reason="r"))
    ),
    st.builds(e.PlanApproved, plan_id=PLANS, digest=st.just("d" * 64), by=PERSONS),
    st.builds(e.PlanEnded, plan_id=PLANS, completed=TRUTH, reason=st.just("")),
    st.tuples(STEPS, st.integers(1, 5)).map(
        lambda drawn: intended(drawn[0], attempt=drawn[1], when=3.0)
    ),
    st.builds(
        e.StepEnded,
        plan_id=PLANS,
        step_id=STEPS,
        attempt=st.integers(1, 5),
        outcome=st.sampled_from(list(StepOutcome)),
        detail=st.just(""),
    ),
    st.builds(e.StepVerified, plan_id=PLANS, step_id=STEPS, ok=TRUTH, detail=st.just("")),
    st.builds(e.RescueChecked, ok=TRUTH, detail=st.just("")),
    st.just(e.UnknownEvent(stored_kind="from.the.future.v9", body="{}")),
    st.just(e.HaltSet(by=ANN, reason="in the wrong stream")),
)


def every_prefix(events: Sequence[tuple[e.Event, float]]) -> list[Incident]:
    """The incident after each event."""
    story, seen, now_s = Story(), list[Incident](), 0.0
    for event, after_s in events:
        now_s += after_s
        seen.append(story.then(event, now_s).incident)
    return seen


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(events=st.lists(st.tuples(EVENTS, st.floats(0.0, 3600.0)), max_size=30), late_s=SECONDS)
@example(events=[(e.SymptomCleared(key="server_down"), 0.0)], late_s=0.0)
@example(events=[(opened(), 0.0), (e.PlanProposed(plan=plan(steps=0)), 1.0)], late_s=0.0)
def test_any_prefix_of_any_sequence_folds_and_what_is_due_can_be_told(
    events: list[tuple[e.Event, float]], late_s: float
) -> None:
    projection = IncidentProjection(lambda policy_hash: POLICY, lambda: POLICY)
    for incident in every_prefix(events):
        asked = due(POLICY, incident, at(late_s))
        assert list(asked) == sorted(asked, key=lambda item: item.at)
        wakes = projection.wakes(incident)
        for item in due(POLICY, incident, incident.opened_at or at(0)):
            earliest = wakes[item.lane]
            assert earliest is not None
            assert earliest <= item.at


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(events=st.lists(st.tuples(EVENTS, st.floats(0.0, 60.0)), min_size=1, max_size=30))
def test_folding_at_once_and_one_by_one_is_the_same(events: list[tuple[e.Event, float]]) -> None:
    story, now_s = Story(), 0.0
    for event, after_s in events:
        now_s += after_s
        story.then(event, now_s)
    assert fold(story.incident.id, story.timeline) == story.incident


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(events=st.lists(st.tuples(EVENTS, st.floats(0.0, 60.0)), max_size=30))
def test_with_events_of_a_newer_release_people_are_told_and_nothing_is_touched(
    events: list[tuple[e.Event, float]],
) -> None:
    unknown = e.UnknownEvent(stored_kind="from.the.future.v9", body="{}")
    start: list[tuple[e.Event, float]] = [(opened(), 0.0), (unknown, 0.0)]
    for incident in every_prefix([*start, *events])[1:]:
        lanes = {item.lane.value for item in due(POLICY, incident, at(0))}
        assert "act" not in lanes


# --- the timelines of real stories ---------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded() -> list[tuple[Simulation, Sequence[Recorded]]]:
    """What the whole service wrote down about one fault each."""
    faults = (SimServer.kill, SimServer.leak, SimServer.die_and_lose_its_pid)
    return [_told(fault) for fault in faults]


def _told(fault: object) -> tuple[Simulation, Sequence[Recorded]]:
    async def main() -> Simulation:
        sim = Simulation(sim_policy(sim_target("orders")))

        async def script(sim: Simulation) -> None:
            await asyncio.sleep(1.5)
            fault(sim.servers["orders"])  # type: ignore[operator]
            while not sim.incident_ids():
                await asyncio.sleep(0.25)

        await sim.run(script)
        return sim

    sim, _ = run_virtually(main())
    return sim, sim.timeline(sim.incident_ids()[0])


def test_from_every_prefix_of_a_real_story_something_is_due_until_it_is_over(
    recorded: list[tuple[Simulation, Sequence[Recorded]]],
) -> None:
    for sim, timeline in recorded:
        incident = Incident(id=timeline[0].incident_id)
        for entry in timeline[:-1]:
            incident = apply(incident, entry)
            asked = due(sim.policy, incident, entry.at)
            assert asked, f"after {entry.event.kind} nobody would ever look at it again"
        assert due(sim.policy, apply(incident, timeline[-1]), timeline[-1].at) == ()


def test_resumed_from_any_prefix_nothing_proven_before_the_gap_counts(
    recorded: list[tuple[Simulation, Sequence[Recorded]]],
) -> None:
    for sim, timeline in recorded:
        incident = Incident(id=timeline[0].incident_id)
        for entry in timeline:
            incident = apply(incident, entry)
            back = Recorded(
                incident_id=incident.id,
                seq=entry.seq + 1,
                at=entry.at + timedelta(hours=1),
                event=e.ResponderResumed(away_since=entry.at),
                writer_id=entry.writer_id,
                n=entry.n + 1,
                basis_seq=entry.seq,
                hash=b"",
            )
            resumed = apply(incident, back)
            asked = {item.job.value for item in due(sim.policy, resumed, back.at)}
            assert not asked & {"rescued", "resolve"}
            pages = [
                m for m in incident.messages.values() if m.raised.message_kind is MessageKind.PAGE
            ]
            assert not pages or "deliver" in asked, "a page on its way is not forgotten"
