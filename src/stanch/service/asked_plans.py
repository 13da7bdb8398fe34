"""Plans that a person asks for by the name of a runbook: bound and approved like any other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from stanch.incident.commands import Decided
from stanch.incident.state import Incident
from stanch.model import events as e
from stanch.model.errors import PolicyInvalid
from stanch.model.ids import PersonId
from stanch.model.plans import Lift, Plan, Refusal
from stanch.policy.policy import TargetPolicy
from stanch.policy.reading import nearest
from stanch.respond.actions.catalogue import CATALOGUE
from stanch.respond.library import load_runbooks
from stanch.respond.planner import plan_for
from stanch.respond.runbook import Runbook
from stanch.service.breaking_glass import Glass, glass_in, lifts_for
from stanch.service.record.book import Book
from stanch.service.record.policies import Policies
from stanch.service.requests import Answer, BadRequest, Request, person_in, stamped, text_in
from stanch.steps.world import World

ASKED_WITHIN = timedelta(minutes=5)
"""Whoever asked is there: a plan that nobody approves is not to keep others waiting."""


WorldOf = Callable[[Incident], World | None]


def _nobody(_incident: Incident) -> World | None:
    """Where no responder runs."""
    return None


class AskedPlans:
    """Turns the wish for a runbook into a plan that waits, or into the reason why not."""

    def __init__(
        self, book: Book, policies: Policies, *, find: Callable[[str], Awaitable[Incident]]
    ) -> None:
        self._book = book
        self._policies = policies
        self._find = find
        self._world: WorldOf = _nobody

    def read_through(self, world: WorldOf) -> None:
        """From now on a responder looks at the targets: what is overridden is read there."""
        self._world = world

    async def plan(self, request: Request) -> Answer:
        """Raises BadRequest, StoreError."""
        by = person_in(request)
        incident = await self._find(text_in(request, "incident", required=True))
        runbook = runbook_named(self._policies, text_in(request, "runbook", required=True))
        target = self._policies.current.target(incident.target)
        if target is None:
            raise BadRequest(f"{incident.target} is not in the policy", hint="Nothing acts on it.")

        glass = glass_in(request, runbook, self._policies.current)
        lifted = await self._lifts(glass, incident, runbook, target)
        written: list[e.PlanRequested] = []

        def decider(now_is: Incident, at: datetime) -> Decided:
            if isinstance(lifted, Refusal):
                events = (e.PlanRequested(runbook=runbook.id, by=by, refusal=lifted),)
            else:
                events = asked_for(now_is, runbook, target, by=by, at=at, lifted=lifted)
            wish, *rest = events
            assert isinstance(wish, e.PlanRequested)
            if glass is not None:
                wish = replace(wish, overrides=glass.guards, why=glass.why)
            written[:] = [wish]
            return stamped(request, (wish, *rest))

        now_is = await self._book.decide(incident.id, decider)
        assert isinstance(now_is, Incident), "the wish is written down, whatever becomes of it"
        if (refusal := written[0].refusal) is not None:
            return Answer(ok=False, text=refusal.reason, incident_id=incident.id, refusal=refusal)
        return _answer(now_is, by, self._policies.current.break_glass.people)

    async def _lifts(
        self, glass: Glass | None, incident: Incident, runbook: Runbook, target: TargetPolicy
    ) -> tuple[Lift, ...] | Refusal:
        if glass is None:
            return ()
        world = self._world(incident)
        if world is None:
            hint = "Guards are read by the responder: start `stanch run`."
            raise BadRequest("nobody looks at this target now", hint=hint)
        at = incident.opened_at
        assert at is not None, "it was found"
        return await lifts_for(
            glass,
            lambda lifted: _planned(incident, runbook, target, by=glass.by, at=at, lifted=lifted),
            world,
        )


def runbook_named(policies: Policies, wanted: str) -> Runbook:
    """Of those in force. Raises BadRequest."""
    try:
        runbooks = load_runbooks(policies.current.runbook_directory)
    except PolicyInvalid as error:
        raise BadRequest(f"the runbooks cannot be used: {error.what}") from error
    by_id = {one.id: one for one in runbooks}
    if wanted not in by_id:
        hint = nearest(wanted, tuple(by_id)) or "`stanch runbook list` has all of them."
        raise BadRequest(f"there is no runbook {wanted!r}", hint=hint)
    return by_id[wanted]


def asked_for(
    incident: Incident,
    runbook: Runbook,
    target: TargetPolicy,
    *,
    by: PersonId,
    at: datetime,
    lifted: Sequence[Lift] = (),
) -> tuple[e.Event, ...]:
    """What is written down: the wish, the end of a plan that waited, and the new plan. Pure."""
    found = _planned(incident, runbook, target, by=by, at=at, lifted=lifted)
    found = found.refusal if isinstance(found, e.PlanWithheld) else found
    if isinstance(found, Refusal):
        return (e.PlanRequested(runbook=runbook.id, by=by, refusal=found),)
    wish = e.PlanRequested(runbook=runbook.id, by=by)
    state = incident.plan
    if state is None or state.ended:
        return (wish, e.PlanProposed(plan=found))
    reason = f"{by} asked for {runbook.id} instead"
    over = e.PlanEnded(plan_id=state.plan.id, completed=False, reason=reason)
    return (wish, over, e.PlanProposed(plan=found))


def _planned(
    incident: Incident,
    runbook: Runbook,
    target: TargetPolicy,
    *,
    by: PersonId,
    at: datetime,
    lifted: Sequence[Lift],
) -> Plan | Refusal | e.PlanWithheld:
    if incident.status.ended:
        return Refusal(guard="open", reason=f"it is already {incident.status.value}")
    if incident.plan is not None and incident.plan.runnable:
        under_way = f"a plan is under way already ({incident.plan.plan.runbook})"
        return Refusal(guard="one_plan", reason=under_way, lifts="The end of that plan.")
    if incident.diagnosis is None:
        return Refusal(guard="diagnosis", reason="nobody has looked yet", lifts="The first look.")
    answers = [c for c in incident.diagnosis.causes if c.id in runbook.causes]
    if not answers:
        reason = f"{runbook.id} answers none of what was found"
        return Refusal(guard="runbook", reason=reason, lifts=_lifts(incident, runbook))
    plan = plan_for(
        incident.diagnosis,
        target,
        [runbook],
        actions=CATALOGUE,
        at=at,
        incident_id=incident.id,
        halted=False,
        asked_by=by,
        lifted=lifted,
    )
    if isinstance(plan, e.PlanWithheld):
        return plan
    if lifted:
        # It may take a second person, who is woken for it.
        return plan
    return replace(plan, expires_at=min(plan.expires_at, at + ASKED_WITHIN))


def _lifts(incident: Incident, runbook: Runbook) -> str:
    assert incident.diagnosis is not None
    found = ", ".join(cause.id for cause in incident.diagnosis.causes[:3]) or "no cause"
    return f"It is for {', '.join(runbook.causes)}; found: {found}."


def _answer(incident: Incident, by: PersonId, people: int) -> Answer:
    state = incident.plan
    if state is None or state.ended or state.plan.asked_by != by:
        text = "it was written down, and another plan came in between"
        return Answer(ok=False, text=text, incident_id=incident.id)
    text = f"{incident.id} plan {state.plan.digest[:8]} waits for an approval"
    shown = {**plan_shown(state.plan), "target": incident.target, "people": people}
    return Answer(ok=True, text=text, incident_id=incident.id, details=shown)


def lifts_shown(plan: Plan) -> list[dict[str, str]]:
    """Each no that the plan overrides, with who wants that and why."""
    return [
        {
            "guard": lift.guard,
            "action": lift.action,
            "reason": lift.reason,
            "by": lift.by,
            "why": lift.why,
        }
        for lift in plan.lifted
    ]


def plan_shown(plan: Plan) -> Mapping[str, Any]:
    """A plan as whoever approves it has to see it."""
    return {
        "id": plan.id,
        "runbook": plan.runbook,
        "cause": plan.cause,
        "digest": plan.digest,
        "expires_at": plan.expires_at.isoformat(),
        "overrides": lifts_shown(plan),
        "steps": [
            {
                "id": step.id,
                "action": step.action,
                "preview": step.preview,
                "verify": step.verify,
                "undo": step.undo,
                "no_undo": step.no_undo,
                "reads_only": step.reads_only,
            }
            for step in plan.steps
        ],
    }
