"""Overriding a guard that yields: asked for by name, read now, bound to one plan, owners told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from acting_worlds import AT, TARGET, bare_world, cause, diagnosis
from stanch.incident.due import due
from stanch.incident.fold import fold
from stanch.incident.state import Incident
from stanch.incident.work import Due, Job
from stanch.model import events as e
from stanch.model.codec import decode, encode
from stanch.model.ids import IncidentId, PersonId, TargetName, WriterId
from stanch.model.messages import MessageKind
from stanch.model.plans import Mode, Plan, Refusal
from stanch.notify.texts import update_text
from stanch.policy.policy import BreakGlass, Person
from stanch.respond.library import shipped_runbooks
from stanch.service.asked_plans import asked_for
from stanch.service.breaking_glass import glass_in, lifts_for
from stanch.service.doing.paging import story_of
from stanch.service.house import House, open_house, projection_of
from stanch.service.record.policies import Policies
from stanch.service.requests import Answer, BadRequest
from stanch.steps.world import World
from stanch.store.sql import SqlStore
from stanch.store.timelines import InlineStore
from timelines import POLICY, T0

ANN, BEN = PersonId("ann"), PersonId("ben")
WHY = "the import is long over"
BOOK = next(one for one in shipped_runbooks() if one.id == "blocking-chain")
OBSERVED = replace(TARGET, actions={"end_blocking_session": Mode.OBSERVE})
CHAIN = cause(
    "blocking_chain",
    root_pid=7,
    root_backend_start="2026-03-14T08:00:00+00:00",
    root_xact_start="2026-03-14T08:55:00+00:00",
    root_application="shop",
    root_backend_type="client backend",
    state="idle in transaction",
    waiters=3,
    oldest_wait_s=12.0,
    others_wait=True,
)
FORBIDDEN_BY = replace(cause("page_corruption"), forbids=("end_blocking_session",))
"""A cause that stands and forbids it."""
PEOPLE = tuple(Person(id=p, name=p.title(), contacts=()) for p in (ANN, BEN))
GLASS = replace(
    POLICY, people=PEOPLE, ladder=(ANN,), targets=(OBSERVED,), break_glass=BreakGlass(page=(BEN,))
)


class SetClock:
    def __init__(self) -> None:
        self.at = T0

    def now(self) -> Any:
        return self.at


async def opened(policy: Any) -> tuple[House, IncidentId]:
    policies = Policies("h1", policy, "{}", lambda text: policy)
    store = InlineStore(
        SqlStore.in_memory(
            projection_of(policies), writer_id=WriterId("w"), lease_clock_us=lambda: 0
        )
    )
    house = await open_house(policies, store, clock=SetClock())
    house.operations.asked_plans.read_through(_world)
    answer = await ask(house, "declare", title="stuck", target="orders")
    incident_id = IncidentId(answer.incident_id)
    await found(house, incident_id, CHAIN)
    return house, incident_id


def _world(incident: Incident) -> World:
    return replace(bare_world(), target=OBSERVED, diagnosis=incident.diagnosis)


async def found(house: House, incident_id: IncidentId, *causes: Any) -> None:
    event = e.DiagnosisRecorded(diagnosis=diagnosis(*causes))
    await house.book.record(incident_id, event)


@pytest.fixture
async def one() -> AsyncIterator[tuple[House, IncidentId]]:
    house, incident_id = await opened(GLASS)
    yield house, incident_id
    await house.store.close()


@pytest.fixture
async def two() -> AsyncIterator[tuple[House, IncidentId]]:
    house, incident_id = await opened(replace(GLASS, break_glass=BreakGlass(people=2)))
    yield house, incident_id
    await house.store.close()


async def ask(house: House, command: str, **parts: object) -> Answer:
    return await house.operations.execute({"command": command, "by": "ann", **parts})


async def broken(house: House, incident_id: IncidentId, *guards: str, **parts: object) -> Answer:
    asked: dict[str, object] = {
        "incident": incident_id,
        "runbook": BOOK.id,
        "break_glass": list(guards),
        "reason": WHY,
    }
    return await ask(house, "plan", **{**asked, **parts})


async def plan_of(house: House, incident_id: IncidentId) -> Plan:
    state = (await house.book.get(incident_id)).plan
    assert state is not None
    return state.plan


# --- asking -------------------------------------------------------------------------------------


async def test_a_guard_that_yields_is_overridden_in_a_plan_that_waits_and_says_so(
    one: tuple[House, IncidentId],
) -> None:
    house, incident_id = one
    plain = await ask(house, "plan", incident=incident_id, runbook=BOOK.id)
    assert plain.refusal is not None
    assert plain.refusal.guard == "policy", "without the glass it stays refused"
    answer = await broken(house, incident_id, "policy")
    assert answer.ok, answer.text
    [shown] = answer.details["overrides"]
    assert (shown["guard"], shown["by"], shown["why"]) == ("policy", "ann", WHY)
    plan = await plan_of(house, incident_id)
    assert (plan.mode, plan.overrides) == (Mode.ADVISE, ("policy",))
    assert decode(Plan, encode(plan)) == plan


@pytest.mark.parametrize(
    ("guards", "parts", "what"),
    [
        (("same_session",), {}, "yields to nobody"),
        (("acting_session",), {}, "yields to nobody"),
        (("nonsense",), {}, "is no guard of"),
        (("policy",), {"reason": ""}, "reason is missing"),
        (("policy",), {"reason": "because ."}, "is no reason"),
        (("policy",), {"by": "eve"}, "nobody the policy names"),
        (("policy",), {"break_glass": "policy"}, "must be a list"),
    ],
)
async def test_what_cannot_be_overridden_or_not_so_is_no_request(
    one: tuple[House, IncidentId], guards: tuple[str, ...], parts: dict[str, object], what: str
) -> None:
    house, incident_id = one
    with pytest.raises(BadRequest) as wrong:
        await broken(house, incident_id, *guards, **parts)
    assert what in wrong.value.what
    assert (await house.book.get(incident_id)).plan is None


async def test_a_guard_that_does_not_refuse_now_cannot_be_overridden_in_advance(
    one: tuple[House, IncidentId],
) -> None:
    house, incident_id = one
    answer = await broken(house, incident_id, "policy", "diagnosis")
    assert answer.refusal is not None
    assert answer.refusal.guard == "break_glass"
    assert "diagnosis" in answer.refusal.reason
    assert (await house.book.get(incident_id)).plan is None
    assert (await house.book.get(incident_id)).updates_owed == (), "nobody is paged"


async def test_what_a_person_did_not_name_still_refuses(one: tuple[House, IncidentId]) -> None:
    house, incident_id = one
    await found(house, incident_id, CHAIN, FORBIDDEN_BY)
    answer = await broken(house, incident_id, "policy")
    assert answer.refusal is not None
    assert answer.refusal.guard == "diagnosis"
    assert (await broken(house, incident_id, "policy", "diagnosis")).ok


@pytest.mark.parametrize("which", ["other_cluster", "split_brain", "live_lock_file"])
async def test_a_cause_about_which_server_this_is_yields_to_nobody(
    one: tuple[House, IncidentId], which: str
) -> None:
    house, incident_id = one
    firm = replace(cause(which), forbids=("end_blocking_session",))
    await found(house, incident_id, CHAIN, firm)
    answer = await broken(house, incident_id, "policy", "diagnosis")
    assert answer.refusal is not None
    assert (answer.refusal.guard, answer.refusal.firm) == ("diagnosis", True)


async def test_without_a_responder_that_looks_nothing_is_overridden(
    one: tuple[House, IncidentId],
) -> None:
    house, incident_id = one
    house.operations.asked_plans.read_through(lambda _incident: None)
    with pytest.raises(BadRequest, match="nobody looks"):
        await broken(house, incident_id, "policy")


async def test_a_no_that_only_a_fresh_look_finds_is_overridden_too() -> None:
    """The guards of the action itself are asked, and one that yields to nobody stays."""
    start = next(one for one in shipped_runbooks() if one.id == "start-server")
    glass = glass_in(
        {"by": "ann", "reason": WHY, "break_glass": ["no_corruption_signs"]}, start, GLASS
    )
    assert glass is not None
    incident = Incident(
        id=IncidentId("20260314-001"),
        target=TargetName("orders"),
        opened_at=AT,
        diagnosis=diagnosis(
            cause("killed", data_directory="/data", system_identifier="42", server_running=False)
        ),
    )

    def plan_with(lifted: Any) -> Plan | Refusal:
        events = asked_for(incident, start, TARGET, by=ANN, at=AT, lifted=lifted)
        assert isinstance(events[-1], e.PlanProposed)
        return events[-1].plan

    answer = await lifts_for(glass, plan_with, bare_world())
    assert isinstance(answer, Refusal)
    assert answer.guard == "break_glass"
    assert "host says no" in answer.reason, "what really refuses is named"


# --- approving ----------------------------------------------------------------------------------


async def test_alone_a_person_names_the_plan_and_the_target(one: tuple[House, IncidentId]) -> None:
    house, incident_id = one
    await broken(house, incident_id, "policy")
    digest = (await plan_of(house, incident_id)).digest
    for parts, guard in (
        ({"digest": digest}, "target_named"),
        ({"digest": digest, "target": "order"}, "target_named"),
        ({"target": "orders"}, "same_plan"),
        ({"digest": digest, "target": "orders", "by": "eve"}, "named_person"),
    ):
        answer = await ask(house, "approve", incident=incident_id, **parts)
        assert answer.refusal is not None
        assert answer.refusal.guard == guard
    done = await ask(house, "approve", incident=incident_id, digest=digest, target="orders")
    assert done.ok


async def test_with_two_people_whoever_asked_cannot_approve(two: tuple[House, IncidentId]) -> None:
    house, incident_id = two
    answer = await broken(house, incident_id, "policy")
    assert answer.details["people"] == 2
    digest = answer.details["digest"]
    own = await ask(house, "approve", incident=incident_id, digest=digest, target="orders")
    assert own.refusal is not None
    assert own.refusal.guard == "second_person"
    other = await ask(house, "approve", incident=incident_id, digest=digest, by="ben")
    assert other.ok
    approved = (await house.store.read(incident_id))[-1].event
    assert isinstance(approved, e.PlanApproved)
    assert approved.overrides == ("policy",)


async def test_what_was_overridden_is_in_the_digest_and_in_no_other_plan(
    one: tuple[House, IncidentId],
) -> None:
    house, incident_id = one
    await broken(house, incident_id, "policy")
    first = await plan_of(house, incident_id)
    await broken(house, incident_id, "policy", reason="quite another reason than before")
    second = await plan_of(house, incident_id)
    assert first.digest != second.digest
    old = await ask(house, "approve", incident=incident_id, digest=first.digest, target="orders")
    assert old.refusal is not None
    assert old.refusal.guard == "same_plan"
    again = await ask(house, "plan", incident=incident_id, runbook=BOOK.id)
    assert again.refusal is not None
    assert again.refusal.guard == "policy", "a lift is for one plan"


# --- telling ------------------------------------------------------------------------------------


async def test_the_owners_are_paged_when_it_is_asked_for_and_owed_the_use_of_it(
    one: tuple[House, IncidentId],
) -> None:
    house, incident_id = one
    await broken(house, incident_id, "policy")
    asked = await house.book.get(incident_id)
    [page] = [d for d in due(GLASS, asked, T0) if d.job is Job.PAGE and d.level == 0]
    assert page.persons == (BEN,)
    paged = await raised(house, incident_id, page)
    assert BEN in paged.paged
    assert not [d for d in due(GLASS, paged, T0) if d.job is Job.PAGE and d.level == 0]
    digest = (await plan_of(house, incident_id)).digest
    await ask(house, "approve", incident=incident_id, digest=digest, target="orders")
    used = await house.book.get(incident_id)
    assert "overridden" in [d.reason for d in due(GLASS, used, T0) if d.job is Job.UPDATE]


async def test_a_page_of_the_ladder_in_between_does_not_stand_for_the_owners(
    one: tuple[House, IncidentId],
) -> None:
    house, incident_id = one
    await broken(house, incident_id, "policy")
    [ladder] = [
        d
        for d in due(GLASS, await house.book.get(incident_id), T0)
        if d.job is Job.PAGE and d.level
    ]
    paged = await raised(house, incident_id, ladder)
    assert [d.persons for d in due(GLASS, paged, T0) if d.level == 0 and d.job is Job.PAGE] == [
        (BEN,)
    ]


async def test_after_a_crash_the_owners_are_owed_the_same(one: tuple[House, IncidentId]) -> None:
    """Whatever was written before it is enough: the debt is folded from the plan's own event."""
    house, incident_id = one
    await broken(house, incident_id, "policy")
    timeline = await house.store.read(incident_id)
    proposed = next(n for n, r in enumerate(timeline) if isinstance(r.event, e.PlanProposed))
    for upto in range(proposed + 1, len(timeline) + 1):
        again = fold(incident_id, timeline[:upto])
        pages = [d for d in due(GLASS, again, T0) if d.job is Job.PAGE and d.level == 0]
        assert [d.persons for d in pages] == [(BEN,)]
    before = fold(incident_id, timeline[:proposed])
    assert not [d for d in due(GLASS, before, T0) if d.job is Job.PAGE and d.level == 0]


async def test_the_texts_say_plainly_what_is_overridden_by_whom_and_why(
    one: tuple[House, IncidentId],
) -> None:
    house, incident_id = one
    await broken(house, incident_id, "policy")
    incident = await house.book.get(incident_id)
    proposed = e.PlanProposed(plan=await plan_of(house, incident_id))
    text = update_text(proposed, story_of(incident, GLASS), at=T0)
    assert "BREAK-GLASS: Ann wants to override policy" in text.subject
    whole = " ".join(text.body.split())
    assert "whoever approves this overrides what a guard forbids" in whole
    assert f"Overridden by Ann: {WHY}" in whole


async def raised(house: House, incident_id: IncidentId, what: Due) -> Incident:
    after = await house.book.decide(incident_id, lambda _incident, _at: (_raised(what),))
    assert isinstance(after, Incident)
    return after


def _raised(what: Due) -> e.MessageRaised:
    return e.MessageRaised(
        id=f"m.{what.level}",  # type: ignore[arg-type]
        message_kind=MessageKind.PAGE,
        level=what.level,
        persons=what.persons,
        deliveries=(),
        reason=what.reason,
        subject="s",
        short="s",
        body="b",
        obligation=what.obligation,
    )
