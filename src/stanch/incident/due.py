"""What is due for one incident, and when. Pure: the timeline decides, not a timer.

`due` names each piece of work with the earliest moment it may be done. A moment in the past means
now: after downtime overdue pages collapse into one that names every skipped level's person.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from stanch.incident.due_levels import levels, overtaken, wants_plan
from stanch.incident.due_people import deliveries, pages, updates
from stanch.incident.fold_people import obligation
from stanch.incident.state import Incident, PlanState, Status
from stanch.incident.work import Due, Job
from stanch.model.diagnosis import Verdict
from stanch.model.ids import ObligationId, StepId
from stanch.model.plans import Mode, StepOutcome
from stanch.model.shown import shortened
from stanch.model.timeline import Lane
from stanch.policy.policy import Policy, TargetPolicy

PLANS_MAX = 4
"""Circuit breaker: after this many plans without rescue only people go on."""

REDIAGNOSE_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Waits before looking again while no cause is found, or the found one could not be cured."""

REFUSED_S = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0)
"""Waits after plans that were refused before anything was touched."""

WHY_CHARS = 240
"""Of what a step failed of; the timeline has all of it."""

SETTLING_S = 10.0
SETTLING_FAILING_S = 1.5

STABLE_CHECK_EVERY_S_MAX = 60.0

GAP_TIMES = 3.0
GAP_S = 20.0
"""A look so much later than planned comes after a gap: the process or the machine stood still."""


def due(policy: Policy, incident: Incident, now: datetime) -> tuple[Due, ...]:
    """Everything this incident still asks for, soonest first.

    `now` only counts how many escalation levels were skipped while nobody looked.
    """
    return tuple(sorted(_due(policy, incident, now), key=lambda d: (d.at, d.lane, d.job)))


def _due(policy: Policy, incident: Incident, now: datetime) -> Iterator[Due]:
    if incident.opened_at is None or incident.status is Status.MERGED:
        return
    target = policy.target(incident.target)
    yield from deliveries(incident)
    yield from updates(policy, incident)
    if incident.status is Status.RESOLVED:
        return
    yield from pages(policy, incident, now)
    if target is None or incident.unknown_kinds:
        # Taken out of the policy, or written by a newer release: page and show, never act.
        return
    yield from levels(policy, target, incident, now)
    yield from _endings(target, incident)
    yield from _plan(target, incident, now)
    yield from _looks(target, incident)


# --- the target ---------------------------------------------------------------------------------


def _plan(target: TargetPolicy, i: Incident, now: datetime) -> Iterator[Due]:
    state = i.plan
    if state is None or state.ended:
        if (_proposal_wanted(i) or wants_plan(i)) and i.diagnosed_at is not None:
            yield Due(lane=Lane.ACT, job=Job.PROPOSE, at=i.diagnosed_at)
        return
    unsettled = next((s for s in state.plan.steps if state.steps[s.id].unsettled), None)
    if unsettled is not None:
        intended = state.steps[unsettled.id].intended
        at = intended.act_before if intended else state.plan.made_at
        yield Due(lane=Lane.ACT, job=Job.SETTLE, at=at, step_id=unsettled.id)
        return
    ending = _plan_ending(target, i, state)
    if ending is not None:
        yield ending
        return
    if not state.begun:
        # An approval expires as well: what was approved is what was seen then.
        waited = "it was not begun" if state.runnable else "nobody approved it"
        yield Due(
            lane=Lane.CLOCK,
            job=Job.EXPIRE_PLAN,
            at=state.plan.expires_at,
            obligation=ObligationId(obligation("expire", 1, state.proposed_seq)),
            reason=f"{waited} in time",
        )
    if not state.runnable or (not state.begun and now >= state.plan.expires_at):
        return
    step = next(s for s in state.plan.steps if not _finished(state, s.id))
    yield Due(lane=Lane.ACT, job=Job.STEP, at=state.plan.made_at, step_id=step.id)


def _proposal_wanted(i: Incident) -> bool:
    if i.diagnosis is None or i.diagnosis.verdict is not Verdict.CAUSE or not i.standing:
        return False
    if i.diagnosis_seq < i.symptoms_seq or i.plans_tried >= PLANS_MAX:
        return False
    planned = i.plan is not None and i.plan.proposed_seq > i.diagnosis_seq
    return not planned and i.withheld_seq < i.diagnosis_seq


def _finished(state: PlanState, step_id: StepId) -> bool:
    step = state.steps[step_id]
    return step.outcome is not None or step.verified is True


def _succeeded(state: PlanState, step_id: StepId) -> bool:
    step = state.steps[step_id]
    return step.verified is True


def _plan_ending(target: TargetPolicy, i: Incident, state: PlanState) -> Due | None:
    """Why no further step should run, if so: done, failed, or overtaken by events."""
    steps = state.plan.steps
    failed = next(
        (
            s
            for s in steps
            if _finished(state, s.id) and not _succeeded(state, s.id) and s.on_failure == "stop"
        ),
        None,
    )
    if failed is not None:
        step = state.steps[failed.id]
        outcome = step.outcome or StepOutcome.FAILED
        why = shortened(" ".join(step.detail.split()), WHY_CHARS)
        because = f" ({why})" if why else ""
        return _end(i, state, f"{failed.action}: {outcome.value}{because}", completed=False)
    if all(_finished(state, s.id) for s in steps):
        return _end(i, state, "every step was verified on the target", completed=True)
    withdrawn = _withdrawn(target, state)
    if withdrawn is not None:
        return _end(i, state, withdrawn, completed=False)
    if state.begun:
        return None
    overtaken_by = overtaken(target, i, state)
    if overtaken_by:
        return _end(i, state, overtaken_by, completed=False)
    if not i.standing:
        return _end(i, state, "no longer needed: nothing is observed to be wrong", completed=False)
    reason = _outdated(i, state) if i.diagnosis_seq > state.proposed_seq else ""
    return _end(i, state, reason, completed=False) if reason else None


def _outdated(i: Incident, state: PlanState) -> str:
    """Why a newer diagnosis has nothing to do with the plan; empty where it still has."""
    causes = i.diagnosis.causes if i.diagnosis is not None else ()
    if state.plan.asked_by:
        # Whoever asked for it may know better than the ranking.
        found = any(cause.id == state.plan.cause for cause in causes)
        return "" if found else f"{state.plan.cause} is no longer found"
    first = i.diagnosis.first if i.diagnosis is not None else None
    same = first is not None and first.id == state.plan.cause
    return "" if same else "a newer diagnosis names another cause"


def _withdrawn(target: TargetPolicy, state: PlanState) -> str | None:
    """Policy may have changed since the plan was made: what it no longer allows is not begun."""
    for step in state.plan.steps:
        if _finished(state, step.id):
            continue
        mode = target.mode(step.action)
        overrides = any(lift.guard == "policy" for lift in state.plan.lifted_for(step.action))
        if mode is Mode.OBSERVE and not overrides:
            return f"policy only observes now where {step.action} is concerned"
        if mode is Mode.ADVISE and state.plan.mode is Mode.ACT and state.approved_by is None:
            return f"policy asks for approval of {step.action} now"
    return None


def _end(i: Incident, state: PlanState, reason: str, *, completed: bool) -> Due:
    return Due(
        lane=Lane.CLOCK,
        job=Job.END_PLAN,
        at=i.opened_at or state.plan.made_at,
        obligation=ObligationId(obligation("end_plan", 1, state.proposed_seq)),
        reason=reason,
        completed=completed,
    )


def _looks(target: TargetPolicy, i: Incident) -> Iterator[Due]:
    """Diagnoses while something is wrong, rescue checks once nothing is observed any more."""
    diagnose_at = _diagnose_at(i)
    if diagnose_at is not None:
        yield Due(lane=Lane.ACT, job=Job.DIAGNOSE, at=diagnose_at)
    check_at = _check_at(target, i)
    if check_at is not None:
        yield Due(lane=Lane.ACT, job=Job.CHECK_RESCUE, at=check_at)


def _diagnose_at(i: Incident) -> datetime | None:
    if not i.standing or (i.plan is not None and i.plan.runnable):
        return None
    if i.diagnosed_at is None or i.diagnosis_seq < i.symptoms_seq:
        return i.symptoms_at
    wait = timedelta(seconds=REDIAGNOSE_S[min(i.diagnoses, len(REDIAGNOSE_S)) - 1])
    if i.plan is not None and i.plan.ended_at is not None and i.plan.completed:
        # What was just done and verified gets time to show before anybody looks for more, unless
        # the checks already say that it did not help.
        failing = i.rescue.last_at is not None and not i.rescue.last_ok
        settling_s = SETTLING_FAILING_S if failing else SETTLING_S
        return max(i.diagnosed_at + wait, i.plan.ended_at + timedelta(seconds=settling_s))
    if i.plan is not None and i.plan.ended_at is not None and i.plans_refused:
        refused_s = REFUSED_S[min(i.plans_refused, len(REFUSED_S)) - 1]
        return max(i.diagnosed_at + wait, i.plan.ended_at + timedelta(seconds=refused_s))
    return i.diagnosed_at + wait


def _check_at(target: TargetPolicy, i: Incident) -> datetime | None:
    plan = i.plan
    if plan is not None and plan.runnable:
        return None
    acted = plan.ended_at if plan is not None and plan.completed else None
    start = i.cleared_at if not i.standing else acted
    if start is None:
        return None
    if i.rescue.last_at is None:
        return start
    return max(start, i.rescue.last_at + timedelta(seconds=check_every_s(target, i)))


def check_every_s(target: TargetPolicy, i: Incident) -> float:
    """How long after one look at the rescue the next one is planned."""
    every_s = target.rescue.check_every_s
    if i.status is Status.RESCUED:
        every_s = max(every_s, min(STABLE_CHECK_EVERY_S_MAX, target.rescue.resolve_after_s / 3))
    return every_s


def is_gap(target: TargetPolicy, i: Incident, at: datetime) -> bool:
    """Whether nobody looked for so long that a run of good looks cannot be carried on."""
    if not i.rescue.last_ok or i.rescue.last_at is None:
        return False
    planned_s = check_every_s(target, i)
    return at - i.rescue.last_at > timedelta(seconds=GAP_TIMES * planned_s + GAP_S)


def _endings(target: TargetPolicy, i: Incident) -> Iterator[Due]:
    """Rescued and resolved, each only on proof from the target itself."""
    rescue = i.rescue
    if i.standing or not rescue.last_ok or rescue.last_at is None or rescue.ok_since is None:
        return
    if i.plan is not None and i.plan.runnable:
        return
    stable_s = (rescue.last_at - rescue.ok_since).total_seconds()
    not_over = f"not over, but usual by now: {', '.join(sorted(i.lapsed))}" if i.lapsed else ""
    if i.status is Status.OPEN and i.page_level == 0 and i.plans_tried == 0:
        yield Due(
            lane=Lane.CLOCK,
            job=Job.RESOLVE,
            at=rescue.last_at,
            obligation=ObligationId(obligation("resolve", 1, rescue.ok_seq)),
            reason=not_over or "it was over before anybody was due to be paged",
            self_healed=not not_over,
            verified=not not_over,
        )
    elif i.status is Status.OPEN and stable_s >= target.rescue.window_s:
        yield Due(
            lane=Lane.CLOCK,
            job=Job.RESCUED,
            at=rescue.last_at,
            obligation=ObligationId(obligation("rescued", 1, rescue.ok_seq)),
            reason=rescue.last_detail,
        )
    elif i.status is Status.RESCUED and i.rescued_at is not None:
        # The run of good looks may be younger than the rescue: nobody watched in between.
        stable_since = (rescue.last_at - max(i.rescued_at, rescue.ok_since)).total_seconds()
        if stable_since >= target.rescue.resolve_after_s:
            yield Due(
                lane=Lane.CLOCK,
                job=Job.RESOLVE,
                at=rescue.last_at,
                obligation=ObligationId(obligation("resolve", 1, rescue.ok_seq)),
                reason=not_over or f"stable for {stable_since:.0f} s after the rescue",
                verified=not not_over,
            )
