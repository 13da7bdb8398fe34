"""What events say about plans, their steps, and whether the target serves again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from stanch.incident.fold_people import GLASS, OVERRIDDEN, Rule, owe, owe_always, relapsed
from stanch.incident.state import Incident, PlanState, RescueState, Status, StepState, frozen
from stanch.model import events as e
from stanch.model.plans import Mode, StepOutcome
from stanch.model.timeline import Recorded

ACTS_KEPT = 100
"""Of the last actions that were begun."""
UNTOUCHED = (StepOutcome.REFUSED, StepOutcome.EXPIRED)


def _proposed(i: Incident, event: e.PlanProposed, r: Recorded) -> Incident:
    steps = frozen({step.id: StepState() for step in event.plan.steps})
    plan = PlanState(plan=event.plan, proposed_seq=r.seq, steps=steps)
    proposed = replace(_prepared(i), plan=plan, withheld=None)
    if event.plan.lifted:
        proposed = owe_always(proposed, GLASS, r)
    return proposed if event.plan.mode is Mode.ACT else owe(proposed, "approval", r)


def _prepared(i: Incident) -> Incident:
    """What a level wanted prepared was tried: there is a plan now, or the reason why not."""
    return replace(i, levels=replace(i.levels, propose=""))


def _requested(i: Incident, event: e.PlanRequested, r: Recorded) -> Incident:
    return i


def _withheld(i: Incident, event: e.PlanWithheld, r: Recorded) -> Incident:
    withheld = replace(_prepared(i), withheld=event, withheld_seq=r.seq)
    # The same no to the next diagnosis is no news.
    return withheld if event == i.withheld else owe(withheld, "withheld", r)


def _approved(i: Incident, event: e.PlanApproved, r: Recorded) -> Incident:
    if i.plan is None or i.plan.plan.id != event.plan_id:
        return i
    approved = replace(i, plan=replace(i.plan, approved_by=event.by))
    return owe_always(approved, OVERRIDDEN, r) if event.overrides else approved


def _plan_ended(i: Incident, event: e.PlanEnded, r: Recorded) -> Incident:
    if i.plan is None or i.plan.plan.id != event.plan_id:
        return i
    ended = replace(
        i.plan,
        ended=True,
        completed=event.completed,
        ended_reason=event.reason,
        ended_at=r.at,
    )
    if _touched(ended):
        return owe(replace(i, plan=ended, plans_tried=i.plans_tried + 1), "acted", r)
    # Refused before anything was touched: told once, tried again later, and no try of ours used up.
    refused = replace(i, plan=ended, plans_refused=i.plans_refused + 1)
    return refused if i.plans_refused else owe(refused, "acted", r)


def _touched(plan: PlanState) -> bool:
    # Begun without an outcome counts: whoever intended it may have done it before it died.
    return any(s.attempts and s.outcome not in UNTOUCHED for s in plan.effects)


def _intended(i: Incident, event: e.StepIntended, r: Recorded) -> Incident:
    return _with_step(
        replace(i, acts=(*i.acts, (event.action, r.at))[-ACTS_KEPT:]),
        event,
        lambda s: replace(
            s,
            intended=event,
            intended_by=r.writer_id,
            abandoned=False,
            attempts=event.attempt,
            outcome=None,
            verified=None,
        ),
    )


def abandon_steps(i: Incident, writer_id: str) -> Incident:
    """A journal has one writing process at a time: what an earlier one intended is left behind."""
    if i.plan is None:
        return i
    steps = {
        step_id: replace(step, abandoned=True)
        if step.intended is not None and step.intended_by == writer_id
        else step
        for step_id, step in i.plan.steps.items()
    }
    return replace(i, plan=replace(i.plan, steps=frozen(steps)))


def _step_ended(i: Incident, event: e.StepEnded, r: Recorded) -> Incident:
    settled = event.outcome is not StepOutcome.IN_DOUBT
    # What a guard refused was no act: nothing was touched.
    acts = i.acts[:-1] if event.outcome in UNTOUCHED else i.acts
    return _with_step(
        replace(i, acts=acts),
        event,
        lambda s: replace(
            s,
            intended=None if settled else s.intended,
            outcome=event.outcome,
            detail=event.detail,
        ),
    )


def _step_verified(i: Incident, event: e.StepVerified, r: Recorded) -> Incident:
    return _with_step(
        i, event, lambda s: replace(s, verified=event.ok, intended=None, detail=event.detail)
    )


def _with_step(
    i: Incident,
    event: e.StepIntended | e.StepEnded | e.StepVerified,
    change: Callable[[StepState], StepState],
) -> Incident:
    plan = i.plan
    if plan is None or plan.plan.id != event.plan_id or event.step_id not in plan.steps:
        return i
    steps = frozen({**plan.steps, event.step_id: change(plan.steps[event.step_id])})
    return replace(i, plan=replace(plan, steps=steps))


def _rescue_checked(i: Incident, event: e.RescueChecked, r: Recorded) -> Incident:
    before = RescueState() if event.after_gap else i.rescue
    if not event.ok:
        parts = (event.login_ok, event.write_ok, event.headroom_ok)
        failed = RescueState(last_at=r.at, last_detail=event.detail, last_parts=parts)
        unproven = replace(i, rescue=failed)
        return relapsed(unproven, r) if i.status is Status.RESCUED else unproven
    rescue = RescueState(
        ok_since=before.ok_since or r.at,
        ok_seq=before.ok_seq or r.seq,
        ok_checks=before.ok_checks + 1,
        last_at=r.at,
        last_ok=True,
        last_detail=event.detail,
    )
    return replace(i, rescue=rescue)


RULES: dict[type[e.Event], Rule] = {
    e.PlanProposed: _proposed,
    e.PlanRequested: _requested,
    e.PlanWithheld: _withheld,
    e.PlanApproved: _approved,
    e.PlanEnded: _plan_ended,
    e.StepIntended: _intended,
    e.StepEnded: _step_ended,
    e.StepVerified: _step_verified,
    e.RescueChecked: _rescue_checked,
}
